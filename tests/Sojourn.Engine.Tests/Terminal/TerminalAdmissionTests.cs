using System.Net;
using Sojourn.Engine.Access;
using Sojourn.Engine.Eap;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.Tests.Dhcpv6;
using Sojourn.Wire.Dhcpv6;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.Terminal.TerminalWorld;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>From the carrier to the state DEV: device authentication by 802.1X, and the care-of address as the M bit says.</summary>
public class TerminalAdmissionTests
{
    private const string First = "2001:db8:f:1::/64", Second = "2001:db8:f:2::/64";

    private static readonly LinkAddress s_router = new([2, 0, 0, 0, 0, 0x99]);
    private static readonly IPAddress s_leased = IPAddress.Parse("2001:db8:f:1::1234"), s_other = IPAddress.Parse("2001:db8:f:1::1235"), s_elsewhere = IPAddress.Parse("2001:db8:f:2::1234");

    /// <summary>A device whose address is all it has: what the network says comes from the test.</summary>
    private static TerminalWorld WithSupplicant(bool required = true) =>
        new(o => o with { Enrols = true, DeviceAuthentication = new DeviceAuthentication(new EapPeerOptions { OuterIdentity = "02-00-00-00-00-11", Methods = [] }, required) });

    private static void Eap(TerminalWorld world, EapPacket packet) => world.Tell(new EapolReceived(Wlan, s_router, new EapolFrame(2, EapolType.Eap, packet.ToArray()).ToArray()));

    private static void Admit(TerminalWorld world, bool allowed = true)
    {
        Eap(world, new EapPacket(EapCode.Request, 1, EapType.Identity, default));
        Eap(world, allowed ? EapPacket.Success(1) : EapPacket.Failure(1));
    }

    /// <summary>Servers of the visited links that give these addresses, one after another.</summary>
    private static void Serve(TerminalWorld world, params IPAddress[] addresses)
    {
        var given = new Queue<IPAddress>(addresses);
        world.VisitedServer = (link, client, octets) =>
        {
            Assert.True(Dhcpv6Message.TryParse(octets, out var message, out _));
            if (!message.Options.TryFind(Dhcpv6OptionCode.NonTemporaryAddresses, out _))
            {
                return;
            }

            var (asked, said) = (new Asked(message.Type, message.TransactionId, world.Now, octets), new Says(Dhcpv6MessageType.Reply) { Client = Client });
            switch (message.Type)
            {
                case Dhcpv6MessageType.Solicit:
                    said = said with { Type = Dhcpv6MessageType.Advertise, Preference = 255, Leases = [new DelegatedPrefix(600, 1200, new IPNetwork(given.Peek(), 128))] };
                    break;
                case Dhcpv6MessageType.Request:
                    said = said with { Leases = [new DelegatedPrefix(600, 1200, new IPNetwork(given.Dequeue(), 128))] };
                    break;
                default:
                    said = said with { Silent = true };
                    break;
            }

            var reply = Udp(RouterAddress, client, 547, 546, RequestingHarness.Message(said, asked));
            world.At(TimeSpan.FromMilliseconds(10), () => world.ToTerminal(link, reply));
        };
    }

    [Fact]
    [Trait("Row", "TA1.104x")]
    [Trait("Row", "TA-N5")]
    public void Until_the_network_lets_the_device_in_the_store_stays_closed_and_nothing_but_neighbour_discovery_is_sent()
    {
        var world = WithSupplicant();
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(3));
        Assert.Equal(TerminalState.Link, world.Terminal.State);

        Admit(world, allowed: false);
        world.Run(TimeSpan.FromSeconds(20));

