using System.Collections.Concurrent;
using System.Globalization;
using Sojourn.VirtualInternet.Net;
using Xunit;
using Xunit.Abstractions;

namespace Sojourn.VirtualInternet;

/// <summary>One run that a seed decides. <see cref="Run"/> throws <see cref="InvariantViolation"/> when something happens that must not.</summary>
internal interface ISeededRun
{
    void Run();

    /// <summary>Faults, who takes part, and everything that was said.</summary>
    string Story { get; }
}

/// <summary>Runs of many seeds, and of one with everything written down.</summary>
internal static class Seeds
{
    private const int MostStories = 3;

    public static int Setting(string name, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : otherwise;

    /// <summary>Fails with the stories of the seeds that break an invariant.</summary>
    public static void AssertAllHold(ITestOutputHelper output, int first, int count, Func<int, bool, ISeededRun> make, string replay)
    {
        var failures = new ConcurrentBag<(int Seed, string Story)>();
        Parallel.ForEach(
            Partitioner.Create(Enumerable.Range(first, count), EnumerablePartitionerOptions.NoBuffering),
            new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount },
            (seed, loop) =>
            {
                if (Try(seed, make, replay) is { } story)
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

    /// <summary>A run with everything written down.</summary>
    /// <param name="replay">How to run it again.</param>
    public static (bool Passed, string Story) Replay(int seed, Func<int, bool, ISeededRun> make, string replay)
    {
        var run = make(seed, true);
        var verdict = "all invariants held";
        var passed = true;
        try
        {
            run.Run();
        }
        catch (InvariantViolation violation)
        {
            verdict = violation.InnerException is { } inner ? $"{violation.Message}\n{inner}" : violation.Message;
            passed = false;
        }

        return (passed, $"seed {seed}, {run.Story}\n{verdict}\n\nreplay: SOJOURN_SEED={seed} dotnet test tests/Sojourn.VirtualInternet --filter {replay}");
    }

    /// <summary>Null when all went well, else what did not and how it came to it.</summary>
    private static string? Try(int seed, Func<int, bool, ISeededRun> make, string replay)
    {
        try
        {
            make(seed, false).Run();
            return null;
        }
        catch (InvariantViolation)
        {
            return Replay(seed, make, replay).Story;
        }
    }
}
