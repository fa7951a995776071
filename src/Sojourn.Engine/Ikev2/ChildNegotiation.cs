using System.Buffers.Binary;
using System.Net;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// The part of IKE_AUTH and CREATE_CHILD_SA that makes a pair of ESP associations (RFC 7296 1.2, 1.3, 2.9, 2.17), as who asks
/// (an instance) and as who answers (<see cref="Answer"/>).
///
/// Readings: a key exchange is left out of proposals in IKE_AUTH, which has none (1.2). A responder that is asked for
/// transport mode and has only tunnel mode for these selectors answers with tunnel mode (1.3.1). In transport mode the
/// associations lie between the addresses of the selectors where those are one each, so that they stay with a home address (RFC 4877).
/// </summary>
internal sealed class ChildNegotiation
{
    private const int SpiLength = 4;

    private readonly IkeSa _sa;
    private readonly EstablishedChild? _replaces;
    private readonly SecurityAssociationPayload _offer;
    private readonly uint _spi;

    public ChildNegotiation(IkeSa sa, IkeChildOptions options, EstablishedChild? replaces, bool inAuth)
    {
        (_sa, Options, _replaces, _spi) = (sa, options, replaces, sa.Engine.NewChildSpi());
        var proposals = sa.Engine.Usable(options.Proposals);
        _offer = IkeProposals.Offer(inAuth ? IkeProposals.WithoutGroups(proposals) : proposals, Octets(_spi));
    }

    public IkeChildOptions Options { get; }

    /// <summary>The group to begin with; 0 when the proposals have none.</summary>
    public ushort Group => _offer.Proposals.SelectMany(p => p.Transforms).FirstOrDefault(t => t.Type == IkeTransformType.KeyExchange)?.Id ?? IkeGroup.None;

    public bool Offers(ushort group) => _offer.Proposals.Any(p => p.Transforms.Any(t => t.Type == IkeTransformType.KeyExchange && t.Id == group));

    private IReadOnlyList<TrafficSelector> Local => _replaces?.Sa.LocalSelectors ?? Options.LocalSelectors;

    private IReadOnlyList<TrafficSelector> Remote => _replaces?.Sa.RemoteSelectors ?? Options.RemoteSelectors;

    /// <summary>[USE_TRANSPORT_MODE], SA, TSi, TSr; in CREATE_CHILD_SA nonce and key exchange go between, which the caller does.</summary>
    public IReadOnlyList<IkePayload> Payloads(params IkePayload[] afterProposals) =>
    [
        .. Options.Mode == ChildMode.Transport ? [new NotifyPayload(IkeNotifyType.UseTransportMode)] : Array.Empty<IkePayload>(),
        _offer, .. afterProposals, new SelectorsPayload(true, Local), new SelectorsPayload(false, Remote),
    ];

    /// <summary>Takes the responder's part. The child, or what is wrong.</summary>
    public (EstablishedChild? Child, IkeNotifyType Error) Complete(IReadOnlyList<IkePayload> payloads, OctetString initiatorNonce, OctetString responderNonce, KeyMaterial? shared)
    {
        var selectors = payloads.OfType<SelectorsPayload>().ToList();
        if (payloads.OfType<SecurityAssociationPayload>().FirstOrDefault() is not { } answer)
        {
            return (null, payloads.OfType<NotifyPayload>().FirstOrDefault(n => n.IsError)?.NotifyType ?? IkeNotifyType.NoProposalChosen);
        }

        if (IkeProposals.Check(_offer, answer, SpiLength) is not { } chosen || EspSuite.From(chosen.Transforms) is not { } suite || (chosen.Group == IkeGroup.None) != (shared is null))
        {
            return (null, IkeNotifyType.NoProposalChosen);
        }

        var local = selectors.FirstOrDefault(s => s.OfInitiator)?.Traffic.ToList() ?? [];
        var remote = selectors.FirstOrDefault(s => !s.OfInitiator)?.Traffic.ToList() ?? [];

        // The responder may narrow and nothing else (RFC 7296 2.9).
        if (local.Count == 0 || remote.Count == 0 || !local.All(s => Local.Any(o => SelectorNarrowing.Covers(o, s))) || !remote.All(s => Remote.Any(o => SelectorNarrowing.Covers(o, s))))
        {
            return (null, IkeNotifyType.TsUnacceptable);
        }

        var transport = payloads.OfType<NotifyPayload>().Any(n => n.NotifyType == IkeNotifyType.UseTransportMode);
        if (transport != (Options.Mode == ChildMode.Transport))
        {
            return (null, IkeNotifyType.NoProposalChosen);
        }

        var keys = suite.Keys(_sa.Suite!.Prf, _sa.Keys!.Derive, [.. shared is null ? [] : shared.Octets, .. initiatorNonce.Span, .. responderNonce.Span]);
        return (Make(_sa, Options, suite, local, remote, _spi, BinaryPrimitives.ReadUInt32BigEndian(chosen.PeerSpi.Span), keys.FromResponder, keys.FromInitiator), default);
    }

