using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.Tests.MobileIpv6;
using Sojourn.Engine.Tests.Terminal;
using Sojourn.Engine.TerminalControl;
using Sojourn.Engine.Tests.TerminalControl;
using Sojourn.Engine.Translation;
using Sojourn.Fuzz;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using Xunit.Abstractions;

namespace Sojourn.Engine.Tests.Hostile;

/// <summary>
/// Spoiled packets by the million (NC28): a terminal gets half of them from its links and half from applications; home agent and correspondent get
/// a tenth each. No crash, every packet accounted for, tables within their bounds. <c>SOJOURN_HOSTILE_PACKETS</c> says how many.
/// </summary>
public sealed class HostilePacketTests(ITestOutputHelper output)
{
    /// <summary>Packets that one terminal gets: a storm takes it out of its states, and the next one stands in all of them again.</summary>
    private const int PerTerminal = 10_000;

    /// <summary>Time passes, and the home agent answers what it is asked.</summary>
    private static readonly TimeSpan s_step = TimeSpan.FromMilliseconds(20);

    private static readonly Func<TerminalWorld>[] s_terminals =
    [
        () => GuestStackTests.Registered(),
        () => GuestStackTests.Registered(o => o with { Scenarios = [10010, 10011], NameServers = [IPAddress.Parse("2001:db8:7::53")] }),
        () => GuestStackTests.Registered(o => o with { Scenarios = [10010, 10011], Translation = new TranslationOptions { Ipv4Pool = IPNetwork.Parse("198.18.0.0/28") } }),
        () => GuestStackTests.Registered(o => o with { DataPolicy = [new DataPolicyEntry(IPNetwork.Parse("::/0"), DataTreatment.Protect)] }),
        () => GuestStackTests.Registered(o => o with { DataPolicy = [new DataPolicyEntry(IPNetwork.Parse("2001:db8:c::/64"), DataTreatment.Discard)] }),
        () => Routing(GuestStackTests.Registered(o => o with { RouteOptimisation = [IPNetwork.Parse("::/0")], ProtectHomeTests = false })),
        () => GuestStackTests.Laboratory(10000),
        () => GuestStackTests.Laboratory(10001),
    ];

    /// <summary>Counters of spec terminal 4.9 that a home agent's packet path raises beside its own.</summary>
    private static readonly string[] s_named = [HomeTunnel.ReverseTunnelBad, GuestCounters.NoAssociationIn, GuestCounters.IpsecFailed, GuestCounters.PolicyMismatch, GuestCounters.NestLimit];

    [Fact]
    [Trait("Row", "TM-NC28")]
    public void A_terminal_survives_a_million_spoiled_packets_on_both_sides_and_accounts_for_each()
    {
        var storm = new Storm(seed: 28);
        for (long number = 0; number < Storm.Count;)
        {
            var world = s_terminals[number / PerTerminal % s_terminals.Length]();
            using var terminal = world.Terminal;
            number = Rage(storm, world, number, Math.Min(Storm.Count, number + PerTerminal));
            Assert.InRange(terminal.Tables.Correspondents.Count, 0, GuestTables.MaximumCorrespondents);
            Assert.InRange(terminal.Tables.Tunnels.Count, 0, 1);
            Assert.InRange(terminal.BindingUpdateList.Count(), 0, 66);
        }

        output.WriteLine(storm.ToString());
        Assert.Equal(Storm.Count, storm.Packets);
        storm.AssertAllAccounted();

        // A storm that does not get past the first checks, or does not meet what the negative rows name, says nothing.
        Assert.Superset(
            new HashSet<string>(
            [
                GuestCounters.RoutingHeaderBad, GuestCounters.SequenceOrCookieBad, GuestCounters.NoAssociationIn, GuestCounters.IpsecFailed,
                GuestCounters.PolicyMismatch, GuestCounters.PolicyDiscards, GuestCounters.HomeAddressBad, GuestCounters.TunnelSourceBad, GuestCounters.ErrorIgnored,
                GuestCounters.MalformedMobility, GuestCounters.DestinationUnknown, GuestCounters.SourceUnknown, "xlat.pool4_empty", "xlat.pool6_empty", "delivered", "sent",
            ]),
            storm.Outcomes.Keys.ToHashSet());
    }

