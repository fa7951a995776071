using System.Globalization;
using Sojourn.Lab.Capture;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>Headers of packets, written as the requirement writes its layouts (spec terminal 3.9): <c>IP6(HA&gt;CoA) ESP IP6(CN&gt;HoA) P</c>.</summary>
/// <param name="names">Short names of addresses.</param>
internal sealed class Layouts(IReadOnlyDictionary<string, string> names)
{
    /// <summary>Fields of tshark that a layout is made of.</summary>
    public static readonly string[] Fields = ["frame.len", "mip6.bu.a_flag", "mip6.bu.h_flag", "mip6.acoa.acoa", "mip6.be.haddr", "mip6.be.status", "mip6.ni.hni", "mip6.bad.auth", "frame.comment", "udp.dstport", "tcp.srcport", "icmpv6.echo.sequence_number", "ah.spi", "ah.sequence"];

    /// <summary>From the outermost IPv6 header on; what stands behind the last header that belongs to the way is <c>P</c>.</summary>
    public string Of(DissectedPacket? packet)
    {
        if (packet is null)
        {
            return "no packet";
        }

        var ends = new Queue<string>(packet.Of("ipv6.src").Zip(packet.Of("ipv6.dst"), (source, destination) => $"IP6({Name(source)}>{Name(destination)})"));
        var text = new List<string>();
        foreach (var protocol in packet.Protocols.SkipWhile(p => p != "ipv6"))
        {
            switch (protocol)
            {
                case "ipv6":
                    text.Add(ends.Count > 0 ? ends.Dequeue() : "IP6(?)");
                    break;
                case "ipv6.dstopts":
                    text.Add($"DO{{{Name(packet.First("ipv6.opt.mipv6.home_address") ?? "?")}}}");
                    break;
                case "ipv6.routing":
                    text.Add($"RH2{{{Name(packet.First("ipv6.routing.mipv6.home_address") ?? "?")}}}");
                    break;
                case "ah":
                    text.Add("AH");
                    break;
                case "esp":
                    text.Add("ESP");
                    break;
                case "mipv6":
                    return string.Join(' ', [.. text, Message(packet)]);
                default:
                    return string.Join(' ', [.. text, "P"]);
            }
        }

        return string.Join(' ', text);
    }

    /// <summary>How often each layout occurs.</summary>
    public string Tally(IEnumerable<DissectedPacket> packets)
    {
        var counted = packets.GroupBy(Of).OrderByDescending(g => g.Count()).Select(g => string.Create(CultureInfo.InvariantCulture, $"{g.Count()} × {g.Key}")).ToList();
        return counted.Count == 0 ? "no packet" : string.Join("; ", counted);
    }

    /// <summary>Octets from the outermost IPv6 header on.</summary>
    public static int Length(DissectedPacket? packet) => int.TryParse(packet?.First("frame.len"), NumberStyles.None, CultureInfo.InvariantCulture, out var length) ? length - 14 : 0;

    private string Name(string address) => names.GetValueOrDefault(address, address);

    private static string Message(DissectedPacket packet) => packet.First("mip6.mhtype") switch
    {
        "1" => "HoTI",
        "2" => "CoTI",
        "3" => "HoT",
        "4" => "CoT",
        "5" => "BU",
        "6" => "BA",
        "7" => "BE",
        var other => $"MH{other}",
    };
}
