// Readings:
// - EAP-TTLS carries one inner method, PAP; the tunnel hides it (row TA-M54). Bare EAP-MD5 is not there to be chosen.
// - In EAP-TTLS the user is the name inside the tunnel. The name outside only leads here, and proves nothing.
// - A conversation that fails ends with EAP-Failure, after TLS's alert where there is one.
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sojourn.Engine.Tls;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Radius;

namespace Sojourn.Engine.Eap;

public sealed record EapServerOptions
{
    /// <summary>In the order they are offered; <see cref="EapType.Ttls"/> and <see cref="EapType.Tls"/>.</summary>
    public required IReadOnlyList<EapType> Methods { get; init; }

    public required TlsContext Tls { get; init; }

    /// <summary>Octets of TLS in one EAP packet, small enough for the links behind an authenticator (RFC 3748 3.1).</summary>
    public int FragmentLength { get; init; } = 1000;
}

public enum EapServerState : byte
{
    Running,

    /// <summary><see cref="EapServer.User"/> and <see cref="EapServer.Password"/> have to be checked; goes on with <see cref="EapServer.PasswordChecked"/>.</summary>
    ChecksPassword,
    Succeeded,
    Failed,
}

/// <summary>
/// The authentication server's side of one EAP conversation (RFC 3748): EAP-TLS (RFC 5216, RFC 9190) and EAP-TTLS with PAP
/// inside (RFC 5281). Each call gives the packet that goes to the peer; the authenticator repeats lost ones.
/// </summary>
public sealed class EapServer(EapServerOptions options) : IDisposable
{
    private readonly EapTlsFraming _framing = new(options.FragmentLength);
    private EapType _method;
    private byte _identifier;
    private TlsSession? _tls;
    private bool _begun;
    private bool _concluding;
    private bool _ending;

    public EapServerState State { get; private set; }

    /// <summary>Identity in clear; a hint (RFC 3748 5.1).</summary>
    public string OuterIdentity { get; private set; } = "";

    /// <summary>Who has proved themselves, or in <see cref="EapServerState.ChecksPassword"/> claims to be. EAP-TLS: the certificate's DNS name, else its common name.</summary>
    public string User { get; private set; } = "";

    /// <summary>What the peer gave for a password; null unless it has to be checked.</summary>
    public KeyMaterial? Password { get; private set; }

    public EapType Method => _method;

    /// <summary>64 octets, after success.</summary>
    public KeyMaterial? MasterSessionKey { get; private set; }

    /// <summary>Why it failed, for the log; the peer is not told.</summary>
    public string Reason { get; private set; } = "";

    /// <summary>Asks who is there, for an authenticator that has not (RFC 3579 2.1, EAP-Start).</summary>
    public EapPacket AskIdentity() => new(EapCode.Request, ++_identifier, EapType.Identity, default);

    /// <summary>The packet that answers; null when the response is ignored (RFC 3748 4.1), or a password has to be checked first.</summary>
    public EapPacket? Receive(EapPacket response, DateTimeOffset now)
    {
        if (State != EapServerState.Running || response.Code != EapCode.Response)
        {
            return null;
        }

        if (response.Type == EapType.Identity && _method == EapType.None)
        {
            _identifier = response.Identifier;
            OuterIdentity = Encoding.UTF8.GetString(response.Data.Span[..Math.Min(response.Data.Length, EapLimits.IdentityLength)]);
            return Propose(options.Methods[0], now);
        }

        if (response.Identifier != _identifier)
        {
            return null;
        }

        if (_ending)
        {
            return Fail(Reason);
        }

        if (response.Type == EapType.Nak)
        {
            var wanted = options.Methods.FirstOrDefault(m => m != _method && response.Data.Span.Contains((byte)m));
            return wanted == EapType.None || _begun ? Fail("the peer takes none of the methods") : Propose(wanted, now);
        }

        if (response.Type != _method || !EapTlsFragment.TryParse(response.Data.Span, out var fragment, out _))
        {
            return Fail("the peer's answer is no packet of the method");
        }

        switch (_framing.Take(fragment, out var flight))
        {
            case FramingResult.Malformed:
                return Fail("the peer's fragments do not fit together");
            case FramingResult.More or FramingResult.Acknowledged:
                return Request(_framing.Next());
            default:
                return _concluding ? Conclude(flight) : Advance(flight);
        }
    }

