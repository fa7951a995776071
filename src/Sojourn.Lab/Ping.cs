using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;
using Sojourn.Lab.Capture;
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

    /// <summary>Sequence numbers of the replies it reported.</summary>
    internal IReadOnlySet<int> Taken => Sequences().Matches(Output).Select(m => int.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture)).ToHashSet();

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

    [GeneratedRegex(@"icmp_seq=(\d+) ttl=")]
    private static partial Regex Sequences();

    [GeneratedRegex(@"time=([0-9.]+) ms")]
    private static partial Regex Times();

    // Two spellings: the local error, and the ICMP message of a router.
    [GeneratedRegex(@"[Mm]essage too long, mtu[ =](\d+)|Frag needed and DF set \(mtu = (\d+)\)")]
    private static partial Regex Mtu();
}

/// <summary>The echoes of one ping as the node's links carried them.</summary>
/// <param name="destination">Who was pinged.</param>
/// <param name="sent">Echo requests that ping says it sent.</param>
internal sealed class EchoRecord(IPAddress destination, int sent)
{
    private readonly Dictionary<(int Identifier, int Sequence), long> _requests = [], _replies = [];

    public bool AllAnswered => _requests.Count(r => r.Key.Identifier == Identifier && _replies.ContainsKey(r.Key)) >= sent;

    private int Identifier => _requests.Count == 0 ? -1 : _requests.MaxBy(r => r.Value).Key.Identifier;

    /// <summary>Takes frames of the node's links.</summary>
    public void Read(IEnumerable<CapturedFrame> frames)
    {
        foreach (var frame in frames.Where(f => !f.Lost))
        {
            if (Ipv4Packet.Of(frame) is not { IcmpType: 0 or 8 } packet)
            {
                continue;
            }

            if (packet.IcmpType == 8 && packet.Destination.Equals(destination))
            {
                _requests.TryAdd((packet.EchoIdentifier, packet.EchoSequence), frame.Time);
            }
            else if (packet.IcmpType == 0 && packet.Source.Equals(destination))
            {
                _replies.TryAdd((packet.EchoIdentifier, packet.EchoSequence), frame.Time);
            }
        }
    }

    /// <summary>Replies to the latest ping that came in time and later than all those it took: what it did not wait for. One lost on its way is followed by others.</summary>
    /// <param name="taken">Sequence numbers of the replies that ping reported.</param>
    /// <param name="within">How long after the request a reply counts.</param>
    public int Behind(IReadOnlySet<int> taken, TimeSpan within)
    {
        var answered = _requests.Where(r => r.Key.Identifier == Identifier && _replies.ContainsKey(r.Key)).Select(r => (r.Key.Sequence, Sent: r.Value, Replied: _replies[r.Key])).ToList();
        var last = answered.Where(a => taken.Contains(a.Sequence)).Select(a => a.Replied).DefaultIfEmpty(long.MaxValue).Max();
        return answered.Count(a => !taken.Contains(a.Sequence) && a.Replied > last && (a.Replied - a.Sent) / 100 <= within.Ticks);
    }
}
