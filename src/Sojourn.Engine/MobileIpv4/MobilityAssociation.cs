using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4;

/// <summary>
/// A mobility security association (RFC 5944 1.6) of two nodes, seen from this one. With keys from AAA each side names
/// its own SPI (RFC 3957 6.1, 6.2); a configured association has the same one in both directions.
/// </summary>
/// <param name="OutboundSpi">SPI written into what this node sends, 256 or more.</param>
/// <param name="InboundSpi">SPI expected in what it receives.</param>
public sealed record MobilityAssociation(uint OutboundSpi, uint InboundSpi, AuthenticationAlgorithm Algorithm, KeyMaterial Key)
{
    public MobilityAssociation(uint spi, KeyMaterial key)
        : this(spi, spi, AuthenticationAlgorithm.HmacSha256, key)
    {
    }

    /// <summary>End of the key's lifetime; null for a configured key.</summary>
    public DateTimeOffset? Expires { get; init; }

    public bool IsValidAt(DateTimeOffset now) => Expires is not { } end || now < end;
}

/// <summary>What became of the check of an authentication extension.</summary>
public enum AuthenticationResult : byte
{
    Valid,

    /// <summary>There is none of that kind, or more than one (RFC 5944 3.6.2.1).</summary>
    Missing,

    /// <summary>It names another association.</summary>
    UnknownSpi,

    Wrong,
}

/// <summary>Signs messages with, and checks them against, a <see cref="MobilityAssociation"/>.</summary>
public static class MobilityAuthentication
{
    /// <summary>Appends an authentication extension over all that the message holds so far.</summary>
    public static T Sign<T>(this T message, AuthenticationKind kind, MobilityAssociation association)
        where T : MobileIpMessage => message.Authenticated(
            kind, association.OutboundSpi, association.Algorithm.AuthenticatorLength(),
            (covered, authenticator) => Authenticators.Compute(association.Algorithm, association.Key, covered, authenticator));

    /// <summary>Checks the one extension of a kind. <paramref name="octets"/> is the datagram the message was read from.</summary>
    public static AuthenticationResult Check(this MobileIpMessage message, ReadOnlySpan<byte> octets, AuthenticationKind kind, MobilityAssociation association)
    {
        if (!message.TryFindAuthentication(kind, out var extension, out var index))
        {
            return AuthenticationResult.Missing;
        }

        if (extension.Spi != association.InboundSpi)
        {
            return AuthenticationResult.UnknownSpi;
        }

        return Authenticators.Verify(association.Algorithm, association.Key, octets[..message.CoveredLength(index)], extension.Authenticator.Span)
            ? AuthenticationResult.Valid
            : AuthenticationResult.Wrong;
    }
}
