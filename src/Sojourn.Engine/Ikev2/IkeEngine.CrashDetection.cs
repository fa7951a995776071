using System.Buffers.Binary;
using System.Security.Cryptography;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// Quick crash detection (RFC 6290) as token maker: the peer gets a token with every IKE SA, which only this end can make
/// again, and only from a secret that outlives it. Shown in clear after a crash it proves that the SA is lost, and the peer
/// begins anew at once instead of after its last retransmission. It is never shown while the SA stands.
/// </summary>
public sealed partial class IkeEngine
{
    private const int CrashSecretLength = 32;

    /// <summary>Tokens a second and at once: who writes requests with invented SPIs gets no more answers than that (RFC 6290 9.3).</summary>
    private const double CrashTokensPerSecond = 50;

    private static readonly StateKey s_crashSecret = new("ike-crash-detection", "secret");

    private KeyMaterial? _crashSecret;
    private (double Left, DateTimeOffset At) _crashTokens = (CrashTokensPerSecond, DateTimeOffset.MinValue);

    /// <summary>The token of an IKE SA (RFC 6290 5.1); null when this end makes none.</summary>
    internal NotifyPayload? CrashToken(ulong initiatorSpi, ulong responderSpi)
    {
        if (_crashSecret is not { } secret)
        {
            return null;
        }

        Span<byte> spis = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64BigEndian(spis, initiatorSpi);
        BinaryPrimitives.WriteUInt64BigEndian(spis[8..], responderSpi);
        return new NotifyPayload(IkeNotifyType.QuickCrashDetection, (OctetString)HMACSHA256.HashData(secret.Octets, spis)) { Protocol = IkeProtocol.Ike };
    }

    private void RestoreCrashSecret(EngineStarted started)
    {
        if (!Options.CrashTokens)
        {
            return;
        }

        var octets = started.State.FirstOrDefault(s => s.Key == s_crashSecret) is { Value.Length: CrashSecretLength } saved ? saved.Value.ToArray() : null;
        if (octets is null)
        {
            octets = Random.NextBytes(CrashSecretLength);
            Effects.Emit(new SaveState(s_crashSecret, octets));
        }

        _crashSecret = new KeyMaterial(octets);
    }

    /// <summary>A request under an IKE SA that is not there: INVALID_IKE_SPI with the token, when this end makes tokens (RFC 6290 4.4).</summary>
    private void AnswerUnknown(DatagramReceived datagram, IkeHeader header)
    {
        if (header.IsResponse || header.Exchange is not (IkeExchange.Informational or IkeExchange.CreateChildSa) || header.InitiatorSpi == 0 || header.ResponderSpi == 0
            || CrashToken(header.InitiatorSpi, header.ResponderSpi) is not { } token)
        {
            return;
        }

        var left = _crashTokens.At == DateTimeOffset.MinValue ? CrashTokensPerSecond : Math.Min(CrashTokensPerSecond, _crashTokens.Left + (Math.Max(0, (Now - _crashTokens.At).TotalSeconds) * CrashTokensPerSecond));
        _crashTokens = (Math.Max(0, left - 1), Now);
        if (left < 1)
        {
            Effects.Count("ike.crash_token.limited");
            return;
        }

        Effects.Count("ike.crash_token.shown");
        var flags = IkeFlags.Response | (header.FromInitiator ? IkeFlags.None : IkeFlags.Initiator);
        Send(datagram.Destination, datagram.Source, new IkeMessage(
            new IkeHeader(header.InitiatorSpi, header.ResponderSpi, header.Exchange, flags, header.MessageId), [new NotifyPayload(IkeNotifyType.InvalidIkeSpi), token]).ToArray());
    }
}