    /// <summary>Answers <see cref="EapServerState.ChecksPassword"/>.</summary>
    public EapPacket PasswordChecked(bool right)
    {
        Password?.Wipe();
        Password = null;
        return right ? Succeed() : Fail("the password is wrong or nobody has that name");
    }

    /// <summary>Ends the conversation, right or not, e.g. because the user must wait.</summary>
    public EapPacket Fail(string reason)
    {
        State = EapServerState.Failed;
        Reason = reason;
        Dispose();
        return EapPacket.Failure(_identifier);
    }

    public void Dispose()
    {
        _tls?.Dispose();
        _tls = null;
        Password?.Wipe();
        Password = null;
    }

    private EapPacket Propose(EapType method, DateTimeOffset now)
    {
        _method = method;
        _tls?.Dispose();
        _tls = options.Tls.Accept(demandCertificate: method == EapType.Tls, now);
        return Request(new EapTlsFragment(null, false, true, 0, default));
    }

    private EapPacket Request(EapTlsFragment fragment) => new(EapCode.Request, ++_identifier, _method, fragment.ToArray());

    private EapPacket Send(byte[] flight)
    {
        _framing.Load(flight);
        return Request(_framing.Next());
    }

    private EapPacket? Advance(byte[] flight)
    {
        var tls = _tls!;
        _begun = true;
        switch (tls.Receive(flight))
        {
            case TlsProgress.Failed:
                return EndWithAlert($"TLS: {tls.Failure}");
            case TlsProgress.Continues:
                return Send(tls.TakeOutput());
        }

        if (_method == EapType.Ttls)
        {
            return TakeInner(tls);
        }

        // The commitment that nothing more of TLS follows (RFC 9190 2.1.1).
        if (tls.IsTls13)
        {
            tls.Write([0]);
        }

        _concluding = true;
        return Send(tls.TakeOutput());
    }

    /// <summary>EAP-TLS: the peer has our last flight, and answers with nothing, unless it refuses our end after all.</summary>
    private EapPacket Conclude(byte[] flight)
    {
        var tls = _tls!;
        if (flight.Length > 0)
        {
            tls.Receive(flight);
            tls.Read();
            return Fail($"the peer ends TLS: {tls.Failure}");
        }

        using var certificate = tls.PeerCertificate;
        if (certificate is null)
        {
            return Fail("the peer has shown no certificate");
        }

        User = NameOf(certificate);
        return Succeed();
    }

    private EapPacket? TakeInner(TlsSession tls)
    {
        var inner = tls.Read();
        if (tls.Failure.Length > 0)
        {
            return EndWithAlert($"TLS: {tls.Failure}");
        }

        if (inner.Length == 0)
        {
            // Our Finished, or leave to begin with the second phase.
            return Send(tls.TakeOutput());
        }

        var read = TtlsAvp.TryParseAll(inner, out var avps, out var error);
        CryptographicOperations.ZeroMemory(inner);
        if (!read)
        {
            return Fail($"tunnel: {error}");
        }

        TtlsAvp? Find(RadiusAttributeType type) => avps!.FirstOrDefault(a => a.Vendor is null && a.Code == (uint)type);
        if (Find(RadiusAttributeType.UserName) is not { } name || Find(RadiusAttributeType.UserPassword) is not { } password)
        {
            return Fail("the peer does not use PAP in the tunnel");
        }

        // Padded with zeros to hide its length (RFC 5281 11.2.5).
        User = Encoding.UTF8.GetString(name.Data.Span);
        Password = new KeyMaterial(password.Data.Span.TrimEnd((byte)0));
        State = EapServerState.ChecksPassword;
        return null; // the answer waits for the password
    }

    private EapPacket EndWithAlert(string reason)
    {
        var alert = _tls!.TakeOutput();
        if (alert.Length == 0)
        {
            return Fail(reason);
        }

        (_ending, Reason) = (true, reason);
        return Send(alert);
    }

    private EapPacket Succeed()
    {
        MasterSessionKey = EapKeys.MasterSessionKey(_tls!, _method);
        State = EapServerState.Succeeded;
        Dispose();
        return EapPacket.Success(_identifier);
    }

    private static string NameOf(X509Certificate2 certificate) =>
        certificate.Extensions.OfType<X509SubjectAlternativeNameExtension>().SelectMany(e => e.EnumerateDnsNames()).FirstOrDefault()
        ?? certificate.GetNameInfo(X509NameType.SimpleName, forIssuer: false);
}
