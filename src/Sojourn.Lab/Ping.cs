using System.Globalization;
using System.Text.RegularExpressions;
using Sojourn.Lab.Nodes;

namespace Sojourn.Lab;

/// <summary>How to ping.</summary>
public sealed record PingOptions(int Count = 5)
{
    public TimeSpan Interval { get; init; } = TimeSpan.FromMilliseconds(50);

    /// <summary>How long the last reply is waited for.</summary>
    public TimeSpan Wait { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>Octets of ICMP data; 1472 makes a packet of 1500.</summary>
    public int Size { get; init; } = 56;

    /// <summary>TOS octet, ECN bits included.</summary>
    public byte? TypeOfService { get; init; }

    /// <summary>True sets DF and never fragments, false clears DF; null = the system's way.</summary>
    public bool? DontFragment { get; init; }

    /// <summary>Source address.</summary>
    public string? From { get; init; }

    internal IEnumerable<string> Arguments
    {
        get
        {
            // -D prints times, -O reports what stays out, so that the result names lost sequence numbers.
            List<string> arguments = ["-n", "-D", "-O", "-c", Text(Count), "-i", Text(Interval.TotalSeconds), "-W", Text(Wait.TotalSeconds), "-s", Text(Size)];
            if (TypeOfService is { } tos)
            {
                arguments.AddRange(["-Q", Text(tos)]);
            }

            if (DontFragment is { } fixedSize)
            {
                arguments.AddRange(["-M", fixedSize ? "do" : "dont"]);
            }

            if (From is not null)
            {
                arguments.AddRange(["-I", From]);
            }

            return arguments;
        }
    }

    private static string Text(double number) => number.ToString(CultureInfo.InvariantCulture);
}

/// <summary>What an unmodified ping reported.</summary>
/// <param name="RoundTrips">Milliseconds, in order of arrival.</param>
/// <param name="Output">Its own words.</param>
/// <param name="From">When it began, nanoseconds since 1970.</param>
/// <param name="To">When it had ended.</param>
public sealed partial record PingResult(int Sent, int Received, int Duplicates, IReadOnlyList<double> RoundTrips, int? MtuTold, string Output, long From, long To)
{
    public bool AllArrived => Sent > 0 && Received == Sent;

    public double Median => RoundTrips.Count == 0 ? double.NaN : RoundTrips.Order().ElementAt(RoundTrips.Count / 2);

    public string Summary => Received == 0
        ? string.Create(CultureInfo.InvariantCulture, $"{Sent} sent, none came back")
        : string.Create(CultureInfo.InvariantCulture, $"{Sent} sent, {Received} received, median {Median:F2} ms");

    internal static PingResult Parse(CommandResult command, long from, long to)
    {
        var text = command.Output + command.Errors;
        var counts = Counts().Match(text);
        if (!counts.Success && text.Contains("unreachable", StringComparison.Ordinal))
        {
            // Without a route ping does not even begin to count.
            return new PingResult(0, 0, 0, [], null, text, from, to);
        }

        if (!counts.Success)
        {
            throw new Topology.ScenarioException($"ping did not report: {command.CommandLine}: {text.Trim()}");
        }

        return new PingResult(
            int.Parse(counts.Groups[1].Value, CultureInfo.InvariantCulture),
            int.Parse(counts.Groups[2].Value, CultureInfo.InvariantCulture),
            DuplicateCount().Match(text) is { Success: true } duplicates ? int.Parse(duplicates.Groups[1].Value, CultureInfo.InvariantCulture) : 0,
            [.. Times().Matches(text).Select(m => double.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture))],
            Mtu().Match(text) is { Success: true } mtu ? int.Parse(mtu.Groups[1].Value + mtu.Groups[2].Value, CultureInfo.InvariantCulture) : null,
            command.Output + command.Errors,
            from,
            to);
    }

    [GeneratedRegex(@"(\d+) packets transmitted, (\d+) received")]
    private static partial Regex Counts();

    [GeneratedRegex(@"\+(\d+) duplicates")]
    private static partial Regex DuplicateCount();

    [GeneratedRegex(@"time=([0-9.]+) ms")]
    private static partial Regex Times();

    // Two spellings: the local error, and the ICMP message of a router.
    [GeneratedRegex(@"[Mm]essage too long, mtu[ =](\d+)|Frag needed and DF set \(mtu = (\d+)\)")]
    private static partial Regex Mtu();
}
