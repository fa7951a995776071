using System.Net;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.MobileIpv6;

namespace Sojourn.Roles.Hosting;

/// <summary>A row of the public key certification control table (spec authentication D6).</summary>
/// <param name="Kept">When the terminal proved itself with it.</param>
public sealed record CertificateRow(IPAddress HomeAddress, string Identifier, string Subject, string Serial, DateTimeOffset NotAfter, DateTimeOffset Kept)
{
    public static CertificateRow Of(TerminalCertificate row)
    {
        using var certificate = X509CertificateLoader.LoadCertificate(row.Certificate.Span);
        return new CertificateRow(row.HomeAddress, row.Identifier, certificate.Subject, certificate.SerialNumber.ToLowerInvariant(), certificate.NotAfter.ToUniversalTime(), row.Kept);
    }
}

/// <summary>A terminal's name in the name service (spec authentication TA1.137a).</summary>
/// <param name="State"><c>registered</c>, or <c>asked for</c> while no name server has said so.</param>
public sealed record NameRow(string Name, IPAddress HomeAddress, string State);

/// <summary>A server of a home agent's packet path (spec terminal TM-P21), with the packets it has carried since the start.</summary>
/// <param name="Received">From its queue.</param>
/// <param name="Tunnels">Headers of tunnels put around packets or taken off them, plain or under ESP.</param>
/// <param name="Nested">Packets sent with more than one of these.</param>
/// <param name="Control">For the engine: signalling, key exchange, discovery.</param>
public sealed record ServerRow(int Server, long Received, long Sent, long Tunnels, long Nested, long Control, long Dropped);
