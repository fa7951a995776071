using Xunit;
using Xunit.Abstractions;

namespace Sojourn.VirtualInternet;

/// <summary>
/// Thousands of runs of the first system with faults from a seed each. <c>SOJOURN_SEEDS</c> says how many (5000), <c>SOJOURN_FIRST_SEED</c>
/// where to begin (1). A seed that fails says how to run it again.
/// </summary>
public sealed class SeededTests(ITestOutputHelper output)
{
    private const string Filter = "VirtualInternet.SeededTests.Replay";

    private static ISeededRun Run(int seed, bool trace) => new SeededRun(seed, trace);

    [Fact]
    [Trait("Row", "NV9.8")]
    [Trait("Row", "M3")]
    [Trait("Row", "M5")]
    public void No_seed_breaks_an_invariant() => Seeds.AssertAllHold(output, Seeds.Setting("SOJOURN_FIRST_SEED", 1), Seeds.Setting("SOJOURN_SEEDS", 5000), Run, Filter);

    /// <summary>Runs <c>SOJOURN_SEED</c> (default 1) and writes down every message.</summary>
    [Fact]
    public void Replay()
    {
        var (passed, story) = Seeds.Replay(Seeds.Setting("SOJOURN_SEED", 1), Run, Filter);
        output.WriteLine(story);
        Assert.True(passed, story);
    }

    [Fact]
    public void A_seed_runs_the_same_way_every_time() => Assert.Equal(Seeds.Replay(12, Run, Filter).Story, Seeds.Replay(12, Run, Filter).Story);
}
