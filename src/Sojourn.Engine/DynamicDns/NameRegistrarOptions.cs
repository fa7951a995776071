using System.Net;
using Sojourn.Wire.Dns;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.DynamicDns;

/// <summary>A zone that may be updated, by name (<c>home.example</c>) or for reverse look-up (<c>a.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa</c>).</summary>
/// <param name="Servers">Primary first; the next is tried when one is silent or cannot.</param>
/// <param name="Key">Shared with all of them: nothing is ever sent unsigned (spec TA-H27).</param>
public sealed record DnsUpdateZone(DnsName Name, IReadOnlyList<IPEndPoint> Servers, TransactionKey Key);

/// <summary>Settings of <see cref="NameRegistrar"/>.</summary>
public sealed record NameRegistrarOptions
{
    /// <summary>Forward and reverse zones. A name in none of them is not registered; an address in none gets no PTR.</summary>
    public required IReadOnlyList<DnsUpdateZone> Zones { get; init; }

    /// <summary>Where updates are sent from and answers come to.</summary>
    public required IPEndPoint Local { get; init; }

    /// <summary>Time to live of the records: how long somebody may go on using an address after the terminal has another.</summary>
    public TimeSpan TimeToLive { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Names carry a DHCID, and one without ours is left alone (RFC 4703).</summary>
    public bool MarkOwner { get; init; }

    /// <summary>Names that may have an update under way or waiting; more are refused with status 128.</summary>
    public int MaximumNames { get; init; } = 10_000;

    /// <summary>Updates under way at once.</summary>
    public int MaximumUnderWay { get; init; } = 64;

    /// <exception cref="ArgumentException">A setting that no protocol run could use.</exception>
    public void Validate()
    {
        if (Zones.Any(z => z.Servers.Count == 0 || z.Servers.Any(s => s.AddressFamily != Local.AddressFamily)))
        {
            throw new ArgumentException("a zone without servers, or with one of another address family than the updates are sent from");
        }

        if (TimeToLive < TimeSpan.Zero || MaximumNames < 1 || MaximumUnderWay < 1)
        {
            throw new ArgumentException("a name service that registers nothing");
        }
    }
}

/// <summary>Registers an identifier for a home address, in place of whatever address it had (spec TA1.137a).</summary>
/// <param name="Identifier">From the verified certificate, in canonical form.</param>
public sealed record RegisterName(string Identifier, IPAddress HomeAddress) : EngineCommand;

/// <summary>Takes the address from the identifier; another one it has got meanwhile stays.</summary>
public sealed record RemoveName(string Identifier, IPAddress HomeAddress) : EngineCommand;

/// <summary>What came of <see cref="RegisterName"/> or, with <paramref name="Removed"/>, of <see cref="RemoveName"/>. One that a later one overtook is not answered.</summary>
public sealed record NameSettled(string Identifier, IPAddress HomeAddress, bool Removed, DnsUpdateStatus Status) : Effect;
