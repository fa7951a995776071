using System.Collections.Concurrent;
using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace Sojourn.VirtualInternet;

/// <summary>
/// Thousands of runs with faults from a seed each. <c>SOJOURN_SEEDS</c> says how many (5000), <c>SOJOURN_FIRST_SEED</c>
/// where to begin (1). A seed that fails says how to run it again.
/// </summary>
public sealed class SeededTests(ITestOutputHelper output)
{
    private const int MostStories = 3;

    [Fact]
    [Trait("Row", "NV9.8")]
    [Trait("Row", "M3")]
    [Trait("Row", "M5")]
    public void No_seed_breaks_an_invariant()
    {
        var first = Setting("SOJOURN_FIRST_SEED", 1);
        var count = Setting("SOJOURN_SEEDS", 5000);
        var failures = new ConcurrentBag<(int Seed, string Story)>();
        Parallel.ForEach(
            Partitioner.Create(Enumerable.Range(first, count), EnumerablePartitionerOptions.NoBuffering),
            new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount },
            (seed, loop) =>
            {
                if (SeededRun.Try(seed) is { } story)
                {
                    failures.Add((seed, story));
                    if (failures.Count >= MostStories)
                    {
                        loop.Stop();
                    }
                }
            });
        foreach (var (_, story) in failures.OrderBy(f => f.Seed).Take(MostStories))
        {
            output.WriteLine(story);
        }

        Assert.True(failures.IsEmpty, $"seeds that fail: {string.Join(", ", failures.Select(f => f.Seed).Order())}\n{failures.OrderBy(f => f.Story.Length).FirstOrDefault().Story}");
    }

    /// <summary>Runs <c>SOJOURN_SEED</c> (default 1) and writes down every message.</summary>
    [Fact]
    public void Replay()
    {
        var (passed, story) = SeededRun.Replay(Setting("SOJOURN_SEED", 1));
        output.WriteLine(story);
        Assert.True(passed, story);
    }

    [Fact]
    public void A_seed_runs_the_same_way_every_time() => Assert.Equal(SeededRun.Replay(12).Story, SeededRun.Replay(12).Story);

    private static int Setting(string name, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : otherwise;
}
