using System.Diagnostics;
using Xunit;

namespace Sojourn.Wire.Tests.MobileIpv6;

/// <summary>An independent reader judges what the codecs write.</summary>
public class TsharkTests
{
    [MobileIpv4.TsharkTests.TsharkFact]
    public void Tshark_finds_nothing_malformed_in_any_sample()
    {
        var names = MobileIpv6Samples.Mobility.Keys.Where(n => n != "unknown type").ToList();

        // tshark 4.0 takes all operations after the first for parts of that one.
        var icmp = MobileIpv6Samples.Icmp.Keys.Where(n => n is not ("unknown type" or "renumbering commands")).ToList();
        var rows = Dissect([.. names.Select(n => MobileIpv6Samples.Packet(n).ToArray()), .. icmp.Select(n => MobileIpv6Samples.IcmpPacket(n).ToArray())], "mip6.mhtype", "icmpv6.type", "icmpv6.checksum.status", "_ws.malformed");
        Assert.Equal(names.Count + icmp.Count, rows.Count);
        for (var i = 0; i < rows.Count; i++)
        {
            var name = i < names.Count ? names[i] : icmp[i - names.Count];
            Assert.True(rows[i][3].Length == 0, $"{name}: {rows[i][3]}");
            var type = i < names.Count ? ((byte)MobileIpv6Samples.Mobility[name].Type).ToString() : ((byte)MobileIpv6Samples.Icmp[name].Type).ToString();
            Assert.Equal((name, type), (name, (i < names.Count ? rows[i][0] : rows[i][1]).Split(',')[0]));
            Assert.True(i < names.Count || rows[i][2].Split(',')[0] == "1", $"{name}: checksum {rows[i][2]}");
        }
    }

    [MobileIpv4.TsharkTests.TsharkFact]
    [Trait("Row", "TA-M62")]
    [Trait("Row", "TA-M63")]
    public void Tshark_reads_the_values_of_update_and_acknowledgement()
    {
        var rows = Dissect([MobileIpv6Samples.Packet("update home").ToArray(), MobileIpv6Samples.Packet("acknowledgement").ToArray()],
            "mip6.bu.seqnr", "mip6.bu.a_flag", "mip6.bu.h_flag", "mip6.bu.k_flag", "mip6.bu.lifetime", "mip6.acoa.acoa", "mip6.ba.status", "mip6.ba.k_flag", "mip6.ba.seqnr", "mip6.ba.lifetime", "mip6.bra.interval");
        Assert.Equal(["65534", "1", "1", "1", "450", "2001:db8:f:2::77"], rows[0][..6]);
        Assert.Equal(["1", "1", "65534", "400", "200"], rows[1][6..11]);
    }

    [MobileIpv4.TsharkTests.TsharkFact]
    public void Tshark_reads_what_is_asked_about_a_name_and_answered()
    {
        var rows = Dissect([MobileIpv6Samples.Packet("update with a name").ToArray(), MobileIpv6Samples.Packet("acknowledgement with a name").ToArray()], "mip6.dnsu.status", "mip6.dnsu.flag.r", "mip6.dnsu.mn_id");
        Assert.Equal([("0", "1"), ("129", "0")], rows.Select(r => (r[0], r[1])));

        // tshark 4.0 takes type and length off the length once more and shows two octets too few.
        Assert.All(rows, r => Assert.Equal(Convert.ToHexStringLower("mn1.home.examp"u8), r[2]));
    }

    private static List<string[]> Dissect(IReadOnlyList<byte[]> packets, params string[] fields)
    {
        var path = Path.Combine(Path.GetTempPath(), $"sojourn-mip6-{Guid.NewGuid():N}.pcap");
        try
        {
            File.WriteAllBytes(path, MobileIpv4.TsharkTests.Pcap(packets));
            var start = new ProcessStartInfo("tshark") { RedirectStandardOutput = true, RedirectStandardError = true };
            foreach (var argument in (string[])["-n", "-r", path, "-T", "fields", "-E", "separator=/t", .. fields.SelectMany(field => new[] { "-e", field })])
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
}