        Assert.Equal(TerminalState.Link, world.Terminal.State);
        Assert.Empty(world.Effects.OfType<OpenCredentials>());
        Assert.Empty(world.Effects.OfType<Enrol>());
        Assert.Empty(world.Crossed);
        Assert.Single(world.Events("terminal.not_admitted"));
    }

    [Fact]
    [Trait("Row", "TA1.104")]
    [Trait("Row", "TA1.104a")]
    public void Once_let_in_it_tests_its_addresses_anew_opens_the_store_and_comes_to_its_registration()
    {
        var world = WithSupplicant();
        world.Attach(Wlan, First);
        world.Run(TimeSpan.FromSeconds(3));
        var tested = Tests(world);
        Admit(world);
        Assert.Equal(tested + 2, Tests(world)); // link-local and care-of address
        world.Run(TimeSpan.FromSeconds(8));

        Assert.Equal(["OFF to LINK", "LINK to DEV"], world.Steps.Take(2));
        Assert.Equal(TerminalState.Reg, world.Terminal.State);

        Admit(world, allowed: false);
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Equal(TerminalState.Link, world.Terminal.State);
    }

    [Fact]
    public void Another_link_that_lets_the_device_in_is_taken_before_one_that_does_not()
    {
        var world = WithSupplicant();
        world.Attach(Wlan, First);
        world.Attach(Cell, Second);
        world.Tell(new EapolReceived(Cell, s_router, new EapolFrame(2, EapolType.Eap, new EapPacket(EapCode.Request, 1, EapType.Identity, default).ToArray()).ToArray()));
        world.Tell(new EapolReceived(Cell, s_router, new EapolFrame(2, EapolType.Eap, EapPacket.Success(1).ToArray()).ToArray()));
        world.Run(TimeSpan.FromSeconds(8));

        Assert.Equal((Cell, TerminalState.Reg), (world.Terminal.ActiveLink, world.Terminal.State));
        Admit(world);
        world.Run(TimeSpan.FromSeconds(8));
        Assert.Equal(Wlan, world.Terminal.ActiveLink);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Row", "TA1.102")]
    [Trait("Row", "TA-C25")]
    public void With_the_M_flag_the_care_of_address_is_the_servers_even_where_one_could_be_formed(bool autonomous)
    {
        var world = new TerminalWorld();
        Serve(world, s_leased);
        world.Tell(new LinkChanged(Wlan, true));
        world.Advertise(Wlan, First, managed: true, autonomous);
        world.Run(TimeSpan.FromSeconds(8));

        Assert.Equal((s_leased, TerminalState.Reg), (world.Terminal.CareOfAddress, world.Terminal.State));
        Assert.Equal(s_leased, world.Binding!.CareOfAddress);
        Assert.Single(world.Events("terminal.address_leased"));
    }

    [Fact]
    public void Where_no_server_answers_in_spite_of_the_M_flag_an_address_is_formed()
    {
        var world = new TerminalWorld();
        world.Tell(new LinkChanged(Wlan, true));
        world.Advertise(Wlan, First, managed: true);
        world.Run(TimeSpan.FromMilliseconds(500));
        Assert.Null(world.Terminal.CareOfAddress);
        world.Run(TimeSpan.FromSeconds(15));
        Assert.True(IPNetwork.Parse(First).Contains(world.Terminal.CareOfAddress!));
    }

    [Fact]
    public void On_another_link_with_the_M_flag_another_address_is_asked_for()
    {
        var world = new TerminalWorld();
        Serve(world, s_leased, s_elsewhere);
        world.Tell(new LinkChanged(Wlan, true));
        world.Advertise(Wlan, First, managed: true, autonomous: false);
        world.Run(TimeSpan.FromSeconds(8));
        world.Tell(new LinkChanged(Wlan, false));
        world.Tell(new LinkChanged(Wlan, true));
        world.Advertise(Wlan, Second, managed: true, autonomous: false);
        world.Run(TimeSpan.FromSeconds(8));

        Assert.Equal((s_elsewhere, TerminalState.Reg), (world.Terminal.CareOfAddress, world.Terminal.State));
        Assert.Equal(s_elsewhere, world.Binding!.CareOfAddress);
    }

    [Fact]
    public void A_leased_address_that_somebody_else_has_is_declined_and_another_asked_for()
    {
        var world = new TerminalWorld();
        Serve(world, s_leased, s_other);
        world.Tell(new LinkChanged(Wlan, true));
        world.Advertise(Wlan, First, managed: true, autonomous: false);
        for (var i = 0; i < 500 && world.Terminal.CareOfAddress is null; i++)
        {
            world.Run(TimeSpan.FromMilliseconds(10));
        }

        Assert.Equal(s_leased, world.Terminal.CareOfAddress);

        var group = IPAddress.Parse("ff02::1");
        var taken = new NeighborAdvertisement(NeighborAdvertisementFlags.Override, s_leased) { Options = NeighborDiscoveryOptions.Of(new LinkLayerAddressOption(true, new byte[] { 2, 0, 0, 0, 0, 0x55 })) };
        world.ToTerminal(Wlan, new MobileIpv6Packet { Source = s_leased, Destination = group, HopLimit = 255, Protocol = Wire.Ip.IpProtocol.Icmpv6, Payload = taken.ToArray(s_leased, group) }.ToArray());
        Assert.Null(world.Terminal.CareOfAddress);
        world.Run(TimeSpan.FromSeconds(10));

        Assert.Equal((s_other, TerminalState.Reg), (world.Terminal.CareOfAddress, world.Terminal.State));
        Assert.Single(world.Events("address.duplicate"));
    }

    /// <summary>Solicitations from the unspecified address: duplicate address detection (RFC 4862 5.4.2).</summary>
    private static int Tests(TerminalWorld world) => world.Effects.OfType<Sojourn.Engine.MobileIpv6.SendIpv6Packet>()
        .Count(s => s.Interface == Wlan && s.Packet.Span[6] == Wire.Ip.IpProtocol.Icmpv6 && s.Packet.Span[40] == (byte)Icmpv6MessageType.NeighborSolicitation && s.Packet.Span[8..24].IndexOfAnyExcept((byte)0) < 0);
}
