using System.Net;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.MobileIpv6;

/// <summary>The user-space host stack against a router played by hand.</summary>
public class Ipv6HostTests
{
    private const string Interface = "wlan0";

    private static readonly LinkAddress s_own = new([2, 0, 0, 0, 0, 0x77]), s_router = new([2, 0, 0, 0, 0, 1]), s_neighbour = new([2, 0, 0, 0, 0, 5]);
    private static readonly IPAddress s_linkLocal = IPAddress.Parse("fe80::ff:fe00:77"), s_routerAddress = IPAddress.Parse("fe80::1"), s_allNodes = IPAddress.Parse("ff02::1");
    private static readonly IPAddress s_global = IPAddress.Parse("2001:db8:f:1:0:ff:fe00:77");

    private readonly EffectSink _sink = new();

    private Ipv6Host.Ipv6Host _host = new(new Ipv6HostOptions { Interface = Interface, LinkAddress = s_own });

    private DateTimeOffset _now = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);

    private LinkConfigured? _link;

    private List<(Icmpv6Message Message, MobileIpv6Packet Packet, LinkAddress? To)> _sent = [];

    private List<Effect> Tell(EngineInput input)
    {
        _sink.Clear();
        _host.Handle(input, _now, _sink);
        _link = _sink.Effects.OfType<LinkConfigured>().LastOrDefault() ?? _link;
        foreach (var sent in _sink.Effects.OfType<SendIpv6Packet>())
        {
            Assert.True(MobileIpv6Packet.TryParse(sent.Packet.Span, out var packet, out _));
            if (packet.Protocol == IpProtocol.Icmpv6 && Icmpv6Message.TryParse(packet.Payload.Span, out var message, out _))
            {
                Assert.True(Icmpv6Message.ChecksumIsRight(packet.Payload.Span, packet.Source, packet.Destination));
                _sent.Add((message, packet, sent.LinkDestination));
            }
        }

        return [.. _sink.Effects];
    }

    private List<Effect> Pass(TimeSpan time)
    {
        List<Effect> effects = [];
        var until = _now + time;
        while (_host.NextDeadline is { } next && next <= until)
        {
            _now = next > _now ? next : _now;
            effects.AddRange(Tell(new DeadlineReached()));
        }

        _now = until;
        return effects;
    }

    private List<Effect> Receive(Icmpv6Message message, IPAddress source, IPAddress destination, LinkAddress? link = null, byte hops = 255) => Tell(new Ipv6PacketReceived(
        new MobileIpv6Packet { Source = source, Destination = destination, HopLimit = hops, Protocol = IpProtocol.Icmpv6, Payload = message.ToArray(source, destination) }.ToArray(), Interface, link ?? s_router));

    private List<Effect> Advertise(string prefix = "2001:db8:f:1::", uint valid = 86400, uint preferred = 14400, IPAddress? from = null, byte hops = 255, ushort lifetime = 1800, params NeighborDiscoveryOption[] more) => Receive(
        new RouterAdvertisement
        {
            RouterLifetime = lifetime,
            Flags = RouterAdvertisementFlags.Managed,
            Options = NeighborDiscoveryOptions.Of([new LinkLayerAddressOption(false, s_router.ToArray()), new PrefixInformationOption(IPAddress.Parse(prefix), 64, PrefixInformationFlags.OnLink | PrefixInformationFlags.Autonomous, valid, preferred), .. more]),
        }, from ?? s_routerAddress, s_allNodes, hops: hops);

    private Ipv6HostTests Up()
    {
        Tell(new LinkChanged(Interface, true));
        return this;
    }

    [Fact]
    [Trait("Row", "TA-M60")]
    [Trait("Row", "TM-S4")]
    public void Carrier_then_solicitation_then_advertisement_then_an_address_usable_at_once()
    {
        Up();
        Assert.Equal([typeof(NeighborSolicitation), typeof(RouterSolicitation)], _sent.Select(s => s.Message.GetType()));
        Assert.Equal((s_linkLocal, IPAddress.IPv6Any), (((NeighborSolicitation)_sent[0].Message).Target, _sent[0].Packet.Source));

        // From a tentative address: unspecified source and no link-layer option (RFC 4429 3.2).
        Assert.Equal(IPAddress.IPv6Any, _sent[1].Packet.Source);
        Assert.Empty(((RouterSolicitation)_sent[1].Message).Options);
        Advertise();
        var address = Assert.Single(_link!.Addresses, a => a.Address.Equals(s_global));
        Assert.Equal((true, true), (address.Usable, address.Optimistic));
        Assert.True(_link.Managed);
        Assert.Equal(s_routerAddress, Assert.Single(_link.Routers).Address);
        Pass(TimeSpan.FromSeconds(1.5));
        Assert.All(_link.Addresses, a => Assert.False(a.Optimistic));
        Assert.Single(_sent, s => s.Message is RouterSolicitation);
    }

    [Fact]
    [Trait("Row", "TM-S4")]
    public void Routers_are_told_of_an_address_as_soon_as_it_may_be_used_and_when_the_carrier_was_away()
    {
        Up();
        Advertise();
        Told(s_global, 1);
        Pass(TimeSpan.FromSeconds(2));
        Told(s_global, 0);

        // The same link again: nothing new is tested, and a router may have given the host up.
        Tell(new LinkChanged(Interface, false));
        Tell(new LinkChanged(Interface, true));
        Told(s_global, 0);
        Advertise();
        Told(s_global, 1);
        Advertise();
        Told(s_global, 0);

        // Another one.
        Tell(new LinkChanged(Interface, false));
        Tell(new LinkChanged(Interface, true));
        Advertise("2001:db8:f:2::");
        Told(IPAddress.Parse("2001:db8:f:2:0:ff:fe00:77"), 1);

        // An address that may not be used before it was tested is told of after that.
        _host = new(new Ipv6HostOptions { Interface = Interface, LinkAddress = s_own, Optimistic = false });
        _sent = [];
        Up();
        Advertise();
        Told(s_global, 0);
        Pass(TimeSpan.FromSeconds(2));
        Told(s_global, 1);

        void Told(IPAddress address, int times)
        {
            var told = _sent.Where(s => s.Message is NeighborAdvertisement).ToList();
            Assert.Equal(times, told.Count);
            Assert.All(told, t =>
            {
                var advertisement = (NeighborAdvertisement)t.Message;
                Assert.Equal((address, NeighborAdvertisementFlags.None, address, IPAddress.Parse("ff02::2")), (advertisement.Target, advertisement.Flags, t.Packet.Source, t.Packet.Destination));
                Assert.Equal(s_own.ToArray(), advertisement.Options.TargetLinkLayerAddress!.Address.ToArray());
            });
            _sent = [];
        }
    }

    [Fact]
    public void Router_solicitations_go_out_three_times_when_nobody_answers()
    {
        Up();
        Pass(TimeSpan.FromSeconds(60));
        Assert.Equal(3, _sent.Count(s => s.Message is RouterSolicitation));
    }

    [Theory]
    [InlineData(254, "fe80::1")]
    [InlineData(255, "2001:db8:f:1::1")]
    [Trait("Row", "TA-H20")]
    public void An_advertisement_from_afar_or_of_no_link_local_source_is_no_advertisement(byte hops, string from)
    {
        Up();
        Advertise(from: IPAddress.Parse(from), hops: hops);
        Assert.Empty(_link!.Routers);
    }

    [Fact]
    public void A_duplicate_is_given_up_and_with_opaque_identifiers_another_is_tried()
    {
        _host = new(new Ipv6HostOptions { Interface = Interface, LinkAddress = s_own, IdentifierSecret = new KeyMaterial(new byte[32]) });
        Up();
        Advertise();
        var first = _link!.Addresses.Single(a => !a.Address.IsIPv6LinkLocal).Address;
        Receive(new NeighborAdvertisement(NeighborAdvertisementFlags.Override, first) { Options = NeighborDiscoveryOptions.Of(new LinkLayerAddressOption(true, s_neighbour.ToArray())) }, first, s_allNodes, s_neighbour);
        var second = _link.Addresses.Single(a => !a.Address.IsIPv6LinkLocal).Address;
        Assert.NotEqual(first, second);
        Pass(TimeSpan.FromSeconds(2));

        // Assigned now: an advertisement of somebody else takes nothing away any more.
        Receive(new NeighborAdvertisement(NeighborAdvertisementFlags.Override, second), second, s_allNodes, s_neighbour);
        Assert.Contains(_link.Addresses, a => a.Address.Equals(second));
    }

    [Fact]
    public void Solicitations_for_its_addresses_are_answered_and_others_are_not()
    {
        Up();
        Advertise();
        Pass(TimeSpan.FromSeconds(2));
        _sent.Clear();
        var asker = IPAddress.Parse("fe80::5");
        var question = new NeighborSolicitation(s_global) { Options = NeighborDiscoveryOptions.Of(new LinkLayerAddressOption(false, s_neighbour.ToArray())) };
        Receive(question, asker, NeighborSolicitation.SolicitedNodeAddress(s_global), s_neighbour);
        var (message, packet, to) = Assert.Single(_sent);
        Assert.Equal((NeighborAdvertisementFlags.Solicited | NeighborAdvertisementFlags.Override, asker, s_neighbour), (((NeighborAdvertisement)message).Flags, packet.Destination, to!.Value));
        Receive(question with { Target = IPAddress.Parse("2001:db8:f:1::99") }, asker, NeighborSolicitation.SolicitedNodeAddress(s_global), s_neighbour);
        Assert.Single(_sent);
    }

    [Fact]
    public void A_packet_waits_for_its_neighbour_and_one_that_never_answers_is_given_up()
    {
        Up();
        Advertise();
        Pass(TimeSpan.FromSeconds(2));
        _sent.Clear();
        var neighbour = IPAddress.Parse("2001:db8:f:1::5");
        var packet = new MobileIpv6Packet { Source = s_global, Destination = neighbour, Protocol = IpProtocol.Udp, Payload = new byte[20] }.ToArray();
        Assert.DoesNotContain(Tell(new SendFromHost(packet)).OfType<SendIpv6Packet>(), s => s.Packet.Length == packet.Length);
        Assert.Equal(neighbour, ((NeighborSolicitation)Assert.Single(_sent).Message).Target);
        var answer = new NeighborAdvertisement(NeighborAdvertisementFlags.Solicited | NeighborAdvertisementFlags.Override, neighbour) { Options = NeighborDiscoveryOptions.Of(new LinkLayerAddressOption(true, s_neighbour.ToArray())) };
        var sent = Receive(answer, neighbour, s_global, s_neighbour).OfType<SendIpv6Packet>().Single();
        Assert.Equal(s_neighbour, sent.LinkDestination!.Value);
        Assert.Equal(packet, sent.Packet.ToArray());

        _sent.Clear();
        Tell(new SendFromHost(new MobileIpv6Packet { Source = s_global, Destination = IPAddress.Parse("2001:db8:f:1::6"), Protocol = IpProtocol.Udp, Payload = new byte[20] }.ToArray()));
        var effects = Pass(TimeSpan.FromSeconds(10));
        Assert.Equal(3, _sent.Count(s => s.Message is NeighborSolicitation));
        Assert.Contains(effects, e => e is CountEvent { Counter: "ipv6.unreachable" });
    }

    [Fact]
    public void What_is_off_link_goes_to_the_router()
    {
        Up();
        Advertise();
        var sent = Tell(new SendFromHost(new MobileIpv6Packet { Source = s_global, Destination = IPAddress.Parse("2001:db8:c::9"), Protocol = IpProtocol.Udp, Payload = new byte[20] }.ToArray())).OfType<SendIpv6Packet>().Single();
        Assert.Equal(s_router, sent.LinkDestination!.Value);
    }

    [Fact]
    public void Another_link_after_a_carrier_change_replaces_everything_and_the_same_link_nothing()
    {
        Up();
        Advertise();
        Pass(TimeSpan.FromSeconds(2));
        Tell(new LinkChanged(Interface, false));
        Tell(new LinkChanged(Interface, true));
        Advertise();
        Assert.Equal(0, _link!.Epoch);
        Assert.Contains(_link.Addresses, a => a.Address.Equals(s_global) && !a.Optimistic);

        Tell(new LinkChanged(Interface, false));
        Tell(new LinkChanged(Interface, true));
        Advertise("2001:db8:f:2::");
        Assert.Equal(1, _link.Epoch);
        Assert.DoesNotContain(_link.Addresses, a => a.Address.Equals(s_global));
        Assert.Equal([IPNetwork.Parse("2001:db8:f:2::/64")], _link.Prefixes);
    }

    [Fact]
    public void A_foreign_router_is_followed_only_when_the_own_one_is_gone()
    {
        Up();
        Advertise();
        Pass(TimeSpan.FromSeconds(2));
        _sent.Clear();
        Advertise("2001:db8:f:2::", from: IPAddress.Parse("fe80::2"));
        Assert.Equal((s_routerAddress, s_router), (((NeighborSolicitation)Assert.Single(_sent).Message).Target, _sent[0].To!.Value));
        Receive(new NeighborAdvertisement(NeighborAdvertisementFlags.Solicited | NeighborAdvertisementFlags.Router, s_routerAddress), s_routerAddress, s_linkLocal);
        Pass(TimeSpan.FromSeconds(10));
        Assert.Equal(0, _link!.Epoch);

        Advertise("2001:db8:f:2::", from: IPAddress.Parse("fe80::2"));
        Pass(TimeSpan.FromSeconds(4));
        Assert.Equal(1, _link.Epoch);
        Assert.Equal([IPNetwork.Parse("2001:db8:f:2::/64")], _link.Prefixes);
    }

    [Fact]
    public void A_short_lifetime_in_an_advertisement_leaves_two_hours()
    {
        Up();
        Advertise();
        Advertise(valid: 10, preferred: 5);
        var address = _link!.Addresses.Single(a => a.Address.Equals(s_global));
        Assert.Equal(TimeSpan.FromHours(2), address.ValidUntil - _now);
    }

    [Fact]
    public void Too_big_messages_lower_the_path_mtu_of_that_destination_for_a_while()
    {
        Up();
        Advertise();
        Pass(TimeSpan.FromSeconds(2));
        var far = IPAddress.Parse("2001:db8:c::9");
        var packet = new MobileIpv6Packet { Source = s_global, Destination = far, Protocol = IpProtocol.Udp, Payload = new byte[1400] }.ToArray();
        Receive(new Icmpv6Error(Icmpv6MessageType.PacketTooBig, 1300, packet[..600]), IPAddress.Parse("2001:db8:d::1"), s_global, hops: 60);
        Assert.Equal((1300, 1500), (_host.MtuTo(far, _now), _host.MtuTo(s_routerAddress, _now)));
        var refused = Tell(new SendFromHost(packet)).OfType<DeliverIpv6Packet>().Single();
        Assert.True(MobileIpv6Packet.TryParse(refused.Packet.Span, out var error, out _));
        Assert.True(Icmpv6Message.TryParse(error.Payload.Span, out var read, out _));
        Assert.Equal(1300u, Assert.IsType<Icmpv6Error>(read).Parameter);

        // Not about packets of others, and never below the least MTU.
        Receive(new Icmpv6Error(Icmpv6MessageType.PacketTooBig, 600, packet[..600]), IPAddress.Parse("2001:db8:d::1"), s_global, hops: 60);
        Assert.Equal(1300, _host.MtuTo(far, _now));
        _now += TimeSpan.FromMinutes(11);
        Assert.Equal(1500, _host.MtuTo(far, _now));
    }

    [Fact]
    [Trait("Row", "TM-M1")]
    public void Nothing_of_mobile_ip_is_answered_with_an_error_but_handed_on()
    {
        Up();
        Advertise();
        Pass(TimeSpan.FromSeconds(2));
        foreach (var protocol in new[] { IpProtocol.Mobility, IpProtocol.Esp, IpProtocol.Ah, IpProtocol.IPv6 })
        {
            var packet = new MobileIpv6Packet { Source = IPAddress.Parse("2001:db8:a::fffe"), Destination = s_global, RoutingHomeAddress = IPAddress.Parse("2001:db8:a:1::77"), Protocol = protocol, Payload = new byte[16] };
            var effects = Tell(new Ipv6PacketReceived(packet.ToArray(), Interface, s_router));
            Assert.Empty(effects.OfType<SendIpv6Packet>());
            Assert.Single(effects.OfType<DeliverIpv6Packet>());
        }
    }

    [Fact]
    public void An_echo_is_answered_by_way_of_the_router()
    {
        Up();
        Advertise();
        Pass(TimeSpan.FromSeconds(2));
        _sent.Clear();
        Receive(new Echo(false, 7, 1, new byte[] { 1, 2, 3 }), IPAddress.Parse("2001:db8:c::9"), s_global, hops: 60);
        var (message, packet, to) = Assert.Single(_sent);
        Assert.Equal((new Echo(true, 7, 1, new byte[] { 1, 2, 3 }), s_global, s_router), (message, packet.Source, to!.Value));
    }

    [Fact]
    public void Neighbours_are_bounded()
    {
        Up();
        Advertise();
        Pass(TimeSpan.FromSeconds(2));
        for (var i = 0; i < 2000; i++)
        {
            Tell(new SendFromHost(new MobileIpv6Packet { Source = s_global, Destination = IPAddress.Parse($"2001:db8:f:1::1:{i:x}"), Protocol = IpProtocol.Udp, Payload = new byte[20] }.ToArray()));
        }

        Assert.InRange(_sent.Count(s => s.Message is NeighborSolicitation), 1, 300);
    }
}
