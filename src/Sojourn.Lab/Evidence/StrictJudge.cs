using Sojourn.Lab.Nodes;

namespace Sojourn.Lab.Evidence;

/// <summary>
/// tshark as an independent judge of every captured packet: nothing malformed, no expert error, no wrong checksum, no ESP
/// that the exported keys do not open. Present where tshark is installed.
/// </summary>
public static class StrictJudge
{
    private const string Fault =
        "_ws.malformed || _ws.short || _ws.unreassembled || _ws.expert.severity >= 8388608 || ip.checksum.status == 0 || udp.checksum.status == 0 || tcp.checksum.status == 0 || icmp.checksum.status == 0";

    // Of a dummy packet (RFC 4303 2.6) tshark 4.0 shows the opened octets and not the trailer, having nothing to read protocol 59
    // with. Two octets of padding end a dummy of the AEAD suites, six one of CBC.
    private const string ClosedEsp = " || (esp && !esp.pad_len && !(esp.contained_data && (esp.decrypted_data[-4:4] == 01:02:02:3b || esp.decrypted_data[-4:4] == 05:06:06:3b)))";

    // tshark 4.0 reads the long-format key generation nonces (RFC 3957) as short ones and loses its step in what follows;
    // the lab walks those messages itself (MobileIpView.IsWhole).
    private const string OutOfStep = "mip.ext.type == 40 || mip.ext.type == 41 || mip.ext.type == 42 || mip.ext.type == 43";

    // Zero has two forms in one's complement (RFC 1071 2); a kernel that changes a checksum instead of computing it anew may send the
    // other one, which every receiver takes and tshark calls an error.
    private const string OtherZero =
        "tcp.checksum == 0xffff && tcp.checksum_calculated == 0x0000 && !(_ws.malformed || _ws.short || ip.checksum.status == 0 || udp.checksum.status == 0 || icmp.checksum.status == 0)";

    // What else tshark would only guess, by the looks of octets on ports that say nothing: what programs carry there is theirs, and a
    // guess at it finds errors by chance.
    private static readonly string[] s_spokenHere = ["tls", "dtls", "http", "json", "dns", "sip", "rtp", "rtcp"];

    /// <summary>A long capture takes tshark seconds on a machine of its own.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(5);

    private static readonly Lazy<Task<string[]>> s_noGuesses = new(NoGuessesAsync);

    public static bool IsAvailable => LabCommand.Find("tshark") is not null;

    /// <summary>Options that open TLS and ESP with the keys of an evidence folder.</summary>
    /// <param name="evidence">Evidence folder.</param>
    /// <param name="openEsp">False leaves the keys of ESP out.</param>
    public static IReadOnlyList<string> KeyOptions(string evidence, bool openEsp = true)
    {
        // tshark's guess for Remote Desktop takes the first octets of a Diameter message inside TLS for its own.
        var options = new List<string>
        {
            "-o", "tls.keylog_file:" + Path.Combine(evidence, "keys", "tls_keys.log"), "-d", "tls.port==5658,diameter", "-d", "tcp.port==4433,tls", "-d", "tls.port==4433,data", "-d", "udp.port==7000-7299,rtp", "--disable-protocol", "rdpmt", "-o", "esp.enable_encryption_decode:TRUE",
        };
        var keys = Path.Combine(evidence, "keys", "esp_sa");
        if (openEsp && File.Exists(keys))
        {
            foreach (var line in File.ReadLines(keys).Where(l => l.StartsWith("\"IPv", StringComparison.Ordinal)).Distinct())
            {
                options.AddRange(["-o", "uat:esp_sa:" + line]);
            }
        }

        var exchanges = Path.Combine(evidence, "keys", "ikev2_decryption_table");
        if (File.Exists(exchanges))
        {
            foreach (var line in File.ReadLines(exchanges).Where(l => !l.StartsWith('#')).Distinct())
            {
                options.AddRange(["-o", "uat:ikev2_decryption_table:" + line]);
            }
        }

        return options;
    }

    /// <summary>How many packets of a capture a display filter matches, opened with the keys of an evidence folder.</summary>
    public static async Task<int> CountAsync(string capture, string evidence, string filter, CancellationToken cancellation)
    {
        var result = await LabCommand.RunAsync([LabCommand.Find("tshark")!, "-n", "-r", capture, .. KeyOptions(evidence), "-Y", filter, "-T", "fields", "-e", "frame.number"], cancellation);
        return result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length;
    }

    /// <summary>Faults found in a capture, one a line; empty when there are none.</summary>
    /// <param name="capture">File.</param>
    /// <param name="evidence">Evidence folder with the keys.</param>
    /// <param name="openEsp">False judges ESP without opening it.</param>
    /// <param name="except">Display filter of packets the scenario itself damaged; null = none.</param>
    /// <param name="cancellation">Stops tshark.</param>
    public static async Task<IReadOnlyList<string>> FaultsAsync(string capture, string evidence, bool openEsp, string? except, CancellationToken cancellation)
    {
        var result = await LabCommand.RunAsync(
            [
                LabCommand.Find("tshark")!, "-n", "-r", capture, .. KeyOptions(evidence, openEsp), .. await s_noGuesses.Value,
                "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE",
                "-Y", $"({Fault}{(openEsp ? ClosedEsp : "")}) && !({OutOfStep}) && !({OtherZero}){(except is null ? "" : $" && !({except})")}",
                "-T", "fields", "-e", "frame.number", "-e", "_ws.col.Protocol", "-e", "_ws.expert.message", "-e", "_ws.col.Info",
            ],
            cancellation, s_patience);
        return result.ExitCode == 0
            ? [.. result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => $"{Path.GetFileNameWithoutExtension(capture)} frame {l.Replace('\t', ' ')}")]
            : [$"tshark failed on {capture}: {result.Errors.Trim().Split('\n').LastOrDefault()}"];
    }

    private static async Task<string[]> NoGuessesAsync()
    {
        var result = await LabCommand.RunAsync([LabCommand.Find("tshark")!, "-G", "heuristic-decodes"], CancellationToken.None);
        return
        [
            .. result.Output.Split('\n').Select(line => line.Split('\t')).Where(fields => fields is ["tcp" or "udp", _, "T", ..]).Select(fields => fields[1])
                .Except(s_spokenHere).SelectMany(name => new[] { "--disable-protocol", name }),
        ];
    }
}
