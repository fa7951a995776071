using System.Net;
using Sojourn.Engine.MobileIpv6;

namespace Sojourn.Roles.Configuration;

public sealed class AnchorPointSection : OptionSection
{
    [Option("Address that access routers advertise in the MAP option. It is nobody else's; regional addresses are formed of its first 64 bits, and all of these are routed into the node.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:b::1")]
    public IPAddress Address { get; set; } = null!;

    [Option("Terminals that may be anchored here, by what protects the way to them; the peers of the associations are their regional addresses.", Otherwise = "nobody is anchored", Unique = nameof(AnchorAssociationsSection.Signalling))]
    public List<AnchorAssociationsSection> Terminals { get; set; } = [];

    [Option("Regional addresses that are bound without ESP, which nothing but the access network then keeps anybody from taking over; shown in status. None of an association's peers is among them.", Family = AddressFamilies.IPv6, Example = "2001:db8:b::/64", Otherwise = "a binding update in clear is discarded")]
    public List<IPNetwork> Unprotected { get; set; } = [];

    [Option("Where terminals may be: prefixes of the access links in the anchor point's domain.", Family = AddressFamilies.IPv6, Example = "2001:db8:f1::/64", Otherwise = "anywhere")]
    public List<IPNetwork> DomainPrefixes { get; set; } = [];

    [Option("Longest local binding.", Minimum = "8s", Maximum = "262140s")]
    public TimeSpan MaximumLifetime { get; set; } = TimeSpan.FromMinutes(30);

    [Option("Name of the virtual device that `address` and regional addresses are routed into.", Syntax = TextSyntax.Interface)]
    public string Tun { get; set; } = "anchor0";

    [Option("Largest packet the links carry, octets.", Minimum = "1280", Maximum = "65535")]
    public int Mtu { get; set; } = 1500;
}

/// <summary>What protects the way between one terminal and one anchor point.</summary>
public sealed class AnchorAssociationsSection : OptionSection
{
    [Option("Name of the association for local binding updates (ESP in transport mode).", Required = true, Syntax = TextSyntax.Name, Example = "map")]
    public string Signalling { get; set; } = "";

    [Option("Name of the association for what goes through the tunnel (ESP in tunnel mode); the same peer.", Syntax = TextSyntax.Name, Example = "map-data", Otherwise = "the tunnel is plain IP-in-IP")]
    public string? Data { get; set; }

    /// <summary>The associations that are named here.</summary>
    public IEnumerable<string> Names => Data is { } data ? [Signalling, data] : [Signalling];
}

public sealed class TerminalAnchorsSection : OptionSection
{
    [Option("Anchor points that may be used; the peers of the associations are their addresses.", Otherwise = "those of `unprotected` alone", Unique = nameof(AnchorAssociationsSection.Signalling))]
    public List<AnchorAssociationsSection> Anchors { get; set; } = [];

    [Option("Addresses of anchor points that are registered with in clear, and whose tunnel is plain. Whoever can send from their address may then answer for them; shown in status.", Family = AddressFamilies.IPv6, Example = "2001:db8:c::1", Otherwise = "no anchor point is believed without ESP")]
    public List<IPAddress> Unprotected { get; set; } = [];

    [Option("The bits I, P and V of MAP options say how the registration at home travels (HMIPv6 draft -07). RFC 5380 has them reserved.")]
    public bool ModeBits { get; set; }

    [Option("How it travels where the bits are not looked at: tunnelled = through the anchor point; direct-update = the update and data to the home agent directly; direct = the acknowledgement too. The last two need access networks that let the regional address out.")]
    public AnchorMode Type { get; set; } = AnchorMode.Tunnelled;
}
