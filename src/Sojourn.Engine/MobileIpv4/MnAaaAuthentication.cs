using System.Diagnostics.CodeAnalysis;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4;

/// <summary>
/// Where the MN-AAA authentication extension (RFC 4721 6) of a registration request lies. The foreign agent copies
/// these numbers into MIP-MN-AAA-Auth (RFC 4004 7.6); the AAAH checks with them.
/// </summary>
/// <param name="Spi">Association of mobile node and AAAH.</param>
/// <param name="InputDataLength">Octets covered, from the start of the request.</param>
/// <param name="AuthenticatorOffset">Octets from the start of the request to the authenticator.</param>
/// <param name="Challenge">The challenge answered, covered by the authenticator; null when the request has none.</param>
public sealed record MnAaaAuthentication(uint Spi, int InputDataLength, int AuthenticatorOffset, int AuthenticatorLength, OctetString? Challenge)
{
    /// <summary>
    /// Finds the extension. False when there is none, there are several, or a challenge stands behind it, uncovered
    /// (RFC 4721 3.1: the challenge precedes).
    /// </summary>
    public static bool TryLocate(RegistrationRequest request, [NotNullWhen(true)] out MnAaaAuthentication? location)
    {
        location = null;
        if (!request.TryFindAuthentication(AuthenticationKind.MobileAaa, out var extension, out var index))
        {
            return false;
        }

        OctetString? challenge = null;
        for (var i = 0; i < request.Extensions.Count; i++)
        {
            if (request.Extensions[i] is not ChallengeExtension found)
            {
                continue;
            }

            if (challenge is not null || i > index)
            {
                return false;
            }

            challenge = found.Challenge;
        }

        var covered = request.CoveredLength(index);
        location = new MnAaaAuthentication(extension.Spi, covered, covered, extension.Authenticator.Length, challenge);
        return true;
    }

    /// <summary>
    /// Checks the request's octets at the AAAH with numbers that came in an AVP; wrong numbers are a wrong
    /// authenticator, never an error.
    /// </summary>
    public static bool Verify(
        ReadOnlySpan<byte> request, int inputDataLength, int authenticatorOffset, int authenticatorLength, AuthenticationAlgorithm algorithm, KeyMaterial key) =>
        inputDataLength >= RegistrationRequest.WireLength
        && authenticatorOffset >= inputDataLength
        && authenticatorLength > 0
        && authenticatorOffset <= request.Length - authenticatorLength
        && Authenticators.Verify(algorithm, key, request[..inputDataLength], request.Slice(authenticatorOffset, authenticatorLength));

    public bool Verify(ReadOnlySpan<byte> request, AuthenticationAlgorithm algorithm, KeyMaterial key) =>
        Verify(request, InputDataLength, AuthenticatorOffset, AuthenticatorLength, algorithm, key);
}
