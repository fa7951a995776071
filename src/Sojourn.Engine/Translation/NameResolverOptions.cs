using System.Net;
using System.Net.Sockets;
using Sojourn.Wire.Dns;

namespace Sojourn.Engine.Translation;

/// <summary>Settings of <see cref="NameResolver"/>.</summary>
public sealed record NameResolverOptions
{
    /// <summary>
    /// Octets of UDP payload that servers are told to keep to: what the narrowest tunnel of spec terminal 3.10 carries in one piece.
    /// </summary>
    public const int PayloadSize = 1118;

    /// <summary>IPv6 addresses, asked in this order; none = every query fails.</summary>
    public IReadOnlyList<IPAddress> Servers { get; init; } = [];

    /// <summary>Questions of the host that may wait for a server; more are refused.</summary>
    public int MaximumQueries { get; init; } = 256;

    /// <summary>Until the next server is asked; doubles with every round over the servers.</summary>
    public TimeSpan FirstTimeout { get; init; } = TimeSpan.FromSeconds(1);

    public int Rounds { get; init; } = 3;

    /// <summary>Addresses of a name that are shown to the host at most.</summary>
    public int MaximumAddresses { get; init; } = 8;

    /// <summary>TCP connections of the host, and as many to servers; more are refused (RFC 7766 6.2.2).</summary>
    public int MaximumStreams { get; init; } = 32;

    /// <summary>A connection of the host on which nothing is asked is ended after this time (RFC 7766 6.2.3).</summary>
    public TimeSpan StreamIdle { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>For a server to answer by TCP.</summary>
    public TimeSpan StreamTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <exception cref="ArgumentException">A setting with which no name is found.</exception>
    public void Validate()
    {
        if (Servers.Any(s => s.AddressFamily != AddressFamily.InterNetworkV6) || MaximumQueries < 1 || FirstTimeout <= TimeSpan.Zero || Rounds < 1 || MaximumAddresses < 1 || MaximumStreams < 1 || StreamIdle <= TimeSpan.Zero || StreamTimeout <= TimeSpan.Zero)
        {
            throw new ArgumentException("a name server without an IPv6 address, or limits with which no name is found");
        }
    }
}

/// <summary>A packet that <see cref="IpTranslator"/> judged to be the resolver's: IPv4 from the host, or IPv6 from a server.</summary>
public sealed record ResolverPacketReceived(ReadOnlyMemory<byte> Packet) : EngineInput;

/// <summary>Asks other servers from now on; what is under way goes on.</summary>
public sealed record SetNameServers(IReadOnlyList<IPAddress> Servers) : EngineCommand;

/// <summary>An IPv6 packet from the home address to a name server: it takes the way of the host's own packets.</summary>
public sealed record SendFromHomeAddress(ReadOnlyMemory<byte> Packet) : Effect;

/// <summary>Who on the host asks.</summary>
/// <param name="Stream">The connection it asks by; null = UDP.</param>
internal sealed record NameClient(IPEndPoint EndPoint, TcpConnection? Stream);

/// <summary>A question of the host that is being answered.</summary>
internal sealed class NameQuery(NameClient client, DnsMessage message)
{
    public NameClient Client { get; } = client;

    /// <summary>What a server had room for, while it is asked by TCP.</summary>
    public DnsMessage? Truncated { get; set; }

    public DnsMessage Message { get; } = message;

    public DnsQuestion Question => Message.Questions[0];

    /// <summary>What the servers are asked in its place.</summary>
    public required DnsQuestion Asked { get; set; }

    /// <summary>Ours, new for every try.</summary>
    public ushort Identifier { get; set; }

    public ushort Port { get; set; }

    public IPAddress Server { get; set; } = IPAddress.IPv6None;

    public int Tries { get; set; }

    public DateTimeOffset Due { get; set; }
}
