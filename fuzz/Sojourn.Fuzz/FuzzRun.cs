using System.Diagnostics;
using System.Globalization;

namespace Sojourn.Fuzz;

/// <summary>What a run of a target came to.</summary>
internal sealed record FuzzOutcome(string Target, long Inputs, long Accepted, long MostAllocated, TimeSpan Time)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Target,-24} {Inputs,10} inputs, {Accepted * 100.0 / Math.Max(1, Inputs),5:F1} % accepted, at most {MostAllocated,6} octets allocated, {Inputs / Math.Max(0.001, Time.TotalSeconds) / 1000,7:F0} k/s");
}

/// <summary>Feeds a target with inputs and holds it to its promises.</summary>
internal static class FuzzRun
{
    /// <summary>One input may take this long. Garbage collections and a busy machine take time too, but not of the same input each time.</summary>
    private static readonly TimeSpan TimeLimit = TimeSpan.FromSeconds(1);

    private const int Trials = 6;

    /// <summary>Runs <paramref name="count"/> inputs on all processors.</summary>
    /// <exception cref="FuzzFailure">The first promise broken, with the command that shows it again.</exception>
    public static FuzzOutcome Run(FuzzTarget target, ulong seed, long count)
    {
        var started = Stopwatch.GetTimestamp();
        var threads = Environment.ProcessorCount;
        var parts = new (long Accepted, long Most)[threads];
        var failures = new Exception?[threads];
        var workers = Enumerable.Range(0, threads).Select(part => new Thread(() =>
        {
            try
            {
                parts[part] = Part(target, seed, part, count, threads, failures);
            }
            catch (FuzzFailure failure)
            {
                failures[part] = failure;
            }
        })).ToList();
        workers.ForEach(w => w.Start());
        workers.ForEach(w => w.Join());
        if (failures.FirstOrDefault(f => f is not null) is { } first)
        {
            throw first;
        }

        return new FuzzOutcome(target.Name, count, parts.Sum(p => p.Accepted), parts.Max(p => p.Most), Stopwatch.GetElapsedTime(started));
    }

    /// <summary>One input, as given.</summary>
    /// <exception cref="FuzzFailure">A promise is broken.</exception>
    public static bool Once(FuzzTarget target, ReadOnlyMemory<byte> input) => Once(target, input, input.Length, out _);

    private static (long Accepted, long Most) Part(FuzzTarget target, ulong seed, int part, long count, int threads, Exception?[] failures)
    {
        var mutator = new Mutator(target.Corpus);
        long accepted = 0;
        long most = 0;

        // What is set up at the first use is not the input's doing.
        foreach (var valid in target.Corpus)
        {
            target.Decode(valid);
        }

        for (var iteration = (long)part; iteration < count; iteration += threads)
        {
            var input = mutator.Make(seed, (ulong)iteration);
            if (target.Mend is { } mend && mutator.Coin())
            {
                mend(input);
            }

            try
            {
                accepted += Once(target, input, input.Length, out var allocated) ? 1 : 0;
                most = Math.Max(most, allocated);
            }
            catch (FuzzFailure failure)
            {
                throw new FuzzFailure(string.Create(CultureInfo.InvariantCulture,
                    $"{target.Name}, seed {seed}, input {iteration}: {failure.Message}\nshow it again: dotnet run --project fuzz/Sojourn.Fuzz -c Release -- --target {target.Name} --input {Convert.ToHexStringLower(input.Span)}"), failure.InnerException);
            }

            if ((iteration & 0xFFF) == 0 && Array.Exists(failures, f => f is not null))
            {
                break;
            }
        }

        return (accepted, most);
    }

    private static bool Once(FuzzTarget target, ReadOnlyMemory<byte> input, int length, out long allocated)
    {
        bool accepted;
        TimeSpan took;
        var before = GC.GetAllocatedBytesForCurrentThread();
        var started = Stopwatch.GetTimestamp();
        try
        {
            accepted = target.Decode(input);
            took = Stopwatch.GetElapsedTime(started);
        }
        catch (Exception e) when (e is not FuzzFailure)
        {
            throw new FuzzFailure($"{e.GetType().Name}: {e.Message}", e);
        }

        allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        var limit = target.Allowance + ((long)target.PerOctet * length);
        if (allocated > limit)
        {
            throw new FuzzFailure(string.Create(CultureInfo.InvariantCulture, $"{allocated} octets allocated for an input of {length}, {limit} allowed"));
        }

        for (var trial = 1; took > TimeLimit; trial++)
        {
            if (trial == Trials)
            {
                throw new FuzzFailure($"took {took} or more, {Trials} times in a row");
            }

            started = Stopwatch.GetTimestamp();
            target.Decode(input);
            var again = Stopwatch.GetElapsedTime(started);
            took = again < took ? again : took;
        }

        if (accepted)
        {
            target.Holds?.Invoke(input);
        }

        return accepted;
    }
}
