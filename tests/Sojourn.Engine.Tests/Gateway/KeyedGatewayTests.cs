using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.Engine.Tests.Gateway;

/// <summary>Two static gateways whose tunnel IKEv2 keys, each with a path table; packets cross a network that delays and reorders.</summary>
public class KeyedGatewayTests
{
    private static readonly KeyMaterial s_secret = new("a secret that both gateways hold"u8);

    [Fact]
    public void The_first_packet_that_waits_brings_the_keys_and_nothing_leaves_before()
    {
        var world = new World(KeyExchangeStart.OnDemand);
        world.Run(50);
        Assert.Empty(world.Datagrams);
        world.Left.Offer(world);
        Assert.Equal(0, world.Left.Protected);
        world.Run(500);
        Assert.NotEmpty(world.Datagrams);
        world.Left.Offer(world);
        world.Run(50);
        Assert.Equal(1, world.Right.Delivered);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    public void Rekeying_by_either_end_or_both_at_once_loses_no_packet(int seed)
    {
        var world = new World(KeyExchangeStart.AtOnce, seed);
        world.Run(300);
        var random = new Random(seed);
        for (var i = 0; i < 12; i++)
        {
            foreach (var end in (i % 3) switch { 0 => new[] { world.Left }, 1 => [world.Right], _ => [world.Left, world.Right] })
            {
                end.Tell(random.Next(3) == 0 ? new RekeyIke(end.Engine.IkeSas.Last().Id) : new RekeyChild(end.Engine.ChildSas.Last().Id), world);
            }

            world.Run(random.Next(100, 1500), packetEvery: 2);
        }

        world.Run(5000, packetEvery: 2);
        world.Run(100);
        Assert.True(world.Left.Protected > 1000);
        Assert.Equal((0, 0), (world.Left.Refused, world.Right.Refused));
        Assert.Empty(world.Left.Lost.Concat(world.Right.Lost));
        Assert.Equal(world.Left.Protected, world.Right.Delivered);
        Assert.Equal(world.Right.Protected, world.Left.Delivered);

        // What the rekeyings left behind has gone.
        Assert.Single(world.Left.Vpn.Paths);
        Assert.Single(world.Right.Vpn.Paths);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Both_ends_may_begin_at_once(int seed)
    {
        var world = new World(KeyExchangeStart.AtOnce, seed, rightStart: KeyExchangeStart.AtOnce);
        world.Run(300);
        world.Run(3000, packetEvery: 2);
        world.Run(100);
        Assert.True(world.Left.Protected > 1000);
        Assert.Empty(world.Left.Lost.Concat(world.Right.Lost));
        Assert.Equal((world.Left.Protected, world.Right.Protected), (world.Right.Delivered, world.Left.Delivered));
        Assert.Equal(world.Left.Engine.IkeSas.Select(s => s.InitiatorSpi).Order(), world.Right.Engine.IkeSas.Select(s => s.InitiatorSpi).Order());
    }

    [Fact]
    public void When_the_peer_goes_packets_are_held_back_and_keys_are_made_again()
    {
        var world = new World(KeyExchangeStart.AtOnce);
        world.Run(300);
        world.Right.Tell(new CloseIke(world.Right.Engine.IkeSas.Single().Id), world);
        world.Run(200);
        Assert.Equal(PathState.Blocked, Assert.Single(world.Left.Vpn.Paths).State);
        world.Left.Offer(world);
        Assert.Equal((0, 1), (world.Left.Protected, world.Left.Refused));
        world.Run(3000);
        world.Left.Offer(world);
        world.Run(50);
        Assert.Equal(1, world.Right.Delivered);
    }

    [Fact]
    public void A_path_beyond_what_the_peer_agreed_to_stays_blocked()
    {
        var world = new World(KeyExchangeStart.AtOnce, rightServes: "10.2.0.0/25");
        world.Run(300);
        Assert.Equal(PathState.Blocked, Assert.Single(world.Left.Vpn.Paths).State);
        Assert.Contains(world.Left.Reports, r => r.Kind == "ike.child.narrowed");
    }

    [Fact]
    public void Profiles_of_users_follow_the_keys_of_their_home_agents_association()
    {
        var peer = IPAddress.Parse("10.0.5.2");
        var own = IPAddress.Parse("10.0.3.2");
        var control = new VpnControl(new VpnControlOptions { Role = GatewayRole.HomeAgent, Gateways = [own], Keyed = [new KeyedAssociation("company", own, peer)] });
        var effects = new EffectSink();
        control.Start(effects);
        Assert.Null(control.Set(new VpnSession { Session = "s1", HomeAddress = IPAddress.Parse("10.99.0.10"), Profiles = [Profile(own, peer)] }, DateTimeOffset.UnixEpoch, effects));
        Assert.Equal(PathState.Blocked, Assert.Single(control.Paths).State);

        var first = Generation(1, sends: true, own, peer);
        control.SetKeys("company", [first], effects);
        Assert.Equal((PathState.Active, first.Outbound), (Assert.Single(control.Paths).State, Assert.Single(control.Paths).Outbound));

        // The peer has begun a rekeying: its new keys are taken, ours still leave under the old ones.
        var second = Generation(2, sends: false, own, peer);
        control.SetKeys("company", [first, second], effects);
        Assert.Equal(first.Outbound, control.Paths.Single(p => p.State == PathState.Active).Outbound);
        Assert.Equal(second.Inbound, control.Paths.Single(p => p.State == PathState.ReceiveOnly).Inbound);

        control.SetKeys("company", [first with { Sends = false }, second with { Sends = true }], effects);
        Assert.Equal(second.Outbound, control.Paths.Single(p => p.State == PathState.Active).Outbound);
        control.SetKeys("company", [], effects);
        Assert.Equal(PathState.Blocked, Assert.Single(control.Paths).State);
    }

    private static AssociationGeneration Generation(uint number, bool sends, IPAddress own, IPAddress peer)
    {
        SaParameters Half(uint spi, IPAddress from, IPAddress to) => new()
        {
            Spi = spi,
            Source = from,
            Destination = to,
            Algorithm = IpsecAlgorithm.Aes128Gcm16,
            Keys = new AssociationKeys(new KeyMaterial(new byte[20]), new KeyMaterial([])),
        };
        return new AssociationGeneration(
            number, sends, own, peer, null, Half(0x1000 + number, own, peer), Half(0x2000 + number, peer, own),
            [TrafficSelector.Of(IPNetwork.Parse("10.99.0.0/24"))], [TrafficSelector.Of(IPNetwork.Parse("192.168.50.0/24"))]);
    }

    private static VpnProfile Profile(IPAddress own, IPAddress peer) => new()
    {
        ProfileNumber = 7,
        Source = IPNetwork.Parse("10.99.0.10/32"),
        Destination = IPNetwork.Parse("192.168.50.0/24"),
        SourceGateway = own,
        DestinationGateway = peer,
        GatewayType = GatewayType.Static,
        SecurityType = SecurityType.Esp,
        Keying = new ProfileKeying.Preset(),
        View = ProfileView.Up,
    };

    /// <summary>Virtual time in steps of a millisecond.</summary>
    private sealed class World
    {
        private readonly PriorityQueue<(End To, object Packet), DateTimeOffset> _flying = new();
        private readonly Random _random;

        public World(KeyExchangeStart start, int seed = 0, string rightServes = "10.2.0.0/24", KeyExchangeStart rightStart = KeyExchangeStart.Never)
        {
            _random = new Random(seed);
            Left = new End("10.0.0.1", "10.0.0.2", "10.1.0.0/24", "10.2.0.0/24", start, seed);
            Right = new End("10.0.0.2", "10.0.0.1", rightServes, "10.1.0.0/24", rightStart, seed + 100);
            Left.Tell(new EngineStarted([]), this);
            Right.Tell(new EngineStarted([]), this);
        }

        public DateTimeOffset Now { get; private set; } = DateTimeOffset.UnixEpoch;

        public End Left { get; }

        public End Right { get; }

        public List<SendDatagram> Datagrams { get; } = [];

        public void Send(End from, object packet)
        {
            if (packet is SendDatagram datagram)
            {
                Datagrams.Add(datagram);
            }

            _flying.Enqueue((from == Left ? Right : Left, packet), Now + TimeSpan.FromMilliseconds(_random.Next(5, 25)));
        }

        public void Run(int milliseconds, int packetEvery = 0)
        {
            for (var i = 0; i < milliseconds; i++)
            {
                Now += TimeSpan.FromMilliseconds(1);
                while (_flying.TryPeek(out var packet, out var at) && at <= Now)
                {
                    _flying.Dequeue();
                    packet.To.Receive(packet.Packet, this);
                }

                Left.Wake(this);
                Right.Wake(this);
                if (packetEvery > 0 && i % packetEvery == 0)
                {
                    Left.Offer(this);
                    Right.Offer(this);
                }
            }
        }
    }

    private sealed class End
    {
        private readonly EffectSink _sink = new();
        private readonly PathTable _table = new(new PathTableOptions(), new SeededRandom(5));
        private readonly byte[] _output = new byte[4096];
        private readonly byte[] _inner = new byte[60];

        public End(string own, string peer, string serves, string remote, KeyExchangeStart start, int seed)
        {
            var (local, far, here, there) = (IPAddress.Parse(own), IPAddress.Parse(peer), IPNetwork.Parse(serves), IPNetwork.Parse(remote));
            var gateway = new StaticGateway(new StaticGatewayOptions
            {
                Gateway = local,
                Keyed = [new KeyedAssociation("far", local, far)],
                Tunnels = [new StandingTunnel("t", "far", local, far, here, there)],
            });
            Vpn = gateway.Vpn;
            var exchange = new IkePeer
            {
                Name = "far",
                Address = far,
                LocalIdentity = IkeIdentity.Of(local),
                RemoteIdentity = IkeIdentity.Of(far),
                PreSharedKey = s_secret,
                Children = [new IkeChildOptions { Name = "far", LocalSelectors = [TrafficSelector.Of(here)], RemoteSelectors = [TrafficSelector.Of(there)], RekeyAfter = null }],
            };
            Engine = new KeyedGateway(
                gateway, Vpn, new KeyedGatewayOptions { Ike = new IkeOptions { Peers = [exchange] }, Peers = [new KeyedPeer("far", local, start)] }, new SeededRandom(seed));
            IPv4Header.Write(_inner, 0, _inner.Length, 1, 0, 64, 253, here.BaseAddress.GetAddressBytes(), there.BaseAddress.GetAddressBytes());
        }

        public KeyedGateway Engine { get; }

        public VpnControl Vpn { get; }

        public int Protected { get; private set; }

        public int Refused { get; private set; }

        public int Delivered { get; private set; }

        public List<EngineEvent> Reports { get; } = [];

        /// <summary>Why packets of the other end were not taken.</summary>
        public List<string> Lost { get; } = [];

        public void Offer(World world)
        {
            BinaryPrimitives.WriteInt32BigEndian(_inner.AsSpan(24), Protected);
            var result = _table.Outbound(_inner, _output, world.Now);
            if (result.Verdict == OutboundVerdict.Send)
            {
                Protected++;
                world.Send(this, _output.AsSpan(result.Offset, result.Length).ToArray());
            }
            else
            {
                Refused++;
            }

            Signal(world);
        }

        public void Receive(object packet, World world)
        {
            if (packet is SendDatagram datagram)
            {
                Tell(new DatagramReceived(datagram.Source, datagram.Destination, datagram.Payload), world);
                return;
            }

            var result = _table.Inbound((byte[])packet, _output, world.Now);
            if (result.Verdict == InboundVerdict.Deliver)
            {
                Delivered++;
            }
            else
            {
                Lost.Add($"{(world.Now - DateTimeOffset.UnixEpoch).TotalMilliseconds}: {result.Reason} {Convert.ToHexString(((byte[])packet).AsSpan(20, 8))}");
            }

            Signal(world);
        }

        public void Wake(World world)
        {
            if (Engine.NextDeadline <= world.Now)
            {
                Tell(new DeadlineReached(), world);
            }
        }

        public void Tell(EngineInput input, World world)
        {
            _sink.Clear();
            Engine.Handle(input, world.Now, _sink);
            foreach (var effect in _sink.Effects)
            {
                switch (effect)
                {
                    case SendDatagram datagram:
                        world.Send(this, datagram);
                        break;
                    case ChangePaths change:
                        Assert.Null(_table.Change(change.Install, change.Remove, world.Now).Refusal);
                        break;
                    case Report report:
                        Reports.Add(report.Event);
                        break;
                    case CountEvent:
                        break;
                    default:
                        Assert.Fail($"unexpected {effect}");
                        break;
                }
            }
        }

        private void Signal(World world)
        {
            while (_table.TryTakeSignal(out var signal))
            {
                Tell(signal, world);
            }
        }
    }
}
