using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.MobileIpv6;

/// <summary>A correspondent as a node: on its link, between applications and mobile nodes, with and without ESP (layouts L11 to L17).</summary>
public class CorrespondentNodeTests
{
    private const string Eth = "eth0";

    private static readonly IPAddress s_address = IPAddress.Parse("2001:db8:2::2"), s_home = IPAddress.Parse("2001:db8:1::100");
    private static readonly IPAddress s_careOf = IPAddress.Parse("2001:db8:5a::7"), s_next = IPAddress.Parse("2001:db8:5b::7"), s_other = IPAddress.Parse("2001:db8:1::101");
    private static readonly LinkAddress s_router = new([2, 0, 0, 0, 0, 1]), s_own = new([2, 0, 0, 0, 0, 2]);

    /// <summary>One correspondent behind a router.</summary>
    internal sealed class World
    {
        private ushort _sequence = 100;

        public World(params ChildSa[] associations)
        {
            Node = new CorrespondentNode(
                new CorrespondentNodeOptions { Interface = Eth, LinkAddress = s_own, Correspondent = new CorrespondentOptions { Address = s_address }, Associations = associations }, new SeededRandom(4));
            Tell(new EngineStarted([]));
            Tell(new LinkChanged(Eth, true));
            Advertise();
            Wait(3);
            Sent.Clear();
        }

        public void Advertise()
        {
            var source = IPAddress.Parse("fe80::1");
            var message = new RouterAdvertisement
            {
                RouterLifetime = 1800,
                Options = NeighborDiscoveryOptions.Of(
                    new LinkLayerAddressOption(false, s_router.ToArray()),
                    new PrefixInformationOption(IPAddress.Parse("2001:db8:2::"), 64, PrefixInformationFlags.OnLink | PrefixInformationFlags.Autonomous, 9000, 9000)),
            };
            var all = IPAddress.Parse("ff02::1");
            Receive(new MobileIpv6Packet { Source = source, Destination = all, HopLimit = 255, Protocol = IpProtocol.Icmpv6, Payload = message.ToArray(source, all) }.ToArray());
        }

        public CorrespondentNode Node { get; }

        public DateTimeOffset Now { get; private set; } = new(2026, 3, 4, 5, 6, 7, TimeSpan.Zero);

        public List<Effect> All { get; } = [];

        /// <summary>What went to the router, neighbour discovery left out.</summary>
        public List<MobileIpv6Packet> Sent { get; } = [];

        public List<byte[]> Wires { get; } = [];

        public List<byte[]> Delivered { get; } = [];

        public void Wait(double seconds)
        {
            var end = Now + TimeSpan.FromSeconds(seconds);
            for (var steps = 0; Node.NextDeadline is { } next && next <= end; steps++)
            {
                Assert.True(steps < 1000, "it does not come to rest");
                Now = next > Now ? next : Now;
                Tell(new DeadlineReached());
            }

            Now = end;
        }

        public void Tell(EngineInput input)
        {
            var sink = new EffectSink();
            Node.Handle(input, Now, sink);
            foreach (var effect in sink.Effects)
            {
                All.Add(effect);
                if (effect is SendIpv6Packet { LinkDestination: { } to } sent && MobileIpv6Packet.TryParse(sent.Packet.Span, out var packet, out _)
                    && !(packet.Protocol == IpProtocol.Icmpv6 && packet.Payload.Span[0] is >= 133 and <= 137))
                {
                    Assert.Equal(s_router, to);
                    Sent.Add(packet);
                    Wires.Add(sent.Packet.ToArray());
                }
                else if (effect is DeliverToHost delivered)
                {
                    Delivered.Add(delivered.Packet.ToArray());
                }
            }
        }

        public void Receive(byte[] packet) => Tell(new Ipv6PacketReceived(packet, Eth, s_router));

        public long Counter(string name) => All.OfType<CountEvent>().Where(c => c.Counter == name).Sum(c => c.Amount);

        public T Message<T>() where T : MobilityMessage
        {
            Assert.True(MobilityMessage.TryParse(Sent[^1].Payload.Span, out var message, out _));
            return Assert.IsType<T>(message);
        }

