using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Wire.MobileIpv6;

/// <summary>Flags of a binding update (RFC 6275 6.1.7; M RFC 5380 5, R RFC 3963 4.1). Other bits survive a round trip.</summary>
[Flags]
public enum BindingUpdateFlags : ushort
{
    None = 0,

    /// <summary>A: an acknowledgement is wanted.</summary>
    Acknowledge = 0x8000,

    /// <summary>H: the receiver shall be the home agent.</summary>
    HomeRegistration = 0x4000,

    /// <summary>L: the home address has the same interface identifier as the link-local address.</summary>
    LinkLocalCompatible = 0x2000,

    /// <summary>K: the key management association can move with the binding.</summary>
    KeyManagementMobility = 0x1000,

    /// <summary>M: registration with a mobility anchor point.</summary>
    MobilityAnchorPoint = 0x0800,

    /// <summary>R: the sender is a mobile router.</summary>
    MobileRouter = 0x0400,
}

[Flags]
public enum BindingAcknowledgementFlags : byte
{
    None = 0,
    KeyManagementMobility = 0x80,
    MobileRouter = 0x40,
}

/// <summary>Status of a binding acknowledgement; below 128 the update was accepted (RFC 6275 6.1.8, RFC 3963 4.2).</summary>
public enum BindingStatus : byte
{
    Accepted = 0,
    AcceptedPrefixDiscoveryNecessary = 1,
    ReasonUnspecified = 128,
    AdministrativelyProhibited = 129,
    InsufficientResources = 130,
    HomeRegistrationNotSupported = 131,
    NotHomeSubnet = 132,
    NotHomeAgentForThisMobileNode = 133,
    DuplicateAddressDetectionFailed = 134,
    SequenceNumberOutOfWindow = 135,
    ExpiredHomeNonceIndex = 136,
    ExpiredCareOfNonceIndex = 137,
    ExpiredNonces = 138,
    RegistrationTypeChangeDisallowed = 139,
    MobileRouterOperationNotPermitted = 140,
    InvalidPrefix = 141,
    NotAuthorizedForPrefix = 142,
    ForwardingSetupFailed = 143,
    InvalidCareOfAddress = 174,
}

public static class BindingStatusExtensions
{
    public static bool IsAccepted(this BindingStatus status) => (byte)status < 128;
}

/// <summary>Binding refresh request, MH Type 0 (RFC 6275 6.1.2): the sender's binding is about to expire.</summary>
public sealed record BindingRefreshRequest : MobilityMessage
{
    public override MobilityHeaderType Type => MobilityHeaderType.BindingRefreshRequest;

    protected override int DataLength => 2;

    protected override void WriteData(Span<byte> data) => data.Clear();
}

/// <summary>
/// Binding update, MH Type 5 (RFC 6275 6.1.7).
/// <code>
///                                 |          Sequence #           |
/// |A|H|L|K|M|R|    Reserved       |           Lifetime            |
/// |                        Mobility Options                       |
/// </code>
/// </summary>
public sealed record BindingUpdate : MobilityMessage
{
    public override MobilityHeaderType Type => MobilityHeaderType.BindingUpdate;

    public required ushort SequenceNumber { get; init; }

    public required BindingUpdateFlags Flags { get; init; }

    /// <summary>Units of 4 s; 0 deletes the binding.</summary>
    public required ushort Lifetime { get; init; }

    public TimeSpan LifetimeSpan => Lifetime * MobileIpv6Limits.LifetimeUnit;

    public IPAddress? AlternateCareOfAddress => Options.Find<AlternateCareOfAddressOption>()?.Address;

    public bool Has(BindingUpdateFlags flag) => (Flags & flag) == flag;

    protected override int DataLength => 6;

    protected override void WriteData(Span<byte> data)
    {
        BinaryPrimitives.WriteUInt16BigEndian(data, SequenceNumber);
        BinaryPrimitives.WriteUInt16BigEndian(data[2..], (ushort)Flags);
        BinaryPrimitives.WriteUInt16BigEndian(data[4..], Lifetime);
    }
}

/// <summary>
/// Binding acknowledgement, MH Type 6 (RFC 6275 6.1.8).
/// <code>
///                                 |    Status     |K|R| Reserved  |
/// |          Sequence #           |           Lifetime            |
/// |                        Mobility Options                       |
/// </code>
/// </summary>
public sealed record BindingAcknowledgement : MobilityMessage
{
    public override MobilityHeaderType Type => MobilityHeaderType.BindingAcknowledgement;

    public required BindingStatus Status { get; init; }

    public BindingAcknowledgementFlags Flags { get; init; }

    /// <summary>That of the update; with status 135 the last one the sender has accepted.</summary>
    public required ushort SequenceNumber { get; init; }

    /// <summary>Units of 4 s.</summary>
    public required ushort Lifetime { get; init; }

    public TimeSpan LifetimeSpan => Lifetime * MobileIpv6Limits.LifetimeUnit;

    protected override int DataLength => 6;

    protected override void WriteData(Span<byte> data)
    {
        data[0] = (byte)Status;
        data[1] = (byte)Flags;
        BinaryPrimitives.WriteUInt16BigEndian(data[2..], SequenceNumber);
        BinaryPrimitives.WriteUInt16BigEndian(data[4..], Lifetime);
    }
}

public enum BindingErrorStatus : byte
{
    /// <summary>A Home Address option came without a binding.</summary>
    UnknownBinding = 1,
    UnrecognizedMobilityHeader = 2,
}

/// <summary>Binding error, MH Type 7 (RFC 6275 6.1.9). The address is that of the Home Address option, or unspecified.</summary>
public sealed record BindingError(BindingErrorStatus Status, IPAddress HomeAddress) : MobilityMessage
{
    public IPAddress HomeAddress { get; init; } = IPv6Octets.Require(HomeAddress);

    public override MobilityHeaderType Type => MobilityHeaderType.BindingError;

    protected override int DataLength => 18;

    protected override void WriteData(Span<byte> data)
    {
        data[0] = (byte)Status;
        data[1] = 0;
        IPv6Octets.Write(data[2..], HomeAddress);
    }
}
