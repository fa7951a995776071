using System.Buffers.Binary;
using System.Diagnostics;
using Sojourn.Wire.MobileIpv4;
using Xunit;

namespace Sojourn.Wire.Tests.MobileIpv4;

/// <summary>An independent reader judges what the codec writes: tshark must call nothing malformed and see our values.</summary>
public class TsharkTests
{
    public sealed class TsharkFactAttribute : FactAttribute
    {
        public TsharkFactAttribute()
        {
            if (!(Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, "tshark"))))
            {
                Skip = "tshark is not installed";
            }
        }
    }

    [TsharkFact]
    [Trait("Row", "M1")]
    public void Tshark_finds_nothing_malformed_in_any_sample()
    {
        // tshark 4.0 takes 0, 40-43 and 127 for extensions with one octet of length and loses its way in them; it knows
        // message types 22 and 23 by name only and calls whatever follows malformed.
        var samples = MobileIpSamples.Messages
            .Where(sample => (byte)sample.Value.Message.Type is 1 or 3 or 4 or 7 or 15 || sample.Value.Message is BindingMessage)
            .Where(sample => !sample.Value.Message.Extensions.Any(e => e.Type is 0 or (>= 40 and <= 43) or 127))
            .ToArray();
        Assert.True(samples.Length > 25);
        var rows = Dissect([.. samples.Select(sample => Udp(sample.Value.Message.ToArray()))], "mip.type", "_ws.malformed", "_ws.expert.message");
        Assert.Equal(samples.Length, rows.Count);
        for (var i = 0; i < samples.Length; i++)
        {
            var (name, sample) = samples[i];
            // Binding messages are ours; tshark has no name for their type.
            var type = sample.Message is BindingMessage ? "" : ((byte)sample.Message.Type).ToString();
            Assert.Equal((name, type, ""), (name, rows[i][0].Split(',')[0], rows[i][1]));
            Assert.True(rows[i][2].Length == 0, $"{name}: {rows[i][2]}");
        }
    }

    [TsharkFact]
    [Trait("Row", "M1")]
    public void Tshark_reads_the_values_of_a_registration()
    {
        var request = MobileIpSamples.Request(new NaiExtension("alice@h.org"), ProjectExtensions.ServiceUpdateRequest(32473))
            .Authenticated(AuthenticationKind.MobileHome, 0x1234, 32, (_, authenticator) => authenticator.Fill(0x5A))
            .With(new ChallengeExtension(new byte[] { 1, 2, 3, 4 }))
            .Authenticated(AuthenticationKind.MobileAaa, 0x1000, 32, (_, authenticator) => authenticator.Fill(0xA5));
        var rows = Dissect([Udp(request.ToArray())], "mip.t", "mip.life", "mip.homeaddr", "mip.haaddr", "mip.coa", "mip.nai", "mip.ext.type", "mip.auth.spi", "mip.auth.auth", "mip.ext.nvse.vendor_id", "_ws.malformed");
        Assert.Equal(
            ["1", "1800", "10.1.0.7", "192.0.2.1", "198.51.100.9", "alice@h.org", "131,134,32,132,36", "0x00001234,0x00001000", $"{string.Concat(Enumerable.Repeat("5a", 32))},{string.Concat(Enumerable.Repeat("a5", 32))}", "32473", ""],
            rows[0]);
    }

    [TsharkFact]
    [Trait("Row", "M1")]
    public void Tshark_reads_the_values_of_an_agent_advertisement()
    {
        var rows = Dissect(
            [Ip(1, MobileIpSamples.Advertisements["agent advertisement"].Message.ToArray()), Ip(1, new AgentSolicitation().ToArray())],
            "icmp.type", "icmp.checksum.status", "icmp.mip.type", "icmp.mip.seq", "icmp.mip.life", "icmp.mip.coa", "icmp.mip.f", "icmp.mip.rt", "icmp.mip.prefixlength", "icmp.mip.challenge", "_ws.malformed");
        Assert.Equal(["9", "1", "16,19,24,0", "5", "1800", "198.51.100.9", "1", "1", "24", "deadbeef", ""], rows[0]);
        Assert.Equal(("10", "1", ""), (rows[1][0], rows[1][1], rows[1][10]));
    }

    private static List<string[]> Dissect(IReadOnlyList<byte[]> packets, params string[] fields)
    {
        var path = Path.Combine(Path.GetTempPath(), $"sojourn-mip4-{Guid.NewGuid():N}.pcap");
        try
        {
            File.WriteAllBytes(path, Pcap(packets));
            var start = new ProcessStartInfo("tshark") { RedirectStandardOutput = true, RedirectStandardError = true };
            foreach (var argument in (string[])["-n", "-r", path, "-o", "ip.check_checksum:TRUE", "-T", "fields", "-E", "separator=/t", .. fields.SelectMany(field => new[] { "-e", field })])
            {
                start.ArgumentList.Add(argument);
            }

            using var process = Process.Start(start)!;
            var errors = process.StandardError.ReadToEndAsync();
            var output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.True(process.ExitCode == 0, errors.Result);
            return [.. output.Split('\n')[..^1].Select(line => line.Split('\t'))];
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static byte[] Udp(byte[] payload)
    {
        var datagram = new byte[8 + payload.Length];
        BinaryPrimitives.WriteUInt16BigEndian(datagram, 434);
        BinaryPrimitives.WriteUInt16BigEndian(datagram.AsSpan(2), 434);
        BinaryPrimitives.WriteUInt16BigEndian(datagram.AsSpan(4), (ushort)datagram.Length);
        payload.CopyTo(datagram, 8);
        return Ip(17, datagram);
    }

    private static byte[] Ip(byte protocol, byte[] payload)
    {
        var packet = new byte[20 + payload.Length];
        packet[0] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(2), (ushort)packet.Length);
        packet[8] = 64;
        packet[9] = protocol;
        ((byte[])[198, 51, 100, 1]).CopyTo(packet, 12);
        ((byte[])[198, 51, 100, 2]).CopyTo(packet, 16);
        var sum = 0;
        for (var i = 0; i < 20; i += 2)
        {
            sum += BinaryPrimitives.ReadUInt16BigEndian(packet.AsSpan(i));
        }

        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(10), (ushort)~((sum & 0xFFFF) + (sum >> 16)));
        payload.CopyTo(packet, 20);
        return packet;
    }

    internal static byte[] Pcap(IEnumerable<byte[]> packets)
    {
        using var stream = new MemoryStream();
        using var writer = new BinaryWriter(stream);
        writer.Write(0xA1B2C3D4u);
        writer.Write((ushort)2);
        writer.Write((ushort)4);
        writer.Write(0);
        writer.Write(0);
        writer.Write(65535);
        writer.Write(101); // raw IP
        foreach (var packet in packets)
        {
            writer.Write(0);
            writer.Write(0);
            writer.Write(packet.Length);
            writer.Write(packet.Length);
            writer.Write(packet);
        }

        writer.Flush();
        return stream.ToArray();
    }
}
