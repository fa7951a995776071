using System.Net;
using Sojourn.Engine.Dhcpv6;

namespace Sojourn.Roles.Configuration;

public sealed class DelegatingRouterSection : OptionSection
{
    [Option("Links whose clients are served directly.", Syntax = TextSyntax.Interface, Example = "acc0")]
    public List<string> Interfaces { get; set; } = [];

    [Option("Relay agents whose messages are taken, by the address they send from. Protect the way to them with IPsec (RFC 8213).", Family = AddressFamilies.IPv6, Example = "2001:db8:1::1")]
    public List<IPAddress> Relays { get; set; } = [];

    [Option("What is delegated.", Required = true, Unique = nameof(PrefixPoolSection.Prefix))]
    public List<PrefixPoolSection> Pools { get; set; } = [];

    [Option("Table of who may ask (DUID, IAID, identifier), filled with `sojourn prefix`. Changes count at once.", Required = true, File = FileUse.Read, Example = "prefixes.db")]
    public FileReference Database { get; set; } = null!;

    [Option("Who says that an identifier may be given a prefix. Static: the list `approved`, in place of a certification authority.")]
    public AuthorisationSource Authorisation { get; set; }

    [Option("Identifiers that may be given a prefix; `*.home.example` = all names below. Who leaves the list loses the prefix.", Reload = true, Example = "mn1.home.example")]
    public List<string> Approved { get; set; } = [];

    [Option("Preferred lifetime of a delegated prefix. A client renews after half of it.", Minimum = "10s", Maximum = "365d")]
    public TimeSpan PreferredLifetime { get; set; } = TimeSpan.FromMinutes(30);

    [Option("Valid lifetime of a delegated prefix.", Minimum = "10s", Maximum = "365d")]
    public TimeSpan ValidLifetime { get; set; } = TimeSpan.FromHours(1);

    [Option("How long a prefix is kept for a client that was offered it.", Minimum = "5s", Maximum = "1h")]
    public TimeSpan OfferLifetime { get; set; } = TimeSpan.FromMinutes(2);

    [Option("Preference among several servers; 255 = clients look no further (RFC 8415 21.8).", Minimum = "0", Maximum = "255")]
    public int Preference { get; set; }

    [Option("Name servers told to clients that ask.", Family = AddressFamilies.IPv6, Example = "2001:db8::53")]
    public List<IPAddress> DnsServers { get; set; } = [];

    [Option("Routes of delegated prefixes: none (somebody else routes them, as a home agent), or next-hop (to the client on its link, or to the relay agent it came by).")]
    public DelegatedRoutes Routes { get; set; }

    [Option("Own DUID in hexadecimal.", Example = "00:03:00:01:02:00:00:00:00:01", Otherwise = "a DUID-UUID made at the first start and kept")]
    public string? Duid { get; set; }
}

public sealed class PrefixPoolSection : OptionSection
{
    [Option("Prefix that is cut up.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:8000::/40")]
    public IPNetwork Prefix { get; set; }

    [Option("Length of each delegated prefix.", Minimum = "1", Maximum = "128")]
    public int DelegatedLength { get; set; } = 64;
}

public sealed class RelayAgentSection : OptionSection
{
    [Option("Links whose clients are served.", Required = true, Unique = nameof(RelayedLinkSection.Interface))]
    public List<RelayedLinkSection> Links { get; set; } = [];

    [Option("Delegating routers that are asked, all of them; only their answers are passed on.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:5::2")]
    public List<IPAddress> Servers { get; set; } = [];

    [Option("Relay agents on these links whose messages are relayed on.", Family = AddressFamilies.IPv6, Example = "2001:db8:9::1")]
    public List<IPAddress> Relays { get; set; } = [];

    [Option("Name of this relay agent in the Remote-ID option (RFC 4649), under enterprise-number.", Example = "ar6c", Otherwise = "no Remote-ID is added")]
    public string? RemoteId { get; set; }
}

public sealed class RelayedLinkSection : OptionSection
{
    [Option("Interface of the link; also its Interface-Id.", Required = true, Syntax = TextSyntax.Interface, Example = "acc0")]
    public string Interface { get; set; } = "";

    [Option("Global address of this node on the link, by which servers know the link.", Family = AddressFamilies.IPv6, Example = "2001:db8:a::1", Otherwise = "the Interface-Id alone tells the link")]
    public IPAddress? Address { get; set; }
}

/// <summary>Where permissions come from.</summary>
public enum AuthorisationSource : byte
{
    Static,
}
