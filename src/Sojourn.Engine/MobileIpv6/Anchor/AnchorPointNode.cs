// Readings:
// - Who may use this anchor point is who has associations with it: they are its list, and no access is asked for elsewhere.
// - An update in clear is not taken at all, and starts nothing, but of a regional address that may be bound so (SP6 ): then it is anybody's.
// - With an association for data, what goes between regional address and anchor point goes under ESP in tunnel mode, either way, or not at all.
using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>A terminal of an anchor point.</summary>
/// <param name="Signalling">Preset pair in transport mode between anchor point and regional address.</param>
/// <param name="Data">Preset pair for what goes through the tunnel; null = it goes in clear.</param>
public sealed record AnchoredTerminal(ChildSa Signalling, ChildSa? Data)
{
    public IPAddress Regional => Signalling.RemoteSelectors[0].StartAddress;
}

/// <summary>
/// An anchor point by itself (RFC 5380 6.2, spec terminal TM-P22, R105): binds terminals that it shares preset associations with, and has its
/// packet path tunnel for them. Inputs: <see cref="Ipv6PacketReceived"/>.
/// </summary>
public sealed class AnchorPointNode : IEngine, IDisposable
{
    private readonly MobilityAnchorPoint _anchor;
    private readonly TransportEsp _esp;
    private readonly IReadOnlyList<AnchoredTerminal> _terminals;
    private readonly IReadOnlyList<IPNetwork> _unprotected;
    private readonly Queue<Effect> _inner = new();
    private readonly EffectSink _scratch = new();

    public AnchorPointNode(MobilityAnchorPointOptions options, IReadOnlyList<AnchoredTerminal> terminals, IRandomSource random)
    {
        (_terminals, _unprotected, _anchor, _esp) = (terminals, options.Unprotected, new MobilityAnchorPoint(options), new TransportEsp(random));
        foreach (var terminal in terminals)
        {
            _esp.Install(terminal.Signalling, terminal.Signalling.Id);
        }
    }

    /// <summary>The MAP table (spec terminal 3.5): home address is the regional, care-of address the on-link one.</summary>
    public IEnumerable<BindingCacheEntry> Bindings => _anchor.Bindings;

    public IEnumerable<ChildSaUse> AssociationUses => _esp.Uses;

    public DateTimeOffset? NextDeadline => _anchor.NextDeadline;

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted:
                Tell(input, now);
                foreach (var terminal in _terminals)
                {
                    Tell(new AssociationEstablished(new SignallingAssociation(terminal.Signalling.Id, terminal.Regional, terminal.Regional, terminal.Signalling.Name, Moves: false)), now);
                }

                break;
            case Ipv6PacketReceived received:
                OnPacket(received, now, effects);
                break;
            default:
                Tell(input, now);
                break;
        }

        while (_inner.TryDequeue(out var effect))
        {
            CarryOut(effect, now, effects);
        }
    }

    public void Dispose() => _esp.Dispose();

    private void Tell(EngineInput input, DateTimeOffset now)
    {
        _scratch.Clear();
        _anchor.Handle(input, now, _scratch);
        foreach (var effect in _scratch.Effects)
        {
            _inner.Enqueue(effect);
        }
    }

    private void OnPacket(Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (MobileIpv6Packet.TryParse(received.Packet.Span, out var packet, out _) && packet.Protocol == IpProtocol.Mobility && packet.HomeAddress is { } regional && IsUnprotected(regional))
        {
            Tell(received, now);
        }
        else if (packet?.Protocol != IpProtocol.Esp)
        {
            effects.Count(packet?.Protocol == IpProtocol.Mobility ? "hmip6.map.discarded.unprotected" : "hmip6.map.discarded.not_for_an_anchor");
        }
        else if (_esp.TryOpen(received.Packet.Span, now, out var opened) is var drop and not DropReason.None)
        {
            effects.Count($"hmip6.map.esp.{drop}");
        }
        else
        {
            Tell(received with { Packet = opened.Packet, Under = opened.Association }, now);
        }
    }

    private bool IsUnprotected(IPAddress regional) => _unprotected.Any(addresses => addresses.Contains(regional)) && !_terminals.Any(t => t.Regional.Equals(regional));

    private void CarryOut(Effect effect, DateTimeOffset now, EffectSink effects)
    {
        switch (effect)
        {
            case AccessWanted wanted:
                if (_terminals.FirstOrDefault(t => t.Regional.Equals(wanted.RegionalAddress)) is { } terminal)
                {
                    Tell(new AccessDecided(wanted.RegionalAddress, true, terminal.Signalling.Name, DateTimeOffset.MaxValue), now);
                }
                else if (IsUnprotected(wanted.RegionalAddress))
                {
                    Tell(new AccessDecided(wanted.RegionalAddress, true, wanted.RegionalAddress.ToString(), DateTimeOffset.MaxValue), now);
                }

                break;
            case SendIpv6Packet { Under: { } association } sent:
                if (_esp.TryProtect(association, sent.Packet.Span, now, out var wire) == DropReason.None)
                {
                    effects.Emit(sent with { Packet = wire, Under = null });
                }
                else
                {
                    effects.Count("hmip6.map.unsent");
                }

                break;
            case ChangePaths change:
                effects.Emit(change with { Install = [.. change.Install.Select(Protected)] });
                break;
            case AttractHomeAddress or ReleaseHomeAddress:
                // The whole regional prefix is this node's.
                break;
            default:
                effects.Emit(effect);
                break;
        }
    }

    private VpnPath Protected(VpnPath path) => _terminals.FirstOrDefault(t => t.Regional.Equals(path.Destination.BaseAddress)) is { Data: { } data }
        ? path with
        {
            SecurityType = SecurityType.Esp,
            Outbound = data.Outbound with { Source = path.LocalGateway, Destination = path.RemoteGateway },
            Inbound = data.Inbound with { Source = path.RemoteGateway, Destination = path.LocalGateway },
        }
        : path;
}
