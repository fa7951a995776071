using System.Net;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.Diameter;

/// <summary>Where a node listens, how it proves itself, and what a stranger may cost it.</summary>
public sealed record DiameterTransportOptions
{
    public IReadOnlyList<DiameterListener> Listeners { get; init; } = [];

    /// <summary>Needed for every listener and every connection with TLS.</summary>
    public TlsCredentials? Tls { get; init; }

    /// <summary>Plain TCP listeners and dialling; off by default (spec network-vpn M2).</summary>
    public bool AllowPlainTcp { get; init; }

    public int MaximumConnections { get; init; } = 1024;

    public int MaximumConnectionsPerSource { get; init; } = 64;

    /// <summary>Connections whose TLS handshake is not finished.</summary>
    public int MaximumHandshakes { get; init; } = 64;

    /// <summary>TCP connect and TLS handshake together.</summary>
    public TimeSpan HandshakeTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Octets waiting to be written to one peer; a peer that reads slower is disconnected.</summary>
    public int MaximumQueuedOctets { get; init; } = 8 * 1024 * 1024;

    /// <summary>Told of every accepted connection that was closed before it became a peer's: from where, why.</summary>
    public Action<IPEndPoint, string>? Refused { get; init; }

    /// <summary>How long a graceful close may take to write what is queued.</summary>
    public TimeSpan CloseTimeout { get; init; } = TimeSpan.FromSeconds(5);
}

/// <param name="Secured">TLS from the first octet (port 5658, RFC 6733 section 2.1).</param>
public sealed record DiameterListener(IPEndPoint EndPoint, bool Secured = true);
