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

    [Option("Who says that an identifier may be given a prefix: the list `approved` (static), or the certification authority of `authority`.")]
    public AuthorisationSource Authorisation { get; set; }

    [Option("The certification authority that is asked (query Q1).", Otherwise = "only `approved` counts")]
    public DelegationAuthoritySection? Authority { get; set; }

    [Option("HTTPS for home agents, which ask whose a prefix is (query Q2), and for withdrawals of the authority (event Q3).", Otherwise = "nobody can ask, and a withdrawal counts when the authority is asked the next time")]
    public DelegationQueriesSection? Queries { get; set; }

    [Option("Certificate of this node for `authority` and `queries`, and the authority that the others' certificates come from.", Otherwise = "neither can be used")]
    public TlsOptions? Tls { get; set; }

    [Option("Identifiers that may be given a prefix; `*.home.example` = all names below. Who leaves the list loses the prefix.", Reload = true, Example = "mn1.home.example")]
    public List<string> Approved { get; set; } = [];

    [Option("Preferred lifetime of a delegated prefix. A client renews after half of it.", Minimum = "10s", Maximum = "365d")]
    public TimeSpan PreferredLifetime { get; set; } = TimeSpan.FromMinutes(30);

    [Option("Valid lifetime of a delegated prefix.", Minimum = "10s", Maximum = "365d")]
    public TimeSpan ValidLifetime { get; set; } = TimeSpan.FromHours(1);

    [Option("How long a prefix is kept for a client that was offered it.", Minimum = "5s", Maximum = "1h")]
    public TimeSpan OfferLifetime { get; set; } = TimeSpan.FromMinutes(2);

    [Option("Whether an Advertise names the prefix that a Request will get. Some clients ignore an Advertise without one.")]
    public bool PrefixInAdvertise { get; set; } = true;

    [Option("Preference among several servers; 255 = clients look no further (RFC 8415 21.8).", Minimum = "0", Maximum = "255")]
    public int Preference { get; set; }

    [Option("Name servers told to clients that ask.", Family = AddressFamilies.IPv6, Example = "2001:db8::53")]
    public List<IPAddress> DnsServers { get; set; } = [];

    [Option("Routes of delegated prefixes: none (somebody else routes them, as a home agent), or next-hop (to the client on its link, or to the relay agent it came by).")]
    public DelegatedRoutes Routes { get; set; }

    [Option("Own DUID in hexadecimal.", Example = "00:03:00:01:02:00:00:00:00:01", Otherwise = "a DUID-UUID made at the first start and kept")]
    public string? Duid { get; set; }
}

public sealed class DelegationAuthoritySection : OptionSection
{
    [Option("Where permissions are asked for; the host must be in the authority's certificate.", Required = true, Example = "https://ca.home.example:8444")]
    public string Url { get; set; } = "";

    [Option("DNS name in the certificate by which the authority tells of withdrawals.", Syntax = TextSyntax.Fqdn, Example = "ca.home.example", Otherwise = "the host of `url`")]
    public string? Name { get; set; }

    [Option("How often the authority is asked about each delegated prefix, so that a lost withdrawal counts late and not never (spec Q3).", Minimum = "1s", Maximum = "60s")]
    public TimeSpan Polling { get; set; } = TimeSpan.FromSeconds(60);

    /// <summary>DNS name the authority must show when it tells of a withdrawal.</summary>
    internal string CertificateName => Name ?? new Uri(Url).DnsSafeHost;
}

public sealed class DelegationQueriesSection : OptionSection
{
    [Option("Where queries (POST /v1/allocation) and withdrawals (POST /v1/withdrawal) are taken.", Required = true, Example = "192.0.2.11:8445")]
    public List<IPEndPoint> Listen { get; set; } = [];

    [Option("Home agents that may ask.", Unique = nameof(DelegationAskerSection.Name))]
    public List<DelegationAskerSection> Askers { get; set; } = [];

    [Option("Gateways that ask for the prefixes of terminals they have authenticated, and say whose an IAID is (POST /v1/identity).", Unique = nameof(DelegationGatewaySection.Name))]
    public List<DelegationGatewaySection> Gateways { get; set; } = [];
}

public sealed class DelegationGatewaySection : OptionSection
{
    [Option("DNS name in the gateway's certificate.", Required = true, Syntax = TextSyntax.Fqdn, Example = "gw1.visited.example")]
    public string Name { get; set; } = "";

    [Option("DUID of the gateway, in hexadecimal: it says whose an IAID of this DUID is, and of no other.", Required = true, Example = "00:03:00:01:02:00:00:00:00:77")]
    public string Duid { get; set; } = "";
}

public sealed class DelegationAskerSection : OptionSection
{
    [Option("DNS name in the asker's certificate.", Required = true, Syntax = TextSyntax.Fqdn, Example = "ha1.home.example")]
    public string Name { get; set; } = "";

    [Option("Where the asker is told that an allocation has ended (event Q3).", Example = "https://ha1.home.example:8446/v1/allocation-ended", Otherwise = "it is not told")]
    public string? WithdrawalUri { get; set; }
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
    Authority,
}