    public void Refused(IkeNotifyType error)
    {
        _sa.Engine.Effects.Count("ike.child.refused");
        _sa.Engine.Effects.Emit(new ChildSaRefused(_sa.Id, Options.Name, error));
        _sa.Engine.Tell("ike.child.refused", EventSeverity.Warning, $"child SA '{Options.Name}' is refused: {error}", _sa);
    }

    /// <summary>The responder's part: payloads of the answer, which are one error where there is no child.</summary>
    /// <param name="replaces">The child whose rekeying is asked for; its options and selectors hold.</param>
    public static (IReadOnlyList<IkePayload> Payloads, EstablishedChild? Child) Answer(IkeSa sa, IReadOnlyList<IkePayload> payloads, OctetString initiatorNonce, OctetString responderNonce, bool inAuth, EstablishedChild? replaces)
    {
        var offered = payloads.OfType<SecurityAssociationPayload>().First().Proposals;
        var selectors = payloads.OfType<SelectorsPayload>().ToList();
        var (asksRemote, asksLocal) = (selectors.FirstOrDefault(s => s.OfInitiator)?.Traffic.ToList() ?? [], selectors.FirstOrDefault(s => !s.OfInitiator)?.Traffic.ToList() ?? []);
        var transport = payloads.OfType<NotifyPayload>().Any(n => n.NotifyType == IkeNotifyType.UseTransportMode);
        var error = IkeNotifyType.TsUnacceptable;
        foreach (var options in replaces is null ? sa.Peer!.Children : [replaces.Options])
        {
            if (options.Mode == ChildMode.Transport && !transport)
            {
                continue;
            }

            var local = SelectorNarrowing.Narrow(asksLocal, replaces?.Sa.LocalSelectors ?? options.LocalSelectors);
            var remote = SelectorNarrowing.Narrow(asksRemote, replaces?.Sa.RemoteSelectors ?? options.RemoteSelectors);
            if (options.NarrowsAddressesOnly && replaces is null && !(SelectorNarrowing.SameTraffic(asksLocal, options.LocalSelectors) && SelectorNarrowing.SameTraffic(asksRemote, options.RemoteSelectors)))
            {
                continue;
            }

            if (local.Count == 0 || remote.Count == 0 || (options.OneRemoteAddress && !NamesItsOwn(options, asksRemote, sa.AuthorizedAddress)))
            {
                continue;
            }

            var own = sa.Engine.Usable(options.Proposals);
            if (IkeProposals.Choose(inAuth ? IkeProposals.WithoutGroups(own) : own, inAuth ? IkeProposals.WithoutGroups(offered) : offered, IkeProtocol.Esp, SpiLength) is not { } chosen
                || EspSuite.From(chosen.Transforms) is not { } suite)
            {
                error = IkeNotifyType.NoProposalChosen;
                continue;
            }

            KeyMaterial? shared = null;
            IkePayload[] keyExchange = [];
            if (chosen.Group != IkeGroup.None)
            {
                if (payloads.OfType<KeyExchangePayload>().FirstOrDefault() is not { } ke || ke.Group != chosen.Group)
                {
                    return ([new NotifyPayload(IkeNotifyType.InvalidKePayload, (byte[])[(byte)(chosen.Group >> 8), (byte)chosen.Group])], null);
                }

                if (!sa.Engine.KeyExchanges.TryAnswer(chosen.Group, ke.Data.Span, sa.Engine.Random, out var value, out shared))
                {
                    return ([new NotifyPayload(IkeNotifyType.InvalidSyntax)], null);
                }

                keyExchange = [new KeyExchangePayload(chosen.Group, value)];
            }

            var spi = sa.Engine.NewChildSpi();
            var keys = suite.Keys(sa.Suite!.Prf, sa.Keys!.Derive, [.. shared is null ? [] : shared.Octets, .. initiatorNonce.Span, .. responderNonce.Span]);
            shared?.Wipe();
            var child = Make(sa, options, suite, local, remote, spi, BinaryPrimitives.ReadUInt32BigEndian(chosen.PeerSpi.Span), keys.FromInitiator, keys.FromResponder);
            return ([
                .. options.Mode == ChildMode.Transport ? [new NotifyPayload(IkeNotifyType.UseTransportMode)] : Array.Empty<IkePayload>(),
                chosen.Answer(Octets(spi)), .. inAuth ? Array.Empty<IkePayload>() : [new NoncePayload(responderNonce)], .. keyExchange,
                new SelectorsPayload(true, remote), new SelectorsPayload(false, local),
            ], child);
        }

        sa.Engine.Effects.Count("ike.child.refused");
        sa.Engine.Tell("ike.child.refused", EventSeverity.Warning, $"a child SA {string.Join(", ", asksRemote)} to {string.Join(", ", asksLocal)} is refused: {error}", sa, "RFC 7296 2.9");
        return ([new NotifyPayload(error)], null);
    }

