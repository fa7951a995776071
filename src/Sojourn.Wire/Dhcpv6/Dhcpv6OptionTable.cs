using System.Collections.Frozen;

namespace Sojourn.Wire.Dhcpv6;

/// <summary>Where an option stands.</summary>
[Flags]
public enum OptionPlaces : byte
{
    None = 0,

    /// <summary>In a message between client and server.</summary>
    Message = 1,

    /// <summary>In a relay-forward or relay-reply message.</summary>
    Relay = 2,

    /// <summary>In IA_NA.</summary>
    AddressAssociation = 4,

    /// <summary>In IAADDR.</summary>
    Address = 8,

    /// <summary>In IA_PD.</summary>
    PrefixAssociation = 16,

    /// <summary>In IAPREFIX.</summary>
    Prefix = 32,

    Associations = AddressAssociation | Address | PrefixAssociation | Prefix,
}

/// <summary>What is known of an option.</summary>
/// <param name="Name">As RFC 8415 or the option's own RFC writes it.</param>
/// <param name="Minimum">Fewest octets of data.</param>
/// <param name="Maximum">Most octets of data.</param>
/// <param name="Places">Where it counts. Elsewhere it is carried and not looked at (RFC 8415 16).</param>
/// <param name="Repeats">May stand more than once in one place.</param>
/// <param name="Multiple">The length less <paramref name="Minimum"/> is a multiple of this.</param>
/// <param name="Inside">Options begin behind the first <paramref name="Minimum"/> octets, in this place.</param>
public sealed record Dhcpv6OptionDefinition(
    Dhcpv6OptionCode Code, string Name, int Minimum, int Maximum, OptionPlaces Places, bool Repeats = false, int Multiple = 1, OptionPlaces Inside = OptionPlaces.None);

/// <summary>The options known by name, as data. RFC 9915 drops IA_TA (4) and Server Unicast (12): they are unknown here and carried.</summary>
public static class Dhcpv6OptionTable
{
    private const int Any = ushort.MaxValue;

    public static IReadOnlyList<Dhcpv6OptionDefinition> All { get; } =
    [
        new(Dhcpv6OptionCode.ClientIdentifier, "Client Identifier", Dhcpv6Limits.DuidMinimum, Dhcpv6Limits.DuidLength, OptionPlaces.Message),
        new(Dhcpv6OptionCode.ServerIdentifier, "Server Identifier", Dhcpv6Limits.DuidMinimum, Dhcpv6Limits.DuidLength, OptionPlaces.Message),
        new(Dhcpv6OptionCode.NonTemporaryAddresses, "IA_NA", 12, Any, OptionPlaces.Message, Repeats: true, Inside: OptionPlaces.AddressAssociation),
        new(Dhcpv6OptionCode.Address, "IA Address", 24, Any, OptionPlaces.AddressAssociation, Repeats: true, Inside: OptionPlaces.Address),
        new(Dhcpv6OptionCode.OptionRequest, "Option Request", 0, Any, OptionPlaces.Message, Multiple: 2),
        new(Dhcpv6OptionCode.Preference, "Preference", 1, 1, OptionPlaces.Message),
        new(Dhcpv6OptionCode.ElapsedTime, "Elapsed Time", 2, 2, OptionPlaces.Message),
        new(Dhcpv6OptionCode.RelayMessage, "Relay Message", 4, Any, OptionPlaces.Relay),
        new(Dhcpv6OptionCode.Authentication, "Authentication", 11, Any, OptionPlaces.Message),
        new(Dhcpv6OptionCode.StatusCode, "Status Code", 2, Any, OptionPlaces.Message | OptionPlaces.Associations),
        new(Dhcpv6OptionCode.RapidCommit, "Rapid Commit", 0, 0, OptionPlaces.Message),
        new(Dhcpv6OptionCode.VendorClass, "Vendor Class", 4, Any, OptionPlaces.Message, Repeats: true),
        new(Dhcpv6OptionCode.VendorOptions, "Vendor-specific Information", 4, Any, OptionPlaces.Message | OptionPlaces.Relay, Repeats: true),
        new(Dhcpv6OptionCode.InterfaceId, "Interface-Id", 0, Any, OptionPlaces.Relay),
        new(Dhcpv6OptionCode.ReconfigureMessage, "Reconfigure Message", 1, 1, OptionPlaces.Message),
        new(Dhcpv6OptionCode.ReconfigureAccept, "Reconfigure Accept", 0, 0, OptionPlaces.Message),
        new(Dhcpv6OptionCode.DnsServers, "DNS Recursive Name Server", 16, Any, OptionPlaces.Message, Multiple: 16),
        new(Dhcpv6OptionCode.DomainSearch, "Domain Search List", 1, Any, OptionPlaces.Message),
        new(Dhcpv6OptionCode.PrefixDelegation, "IA_PD", 12, Any, OptionPlaces.Message, Repeats: true, Inside: OptionPlaces.PrefixAssociation),
        new(Dhcpv6OptionCode.Prefix, "IA Prefix", 25, Any, OptionPlaces.PrefixAssociation, Repeats: true, Inside: OptionPlaces.Prefix),
        new(Dhcpv6OptionCode.InformationRefreshTime, "Information Refresh Time", 4, 4, OptionPlaces.Message),
        new(Dhcpv6OptionCode.RemoteId, "Remote-ID", 5, Any, OptionPlaces.Relay),
        new(Dhcpv6OptionCode.SubscriberId, "Subscriber-ID", 1, Any, OptionPlaces.Relay),
        new(Dhcpv6OptionCode.ClientFqdn, "Client FQDN", 1, Any, OptionPlaces.Message),
        new(Dhcpv6OptionCode.ClientLinkLayerAddress, "Client Link-Layer Address", 3, 34, OptionPlaces.Relay),
        new(Dhcpv6OptionCode.SolicitMaximumTime, "SOL_MAX_RT", 4, 4, OptionPlaces.Message),
        new(Dhcpv6OptionCode.InformationMaximumTime, "INF_MAX_RT", 4, 4, OptionPlaces.Message),
    ];

    private static readonly FrozenDictionary<ushort, Dhcpv6OptionDefinition> ByCode = All.ToFrozenDictionary(option => (ushort)option.Code);

    /// <summary>Null = unknown.</summary>
    public static Dhcpv6OptionDefinition? Find(ushort code) => ByCode.GetValueOrDefault(code);
}
