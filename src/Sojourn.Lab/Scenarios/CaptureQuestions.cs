using System.Globalization;
using System.Net;
using Sojourn.Engine;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>Questions several scenarios ask the captures.</summary>
internal static class CaptureQuestions
{
    public static SeenProtection Seen(this SecurityType type) => type switch
    {
        SecurityType.Ah => SeenProtection.Ah,
        SecurityType.Esp => SeenProtection.Esp,
        _ => SeenProtection.Encapsulation,
    };

    public static string Name(this SeenProtection protection) => protection switch
    {
        SeenProtection.Ah => "AH (protocol 51)",
        SeenProtection.Esp => "ESP (protocol 50)",
        SeenProtection.Encapsulation => "IP-in-IP (protocol 4)",
        _ => "clear",
    };

    public static IEnumerable<T> During<T>(this IEnumerable<T> packets, long from, long to, Func<T, long> time) => packets.Where(p => time(p) >= from && time(p) <= to);

    public static IEnumerable<Sighting> During(this IEnumerable<Sighting> packets, PingResult ping) => packets.Where(p => p.Time >= ping.From && p.Time <= ping.To);

    public static IEnumerable<Signal> During(this IEnumerable<Signal> signals, long from, long to) => signals.Where(s => s.Time >= from && s.Time <= to);

    /// <summary>
    /// Signals without binding messages that were sent again after a second in which no answer arrived (NV9.9), and the answers to those. On a slow machine
    /// that happens.
    /// </summary>
    /// <param name="signals">Of one node, in order of time.</param>
    public static List<Signal> WithoutRepetitions(this IEnumerable<Signal> signals)
    {
        var all = signals.ToList();
        var said = new List<Signal>();
        var before = new Dictionary<(string, string, string), Signal>();
        var repeated = new HashSet<ulong>();
        foreach (var signal in all)
        {
            var key = (signal.Name, signal.From, signal.To);
            var last = before.GetValueOrDefault(key);
            before[key] = signal;
            var answered = all.Any(a => a.Name == "BA" && a.From == signal.To && a.To == signal.From && a.Arrived < signal.Time);
            if (signal.Name is "BU" or "BR" && last is not null && !answered && signal.Time - last.Time > 900_000_000)
            {
                repeated.Add(signal.MobileIp!.Identification);
            }
            else if (signal.Name != "BA" || last is null || !(repeated.Contains(signal.MobileIp!.Identification) || repeated.Contains(last.MobileIp!.Identification)))
            {
                said.Add(signal);
            }
        }

        return said;
    }

    /// <summary>Packets a host sent to another, whatever is around them.</summary>
    public static IEnumerable<Sighting> Hosts(this IEnumerable<Sighting> packets, IPAddress source, IPAddress destination) =>
        packets.Where(p => p.Host is { } host && host.Source.Equals(source) && host.Destination.Equals(destination));

    /// <summary>Packets of either direction between two hosts that anybody on the link could read.</summary>
    public static IReadOnlyList<Sighting> Readable(this IEnumerable<Sighting> packets, IPAddress a, IPAddress b) =>
        [.. packets.Where(p => p.Protection == SeenProtection.None && (p.Between(a, b) || p.Between(b, a)))];

    /// <summary>VPN or IPsec or IKE traffic: what an end host must never see.</summary>
    public static IReadOnlyList<Sighting> VpnTraffic(this IEnumerable<Sighting> packets) =>
        [.. packets.Where(p => p.Packet.Protocol is 4 or 47 or 50 or 51 || (p.Packet.IsUdp && (IsVpnPort(p.Packet.SourcePort) || IsVpnPort(p.Packet.DestinationPort))))];

    /// <summary>The way of one echo through the lab: each hop with its protection.</summary>
    public static string Trace(this CaptureSet captures, PingResult ping, IPAddress source, IPAddress destination, int type)
    {
        var first = captures.Packets.During(ping).Hosts(source, destination).FirstOrDefault(p => p.Host!.IcmpType == type);
        if (first is null)
        {
            return "nothing";
        }

        var hops = captures.Packets.During(ping).Hosts(source, destination)
            .Where(p => p.Host!.IcmpType == type && p.Host.EchoSequence == first.Host!.EchoSequence && p.Host.EchoIdentifier == first.Host.EchoIdentifier)
            .OrderBy(p => p.Time)
            .Where(p => captures.Topology.Node(p.SenderNode).Role != LabNode.RouterRole)
            .Select(p => string.Create(CultureInfo.InvariantCulture, $"{p.SenderNode} -{(p.Protection == SeenProtection.None ? "clear" : p.Protection.ToString().ToUpperInvariant())}-> {(p.Protection == SeenProtection.None ? p.ReceiverNode : captures.Topology.Owner(p.Packet.Destination)?.Name ?? p.ReceiverNode)}"));
        return string.Join(", ", hops);
    }

    /// <summary>How many, and the first as an example.</summary>
    public static string Count(this IReadOnlyList<Sighting> packets, string what) =>
        packets.Count == 0 ? $"no {what}" : string.Create(CultureInfo.InvariantCulture, $"{packets.Count} {what}, first on {packets[0].Link}: {packets[0].Packet}");

    private static bool IsVpnPort(ushort port) => port is 500 or 4500;
}
