using System.Net;
using System.Security.Cryptography;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// The responder's side of IKE_SA_INIT: nothing is kept of a request that cannot be answered with an SA, and above a number
/// of half-open SAs nothing is kept of anybody who has not shown a cookie (RFC 7296 2.6; row TA-H17).
/// </summary>
public sealed partial class IkeEngine
{
    private readonly CookieJar _cookies;
    private readonly Dictionary<(ulong Spi, IPEndPoint Source), IkeSa> _halfOpen = [];
    private readonly Dictionary<IPAddress, int> _halfOpenBySource = [];
    private bool _askForCookies;

    internal void ForgetHalfOpen(IkeSa sa)
    {
        if (sa.HalfOpenKey is { } key && _halfOpen.Remove(key))
        {
            sa.HalfOpenKey = null;
            if (--_halfOpenBySource[key.Source.Address] == 0)
            {
                _halfOpenBySource.Remove(key.Source.Address);
            }
        }
    }

    private void ReceiveInitRequest(DatagramReceived datagram, IkeHeader header, ReadOnlyMemory<byte> octets)
    {
        if (header.ResponderSpi != 0 || header.MessageId != 0 || !header.FromInitiator)
        {
            Effects.Count("ike.init.malformed");
            return;
        }

        if (_halfOpen.TryGetValue((header.InitiatorSpi, datagram.Source), out var known))
        {
            known.RepeatInitResponse(octets.Span, datagram.Destination, datagram.Source);
            return;
        }

        // Hysteresis, so that the answer does not change with every SA that comes or goes.
        _askForCookies = _halfOpen.Count >= Options.CookieThreshold || (_askForCookies && _halfOpen.Count > Options.CookieThreshold / 2);
        if (!IkeMessage.TryParse(octets.Span, out var message, out _))
        {
            Effects.Count("ike.init.malformed");
            return;
        }

        if (message.UnknownCritical is { } critical)
        {
            Reply(datagram, header, new NotifyPayload(IkeNotifyType.UnsupportedCriticalPayload, (byte[])[(byte)critical.Type]));
            return;
        }

        if (PayloadRules.Check(IkeExchange.IkeSaInit, response: false, message.Payloads) is not null)
        {
            Effects.Count("ike.init.malformed");
            Reply(datagram, header, new NotifyPayload(IkeNotifyType.InvalidSyntax));
            return;
        }

        var nonce = message.Find<NoncePayload>()!;
        if (_askForCookies && !_cookies.IsValid((message.Notify(IkeNotifyType.Cookie)?.Data ?? default).Span, header.InitiatorSpi, nonce.Data.Span, datagram.Source, Now))
        {
            Effects.Count("ike.init.cookie_demanded");
            Reply(datagram, header, new NotifyPayload(IkeNotifyType.Cookie, _cookies.Make(header.InitiatorSpi, nonce.Data.Span, datagram.Source, Now)));
            return;
        }

        if (_halfOpen.Count >= Options.MaximumHalfOpen || _halfOpenBySource.GetValueOrDefault(datagram.Source.Address) >= Options.MaximumHalfOpenPerSource)
        {
            Effects.Count("ike.init.half_open_limit");
            return;
        }

        var candidates = Options.Peers.Where(p => p.Address is null || p.Address.Equals(datagram.Source.Address)).ToList();
        var offered = message.Find<SecurityAssociationPayload>()!.Proposals;
        var chosen = candidates.Select(p => IkeProposals.Choose(Usable(p.Proposals), offered, IkeProtocol.Ike, 0)).FirstOrDefault(c => c is not null);
        if (chosen is null || IkeSuite.From(chosen.Transforms) is not { } suite)
        {
            Effects.Count("ike.init.no_proposal");
            Tell("ike.init.refused", EventSeverity.Warning, $"{datagram.Source} offers no algorithms that are taken here", rule: "RFC 7296 2.7");
            Reply(datagram, header, new NotifyPayload(IkeNotifyType.NoProposalChosen));
            return;
        }

        var ke = message.Find<KeyExchangePayload>()!;
        if (ke.Group != suite.Group)
        {
            Effects.Count("ike.init.other_group");
            Reply(datagram, header, new NotifyPayload(IkeNotifyType.InvalidKePayload, (byte[])[(byte)(suite.Group >> 8), (byte)suite.Group]));
            return;
        }

        if (!KeyExchanges.TryAnswer(suite.Group, ke.Data.Span, Random, out var ownValue, out var shared))
        {
            Effects.Count("ike.init.bad_key_exchange");
            Reply(datagram, header, new NotifyPayload(IkeNotifyType.InvalidSyntax));
            return;
        }

        var sa = new IkeSa(this, isInitiator: false, header.InitiatorSpi, NewSpi(), datagram.Destination, datagram.Source) { HalfOpenKey = (header.InitiatorSpi, datagram.Source) };
        _halfOpen.Add(sa.HalfOpenKey.Value, sa);
        _halfOpenBySource[datagram.Source.Address] = _halfOpenBySource.GetValueOrDefault(datagram.Source.Address) + 1;
        Add(sa);
        sa.AnswerInit(message, octets, chosen, suite, ownValue, shared, candidates);
        Schedule(sa);
    }

    /// <summary>Proposals without methods this platform lacks.</summary>
    internal IReadOnlyList<IkeProposal> Usable(IReadOnlyList<IkeProposal> proposals) =>
        [.. proposals.Select(p => p with { Transforms = [.. p.Transforms.Where(t => t.Type < IkeTransformType.KeyExchange || t.Type == IkeTransformType.ExtendedSequenceNumbers || t.Id == IkeGroup.None || KeyExchanges.Supports(t.Id))] })];
}

/// <summary>
/// Cookies without memory: version of the secret, HMAC over what the request repeats (RFC 7296 2.6). A secret lives for a
/// minute and is believed for one more.
/// </summary>
internal sealed class CookieJar(IRandomSource random)
{
    private const int MacLength = 24;
    private static readonly TimeSpan s_life = TimeSpan.FromMinutes(1);

    private readonly byte[][] _secrets = [random.NextBytes(32), random.NextBytes(32)];
    private byte _version;
    private DateTimeOffset? _made;

    public byte[] Make(ulong spi, ReadOnlySpan<byte> nonce, IPEndPoint source, DateTimeOffset now)
    {
        Turn(now);
        return [_version, .. Mac(_version, spi, nonce, source)];
    }

    public bool IsValid(ReadOnlySpan<byte> cookie, ulong spi, ReadOnlySpan<byte> nonce, IPEndPoint source, DateTimeOffset now)
    {
        Turn(now);
        return cookie.Length == 1 + MacLength && (cookie[0] == _version || cookie[0] == (byte)(_version - 1))
            && CryptographicOperations.FixedTimeEquals(Mac(cookie[0], spi, nonce, source), cookie[1..]);
    }

    private void Turn(DateTimeOffset now)
    {
        _made ??= now;
        if (now - _made < s_life)
        {
            return;
        }

        if (now - _made >= 2 * s_life)
        {
            random.Fill(_secrets[_version & 1]);
        }

        _version++;
        random.Fill(_secrets[_version & 1]);
        _made = now;
    }

    private byte[] Mac(byte version, ulong spi, ReadOnlySpan<byte> nonce, IPEndPoint source)
    {
        byte[] data = [.. BitConverter.GetBytes(spi), .. source.Address.GetAddressBytes(), (byte)(source.Port >> 8), (byte)source.Port, .. nonce];
        return HMACSHA256.HashData(_secrets[version & 1], data)[..MacLength];
    }
}
