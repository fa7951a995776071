using System.Net;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.Terminal.Scenarios;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>Table 220 and routine 60 by themselves.</summary>
public class ScenarioPolicyTests
{
    private static readonly IPAddress s_agent = IPAddress.Parse("2001:db8:1::1"), s_home = IPAddress.Parse("2001:db8:1::100"), s_careOf = IPAddress.Parse("2001:db8:5b::77"),
        s_former = IPAddress.Parse("2001:db8:5a::77"), s_peer = IPAddress.Parse("2001:db8:2::2");

    private static readonly DateTimeOffset s_now = DateTimeOffset.UnixEpoch;

    private static GuestTables Tables(bool pool = true) => new(a => a.Equals(s_careOf) || a.Equals(s_former), (_, _, _) => pool ? IPAddress.Parse("198.18.0.1") : null);

    private static byte[] Acknowledgement(IPAddress source, BindingStatus status = BindingStatus.Accepted, IPAddress? careOf = null) => new MobileIpv6Packet
    {
        Source = source,
        Destination = careOf ?? s_careOf,
        RoutingHomeAddress = s_home,
        Protocol = IpProtocol.Mobility,
        Payload = new BindingAcknowledgement { Status = status, SequenceNumber = 1, Lifetime = 10 }.ToArray(source, s_home),
    }.ToArray();

    private static byte[] Error() => new MobileIpv6Packet
    {
        Source = s_peer,
        Destination = s_careOf,
        Protocol = IpProtocol.Mobility,
        Payload = new BindingError(BindingErrorStatus.UnknownBinding, s_home).ToArray(s_peer, s_careOf),
    }.ToArray();

    private static ScenarioResult Run(int number, byte[] packet, GuestTables tables, IEnumerable<ScenarioProgram>? programs = null, params int[] valid) =>
        new ScenarioDispatcher(new ScenarioPolicy(programs ?? ScenarioPolicy.Programs, valid.Length > 0 ? valid : [number])).Handle(new ScenarioHeader(number, 25, packet), tables, s_now);

    private static int[] Valid(ScenarioPolicy policy) => [.. policy.Entries.Where(e => e.Valid).Select(e => e.Number)];

    [Fact]
    [Trait("Row", "TM-R2")]
    [Trait("Row", "TM-R3")]
    public void The_number_is_the_valid_one_of_whoever_answers()
    {
        var policy = new ScenarioPolicy(ScenarioPolicy.Programs, [10010, 10011]);

        Assert.Equal(10010, policy.NumberFor(new ScenarioTrigger(ControlPeer.HomeAgent)));
        Assert.Equal(10011, policy.NumberFor(new ScenarioTrigger(ControlPeer.Correspondent)));
        Assert.Null(policy.NumberFor(new ScenarioTrigger(ControlPeer.AnchorPoint, 1)));
        policy.TrySet(10010, false);
        Assert.Null(policy.NumberFor(new ScenarioTrigger(ControlPeer.HomeAgent)));
    }

    [Fact]
    public void What_a_number_excludes_is_not_valid_any_more()
    {
        var policy = new ScenarioPolicy(ScenarioPolicy.Programs, [10010, 10011]);

        Assert.True(policy.TrySet(10012, true));
        Assert.Equal([10012], Valid(policy));
        Assert.True(policy.TrySet(10013, true));
        Assert.Equal([10012, 10013], Valid(policy));
        Assert.False(policy.TrySet(10099, true));
        Assert.Equal((10010, 10012), ScenarioPolicy.Conflict([10010, 10012]));
        Assert.Equal((10000, 10010), ScenarioPolicy.Conflict([10000, 10010]));
        Assert.Null(ScenarioPolicy.Conflict([10012, 10013]));
        Assert.Throws<ArgumentException>(() => new ScenarioPolicy(ScenarioPolicy.Programs, [10010, 10013]));
    }

    [Fact]
    [Trait("Row", "TM-R10")]
    public void A_number_that_is_unknown_or_not_valid_changes_nothing()
    {
        foreach (var number in new[] { 10010, 10077 })
        {
            var tables = Tables();
            Assert.Equal(GuestCounters.ScenarioNotValid, Run(number, Acknowledgement(s_agent), tables, valid: 10012).Counter);
            Assert.Empty(tables.Tunnels);
            Assert.Null(tables.HostHome);
        }
    }

