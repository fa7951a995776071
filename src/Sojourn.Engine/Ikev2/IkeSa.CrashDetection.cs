using System.Security.Cryptography;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Ikev2;

/// <summary>Quick crash detection (RFC 6290) as token taker.</summary>
internal sealed partial class IkeSa
{
    private const int ShortestCrashToken = 16, LongestCrashToken = 128;

    private OctetString? _crashToken;

    /// <summary>The peer's token for this IKE SA, when there is one among payloads that came under its protection.</summary>
    public void KeepCrashToken(IReadOnlyList<IkePayload> payloads)
    {
        if (payloads.OfType<NotifyPayload>().FirstOrDefault(n => n.NotifyType == IkeNotifyType.QuickCrashDetection) is { Data.Length: >= ShortestCrashToken and <= LongestCrashToken } token)
        {
            _crashToken = token.Data;
        }
    }

    /// <summary>Our own token for this IKE SA, where this end makes tokens.</summary>
    public IEnumerable<NotifyPayload> OwnCrashToken() => Engine.CrashToken(InitiatorSpi, ResponderSpi) is { } token ? [token] : [];

    /// <summary>An answer in clear that shows the token ends the IKE SA without a word to the peer (4.5); anything else in clear changes nothing.</summary>
    private bool EndsByCrashToken(IkeMessage message)
    {
        var shown = message.Payloads.OfType<NotifyPayload>().Where(n => n.NotifyType == IkeNotifyType.QuickCrashDetection).ToList();
        if (!message.Header.IsResponse || shown.Count == 0)
        {
            return false;
        }

        if (_crashToken is not { } token || State is not (IkeSaState.Established or IkeSaState.Closing) || !shown.Exists(n => CryptographicOperations.FixedTimeEquals(n.Data.Span, token.Span)))
        {
            Engine.Effects.Count("ike.crash_token.bad");
            return true;
        }

        Engine.Effects.Count("ike.crash_token.taken");
        End(IkeEnd.Timeout, "the peer has lost it and proves so (RFC 6290)", linger: false);
        return true;
    }
}

/// <summary>Brings the peer our token for an IKE SA that we have rekeyed: its SPIs are known only after the exchange (RFC 6290 4.3).</summary>
internal sealed class CrashTokenTask(IkeSa sa) : IkeTask(sa)
{
    public override IkeExchange Exchange => IkeExchange.Informational;

    public override IReadOnlyList<IkePayload>? Build() => Sa.IsEstablished && Sa.OwnCrashToken().ToList() is { Count: > 0 } token ? token : null;

    public override void Process(IReadOnlyList<IkePayload> payloads)
    {
        // That it came is all that was wanted.
    }
}
