using System.Globalization;
using System.Reflection;
using Sojourn.Wire;
using Xunit;
using Xunit.Abstractions;

namespace Sojourn.Fuzz.Tests;

/// <summary>
/// Two million inputs for every codec, fewer for records of the node's own store. <c>SOJOURN_FUZZ_INPUTS</c> says how many, <c>SOJOURN_FUZZ_SEED</c> where to begin (1).
/// A failure prints the input and the command that shows it again.
/// </summary>
public sealed class FuzzTests(ITestOutputHelper output)
{
    private static readonly string[] Readers = ["TryParse", "TryRead", "TryMeasure", "TryFind", "TryCheck", "Validate"];

    public static TheoryData<string> Targets() => [.. FuzzTargets.All.Select(t => t.Name)];

    [Theory]
    [MemberData(nameof(Targets))]
    public void No_input_breaks_a_codec(string name)
    {
        var target = FuzzTargets.All.Single(t => t.Name == name);
        var outcome = FuzzRun.Run(target, (ulong)Setting("SOJOURN_FUZZ_SEED", 1), Setting("SOJOURN_FUZZ_INPUTS", 2_000_000) / target.OneOf);
        output.WriteLine(outcome.ToString());

        // A codec that takes nothing, or everything, is not being tested.
        Assert.InRange(outcome.Accepted, outcome.Inputs / 1000, outcome.Inputs - (outcome.Inputs / 1000));
    }

    [Fact]
    public void Every_reader_of_octets_has_a_target()
    {
        var covered = FuzzTargets.All.SelectMany(t => t.Covers).ToHashSet();
        var readers = typeof(WireError).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.Instance | BindingFlags.DeclaredOnly))
            .Where(m => Readers.Any(r => m.Name.StartsWith(r, StringComparison.Ordinal)) && m.GetParameters().FirstOrDefault()?.ParameterType is { } first
                && (first == typeof(ReadOnlySpan<byte>) || first == typeof(ReadOnlyMemory<byte>)))
            .Select(m => $"{m.DeclaringType!.Name}.{m.Name}{(m.IsGenericMethod ? "`1" : "")}")
            .Distinct()
            .ToList();
        Assert.True(readers.Count > 15, "the search finds too few readers to be right");
        Assert.Empty(readers.Except(covered));
    }

    [Theory]
    [InlineData("throws", "IndexOutOfRangeException")]
    [InlineData("allocates", "octets allocated")]
    [InlineData("forgets", "does not survive")]
    [InlineData("takes long", "times in a row")]
    public void A_broken_codec_is_found_and_shown_again(string how, string why)
    {
        var broken = new FuzzTarget("broken", [], [[1, 2, 3, 4]], input => how switch
        {
            "throws" when input.Length is > 0 and < 3 => input.Span.ToArray()[input.Length] == 0,
            "takes long" when input.Length > 3 && input.Span[3] == 0xFF => Slow(),
            "allocates" when input.Length > 3 && input.Span[3] == 0xFF => new byte[100_000].Length > 0,
            _ => true,
        })
        {
            Holds = _ => FuzzTargets.Require(how != "forgets", "what was read does not survive being written"),
        };
        var failure = Assert.Throws<FuzzFailure>(() => FuzzRun.Run(broken, 1, 100_000));
        Assert.Contains(why, failure.Message, StringComparison.Ordinal);
        var input = Convert.FromHexString(failure.Message[(failure.Message.LastIndexOf(' ') + 1)..]);
        Assert.Contains(why, Assert.Throws<FuzzFailure>(() => FuzzRun.Once(broken, input)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_input_follows_from_seed_and_number_alone()
    {
        var corpus = Corpus.Diameter;
        var first = Enumerable.Range(0, 500).Select(i => Convert.ToHexString(new Mutator(corpus).Make(3, (ulong)i).Span)).ToList();
        var one = new Mutator(corpus);
        Assert.Equal(first, Enumerable.Range(0, 500).Select(i => Convert.ToHexString(one.Make(3, (ulong)i).Span)));
        Assert.True(first.Distinct().Count() > 450);
    }

    private static bool Slow()
    {
        Thread.Sleep(1_010);
        return true;
    }

    private static long Setting(string name, long otherwise) =>
        long.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : otherwise;
}