    [Theory]
    [InlineData(10000, true)]
    [InlineData(10001, false)]
    [InlineData(10010, true)]
    [InlineData(10012, false)]
    [Trait("Row", "TM-R12")]
    [Trait("Row", "TM-R13")]
    [Trait("Row", "TM-R15")]
    [Trait("Row", "TM-R16")]
    [Trait("Row", "TM-R17")]
    [Trait("Row", "TM-R21")]
    [Trait("Row", "TM-A-48")]
    public void An_acknowledgement_of_the_home_agent_sets_the_tunnel_and_what_the_host_sees(int number, bool translated)
    {
        var tables = Tables();

        Assert.True(Run(number, Acknowledgement(s_agent), tables).IsDone);

        Assert.Equal(new TunnelInformation(s_careOf, s_agent, s_home), Assert.Single(tables.Tunnels));
        Assert.Equal(translated ? null : s_home, tables.HostHome);
        Assert.Equal(translated ? IPAddress.Parse("198.18.0.1") : null, tables.HostVirtual);

        // A move changes the one record in place.
        Assert.True(Run(number, Acknowledgement(s_agent, careOf: s_former), tables).IsDone);
        Assert.Equal(s_former, Assert.Single(tables.Tunnels).CareOfAddress);
    }

    [Theory]
    [InlineData(10000, "62")]
    [InlineData(10001, "65")]
    [InlineData(10010, "R27")]
    [InlineData(10011, "R27")]
    [InlineData(10012, "R27")]
    [InlineData(10013, "R27")]
    [Trait("Row", "TM-R11")]
    [Trait("Row", "TM-R14")]
    [Trait("Row", "TM-R27")]
    [Trait("Row", "TM1.11")]
    [Trait("Row", "TM-A-5")]
    public void A_refused_binding_changes_nothing_in_any_scenario(int number, string step)
    {
        foreach (var status in new[] { 128, 129, 135, 174 })
        {
            var tables = Tables();
            tables.TrySetTunnel(s_agent, s_former, s_home);

            Assert.Equal(new ScenarioResult(GuestCounters.StatusRefused, step), Run(number, Acknowledgement(number is 10011 or 10013 ? s_peer : s_agent, (BindingStatus)status), tables));
            Assert.Equal(s_former, Assert.Single(tables.Tunnels).CareOfAddress);
            Assert.Empty(tables.Correspondents);
        }
    }

    [Theory]
    [InlineData(10000)]
    [InlineData(10001)]
    [InlineData(10010)]
    [InlineData(10012)]
    [Trait("Row", "TM1.11")]
    [Trait("Row", "TM2.11")]
    [Trait("Row", "TM3.13")]
    [Trait("Row", "TM4.10")]
    [Trait("Row", "TM-NC10")]
    [Trait("Row", "TM1.11")]
    public void A_tunnel_that_cannot_be_set_leaves_everything_as_it_was(int number)
    {
        var tables = Tables();
        tables.TrySetTunnel(s_agent, s_former, s_home);

        var result = Run(number, Acknowledgement(s_agent, careOf: IPAddress.Parse("2001:db8:5c::1")), tables);

        Assert.Equal(GuestCounters.TunnelSetFailed, result.Counter);
        Assert.Equal(s_former, Assert.Single(tables.Tunnels).CareOfAddress);
        Assert.Null(tables.HostHome);
        Assert.Null(tables.HostVirtual);
    }

    [Theory]
    [InlineData(10000)]
    [InlineData(10010)]
    [Trait("Row", "TM1.11")]
    [Trait("Row", "TM3.13")]
    [Trait("Row", "TM-NC11")]
    [Trait("Row", "TM-R26")]
    [Trait("Row", "TM1.11")]
    public void With_no_virtual_address_left_the_earlier_tunnel_comes_back(int number)
    {
        var tables = Tables(pool: false);
        tables.TrySetTunnel(s_agent, s_former, s_home);

        Assert.Equal(GuestCounters.TranslationFailed, Run(number, Acknowledgement(s_agent), tables).Counter);
        Assert.Equal(s_former, Assert.Single(tables.Tunnels).CareOfAddress);
    }

