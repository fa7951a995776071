using System.Diagnostics.CodeAnalysis;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>Fills <paramref name="authenticator"/> from the octets it protects. The codec itself computes nothing.</summary>
public delegate void AuthenticatorFunction(ReadOnlySpan<byte> covered, Span<byte> authenticator);

/// <summary>
/// What an authentication extension covers: the UDP payload, all extensions before it, and its own head up to and
/// including the SPI (RFC 5944 3.5.1; RFC 4721 6 for type 36).
/// </summary>
public static class MessageAuthentication
{
    /// <summary>Octets, counted from the start of the message, that the authenticator at <paramref name="index"/> covers.</summary>
    /// <exception cref="ArgumentException">There is no authentication extension at that position.</exception>
    public static int CoveredLength(this MobileIpMessage message, int index) => message.Extensions[index] is AuthenticationExtension extension
        ? message.OffsetOfExtension(index) + extension.AuthenticatorOffset
        : throw new ArgumentException("not an authentication extension", nameof(index));

    /// <summary>
    /// Finds the one authentication extension of a kind. False when there is none or more than one: RFC 5944 3.6.2.1
    /// takes both as a failure.
    /// </summary>
    public static bool TryFindAuthentication(
        this MobileIpMessage message, AuthenticationKind kind, [NotNullWhen(true)] out AuthenticationExtension? extension, out int index)
    {
        extension = null;
        index = -1;
        for (var i = 0; i < message.Extensions.Count; i++)
        {
            if (message.Extensions[i] is not AuthenticationExtension candidate || candidate.Kind != kind)
            {
                continue;
            }

            if (extension is not null)
            {
                extension = null;
                index = -1;
                return false;
            }

            extension = candidate;
            index = i;
        }

        return extension is not null;
    }

    /// <summary>Appends an extension at the end.</summary>
    public static T With<T>(this T message, MobileIpExtension extension)
        where T : MobileIpMessage => (T)((MobileIpMessage)message with { Extensions = message.Extensions.Append(extension) });

    /// <summary>Appends an authentication extension over everything the message holds so far.</summary>
    /// <param name="length">Octets of the authenticator.</param>
    public static T Authenticated<T>(this T message, AuthenticationKind kind, uint spi, int length, AuthenticatorFunction compute)
        where T : MobileIpMessage
    {
        var blank = message.With(new AuthenticationExtension { Kind = kind, Spi = spi, Authenticator = new byte[length] });
        var octets = blank.ToArray();
        var covered = octets.Length - length;
        var authenticator = OctetString.Create(length, destination => compute(octets.AsSpan(0, covered), destination));
        return message.With(new AuthenticationExtension { Kind = kind, Spi = spi, Authenticator = authenticator });
    }
}
