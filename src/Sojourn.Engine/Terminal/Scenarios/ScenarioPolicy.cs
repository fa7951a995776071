// Reading: two numbers exclude each other when the same message would start both, or when one has applications see a virtual IPv4
// address and the other the home address. Making a number valid takes those that it excludes out, so that a switch is one command.
using Sojourn.Engine.MobileIpv6;

namespace Sojourn.Engine.Terminal.Scenarios;

/// <summary>A row of the scenario policy table 220.</summary>
public sealed record ScenarioEntry(int Number, string Substance, bool Valid);

/// <summary>Part 21: which communication methods are valid, switchable while the terminal runs (spec terminal 3.2, TM-P10).</summary>
public sealed class ScenarioPolicy
{
    private readonly SortedDictionary<int, ScenarioProgram> _programs = [];
    private readonly HashSet<int> _valid = [];

    /// <exception cref="ArgumentException">One of <paramref name="valid"/> has no program, or two exclude each other.</exception>
    public ScenarioPolicy(IEnumerable<ScenarioProgram> programs, IEnumerable<int> valid)
    {
        foreach (var program in programs)
        {
            Register(program);
        }

        foreach (var number in valid)
        {
            if (!_programs.TryGetValue(number, out var wanted) || _valid.Any(other => Excludes(wanted, _programs[other])))
            {
                throw new ArgumentException($"{number} has no program, or excludes another that is valid", nameof(valid));
            }

            _valid.Add(number);
        }
    }

    /// <summary>The programs of this product.</summary>
    public static IReadOnlyList<ScenarioProgram> Programs { get; } =
        [new TranslationProgram(), new TunnelProgram(), new ProtectedTranslationProgram(), new TranslatedRouteProgram(), new ProtectedTunnelProgram(), new RouteProgram(),
            new AnchorProgram(AnchorMode.Tunnelled), new AnchorProgram(AnchorMode.DirectUpdate), new AnchorProgram(AnchorMode.Direct)];

    public IReadOnlyList<ScenarioEntry> Entries => [.. _programs.Values.Select(p => new ScenarioEntry(p.Number, p.Substance, _valid.Contains(p.Number)))];

    /// <summary>Adds a program under its number, not valid yet.</summary>
    /// <exception cref="ArgumentException">The number is taken.</exception>
    public void Register(ScenarioProgram program) => _programs.Add(program.Number, program);

    /// <summary>Sets the status 223 of a number. False: there is no program of that number.</summary>
    public bool TrySet(int number, bool valid)
    {
        if (!_programs.TryGetValue(number, out var program))
        {
            return false;
        }

        _valid.Remove(number);
        if (valid)
        {
            _valid.RemoveWhere(other => Excludes(program, _programs[other]));
            _valid.Add(number);
        }

        return true;
    }

    /// <summary>Rules R2 to R4: the number for a message; null when none is valid.</summary>
    public int? NumberFor(ScenarioTrigger trigger)
    {
        foreach (var number in _valid)
        {
            if (_programs[number].Trigger == trigger)
            {
                return number;
            }
        }

        return null;
    }

    /// <summary>The program of a number, if it is valid.</summary>
    public ScenarioProgram? FindValid(int number) => _valid.Contains(number) ? _programs[number] : null;

    /// <summary>The first two of these numbers that exclude each other, or one that there is no program for; null = they may be valid together.</summary>
    public static (int One, int? Other)? Conflict(IReadOnlyList<int> numbers)
    {
        var known = Programs.ToDictionary(p => p.Number);
        for (var i = 0; i < numbers.Count; i++)
        {
            if (!known.TryGetValue(numbers[i], out var program))
            {
                return (numbers[i], null);
            }

            for (var j = 0; j < i; j++)
            {
                if (Excludes(program, known[numbers[j]]))
                {
                    return (numbers[j], numbers[i]);
                }
            }
        }

        return null;
    }

    private static bool Excludes(ScenarioProgram one, ScenarioProgram other) =>
        one.Trigger == other.Trigger || (one.Addressing != HostAddressing.Untouched && other.Addressing != HostAddressing.Untouched && one.Addressing != other.Addressing);
}