        public void Post(MobilityMessage message, IPAddress source, IPAddress? home = null) => Receive(new MobileIpv6Packet
        {
            Source = source,
            Destination = s_address,
            HomeAddress = home,
            Protocol = IpProtocol.Mobility,
            Payload = message.ToArray(home ?? source, s_address),
        }.ToArray());

        /// <summary>Return routability and the update, as a mobile node does it.</summary>
        public BindingAcknowledgement Bind(IPAddress careOf, ushort lifetime = 100, Func<byte[], byte[]>? forge = null)
        {
            Post(new HomeTestInit(11), s_home);
            var home = Message<HomeTest>();
            Assert.Equal((11UL, s_home), (home.Cookie, Sent[^1].Destination));
            Post(new CareOfTestInit(12), careOf);
            var place = Message<CareOfTest>();
            Assert.Equal((12UL, careOf), (place.Cookie, Sent[^1].Destination));
            var key = ReturnRoutability.BindingKey(home.KeygenToken, lifetime == 0 ? null : place.KeygenToken);
            var update = ReturnRoutability.Authorize(
                new BindingUpdate { SequenceNumber = ++_sequence, Flags = BindingUpdateFlags.Acknowledge, Lifetime = lifetime, Options = MobilityOptions.Of(new NonceIndicesOption(home.NonceIndex, place.NonceIndex)) },
                forge?.Invoke(key) ?? key, careOf, s_address);
            Sent.Clear();
            Post(update, careOf, s_home);
            if (forge is not null)
            {
                return null!;
            }

            Assert.True(ReturnRoutability.IsAuthorized(Message<BindingAcknowledgement>(), Sent[^1].Payload.Span, key, careOf, s_address));
            return Message<BindingAcknowledgement>();
        }

        public void Send(IPAddress destination, int length = 16) => Tell(new HostPacketSent(Data(s_address, destination, length: length).ToArray()));
    }

    private static MobileIpv6Packet Data(IPAddress source, IPAddress destination, IPAddress? home = null, int length = 16) =>
        new() { Source = source, Destination = destination, HomeAddress = home, Protocol = IpProtocol.Udp, Payload = new byte[length] };

    private static ChildSa Association(IPAddress near, IPAddress far)
    {
        SaParameters Sa(uint spi, IPAddress source, IPAddress destination, int seed)
        {
            var random = new SeededRandom(seed);
            return new SaParameters
            {
                Spi = spi,
                Source = source,
                Destination = destination,
                Algorithm = IpsecAlgorithm.Aes128CbcHmacSha256,
                Keys = new AssociationKeys(new KeyMaterial(random.NextBytes(16)), new KeyMaterial(random.NextBytes(32))),
                ExtendedSequence = false,
                ReplayWindow = 0,
                StaticKeys = true,
            };
        }

        var (up, down) = (Sa(0x2001, s_home, s_address, 50), Sa(0x2002, s_address, s_home, 60));
        return new ChildSa(1, 0, "preset", "preset", ChildMode.Transport, [TrafficSelector.Of(near)], [TrafficSelector.Of(far)], near.Equals(s_address) ? up : down, near.Equals(s_address) ? down : up, null);
    }

    private static void Unchanged(World world, string counter, IPAddress? careOf = null)
    {
        Assert.Equal(1, world.Counter(counter));
        Assert.Empty(world.Delivered);
        Assert.Equal(careOf, world.Node.Bindings.SingleOrDefault()?.CareOfAddress);
    }