    /// <summary>The outer ends of a child's packets.</summary>
    public static (IPAddress Local, IPAddress Remote) Ends(IkeSa sa, ChildMode mode, IReadOnlyList<TrafficSelector> local, IReadOnlyList<TrafficSelector> remote) =>
        mode == ChildMode.Transport && IsOneAddress(local) && IsOneAddress(remote) ? (local[0].StartAddress, remote[0].StartAddress) : (sa.Local.Address, sa.Remote.Address);

    public static UdpEncapsulation? Encapsulation(IkeSa sa) => sa.LocalBehindNat || sa.RemoteBehindNat ? new UdpEncapsulation((ushort)sa.Local.Port, (ushort)sa.Remote.Port) : null;

    private static EstablishedChild Make(
        IkeSa sa, IkeChildOptions options, EspSuite suite, IReadOnlyList<TrafficSelector> local, IReadOnlyList<TrafficSelector> remote, uint inbound, uint outbound, AssociationKeys inboundKeys, AssociationKeys outboundKeys)
    {
        var (here, there) = Ends(sa, options.Mode, local, remote);
        SaParameters Association(uint spi, IPAddress source, IPAddress destination, AssociationKeys keys) => new()
        {
            Spi = spi,
            Source = source,
            Destination = destination,
            Algorithm = suite.Algorithm,
            Keys = keys,
            ExtendedSequence = suite.ExtendedSequence,
        };
        return new EstablishedChild(
            new ChildSa(
                sa.Engine.NewId(), sa.Id, sa.Peer!.Name, options.Name, options.Mode, local, remote,
                Association(inbound, there, here, inboundKeys), Association(outbound, here, there, outboundKeys), Encapsulation(sa)),
            options);
    }

    private static bool NamesItsOwn(IkeChildOptions options, List<TrafficSelector> asked, IPAddress? authorized)
    {
        if (asked.Count == 0)
        {
            return false;
        }

        var own = authorized ?? asked[0].StartAddress;
        var networks = options.RemoteNetworks.GetValueOrDefault(own) ?? [];
        return asked.All(s => (s.StartAddress.Equals(own) && s.EndAddress.Equals(own)) || networks.Any(n => n.Contains(s.StartAddress) && n.Contains(s.EndAddress)));
    }

    private static bool IsOneAddress(IReadOnlyList<TrafficSelector> selectors) =>
        selectors.Count > 0 && selectors.All(s => s.StartAddress.Equals(selectors[0].StartAddress) && s.EndAddress.Equals(selectors[0].StartAddress));

    private static OctetString Octets(uint spi) => (byte[])[(byte)(spi >> 24), (byte)(spi >> 16), (byte)(spi >> 8), (byte)spi];
}
