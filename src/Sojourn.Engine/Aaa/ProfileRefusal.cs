namespace Sojourn.Engine.Aaa;

public enum ProfileRefusalKind : byte
{
    /// <summary>Not a VPN-Profile, or a member cannot be read as its type.</summary>
    Malformed,
    MissingMember,

    /// <summary>A member stands twice, or members exclude one another (keys with preset keying).</summary>
    ContradictingMembers,

    /// <summary>A mandatory member this version does not know.</summary>
    UnknownMember,
    UnknownSecurityType,
    UnknownAlgorithm,

    /// <summary>Any other enumerated or bounded value outside its range.</summary>
    UnknownValue,

    /// <summary>The suite cannot be used with the security type, or not with keys of that origin (RFC 4302, spec M5).</summary>
    AlgorithmDoesNotFit,

    /// <summary>SPI 0-255 (RFC 4303 2.1, spec M13).</summary>
    ReservedSpi,

    /// <summary>Longer than the address, or host bits are set.</summary>
    PrefixLength,

    /// <summary>Source and destination of a selector, or the two gateways, are of different address families.</summary>
    FamilyMismatch,

    /// <summary>A gateway is not a unicast address, or both are the same.</summary>
    Gateway,

    /// <summary>No key is shared with the sender, so the profile's key cannot be opened.</summary>
    NoWrappingKey,

    /// <summary>The wrapped key does not open or has the wrong length.</summary>
    WrongKey,

    /// <summary>VPN-Profile-Count does not say how many there are, or two profiles are the same.</summary>
    Count,
}

/// <summary>Why a received profile is refused: the rule and a sentence for people. Never contains a secret.</summary>
public sealed record ProfileRefusal(ProfileRefusalKind Kind, string Rule, string Text)
{
    public override string ToString() => $"{Text} ({Rule})";
}