    /// <summary>One terminal for all of them: what a storm leaves behind stays within bounds, however long it lasts.</summary>
    [Fact]
    [Trait("Row", "TM-NC28")]
    public void A_storm_that_goes_on_takes_no_more_memory()
    {
        var storm = new Storm(seed: 29);
        var world = Routing(GuestStackTests.Registered(o => o with
        {
            Scenarios = [10010, 10011],
            RouteOptimisation = [IPNetwork.Parse("::/0")],
            ProtectHomeTests = false,
            Translation = new TranslationOptions { Ipv4Pool = IPNetwork.Parse("198.18.0.0/22") },
        }));
        using var terminal = world.Terminal;
        var part = Storm.Count / 20;
        var number = Rage(storm, world, 0, 3 * part);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        Rage(storm, world, number, 6 * part);
        var growth = GC.GetTotalMemory(forceFullCollection: true) - before;
        output.WriteLine($"{growth} octets more after {3 * part} packets more; {storm}");
        storm.AssertAllAccounted();
        Assert.InRange(growth, long.MinValue, 1 << 20);
        GC.KeepAlive(world);
    }

    [Fact]
    [Trait("Row", "TM-NC28")]
    public void A_correspondent_survives_spoiled_packets_and_accounts_for_each()
    {
        var storm = new Storm(seed: 30);
        var world = new CorrespondentNodeTests.World();
        var (home, careOf) = (IPAddress.Parse("2001:db8:1::100"), IPAddress.Parse("2001:db8:5a::7"));
        world.Bind(careOf);
        var own = world.Node.Address;
        var user = TerminalWorld.Udp(home, own, 5000, 5000, new byte[20]);
        var link = new Mutator(
        [
            user,
            new MobileIpv6Packet { Source = careOf, Destination = own, HomeAddress = home, Protocol = IpProtocol.Udp, Payload = user[40..] }.ToArray(),
            TerminalPackets.Message(new HomeTestInit(1), home, own, null),
            TerminalPackets.Message(new CareOfTestInit(1), careOf, own, null),
            .. new[] { BindingUpdateFlags.Acknowledge, BindingUpdateFlags.HomeRegistration }.Select(flags => new MobileIpv6Packet
            {
                Source = careOf,
                Destination = own,
                HomeAddress = home,
                Protocol = IpProtocol.Mobility,
                Payload = ReturnRoutability.Authorize(new BindingUpdate { SequenceNumber = 9, Flags = flags, Lifetime = 10, Options = MobilityOptions.Of(new NonceIndicesOption(1, 1)) }, new byte[20], careOf, own).ToArray(home, own),
            }.ToArray()),
            .. TerminalPackets.Fragments(user),
        ]);
        var host = new Mutator([TerminalWorld.Udp(own, home, 5000, 5000, new byte[20]), TerminalWorld.Udp(own, careOf, 5000, 5000, new byte[1450])]);
        for (long number = 0; number < Storm.Count / 10; number++)
        {
            var packet = storm.Make((number & 3) == 0 ? host : link, number);
            storm.Give(world.Node, (number & 3) == 0 ? new HostPacketSent(packet) : new Ipv6PacketReceived(packet, "eth0", TerminalWorld.RouterLink), packet, world.Now);
        }

        output.WriteLine(storm.ToString());
        storm.AssertAllAccounted();
        Assert.Equal(careOf, Assert.Single(world.Node.Bindings).CareOfAddress);
        Assert.Superset(new HashSet<string>(["mip6.cn.ignored.malformed", "mip6.cn.unknown_binding", "mip6.cn.ignored.unauthorized", "delivered"]), storm.Outcomes.Keys.ToHashSet());
    }

