using Sojourn.Engine.Ipsec;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>What is counted for accounting belongs to the user's profile, whatever becomes of its paths.</summary>
public sealed class PathUsageTests
{
    private static readonly PathMeter Meter = new("s", 7, 0, 0, SendsUp: true);

    [Fact]
    public void Packets_are_counted_by_direction_with_their_inner_length_and_handed_over_once()
    {
        var (bench, length) = Carried();
        var (session, usage) = Assert.Single(bench.A.TakeUsage());
        Assert.Equal(("s", 7u, new UsageFigures(2, 2 * length, 1, length)), (session, usage.ProfileNumber, usage.Figures));
        Assert.Empty(bench.A.TakeUsage());
        Assert.Equal(2, Assert.Single(bench.A.Report(bench.Now)).PacketsOut);
    }

    [Fact]
    public void At_a_home_agent_what_is_sent_goes_to_the_user()
    {
        var (bench, length) = Carried(Meter with { SendsUp = false });
        Assert.Equal(new UsageFigures(1, length, 2, 2 * length), Assert.Single(bench.A.TakeUsage()).Usage.Figures);
    }

    [Fact]
    public void Nothing_is_lost_when_a_path_is_replaced_renamed_or_removed()
    {
        var (bench, length) = Carried();
        var path = IpsecBench.Path("u1", 17) with { Meter = Meter };
        var renamed = path with { Id = path.Id with { Leg = "other" } };
        Assert.Null(bench.A.Change([renamed], [path.Id], bench.Now).Refusal);
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost(host: 17)));
        Assert.Null(bench.A.Change([], [renamed.Id], bench.Now).Refusal);
        Assert.Equal(new UsageFigures(3, 3 * length, 1, length), Assert.Single(bench.A.TakeUsage()).Usage.Figures);
        Assert.Empty(bench.A.TakeUsage());
    }

    [Fact]
    public void Another_service_class_is_another_count_and_the_latest_revision_is_told()
    {
        var (bench, length) = Carried();
        var path = IpsecBench.Path("u1", 17);
        Assert.Null(bench.A.Change([path with { Meter = Meter with { UpTos = 0xb8 }, Origin = path.Origin with { Revision = 9 } }], [], bench.Now).Refusal);
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost(host: 17)));
        var rows = bench.A.TakeUsage().Select(u => u.Usage).OrderBy(u => u.UpTos).ToList();
        Assert.Equal([(0, 0UL, 2UL), (0xb8, 9UL, 1UL)], rows.Select(r => ((int)r.UpTos, r.Revision, r.Figures.PacketsUp)));
        Assert.Equal(length, rows[1].Figures.OctetsUp);
    }

    [Fact]
    public void A_path_without_a_meter_and_a_packet_that_is_dropped_count_for_nobody()
    {
        var bench = new IpsecBench();
        bench.Install(IpsecBench.Path("u1", 17));
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, bench.FromHost(host: 17)));
        Assert.Null(bench.A.Change([IpsecBench.Path("u1", 17) with { Meter = Meter, State = PathState.InboundOnly }], [], bench.Now).Refusal);
        Assert.NotEqual(OutboundVerdict.Send, bench.Send(bench.A, bench.FromHost(host: 17)).Result.Verdict);
        Assert.Empty(bench.A.TakeUsage());
    }

    /// <summary>Two packets out and one in at side A.</summary>
    private static (IpsecBench Bench, ulong Length) Carried(PathMeter? meter = null)
    {
        var bench = new IpsecBench();
        var path = IpsecBench.Path("u1", 17);
        bench.Install(path);
        Assert.Null(bench.A.Change([path with { Meter = meter ?? Meter }], [], bench.Now).Refusal);
        var packet = bench.FromHost(host: 17);
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, packet));
        bench.ReceiveOne(bench.B, bench.SendOne(bench.A, packet));
        bench.ReceiveOne(bench.A, bench.SendOne(bench.B, bench.ToHost(host: 17)));
        return (bench, (ulong)packet.Length);
    }
}