    [Fact]
    [Trait("Row", "TM3.40")]
    [Trait("Row", "TM3.41")]
    [Trait("Row", "TM3.42")]
    [Trait("Row", "TM-R104")]
    public void A_mobile_node_that_proved_both_addresses_is_reached_at_its_place_and_heard_as_its_home_address()
    {
        var world = new World();
        Assert.Equal(new ConfigureHostSide(s_address, null), world.All.OfType<ConfigureHostSide>().Single());
        world.Send(s_home);
        Assert.Equal((s_home, null), (world.Sent[^1].Destination, world.Sent[^1].RoutingHomeAddress));

        var answer = world.Bind(s_careOf);
        Assert.Equal((BindingStatus.Accepted, s_careOf, s_home), (answer.Status, world.Sent[^1].Destination, world.Sent[^1].RoutingHomeAddress));
        Assert.Equal(s_careOf, world.Node.Bindings.Single().CareOfAddress);

        world.Send(s_home);
        Assert.Equal((s_careOf, s_home, IpProtocol.Udp), (world.Sent[^1].Destination, world.Sent[^1].RoutingHomeAddress, world.Sent[^1].Protocol));
        world.Receive(Data(s_careOf, s_address, s_home).ToArray());
        Assert.Equal(Data(s_home, s_address).ToArray(), Assert.Single(world.Delivered));

        // Somebody without binding is spoken with as ever.
        world.Send(s_other);
        Assert.Equal((s_other, null), (world.Sent[^1].Destination, world.Sent[^1].RoutingHomeAddress));
        world.Receive(Data(s_other, s_address).ToArray());
        Assert.Equal(2, world.Delivered.Count);
    }

    [Fact]
    [Trait("Row", "TM-NC26")]
    [Trait("Row", "TM-L17")]
    public void A_home_address_option_without_binding_is_answered_with_an_error_and_nothing_else()
    {
        var world = new World();
        world.Receive(Data(s_careOf, s_address, s_home).ToArray());
        Assert.Equal(new BindingError(BindingErrorStatus.UnknownBinding, s_home), world.Message<BindingError>());
        Assert.Equal((s_careOf, null), (world.Sent[^1].Destination, world.Sent[^1].RoutingHomeAddress));
        Unchanged(world, "mip6.cn.unknown_binding");

        // With a binding of another place: the same.
        world.Bind(s_next);
        world.Receive(Data(s_careOf, s_address, s_home).ToArray());
        Assert.Equal(new BindingError(BindingErrorStatus.UnknownBinding, s_home), world.Message<BindingError>());
        Assert.Empty(world.Delivered);
    }

