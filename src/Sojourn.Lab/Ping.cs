using System.Globalization;
using System.Text.RegularExpressions;
using Sojourn.DataPath.Netlink;
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
/// <param name="Received">Replies that came to the node in time.</param>
/// <param name="RoundTrips">Milliseconds, in order of arrival.</param>
/// <param name="Output">Its own words.</param>
/// <param name="From">When it began, nanoseconds since 1970.</param>
/// <param name="To">When it had ended.</param>
public sealed partial record PingResult(int Sent, int Received, int Duplicates, IReadOnlyList<double> RoundTrips, int? MtuTold, string Output, long From, long To)
{
    /// <summary>Of the replies received, those that came when ping had already gone.</summary>
    public int Late { get; private init; }

    public bool AllArrived => Sent > 0 && Received == Sent;

    public double Median => RoundTrips.Count == 0 ? double.NaN : RoundTrips.Order().ElementAt(RoundTrips.Count / 2);

    public string Summary => Received == 0
        ? string.Create(CultureInfo.InvariantCulture, $"{Sent} sent, none came back")
        : string.Create(CultureInfo.InvariantCulture, $"{Sent} sent, {Received} received{(Late == 0 ? "" : $", {Late} of them when ping had gone")}, median {Median:F2} ms");

    internal PingResult With(int late) => late == 0 ? this : this with { Received = Received + late, Late = late };

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

/// <summary>
/// Replies to echo requests that came to a node, as its own system counts them (<c>/proc/net/snmp</c> and <c>snmp6</c>): also those
/// for a ping that has gone, and whatever the links carried them in.
/// </summary>
internal sealed class EchoReplies
{
    private readonly NetworkNamespace _space;
    private readonly string _file;
    private readonly Func<string, long> _count;
    private readonly long _before;

    /// <param name="space">Where the node is.</param>
    /// <param name="destination">Who is pinged: replies of its address family count.</param>
    public EchoReplies(NetworkNamespace space, string destination)
    {
        _space = space;
        (_file, _count) = destination.Contains(':', StringComparison.Ordinal) ? ("snmp6", InVersion6) : ("snmp", (Func<string, long>)InVersion4);
        _before = Count();
    }

    /// <summary>Since this object was made.</summary>
    public long Received => Count() - _before;

    private long Count() => _count(_space.Run(() => File.ReadAllText("/proc/thread-self/net/" + _file)));

    /// <summary>A line of names and a line of numbers for each protocol.</summary>
    private static long InVersion4(string text)
    {
        var lines = text.Split('\n').Where(l => l.StartsWith("Icmp:", StringComparison.Ordinal)).Select(l => l.Split(' ')).ToList();
        return long.Parse(lines[1][Array.IndexOf(lines[0], "InEchoReps")], CultureInfo.InvariantCulture);
    }

    /// <summary>A name and a number on each line.</summary>
    private static long InVersion6(string text) =>
        long.Parse(text.Split('\n').Single(l => l.StartsWith("Icmp6InEchoReplies ", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
}
