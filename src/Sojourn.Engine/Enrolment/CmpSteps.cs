using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.Enrolment;

/// <summary>How a certificate is asked for (RFC 9483 section 4.1).</summary>
public enum CertificateRequestKind : byte
{
    /// <summary>ir: the first certificate (TA-M30).</summary>
    Initial,

    /// <summary>cr: another certificate.</summary>
    Further,

    /// <summary>kur: a new key in place of the one that signs the request (TA-M36).</summary>
    KeyUpdate,
}

/// <summary>The certificate that is wanted.</summary>
/// <param name="Identifier">Host name or distinguished name; the certificate has to carry it.</param>
/// <param name="Key">The key to certify. It proves possession with a signature.</param>
/// <param name="AskImplicitConfirmation">Saves a round trip where the authority grants it.</param>
public sealed record CertificateWish(CertificateRequestKind Kind, string Identifier, SigningKey Key, bool AskImplicitConfirmation = false);

/// <summary>What to do next in a <see cref="CmpExchange"/>.</summary>
public abstract record CmpStep;

/// <summary>Send this PKIMessage and give the answer to <see cref="CmpExchange.Receive"/>.</summary>
/// <param name="After">How long to wait before; zero but for polling.</param>
public sealed record CmpSend(ReadOnlyMemory<byte> Message, TimeSpan After) : CmpStep;

/// <summary>The exchange is over.</summary>
public abstract record CmpEnd : CmpStep;

/// <summary>The certificate is issued, checked and confirmed.</summary>
/// <param name="Intermediates">Between it and an authority, nearest first.</param>
/// <param name="Authorities">Who is trusted from now on: who was before, and, under the shared secret, the roots of caPubs (RFC 9810 5.3.2).</param>
/// <param name="Modified">The authority changed what was asked for (grantedWithMods); the identifier is as asked all the same.</param>
public sealed record CmpIssued(X509Certificate2 Certificate, IReadOnlyList<X509Certificate2> Intermediates, IReadOnlyList<X509Certificate2> Authorities, bool Modified) : CmpEnd;

/// <summary>The authority has withdrawn the certificate.</summary>
public sealed record CmpRevoked : CmpEnd;

/// <summary>Certificates of authorities, as answered to genm (TA-M39).</summary>
/// <param name="Trusted">The answer came under the shared secret: its roots may be trusted. Otherwise they only help to build paths.</param>
public sealed record CmpAuthorities(IReadOnlyList<X509Certificate2> Certificates, bool Trusted) : CmpEnd;

/// <summary>Nothing was got.</summary>
/// <param name="Reason">For a person.</param>
/// <param name="Failures">What the authority stated as failInfo.</param>
/// <param name="Proven">The refusal is the authority's own: its protection holds. False = anybody on the way may have said so, or we refused ourselves.</param>
public sealed record CmpRefused(string Reason, IReadOnlyList<PkiFailure> Failures, bool Proven) : CmpEnd;

/// <summary>The messages could not be carried; the same may be tried again.</summary>
public sealed record CmpUnreachable(string Reason) : CmpEnd;
