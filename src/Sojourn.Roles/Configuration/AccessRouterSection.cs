using System.Net;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.Roles.Configuration;

public sealed class AccessRouterSection : OptionSection
{
    [Option("Links that this node advertises itself on as router.", Required = true, Unique = nameof(AdvertisedLinkSection.Interface))]
    public List<AdvertisedLinkSection> Links { get; set; } = [];

    [Option("Links of routers above. MAP options that these advertise are advertised on `links` too, one router further away (RFC 5380 6.1).", Syntax = TextSyntax.Interface, Example = "up0", Otherwise = "none is passed on")]
    public List<string> LearnAnchorsFrom { get; set; } = [];

    [Option("Router renumbering (RFC 2894), extended by an operation that sets the MAP options of links.", Otherwise = "no command is taken")]
    public RenumberingSection? Renumbering { get; set; }
}

public sealed class RenumberingSection : OptionSection
{
    [Option("Address of this router that commands are sent to.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:e1::2")]
    public IPAddress Address { get; set; } = null!;

    [Option("Name of the association with the operator's station, whose commands count (ESP).", Required = true, Syntax = TextSyntax.Name, Example = "operator")]
    public string Association { get; set; } = "";
}

public sealed class AdvertisedLinkSection : OptionSection
{
    [Option("Interface of the link; the kernel has an address of each prefix on it.", Required = true, Syntax = TextSyntax.Interface, Example = "acc0")]
    public string Interface { get; set; } = "";

    [Option("Prefixes of the link, of 64 bits, that hosts form addresses from.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:f1::/64")]
    public List<IPNetwork> Prefixes { get; set; } = [];

    [Option("M flag: addresses come from a DHCPv6 server and are not formed.")]
    public bool Managed { get; set; }

    [Option("Longest time between two advertisements; short where terminals come by while they move (RFC 6275 7.5).", Minimum = "70ms", Maximum = "30m")]
    public TimeSpan Interval { get; set; } = TimeSpan.FromSeconds(10);

    [Option("How long hosts use this router without hearing of it.", Minimum = "1s", Maximum = "9000s")]
    public TimeSpan RouterLifetime { get; set; } = TimeSpan.FromMinutes(30);

    [Option("How long addresses of the prefixes are valid.", Minimum = "1m", Maximum = "30d")]
    public TimeSpan ValidLifetime { get; set; } = TimeSpan.FromHours(24);

    [Option("How long they are preferred.", Minimum = "1m", Maximum = "30d")]
    public TimeSpan PreferredLifetime { get; set; } = TimeSpan.FromHours(4);

    [Option("Mobility anchor points of the domain (MAP option, RFC 5380 4), the nearest first.", Unique = nameof(AdvertisedAnchorSection.Address))]
    public List<AdvertisedAnchorSection> Anchors { get; set; } = [];
}

public sealed class AdvertisedAnchorSection : OptionSection
{
    [Option("Address of the anchor point; terminals form regional addresses of its first 64 bits.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:b::1")]
    public IPAddress Address { get; set; } = null!;

    [Option("Routers to it, this one counted.", Minimum = "1", Maximum = "15")]
    public int Distance { get; set; } = 1;

    [Option("The higher the better; 0 = not for new terminals.", Minimum = "0", Maximum = "15")]
    public int Preference { get; set; } = 10;

    [Option("How long terminals may use it without hearing of it.", Minimum = "1s", Maximum = "30d")]
    public TimeSpan Lifetime { get; set; } = TimeSpan.FromMinutes(30);

    [Option("Bits I, P and V of the HMIPv6 draft -07, as text of these letters: how terminals with `mode-bits` register at home. RFC 5380 has them reserved.", Example = "V", Otherwise = "none is set")]
    public string ModeBits { get; set; } = "";

    internal byte Flags => (byte)(MobilityAnchorPointOption.RegionalFlag
        | (ModeBits.Contains('I', StringComparison.Ordinal) ? MobilityAnchorPointOption.ModeI : 0)
        | (ModeBits.Contains('P', StringComparison.Ordinal) ? MobilityAnchorPointOption.ModeP : 0)
        | (ModeBits.Contains('V', StringComparison.Ordinal) ? MobilityAnchorPointOption.ModeV : 0));
}
