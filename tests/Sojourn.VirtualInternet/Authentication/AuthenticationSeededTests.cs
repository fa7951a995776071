using Xunit;
using Xunit.Abstractions;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>
/// Hundreds of runs of the second system with faults from a seed each. <c>SOJOURN_TERMINAL_SEEDS</c> says how many (400),
/// <c>SOJOURN_FIRST_SEED</c> where to begin (1). A seed that fails says how to run it again.
/// </summary>
public sealed class AuthenticationSeededTests(ITestOutputHelper output)
{
    private const string Filter = "AuthenticationSeededTests.Replay";

    private static ISeededRun Run(int seed, bool trace) => new AuthenticationRun(seed, trace);

    [Fact]
    public void No_seed_breaks_an_invariant() => Seeds.AssertAllHold(output, Seeds.Setting("SOJOURN_FIRST_SEED", 1), Seeds.Setting("SOJOURN_TERMINAL_SEEDS", 400), Run, Filter);

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
