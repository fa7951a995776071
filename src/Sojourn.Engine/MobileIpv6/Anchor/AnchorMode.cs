// Reading: the draft names three ways and no bits for them. With V everything goes through the tunnel to the anchor point; without
// it, I or P has the update go directly and its answer come back through the tunnel; without any of them both go directly.
using System.Net;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>MAP registration type: how the registration at home and data to it travel while an anchor point is in use (spec terminal 3.6).</summary>
public enum AnchorMode : byte
{
    /// <summary>Type 1: both ways inside the tunnel to the anchor point, as RFC 5380 6.1 has it.</summary>
    Tunnelled = 1,

    /// <summary>Type 2: update and data leave directly from the regional address, the acknowledgement comes through the tunnel.</summary>
    DirectUpdate = 2,

    /// <summary>Type 3: update and acknowledgement between on-link address and home agent, data as with type 2.</summary>
    Direct = 3,
}

/// <summary>What the mode bits of a MAP option say.</summary>
public static class AnchorModes
{
    public static AnchorMode Of(byte flags) =>
        (flags & MobilityAnchorPointOption.ModeV) != 0 ? AnchorMode.Tunnelled
        : (flags & (MobilityAnchorPointOption.ModeP | MobilityAnchorPointOption.ModeI)) != 0 ? AnchorMode.DirectUpdate
        : AnchorMode.Direct;
}

/// <summary>A terminal at an anchor point, as its acknowledgement names it (spec terminal, steps 95, 98, 99).</summary>
public sealed record AnchorRegistration(AnchorMode Mode, IPAddress Anchor, IPAddress OnLink, IPAddress Regional)
{
    /// <summary>The host part need not hear of it: neither regional address nor anchor point nor type is another (step 96 ).</summary>
    public bool IsSameForHost(AnchorRegistration? other) => other is not null && other with { OnLink = OnLink } == this;
}
