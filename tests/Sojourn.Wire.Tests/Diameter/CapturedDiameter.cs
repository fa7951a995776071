using System.Buffers.Binary;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Wire.Tests.Diameter;

/// <summary>The Diameter messages of a capture of Ethernet, IPv4 and TCP in order; enough for a recording without loss.</summary>
internal static class CapturedDiameter
{
    // Block types of pcapng.
    private const uint SectionHeader = 0x0A0D0D0A;
    private const uint EnhancedPacket = 6;

    public static List<byte[]> Messages { get; } = Read(Path.Combine(AppContext.BaseDirectory, "Diameter", "Vectors", "diameter-amr-relay-dwr.pcap"));

    private static List<byte[]> Read(string file)
    {
        var messages = new List<byte[]>();
        var streams = new Dictionary<string, (uint Next, List<byte> Octets)>();
        var pcap = File.ReadAllBytes(file).AsSpan();
        Assert.Equal(SectionHeader, BinaryPrimitives.ReadUInt32LittleEndian(pcap));
        for (var at = 0; at < pcap.Length;)
        {
            var block = pcap.Slice(at, BinaryPrimitives.ReadInt32LittleEndian(pcap[(at + 4)..]));
            at += block.Length;
            if (BinaryPrimitives.ReadUInt32LittleEndian(block) != EnhancedPacket)
            {
                continue;
            }

            var ip = block.Slice(28 + 14, BinaryPrimitives.ReadInt32LittleEndian(block[20..]) - 14);
            if (ip[0] >> 4 != 4)
            {
                continue;
            }

            ip = ip[..BinaryPrimitives.ReadUInt16BigEndian(ip[2..])];
            var tcp = ip[((ip[0] & 15) * 4)..];
            var data = tcp[((tcp[12] >> 4) * 4)..];
            if (ip[9] != 6 || data.IsEmpty)
            {
                continue;
            }

            var key = $"{Convert.ToHexString(ip[12..20])}{Convert.ToHexString(tcp[..4])}";
            var sequence = BinaryPrimitives.ReadUInt32BigEndian(tcp[4..]);
            if (!streams.TryGetValue(key, out var stream))
            {
                stream = (sequence, []);
            }

            if (sequence == stream.Next)
            {
                stream.Octets.AddRange(data);
                stream.Next += (uint)data.Length;
            }

            while (DiameterHeader.TryMeasure(stream.Octets.ToArray(), DiameterLimits.Default, out var length, out _) && length > 0 && length <= stream.Octets.Count)
            {
                messages.Add([.. stream.Octets[..length]]);
                stream.Octets.RemoveRange(0, length);
            }

            streams[key] = stream;
        }

        Assert.All(streams.Values, s => Assert.Empty(s.Octets));
        return messages;
    }
}
