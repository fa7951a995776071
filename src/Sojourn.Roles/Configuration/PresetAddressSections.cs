using System.Net;
using Sojourn.Engine.MobileIpv6;

namespace Sojourn.Roles.Configuration;

/// <summary>A home prefix whose addresses terminals have by configuration (spec authentication 5.4).</summary>
public sealed class PresetPrefixSection : OptionSection
{
    [Option("The prefix, within `home-prefixes`.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:8000:1::/64")]
    public IPNetwork Prefix { get; set; }

    [Option("When the prefix ends. From its being written here on, terminals are told that it gives way to another one.", Example = "2026-12-01T00:00:00Z", Otherwise = "it stays")]
    public DateTimeOffset? Until { get; set; }

    internal HomePrefix ToHomePrefix(bool onLink) => new(Prefix, Until ?? DateTimeOffset.MaxValue, Until is null ? DateTimeOffset.MaxValue : DateTimeOffset.MinValue, onLink);
}

public sealed class HomeAgentAuthoritySection : OptionSection
{
    [Option("Where permissions are asked for; the host must be in the authority's certificate.", Required = true, Example = "https://ca.home.example:8444")]
    public string Url { get; set; } = "";

    [Option("Certificate of this node for queries and withdrawals, and the authority of the others'.", Required = true)]
    public TlsOptions Tls { get; set; } = null!;

    [Option("Where the authority tells of withdrawals (event Q3): POST /v1/withdrawal.", Example = "192.0.2.12:8446", Otherwise = "a withdrawn terminal stays registered, and is not told another home prefix")]
    public List<IPEndPoint> Listen { get; set; } = [];

    [Option("DNS name in the certificate by which the authority tells of withdrawals.", Syntax = TextSyntax.Fqdn, Example = "ca.home.example", Otherwise = "the host of `url`")]
    public string? Name { get; set; }

    /// <summary>DNS name the authority must show when it tells of a withdrawal.</summary>
    internal string CertificateName => Name ?? new Uri(Url).DnsSafeHost;
}

public sealed class NameServiceSection : OptionSection
{
    [Option("Which terminals' names are registered: always = of all whose identifier is a host name, when-asked = of those whose binding updates ask for it (RFC 5026).")]
    public NameRegistration Register { get; set; } = NameRegistration.Always;

    [Option("Zones that may be changed, by name and for reverse look-up.", Required = true, Unique = nameof(NameZoneSection.Zone))]
    public List<NameZoneSection> Zones { get; set; } = [];

    [Option("Time to live of the records: how long somebody may go on using an address after the terminal has another.", Minimum = "0s", Maximum = "7d")]
    public TimeSpan TimeToLive { get; set; } = TimeSpan.FromSeconds(60);

    [Option("Mark names with a DHCID record, and leave alone those that carry none of this node's (RFC 4703).")]
    public bool MarkOwner { get; set; }
}

public sealed class NameZoneSection : OptionSection
{
    [Option("Name of the zone.", Required = true, Syntax = TextSyntax.Fqdn, Example = "home.example")]
    public string Zone { get; set; } = "";

    [Option("Its name servers that take updates, the primary first; IPv6, since updates are sent from the home agent's address.", Required = true, Example = "[ \"[2001:db8:3::53]:53\" ]")]
    public List<IPEndPoint> Servers { get; set; } = [];

    [Option("The key shared with them (TSIG), as BIND's tsig-keygen writes it; hmac-sha256, hmac-sha384 or hmac-sha512.", Required = true, File = FileUse.Private, Example = "ha1.tsig")]
    public FileReference KeyFile { get; set; } = null!;
}
