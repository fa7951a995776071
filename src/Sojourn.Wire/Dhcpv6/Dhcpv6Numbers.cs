namespace Sojourn.Wire.Dhcpv6;

/// <summary>Message types (RFC 8415 7.3).</summary>
public enum Dhcpv6MessageType : byte
{
    Solicit = 1,
    Advertise = 2,
    Request = 3,
    Confirm = 4,
    Renew = 5,
    Rebind = 6,
    Reply = 7,
    Release = 8,
    Decline = 9,
    Reconfigure = 10,
    InformationRequest = 11,
    RelayForward = 12,
    RelayReply = 13,
}

/// <summary>Option codes that the engines look at. Others are carried as they are; see <see cref="Dhcpv6OptionTable"/>.</summary>
public enum Dhcpv6OptionCode : ushort
{
    ClientIdentifier = 1,
    ServerIdentifier = 2,
    NonTemporaryAddresses = 3,
    Address = 5,
    OptionRequest = 6,
    Preference = 7,
    ElapsedTime = 8,
    RelayMessage = 9,
    Authentication = 11,
    StatusCode = 13,
    RapidCommit = 14,
    VendorClass = 16,
    VendorOptions = 17,
    InterfaceId = 18,
    ReconfigureMessage = 19,
    ReconfigureAccept = 20,
    DnsServers = 23,
    DomainSearch = 24,
    PrefixDelegation = 25,
    Prefix = 26,
    InformationRefreshTime = 32,
    RemoteId = 37,
    SubscriberId = 38,
    ClientFqdn = 39,
    ClientLinkLayerAddress = 79,
    SolicitMaximumTime = 82,
    InformationMaximumTime = 83,
}

/// <summary>Status codes (RFC 8415 21.13). UseMulticast (5) is gone with RFC 9915.</summary>
public enum Dhcpv6Status : ushort
{
    Success = 0,
    Unspecified = 1,
    NoAddressesAvailable = 2,
    NoBinding = 3,
    NotOnLink = 4,
    NoPrefixAvailable = 6,
}
