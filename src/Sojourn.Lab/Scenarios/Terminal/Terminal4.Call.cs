using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>TM-S10: a call whose audio is SRTP (RFC 3711) with keys in SDP (RFC 4568), over the move.</summary>
public sealed partial class Terminal4
{
    /// <summary>So many packets of 20 ms.</summary>
    private const int AudioPackets = 260;

    private const string Invite = "INVITE", Offered = "crypto:1 AES_CM_128_HMAC_SHA1_80 inline:";
    private static readonly (string Node, string Address, int Port)[] s_phones = [("mn", Home, 41000), ("cn", Correspondent, 42000)];

    private static readonly string[] s_callFields = ["sip.Method", "sip.Status-Code", "sdp.connection_info.address", "sdp.media_attr", "udp.srcport", "udp.dstport"];

    private readonly Dictionary<string, JsonElement> _heard = [];
    private readonly Dictionary<string, string> _keys = [];
    private string _callers = "";

    /// <summary>SIPp on either side for the signal, srtp.py for the audio.</summary>
    private sealed class OpenCall(Terminal4 scenario, Dictionary<string, ForeignProgram> audio, ForeignProgram answering, Task<CommandResult> calling) : IAsyncDisposable
    {
        /// <summary>Waits for both to hang up.</summary>
        public async Task EndAsync(CancellationToken cancellation)
        {
            var called = await calling;
            scenario._callers = called.ExitCode == 0 ? "completed" : $"{called}: {called.Errors.Trim()}";
            await LabRun.UntilAsync(() => Task.FromResult(audio.Values.All(a => a.HasEnded)), TimeSpan.FromSeconds(10), cancellation);
            foreach (var (node, program) in audio.Where(a => a.Value.Said.StartsWith('{')))
            {
                scenario._heard[node] = JsonDocument.Parse(program.Said).RootElement.Clone();
            }
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var program in audio.Values.Append(answering))
            {
                await program.DisposeAsync();
            }
        }
    }

    private async Task<OpenCall> CallAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("A correspondent calls the host; the audio is SRTP");
        var audio = new Dictionary<string, ForeignProgram>();
        foreach (var (node, _, _) in s_phones)
        {
            // SIP without TLS shows them to everybody on the way (RFC 4568 8.3), so they are none of the run's secrets.
            _keys[node] = Convert.ToBase64String(RandomNumberGenerator.GetBytes(30));
            audio[node] = await ForeignProgram.StartAsync(
                run, node, ["/usr/bin/python3", Path.Combine(ScenarioDefinition.Root, Name, "srtp.py"), LogOf(run, node), AudioPackets.ToString(CultureInfo.InvariantCulture), .. node == "cn" ? (string[])["spoil"] : []],
                ForeignProgram.Lives(), cancellation);
        }

        var answering = await ForeignProgram.StartAsync(run, "mn", SippOf(run, s_phones[0], "callee.xml"), ForeignProgram.Listens(run, "mn", 5060, cancellation), cancellation, s_dumb);
        return new OpenCall(this, audio, answering, run.ExecuteAsync("cn", ["env", "TERM=dumb", .. SippOf(run, s_phones[1], "caller.xml"), $"[{Home}]:5060"], cancellation));
    }

    private static readonly Dictionary<string, string> s_dumb = new() { ["TERM"] = "dumb" };

    private string[] SippOf(LabRun run, (string Node, string Address, int Port) phone, string script) =>
    [
        "sipp", "-sf", Path.Combine(ScenarioDefinition.Root, Name, script), "-i", phone.Address, "-mi", phone.Address, "-p", "5060", "-m", "1", "-nostdin", "-trace_msg", "-message_file", LogOf(run, phone.Node),
        "-key", "audio", phone.Port.ToString(CultureInfo.InvariantCulture), "-key", "srtp_key", _keys[phone.Node],
    ];

    private static string LogOf(LabRun run, string node) => Path.Combine(run.Directory.FolderOf(node), "sip.log");

    private void Call(RowBook rows)
    {
        var offer = On("access-1").FirstOrDefault(p => p.Sender == "ar1" && p.Is("sip.Method", Invite));
        var answer = On("access-1").FirstOrDefault(p => p.Sender == "mn" && p.Is("sip.Status-Code", "200"));
        rows.Check("TM-S10", "INVITE and 200 come through the tunnel, each with a key for audio in SDP, the answer with the home address",
            Stack(offer).StartsWith("ipv6 ipv6 udp sip", StringComparison.Ordinal) && offer!.Is("sdp.media_attr", Offered + _keys["cn"]) && answer?.Is("sdp.media_attr", Offered + _keys["mn"]) == true && answer.Is("sdp.connection_info.address", Home),
            $"{Stack(offer)}, {Stack(answer)}, {answer?.First("sdp.connection_info.address")}");
        var spoiled = Numbers("cn", "spoiled");
        foreach (var (node, _, _) in s_phones)
        {
            // The first ones may come before the program has read what it waits for.
            var (heard, refused) = (_heard.GetValueOrDefault(node), Numbers(node, "refused"));
            rows.Check("TM-S10", $"{node} opens the other end's audio until after the move, and refuses nothing of it{(node == "mn" ? " but packets whose tag was made wrong" : "")}",
                _callers == "completed" && (node == "mn" ? refused.Length > 0 && refused.All(spoiled.Contains) : _heard.ContainsKey("cn") && refused.Length == 0)
                && heard.GetProperty("other").GetInt32() == 0 && heard.GetProperty("received").GetInt32() > AudioPackets / 2 && heard.GetProperty("last").GetInt32() == AudioPackets - 1,
                $"{heard}; SIPp {_callers}");
        }

        var (up, down) = (Carried("access-2", "mn", up: true), Carried("access-2", "ar2", up: false));
        var (formerUp, formerDown) = (Carried("access-1", "mn", up: true), Carried("access-1", "ar1", up: false));
        rows.Check("TM-S10", "the audio is in the mobile tunnel both ways, on the link before the move and on the one after it", Math.Min(Math.Min(up, down), Math.Min(formerUp, formerDown)) > 25,
            string.Create(CultureInfo.InvariantCulture, $"before {formerUp} up and {formerDown} down, after {up} and {down}"));
        foreach (var (node, heard) in _heard)
        {
            rows.Measure($"SRTP packets of 20 ms that {node} lost at the move", heard.GetProperty("last").GetInt32() - heard.GetProperty("first").GetInt32() + 1 - heard.GetProperty("received").GetInt32() - Numbers(node, "refused").Length, "packets");
        }

        int[] Numbers(string node, string what) => _heard.TryGetValue(node, out var said) ? [.. said.GetProperty(what).EnumerateArray().Select(e => e.GetInt32())] : [];
        int Carried(string link, string sender, bool up) => On(link).Count(p => p.Sender == sender && p.Is(up ? "udp.srcport" : "udp.dstport", "41000") && Stack(p).StartsWith("ipv6 ipv6 udp", StringComparison.Ordinal)
            && Ends(p) is var ends && ends.EndsWith(up ? $"{Home} > {Correspondent}" : $"{Correspondent} > {Home}", StringComparison.Ordinal));
    }
}
