using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4;

/// <summary>Settings of a mobile node.</summary>
public sealed record MobileNodeOptions
{
    /// <summary>Interface it roams on.</summary>
    public required string Interface { get; init; }

    /// <summary>user@realm.</summary>
    public required string Nai { get; init; }

    /// <summary>SPI of the association with the AAAH, 256 or more.</summary>
    public required uint MnAaaSpi { get; init; }

    /// <summary>Secret shared with the AAAH (RFC 4721), at least 16 octets.</summary>
    public required KeyMaterial MnAaaKey { get; init; }

    /// <summary>Fixed home address; null asks the home agent for one (RFC 2794).</summary>
    public IPAddress? HomeAddress { get; init; }

    /// <summary>Home agent; null lets the AAAH choose (RFC 4433, RFC 4004).</summary>
    public IPAddress? HomeAgent { get; init; }

    /// <summary>Configured association with the home agent; null gets one from the AAAH (RFC 3957).</summary>
    public MobilityAssociation? HomeAssociation { get; init; }

    /// <summary>Registration lifetime asked for, seconds; an agent's advertised limit lowers it.</summary>
    public ushort Lifetime { get; init; } = 1800;

    /// <summary>Part of the lifetime after which the node registers again.</summary>
    public double RenewAt { get; init; } = 0.8;

    /// <summary>Wait for the first answer; doubles with every retransmission (RFC 5944 3.6.3: one second at least).</summary>
    public TimeSpan FirstRetransmission { get; init; } = TimeSpan.FromSeconds(1);

    public TimeSpan LongestRetransmission { get; init; } = TimeSpan.FromSeconds(32);

    /// <summary>Longest pause between solicitations (RFC 5944 2.4: a minute at least).</summary>
    public TimeSpan LongestSolicitation { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Longest pause after refusals, which doubles from one second.</summary>
    public TimeSpan LongestPause { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Accepts HMAC-MD5 and HMAC-SHA-1 associations (<c>interop.legacy-authenticators</c>).</summary>
    public bool LegacyAuthenticators { get; init; }

    /// <summary>Enterprise number of the project's extensions.</summary>
    public uint Enterprise { get; init; } = ProjectExtensions.DefaultEnterprise;

    /// <exception cref="ArgumentException">A setting that no protocol run could use.</exception>
    public void Validate()
    {
        Require(Nai.IndexOf('@') > 0 && System.Text.Encoding.UTF8.GetByteCount(Nai) <= MobileIpv4Limits.ShortExtensionData, "the NAI must be user@realm of at most 255 octets");
        Require(MnAaaSpi >= MobileIpv4Limits.FirstUsableSpi, "the MN-AAA SPI must be 256 or more");
        Require(MnAaaKey.Length >= 16, "the MN-AAA key must have at least 16 octets");
        Require(Lifetime > 0, "the lifetime must not be 0");
        Require(RenewAt is > 0 and < 1, "renewal must lie inside the lifetime");
        Require(FirstRetransmission >= TimeSpan.FromSeconds(1), "retransmissions must be a second apart at least (RFC 5944 3.6.3)");
        Require(HomeAssociation is null || HomeAssociation.Algorithm.Allows(LegacyAuthenticators), "the home association's algorithm needs interop.legacy-authenticators");
        Require(HomeAssociation is null || (HomeAddress is not null && HomeAgent is not null), "a configured home association needs home address and home agent");
    }

    private static void Require(bool condition, string what)
    {
        if (!condition)
        {
            throw new ArgumentException(what);
        }
    }
}

/// <summary>Ends the registration; the node then stays silent until <see cref="RegisterNode"/>.</summary>
public sealed record DeregisterNode : EngineCommand;

/// <summary>Takes up registration again after <see cref="DeregisterNode"/>; a node that is registered renews its registration.</summary>
public sealed record RegisterNode : EngineCommand;

/// <summary>Registers again at once with a service update request, so that the AAAH searches the VPN database anew (spec NV7.2).</summary>
public sealed record RequestServiceUpdate : EngineCommand;
