using System.Globalization;
using System.Net;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Capture;

/// <summary>A packet of a capture as tshark reads it.</summary>
/// <param name="Time">Nanoseconds since 1970.</param>
/// <param name="Sender">Node that put it on the link.</param>
public sealed record DissectedPacket(string Link, long Time, string Sender, IReadOnlyDictionary<string, IReadOnlyList<string>> Fields)
{
    /// <summary>Outermost first.</summary>
    public IReadOnlyList<string> Protocols => Of("frame.protocols") is [var stack, ..] ? stack.Split(':') : [];

    /// <summary>Every occurrence of a field, in the order of the packet; an association's keys and an exchange's keys have been used.</summary>
    public IReadOnlyList<string> Of(string field) => Fields.GetValueOrDefault(field, []);

    public string? First(string field) => Of(field) is [var first, ..] ? first : null;

    public bool Is(string field, string value) => Of(field).Contains(value);

    public bool Has(string protocol) => Protocols.Contains(protocol);

    /// <summary>Of the outermost header.</summary>
    public IPAddress? Source => First("ipv6.src") is { } text ? IPAddress.Parse(text) : null;

    public IPAddress? Destination => First("ipv6.dst") is { } text ? IPAddress.Parse(text) : null;

    public bool From(string address) => IPAddress.Parse(address).Equals(Source);

    public bool To(string address) => IPAddress.Parse(address).Equals(Destination);
}

/// <summary>Captures read by tshark with the exported keys: the independent reader for protocols that the lab has no reader of its own for.</summary>
public static class Dissection
{
    private const char Separator = '\t';

    /// <summary>Packets of one link in their order.</summary>
    /// <param name="evidence">Folder with captures and keys.</param>
    /// <param name="fields">Names of tshark's fields.</param>
    /// <exception cref="ScenarioException">tshark is not installed, or cannot read the capture.</exception>
    public static async Task<IReadOnlyList<DissectedPacket>> ReadAsync(string evidence, LabLink link, IReadOnlyList<string> fields, CancellationToken cancellation)
    {
        if (!StrictJudge.IsAvailable)
        {
            throw new ScenarioException("tshark is not installed (Debian package tshark)");
        }

        string[] all = ["frame.time_epoch", "frame.interface_id", "frame.protocols", "ipv6.src", "ipv6.dst", .. fields];
        var capture = Path.Combine(evidence, "captures", link.Name + ".pcapng");
        var result = await LabCommand.RunAsync(
            [
                LabCommand.Find("tshark")!, "-n", "-r", capture, .. StrictJudge.KeyOptions(evidence), "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-E", "aggregator=|",
                .. all.SelectMany(field => new[] { "-e", field }),
            ],
            cancellation);
        if (result.ExitCode != 0)
        {
            throw new ScenarioException($"tshark cannot read {capture}: {result.Errors.Trim().Split('\n').LastOrDefault()}");
        }

        var packets = new List<DissectedPacket>();
        foreach (var line in result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var values = line.Split(Separator);
            var read = all.Zip(values).Where(pair => pair.Second.Length > 0 && !IsQuoted(pair.First, values[2])).ToDictionary(pair => pair.First, pair => (IReadOnlyList<string>)pair.Second.Split('|'));
            var seconds = read["frame.time_epoch"][0].Split('.');
            var time = (long.Parse(seconds[0], CultureInfo.InvariantCulture) * 1_000_000_000) + long.Parse(seconds[1].PadRight(9, '0')[..9], CultureInfo.InvariantCulture);
            packets.Add(new DissectedPacket(link.Name, time, link.Ends[read["frame.interface_id"][0] == "0" ? 0 : 1].Node, read));
        }

        return packets;
    }

    /// <summary>A signalling message that an ICMPv6 error quotes has not been sent again.</summary>
    private static bool IsQuoted(string field, string protocols) =>
        field.StartsWith("mip6.", StringComparison.Ordinal) && protocols.IndexOf(":icmpv6:", StringComparison.Ordinal) is var error and >= 0
            && protocols.IndexOf("mipv6", error, StringComparison.Ordinal) >= 0;
}
