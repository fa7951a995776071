using System.Net;
using System.Runtime.CompilerServices;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// The responder's side of IKE_SA_INIT: nothing is kept of a request that cannot be answered with an SA, and above a number
/// of half-open SAs, or of those with one source, nothing is kept of anybody who has not shown a cookie (RFC 7296 2.6; row TA-H17).
/// </summary>
public sealed partial class IkeEngine
{
    private readonly CookieJar _jar;
    private readonly Dictionary<(ulong Spi, IPEndPoint Source), IkeSa> _halfOpen = [];
    private readonly Dictionary<IPAddress, int> _halfOpenBySource = [];
    private int _crowdedSources;

    /// <summary>Of each peer's list, which lives as long as the peer's options.</summary>
    private readonly ConditionalWeakTable<IReadOnlyList<IkeProposal>, IReadOnlyList<IkeProposal>> _usable = new();

    /// <summary>Answers first requests in this engine's place while there are too many; asked by whoever receives the datagrams, or not at all.</summary>
    public CookieGate Cookies { get; }

    internal void ForgetHalfOpen(IkeSa sa)
    {
        if (sa.HalfOpenKey is { } key && _halfOpen.Remove(key))
        {
            sa.HalfOpenKey = null;
            CountSource(key.Source.Address, -1);
        }
    }

    private void CountSource(IPAddress source, int change)
    {
        var before = _halfOpenBySource.GetValueOrDefault(source);
        var count = before + change;
        _crowdedSources += (count >= Options.CookieThresholdPerSource ? 1 : 0) - (before >= Options.CookieThresholdPerSource ? 1 : 0);
        if (count == 0)
        {
            _halfOpenBySource.Remove(source);
        }
        else
        {
            _halfOpenBySource[source] = count;
        }

        JudgeLoad();
    }

    /// <summary>Whether cookies are asked for, and with which secret. Hysteresis, so that the answer does not change with every SA that comes or goes.</summary>
    private void JudgeLoad()
    {
        var ask = _crowdedSources > 0 || _halfOpen.Count >= Options.CookieThreshold || (Cookies.IsClosed && _halfOpen.Count > Options.CookieThreshold / 2);
        Cookies.Secret = ask ? _jar.At(Now) : null;
    }

    private void ReceiveInitRequest(DatagramReceived datagram, IkeHeader header, ReadOnlyMemory<byte> octets)
    {
        if (header.ResponderSpi != 0 || header.MessageId != 0 || !header.FromInitiator)
        {
            Effects.Count("ike.init.malformed");
            return;
        }

        // Who is nobody's peer is not told so: no reflection, and no work under a flood.
        var candidates = Options.Peers.Where(p => p.Address is null || p.Address.Equals(datagram.Source.Address)).ToList();
        if (candidates.Count == 0)
        {
            Effects.Count("ike.init.no_peer");
            return;
        }

        JudgeLoad();
        var known = _halfOpen.GetValueOrDefault((header.InitiatorSpi, datagram.Source));
        if (known is not null && known.RepeatInitResponse(octets.Span, datagram.Destination, datagram.Source))
        {
            return;
        }

        if (Cookies.IsClosed)
        {
            var secret = _jar.At(Now);
            if (!CookieDemand.TryRead(octets.Span, out var cookie, out var nonce))
            {
                Effects.Count("ike.init.malformed");
                return;
            }

            var source = datagram.Source.Address.GetAddressBytes();
            if (!secret.IsValid(cookie, header.InitiatorSpi, nonce, source, (ushort)datagram.Source.Port))
            {
                var fresh = new byte[CookieSecret.CookieLength];
                secret.Make(header.InitiatorSpi, nonce, source, (ushort)datagram.Source.Port, fresh);
                Effects.Count("ike.init.cookie_demanded");
                Reply(datagram, header, new NotifyPayload(IkeNotifyType.Cookie, fresh));
                return;
            }
        }

        if (known is not null)
        {
            // Its answer was lost, and the repetition met the demand for a cookie: another request in the place of the first. Only a cookie shows that it is the same peer.
            if (!Cookies.IsClosed || !known.AwaitsAuthentication)
            {
                Effects.Count("ike.request.repeated_otherwise");
                return;
            }

            known.End(IkeEnd.Timeout, "the peer begins anew with a cookie", linger: false);
        }

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

        if (_halfOpen.Count >= Options.MaximumHalfOpen || _halfOpenBySource.GetValueOrDefault(datagram.Source.Address) >= Options.MaximumHalfOpenPerSource)
        {
            Effects.Count("ike.init.half_open_limit");
            return;
        }

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
        CountSource(datagram.Source.Address, 1);
        Add(sa);
        sa.AnswerInit(message, octets, chosen, suite, ownValue, shared, candidates);
        Schedule(sa);
    }

    /// <summary>Proposals without methods this platform lacks.</summary>
    internal IReadOnlyList<IkeProposal> Usable(IReadOnlyList<IkeProposal> proposals) => _usable.GetValue(proposals, WithoutUnknown);

    private IReadOnlyList<IkeProposal> WithoutUnknown(IReadOnlyList<IkeProposal> proposals) =>
        [.. proposals.Select(p => p with { Transforms = [.. p.Transforms.Where(t => t.Type < IkeTransformType.KeyExchange || t.Type == IkeTransformType.ExtendedSequenceNumbers || t.Id == IkeGroup.None || KeyExchanges.Supports(t.Id))] })];
}
