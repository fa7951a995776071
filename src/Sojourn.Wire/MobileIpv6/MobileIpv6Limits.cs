namespace Sojourn.Wire.MobileIpv6;

/// <summary>Bounds of what the Mobile IPv6 codecs accept.</summary>
public static class MobileIpv6Limits
{
    /// <summary>Octets of a Mobility Header. Header Len could say 2048; a binding update with sixteen prefixes has 400.</summary>
    public const int HeaderLength = 1024;

    /// <summary>Mobility options in one message, padding not counted.</summary>
    public const int Options = 32;

    /// <summary>Padding options in one message: no sane sender needs more than one before each option.</summary>
    public const int Paddings = 64;

    /// <summary>Octets of a mobility option's data under a one-octet length (RFC 6275 6.2.1).</summary>
    public const int OptionData = 255;

    /// <summary>Lifetimes and refresh intervals are counted in this (RFC 6275 6.1.7, 6.2.4).</summary>
    public static readonly TimeSpan LifetimeUnit = TimeSpan.FromSeconds(4);

    /// <summary>Lifetime in units, rounded down and capped by what the field holds; a binding never lasts longer than was meant.</summary>
    public static ushort ToUnits(TimeSpan lifetime) => (ushort)Math.Clamp(lifetime.Ticks / LifetimeUnit.Ticks, 0, ushort.MaxValue);
}
