namespace Sojourn.Wire.Diameter;

/// <summary>What a message may cost its receiver. Checked before anything is sliced, copied or descended into.</summary>
public sealed record DiameterLimits
{
    public static readonly DiameterLimits Default = new();

    /// <summary>Octets of one message. The field allows 16 MiB; a registration with every profile needs a few KiB.</summary>
    public int MaximumMessageLength { get; init; } = 65_536;

    /// <summary>AVPs of one message, members of grouped AVPs included.</summary>
    public int MaximumAvps { get; init; } = 512;

    /// <summary>How deep grouped AVPs may nest. RFC 6733 and RFC 4004 need three levels.</summary>
    public int MaximumDepth { get; init; } = 8;
}
