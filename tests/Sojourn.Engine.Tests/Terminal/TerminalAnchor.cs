using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.TerminalControl;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>An anchor point by itself in a terminal's world: its engine, and the packet path that its role gives it.</summary>
internal sealed class TerminalAnchor
{
    private readonly TerminalWorld _world;
    private readonly AnchorPointNode _engine;
    private readonly HomeTunnel _path;

    /// <param name="regional">The terminal's, as its link-layer address makes it; null = it shares no association with the anchor point.</param>
    /// <param name="open">Regional addresses that are bound in clear.</param>
    public TerminalAnchor(TerminalWorld world, IPAddress address, IPAddress? regional, bool data, params IPNetwork[] open)
    {
        (_world, Address) = (world, address);
        var prefix = new MobilityAnchorPointOption(1, 1, 0, 1, address).Prefix;
        _engine = new AnchorPointNode(
            new MobilityAnchorPointOptions { Address = address, RegionalPrefix = prefix, Unprotected = open },
            regional is null ? [] : [new AnchoredTerminal(Pair(address, regional, ChildMode.Transport, false), data ? Pair(address, regional, ChildMode.Tunnel, false) : null)], new Ikev2.SeededRandom(51));
        _path = new HomeTunnel(address, 1500, new Ikev2.SeededRandom(52), HomeTunnel.ReverseTunnelToAnchorBad);
        world.Anchors.Add(this);
        Tell(new EngineStarted([]));
    }

    public IPAddress Address { get; }

    public IReadOnlyList<BindingCacheEntry> Bindings => [.. _engine.Bindings];

    public IReadOnlyDictionary<string, long> Drops => _path.Drops;

    public Dictionary<string, long> Counters { get; } = [];

    public static AnchorAssociations Of(IPAddress anchor, bool data) => new(anchor, regional => Pair(anchor, regional, ChildMode.Transport, true), data ? regional => Pair(anchor, regional, ChildMode.Tunnel, true) : null);

    public void FromTerminal(byte[] packet)
    {
        var output = new byte[HomeTunnel.OutputFor(packet.Length)];
        var result = _path.Forward(packet, output, _world.Now);
        if (result.Verdict == HomeTunnelVerdict.Control)
        {
            Tell(new Ipv6PacketReceived(result.ForEngine(packet, output).ToArray()));
        }
        else if (result.Verdict == HomeTunnelVerdict.Send)
        {
            _world.AtHome(output.AsSpan(result.Offset, result.Length).ToArray());
        }
    }

    /// <summary>What is for a regional address goes through the tunnel.</summary>
    public byte[] TowardsTerminal(byte[] packet)
    {
        if (!packet.AsSpan(24, 8).SequenceEqual(Address.GetAddressBytes().AsSpan(0, 8)))
        {
            return packet;
        }

        var output = new byte[HomeTunnel.OutputFor(packet.Length)];
        var result = _path.Forward(packet, output, _world.Now);
        return result.Verdict == HomeTunnelVerdict.Send ? output.AsSpan(result.Offset, result.Length).ToArray() : packet;
    }

    private void Tell(EngineInput input)
    {
        var sink = new EffectSink();
        _engine.Handle(input, _world.Now, sink);
        foreach (var effect in sink.Effects.ToArray())
        {
            switch (effect)
            {
                case ChangePaths change when _path.Change(change, _world.Now).Refusal is { } refusal:
                    throw new InvalidOperationException(refusal.Text);
                case SendIpv6Packet sent:
                    _world.ToTerminal(sent.Packet.ToArray());
                    break;
                case CountEvent count:
                    Counters[count.Counter] = Counters.GetValueOrDefault(count.Counter) + count.Amount;
                    break;
            }
        }
    }

    private static ChildSa Pair(IPAddress anchor, IPAddress regional, ChildMode mode, bool atTerminal)
    {
        SaParameters OneWay(uint spi, IPAddress from, IPAddress to) => new()
        {
            Spi = spi,
            Source = from,
            Destination = to,
            Algorithm = IpsecAlgorithm.Aes128CbcHmacSha256,
            Keys = new AssociationKeys(new KeyMaterial(Enumerable.Repeat((byte)spi, 16).ToArray()), new KeyMaterial(Enumerable.Repeat((byte)~spi, 32).ToArray())),
            ExtendedSequence = false,
            ReplayWindow = 0,
            StaticKeys = true,
        };
        var number = (mode == ChildMode.Transport ? 0x100u : 0x200u) + anchor.GetAddressBytes()[5];
        var (up, down) = (OneWay(number, regional, anchor), OneWay(number + 0x1000, anchor, regional));
        TrafficSelector[] atAnchor = mode == ChildMode.Transport ? [TrafficSelector.Of(anchor)] : [TrafficSelector.Of(new IPNetwork(IPAddress.IPv6Any, 0))], own = [TrafficSelector.Of(regional)];
        return atTerminal ? new ChildSa(0, 0, "map", "map", mode, own, atAnchor, down, up, null) : new ChildSa(1, 0, "mn", "mn", mode, atAnchor, own, up, down, null);
    }
}
