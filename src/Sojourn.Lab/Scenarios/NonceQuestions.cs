using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>Whether any association of a run used an initialisation vector twice (spec M3).</summary>
internal static class NonceQuestions
{
    public static void Judge(CaptureSet captures, RowBook rows, string id)
    {
        // A packet is on several links: it counts at its sender's own. Only SPIs that had one key in the run are compared.
        var single = captures.EspKeys.All.GroupBy(k => k.Spi).Where(g => g.Count() == 1).Select(g => g.Key).ToHashSet();
        var sent = captures.On(LinkKind.Core).Where(p => p.Protection == SeenProtection.Esp && single.Contains(p.Spi!.Value) && p.Frame.Comment is null && p.Packet.Source.Equals(OwnAddress(captures.Topology, p)))
            .Select(p => (p.Spi, p.Packet.Destination, Iv: BinaryPrimitives.ReadUInt64BigEndian(p.Packet.Payload.Span[8..]))).ToList();
        var repeated = sent.Count - sent.Distinct().Count();
        rows.Check(id, "no SPI, key and IV was used twice", repeated == 0, string.Create(CultureInfo.InvariantCulture, $"{sent.Count} ESP packets under {single.Count} SPIs, {repeated} repetitions"));
    }

    private static IPAddress? OwnAddress(LabTopology topology, Sighting packet) =>
        topology.Link(packet.Link).Ends.FirstOrDefault(e => e.Node == packet.SenderNode)?.Address;
}