    [Theory]
    [InlineData(10011)]
    [InlineData(10013)]
    [Trait("Row", "TM-R18")]
    [Trait("Row", "TM-R19")]
    [Trait("Row", "TM-R20")]
    [Trait("Row", "TM-R22")]
    [Trait("Row", "TM-A-23")]
    public void A_correspondent_is_listed_by_its_acknowledgement_and_deleted_by_its_error(int number)
    {
        var tables = Tables();

        Assert.True(Run(number, Acknowledgement(s_peer), tables).IsDone);
        Assert.Equal(new CorrespondentEntry(s_peer, s_home, s_careOf, s_now + TimeSpan.FromSeconds(40)), tables.Find(s_peer, s_now));
        Assert.Null(tables.Find(s_peer, s_now + TimeSpan.FromSeconds(40)));
        Assert.Empty(tables.Tunnels);
        Assert.Equal(number == 10011, tables.HostVirtual is not null);

        tables.TrySetCorrespondent(s_agent, s_home, s_careOf, s_now + TimeSpan.FromSeconds(40));
        Assert.True(Run(number, Error(), tables).IsDone);
        Assert.Equal(s_agent, Assert.Single(tables.Correspondents).Peer);
    }

    [Fact]
    [Trait("Row", "TM-A-9")]
    [Trait("Row", "TM3.47")]
    public void Without_a_virtual_address_no_correspondent_is_listed()
    {
        var tables = Tables(pool: false);

        Assert.Equal(GuestCounters.TranslationFailed, Run(10011, Acknowledgement(s_peer), tables).Counter);
        Assert.Empty(tables.Correspondents);

        // Nor one more than the list takes.
        tables = Tables();
        for (var i = 1; i <= GuestTables.MaximumCorrespondents; i++)
        {
            Assert.True(tables.TrySetCorrespondent(IPAddress.Parse($"2001:db8:99::{i:x}"), s_home, s_careOf, s_now));
        }

        Assert.Equal(GuestCounters.BindingListFailed, Run(10011, Acknowledgement(s_peer), tables).Counter);
        Assert.Null(tables.Find(s_peer, s_now));
        Assert.Null(tables.HostVirtual);
    }

    [Theory]
    [InlineData(10011, "84")]
    [InlineData(10013, "93")]
    [Trait("Row", "TM3.47")]
    [Trait("Row", "TM4.10")]
    public void A_correspondent_that_cannot_be_listed_leaves_everything_as_it_was(int number, string step)
    {
        var tables = Tables();
        tables.TrySetCorrespondent(s_peer, s_home, s_former, s_now + TimeSpan.FromSeconds(40));

        Assert.Equal(new ScenarioResult(GuestCounters.BindingListFailed, step), Run(number, Acknowledgement(s_peer, careOf: IPAddress.Parse("2001:db8:5c::1")), tables));
        Assert.Equal(s_former, Assert.Single(tables.Correspondents).CareOfAddress);
        Assert.Null(tables.HostVirtual);
    }

    private sealed class SilentProgram() : ScenarioProgram(10100, "registers and keeps quiet", new ScenarioTrigger(ControlPeer.HomeAgent), HostAddressing.Untouched)
    {
        public override ScenarioResult Run(ControlMessage message, IScenarioGuest guest) =>
            guest.TrySetTunnel(message.Source, message.Destination, message.HomeAddress) ? ScenarioResult.Done : new ScenarioResult(GuestCounters.TunnelSetFailed, "1");
    }

    [Fact]
    [Trait("Row", "TM-C7")]
    [Trait("Row", "TM-AC42")]
    public void A_program_of_somebody_elses_runs_under_a_number_of_its_own()
    {
        var policy = new ScenarioPolicy(ScenarioPolicy.Programs, [10012, 10013]);
        var tables = Tables();

        policy.Register(new SilentProgram());
        Assert.True(policy.TrySet(10100, true));

        Assert.Equal([10013, 10100], Valid(policy));
        Assert.Equal(10100, policy.NumberFor(new ScenarioTrigger(ControlPeer.HomeAgent)));
        Assert.True(new ScenarioDispatcher(policy).Handle(new ScenarioHeader(10100, 25, Acknowledgement(s_agent)), tables, s_now).IsDone);
        Assert.Single(tables.Tunnels);
        Assert.Null(tables.HostHome);
    }
}