    [Fact]
    [Trait("Row", "TM-NC28")]
    public void A_home_agent_survives_spoiled_packets_and_accounts_for_each()
    {
        var storm = new Storm(seed: 31);
        var network = new HomeNetwork();
        var terminal = network.Registered();
        var (home, careOf) = (terminal.Home, terminal.CareOf);
        var user = TerminalWorld.Udp(home, HomeNetwork.Correspondent, 5000, 5000, new byte[20]);
        var mutator = new Mutator(
        [
            .. network.Sent.Where(p => HomeNetwork.Agent.Equals(new IPAddress(p.AsSpan(24, 16)))).DistinctBy(p => (p[6], p.Length)),
            HomeNetwork.Plain(HomeNetwork.Correspondent, home),
            HomeNetwork.Tunnelled(careOf, user),
            HomeNetwork.Tunnelled(careOf, HomeNetwork.Tunnelled(careOf, user)),
            terminal.Forge(home, careOf, 900, secured: false),
            TerminalPackets.Message(new HomeTestInit(1), home, HomeNetwork.Agent, null),
            .. TerminalPackets.Fragments(HomeNetwork.Tunnelled(careOf, user)),
        ]);
        for (long number = 0; number < Storm.Count / 10; number++)
        {
            var clear = number % 4 == 0;
            var packet = clear && Update(number) is { } update ? update : storm.Make(mutator, number);
            Forward(storm, network, packet);
        }

        output.WriteLine(storm.ToString());
        storm.AssertAllAccounted();
        Assert.InRange(network.Device.Bindings.Count(), 0, 1);
        Assert.InRange(network.Device.Terminals.Count(), 1, 1);
        Assert.Superset(new HashSet<string>([HomeTunnel.ReverseTunnelBad, "ipsec.sa_not_found_in", "ipsec.failed_in", "mh.malformed", "sent"]), storm.Outcomes.Keys.ToHashSet());

        // The terminal's own, which it may change its own binding with.
        byte[]? Update(long number)
        {
            var spoiled = storm.Make(new Mutator([terminal.Forge(home, careOf, 1, secured: false)]), number);
            return terminal.Esp.TryProtect(terminal.Association, spoiled, network.Now, out var wire) == DropReason.None ? wire : null;
        }
    }

    private static void Forward(Storm storm, HomeNetwork network, byte[] packet)
    {
        var before = network.Tunnel.Drops;
        var whole = network.Tunnel.Assemble(packet, network.Now).ToArray();
        if (whole.Length == 0)
        {
            storm.Book("fragment", packet);
            return;
        }

        var room = new byte[HomeTunnel.OutputFor(whole.Length)];
        var result = network.Tunnel.Forward(whole, room, network.Now);
        if (result.Verdict == HomeTunnelVerdict.Control)
        {
            var forEngine = result.ForEngine(whole, room).ToArray();
            storm.Give(network.Device, new Ipv6PacketReceived(forEngine), packet, network.Now);
            return;
        }

        var counted = network.Tunnel.Drops.Where(d => d.Value > before.GetValueOrDefault(d.Key)).Select(d => d.Key).ToList();
        storm.Book(result.Verdict == HomeTunnelVerdict.Send ? "sent" : counted.FirstOrDefault(s_named.Contains) ?? counted.FirstOrDefault(), packet);
    }

    private static TerminalWorld Routing(TerminalWorld world)
    {
        world.Send(world.Terminal.HomeAddress!, TerminalWorld.Peer);
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Single(world.Terminal.Tables.Correspondents);
        return world;
    }

    /// <summary>Every other packet comes from an application; of the others a third is spoiled inside ESP of the home agent.</summary>
    private static long Rage(Storm storm, TerminalWorld world, long from, long to)
    {
        var (link, host) = (new Mutator(TerminalPackets.FromLink(world)), new Mutator(TerminalPackets.FromHost(world)));
        var (signals, users) = (new Mutator(TerminalPackets.Signals(world)), new Mutator(TerminalPackets.Users(world)));
        var terminal = world.Terminal;
        for (var number = from; number < to; number++)
        {
            if (number % 100 == 99)
            {
                world.Run(s_step);
            }

            if ((number & 1) == 0)
            {
                var sent = storm.Make(host, number);
                storm.Give(terminal, new HostPacketSent(sent), sent, world.Now);
                continue;
            }

            var packet = (number % 6) switch
            {
                1 => world.Signalled(storm.Make(signals, number)),
                3 => world.Tunnelled(storm.Make(users, number)),
                _ => null,
            }
            ?? storm.Make(link, number);
            storm.Give(terminal, new Ipv6PacketReceived(packet, TerminalWorld.Wlan, TerminalWorld.RouterLink), packet, world.Now);
        }

        return to;
    }
}