    [Fact]
    [Trait("Row", "TM-NC27")]
    public void Malformed_mobility_headers_are_counted_and_change_nothing_and_an_unknown_type_is_answered()
    {
        var world = new World();
        var packet = new MobileIpv6Packet { Source = s_home, Destination = s_address, Protocol = IpProtocol.Mobility, Payload = new HomeTestInit(1).ToArray(s_home, s_address) }.ToArray();
        packet[^1] ^= 1;
        world.Receive(packet);
        Unchanged(world, "mh.malformed");
        Assert.Empty(world.Sent);

        var unknown = new HomeTestInit(1).ToArray(s_home, s_address);
        unknown[2] = 99;
        unknown[4] = unknown[5] = 0;
        var sum = InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.PseudoHeader(s_home.GetAddressBytes(), s_address.GetAddressBytes(), IpProtocol.Mobility, unknown.Length), unknown));
        (unknown[4], unknown[5]) = ((byte)(sum >> 8), (byte)sum);
        world.Receive(new MobileIpv6Packet { Source = s_home, Destination = s_address, Protocol = IpProtocol.Mobility, Payload = unknown }.ToArray());
        Assert.Equal(BindingErrorStatus.UnrecognizedMobilityHeader, world.Message<BindingError>().Status);
    }

    [Fact]
    public void An_update_without_the_right_authenticator_is_silently_passed_over()
    {
        var world = new World();
        world.Bind(s_careOf, forge: key => [.. Enumerable.Reverse(key)]);
        Assert.Empty(world.Sent);
        Unchanged(world, "mip6.cn.ignored.authenticator");
    }

    [Fact]
    [Trait("Row", "TM-L13")]
    [Trait("Row", "TM-L14")]
    [Trait("Row", "TM3.51")]
    [Trait("Row", "TM3.57")]
    public void Between_home_address_and_correspondent_esp_stands_behind_routing_header_and_home_address_option()
    {
        var world = new World(Association(s_address, s_home));
        using var far = new TransportEsp(new SeededRandom(8));
        Assert.True(far.Install(Association(s_home, s_address), 1));
        world.Bind(s_careOf);

        // Down: L13.
        world.Send(s_home);
        Assert.Equal((s_careOf, s_home, IpProtocol.Esp), (world.Sent[^1].Destination, world.Sent[^1].RoutingHomeAddress, world.Sent[^1].Protocol));
        Assert.Equal(DropReason.None, far.TryOpen(world.Wires[^1], world.Now, out var opened));
        Assert.True(MobileIpv6Packet.TryParse(opened.Packet, out var clear, out _));
        Assert.Equal((IpProtocol.Udp, s_home), (clear.Protocol, clear.EffectiveDestination));

        // Up: L14, and in clear it is refused.
        Assert.Equal(DropReason.None, far.TryProtect(1, Data(s_careOf, s_address, s_home).ToArray(), world.Now, out var wire));
        world.Receive(wire);
        Assert.Equal(Data(s_home, s_address).ToArray(), Assert.Single(world.Delivered));
        world.Delivered.Clear();
        world.Receive(Data(s_careOf, s_address, s_home).ToArray());
        Unchanged(world, "spd.mismatch_in", s_careOf);
        wire[^1] ^= 1;
        world.Receive(wire);
        Unchanged(world, "ipsec.failed_in", s_careOf);
        wire[64 + 3] ^= 0x40;
        world.Receive(wire);
        Unchanged(world, "ipsec.sa_not_found_in", s_careOf);

        // By way of home the same association holds.
        world.Tell(new ClearBinding(s_home));
        Assert.Empty(world.Node.Bindings);
        world.Send(s_home);
        Assert.Equal((s_home, IpProtocol.Esp), (world.Sent[^1].Destination, world.Sent[^1].Protocol));
        Assert.Equal(DropReason.None, far.TryProtect(1, Data(s_home, s_address).ToArray(), world.Now, out wire));
        world.Receive(wire);
        Assert.Single(world.Delivered);
    }

    [Fact]
    [Trait("Row", "TM3.48")]
    public void A_cleared_binding_is_forgotten_for_packets_and_remembered_for_its_updates()
    {
        var world = new World();
        world.Bind(s_careOf);
        world.Tell(new ClearBinding(s_home));
        world.Send(s_home);
        Assert.Equal(s_home, world.Sent[^1].Destination);
        world.Receive(Data(s_careOf, s_address, s_home).ToArray());
        Assert.Equal(BindingErrorStatus.UnknownBinding, world.Message<BindingError>().Status);
        Assert.Equal(BindingStatus.Accepted, world.Bind(s_careOf).Status);
        world.Send(s_home);
        Assert.Equal(s_careOf, world.Sent[^1].Destination);
    }

    [Fact]
    public void A_binding_ends_with_its_lifetime_and_with_an_update_that_says_so()
    {
        var world = new World();
        world.Bind(s_careOf, lifetime: 5);
        world.Wait(21);
        Assert.Empty(world.Node.Bindings);
        world.Advertise();
        world.Bind(s_careOf);
        Assert.Equal(BindingStatus.Accepted, world.Bind(s_careOf, lifetime: 0).Status);
        Assert.Empty(world.Node.Bindings);
    }

    [Theory]
    [InlineData(1437, true)]
    [InlineData(1436, false)]
    public void What_the_routing_header_takes_of_the_path_is_told_to_the_application(int payload, bool told)
    {
        var world = new World();
        world.Bind(s_careOf);
        world.Sent.Clear();
        world.Send(s_home, payload);
        Assert.Equal(told, world.Sent.Count == 0);
        if (told)
        {
            var answer = Assert.Single(world.Delivered);
            Assert.Equal((IpProtocol.Icmpv6, (byte)Icmpv6MessageType.PacketTooBig), (answer[6], answer[40]));
            Assert.Equal(1476, (answer[46] << 8) | answer[47]);
        }
    }

    [Fact]
    public void Fragments_are_put_together_before_the_home_address_option_is_read()
    {
        var world = new World();
        world.Bind(s_careOf);
        var whole = Data(s_home, s_address, length: 2000).ToArray();
        var buffer = new byte[8192];
        var (written, _) = IPv6Fragmenter.Cut(Data(s_careOf, s_address, s_home, 2000).ToArray(), 1280, 5, buffer);
        foreach (var fragment in new PacketSequence(buffer.AsSpan(0, written)))
        {
            world.Receive(fragment.ToArray());
        }

        Assert.Equal(whole, Assert.Single(world.Delivered));
    }
}
