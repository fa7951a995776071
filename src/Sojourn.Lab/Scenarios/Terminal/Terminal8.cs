using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Scenarios.Authentication;
using Sojourn.Lab.Topology;
using Sojourn.Roles.Diameter;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>TM8: TLS inside TLS through the gateway before the correspondent's network (spec terminal 5.8, embodiment 8).</summary>
public sealed partial class Terminal8 : TerminalScenario
{
    private const string Name1 = "mn.home.example", HomeAgentName = "ha1.home.example", GatewayName = "gw.home.example", CorrespondentName = "cn.home.example", AuthorityName = "ca.home.example";
    private const string Authority = "2001:db8:3::2", HomeAgent = "2001:db8:a::1", Home = "2001:db8:a:1::71", Gateway = "2001:db8:5::2", Correspondent = "2001:db8:6::2";
    private const string GatewayPort = "4433", GatewayEnd = "[2001:db8:5::2]:4433", CorrespondentEnd = "[2001:db8:6::2]:443";
    private const int DownloadOctets = 4_000_000, DownloadRate = 800_000;

    private static readonly byte[] s_page = [.. "What only the correspondent and the application can read.\n"u8];
    private static readonly TimeSpan s_outOfReach = TimeSpan.FromMilliseconds(100);

    private readonly Dictionary<string, Transfer> _transfers = [];
    private readonly Dictionary<string, JsonElement> _shown = [];
    private IReadOnlyList<string> _failures = [];
    private string _oldTlsSaid = "", _falseCertificateSaid = "";
    private long _oldTls, _falseCertificate, _gatewayStarted, _established, _used;
    private long _forwarded, _foreign;

    /// <param name="Moved">When the terminal reached the other link in its midst; 0 = no move.</param>
    /// <param name="Exit">Of curl; 0 = done.</param>
    /// <param name="Report">Status, result of verifying the certificate, octets.</param>
    /// <param name="Whole">What came is what the server has.</param>
    private sealed record Transfer(long From, long Moved, long To, int Exit, string Report, bool Whole);

    public override string Name => "terminal/8";

    protected override IReadOnlyList<string> Fields =>
    [
        .. base.Fields, "tcp.stream", "tcp.srcport", "tcp.dstport", "tcp.len", "tls.handshake.type", "tls.handshake.comp_method", "tls.handshake.extension.type", "tls.handshake.extensions.supported_version",
        "tls.record.content_type", "tls.record.opaque_type", "tls.alert_message.desc",
    ];

    /// <summary>
    /// Also the access routers' own errors about a care-of address that was left: the kernel's checksum is wrong where it cuts the quoted
    /// segment. And the outer session on the home agent's link, which it crosses twice, in the tunnel and out of it: tshark takes that for one stream.
    /// And what TCP sends again in other pieces after a move. A link that a session comes to by a move may see it from the middle of a record on,
    /// which tshark takes for the start of one; the gateway's link sees all of them whole.
    /// </summary>
    public override string Damaged(string link) => $"frame.comment || (icmpv6.type == 1 && icmpv6.code == 3) || _ws.expert.message contains \"overlaps old data\"" + link switch
    {
        "inner-ha" => $" || tcp.port == {GatewayPort}",
        _ when link.StartsWith("access-", StringComparison.Ordinal) || link.StartsWith("core-ar", StringComparison.Ordinal) => " || _ws.expert.message contains \"TLSCiphertext length\"",
        _ => "",
    };

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        if (LabCommand.Find("curl") is null || LabCommand.Find("openssl") is null)
        {
            throw new ScenarioException("this scenario needs curl and openssl (Debian packages of these names)");
        }

        var served = await PrepareAsync(run, cancellation);
        await using var first = await RouterAdvertiser.StartAsync(run, "ar1", "acc0", "2001:db8:f1::/64", managed: false, cancellation);
        await using var second = await RouterAdvertiser.StartAsync(run, "ar2", "acc0", "2001:db8:f2::/64", managed: false, cancellation);
        await using var server = await TlsServer.StartAsync(run, "cn", CorrespondentEnd, At(run, "cn", "certificate.pem"), At(run, "cn", "key.pem"), served, ["-WWW", "-tls1_3", "-quiet"], cancellation);
        await MeetImpostorsAsync(run, cancellation);
        await UseAsync(run, cancellation);
        await MoveAsync(run, "home address", "access-2", cancellation);

        run.Progress.Step("The terminal is told to bind the session to its care-of address");
        Change(run, "mn", "terminal: { tls-gateway: { binds: care-of-address } }");
        await run.Node("mn").StopAsync();
        await run.Node("mn").StartAsync(cancellation);
        await ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(30), cancellation);
        await EstablishedAsync(run, cancellation);
        await MoveAsync(run, "care-of address", "access-1", cancellation);
        _forwarded = await CounterAsync(run, "gw", "tls.carrier.forwarded", cancellation);
        _foreign = await CounterAsync(run, "gw", "tls.carrier.foreign", cancellation);
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) => [new LadderChapter("Outer and inner handshake", new Ladder(["mn", "gw", "cn"], [.. Steps()]))];

    /// <summary>Authority, certificates, home agent, and what the correspondent serves.</summary>
    /// <returns>The folder that is served.</returns>
    private async Task<string> PrepareAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The operator makes authority, home agent, and certificates of gateway and correspondent; a card is written");
        var database = await MakeAuthorityAsync(run, cancellation);
        await IssueAsync(run, database, "ca", AuthorityName, Authority, cancellation);
        await IssueAsync(run, database, "gw", GatewayName, Gateway, cancellation);
        await IssueAsync(run, database, "cn", CorrespondentName, Correspondent, cancellation);
        await WriteCardAsync(run, database, "mn", Name1, "mn", cancellation);
        using (var other = new LabCertificateAuthority("Another CA", TimeSpan.FromDays(1)))
        {
            other.Write(run.Directory.FolderOf("impostor"), "false", GatewayName);
            other.WriteAuthority(run.Directory.FolderOf("impostor"));
        }

        await run.Node("ca").StartAsync(cancellation);
        await EnrolServerAsync(run, database, "ha", HomeAgentName, "home-agent", $"http://[{Authority}]:8080", HomeAgent, cancellation);
        await run.Node("ha").StartAsync(cancellation);
        var served = run.Directory.FolderOf("served");
        await File.WriteAllBytesAsync(System.IO.Path.Combine(served, "page"), s_page, cancellation);
        await File.WriteAllBytesAsync(System.IO.Path.Combine(served, "download"), RandomNumberGenerator.GetBytes(DownloadOctets), cancellation);
        return served;
    }

    /// <summary>TM-NC23: the terminal meets old TLS, and a certificate that no authority of its own vouches for, while its host wants to send.</summary>
    private async Task MeetImpostorsAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Somebody in the gateway's place speaks TLS 1.2 at most; the terminal is switched on");
        _oldTls = LabRun.Now;
        await using (var old = await TlsServer.StartAsync(run, "gw", GatewayEnd, At(run, "gw", "certificate.pem"), At(run, "gw", "key.pem"), run.Directory.FolderOf("impostor"), ["-tls1_2", "-WWW"], cancellation))
        {
            await run.Node("mn").StartAsync(cancellation);
            _shown["registered"] = await ReachAsync(run, "mn", "REG", TimeSpan.FromSeconds(60), cancellation);
            await LabRun.UntilAsync(() => Task.FromResult(old.Said.Contains("ERROR", StringComparison.Ordinal)), TimeSpan.FromSeconds(15), cancellation);
            await CurlAsync(run, "page", "old TLS", ["--max-time", "2"], cancellation);
            _oldTlsSaid = old.Said;
        }

        run.Progress.Step("Somebody in the gateway's place has a certificate of another authority");
        _falseCertificate = LabRun.Now;
        var folder = run.Directory.FolderOf("impostor");
        await using (var impostor = await TlsServer.StartAsync(run, "gw", GatewayEnd, System.IO.Path.Combine(folder, "false.crt"), System.IO.Path.Combine(folder, "false.key"), folder, ["-tls1_3", "-WWW"], cancellation))
        {
            await LabRun.UntilAsync(async () => (await EventsAsync(run, "mn", "tls.session.failed", cancellation)).Any(e => e.Contains("not taken", StringComparison.Ordinal)), TimeSpan.FromSeconds(20), cancellation);
            await CurlAsync(run, "page", "false certificate", ["--max-time", "2"], cancellation);
            _falseCertificateSaid = impostor.Said;
        }

        _failures = await EventsAsync(run, "mn", "tls.session.failed", cancellation);
        run.Progress.Note(string.Join("; ", _failures));
    }

    private async Task UseAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The gateway comes up; curl opens HTTPS to the correspondent");
        _gatewayStarted = LabRun.Now;
        await run.Node("gw").StartAsync(cancellation);
        await EstablishedAsync(run, cancellation);
        _established = LabRun.Now;
        _shown["gateway"] = PathLines.Rows(await run.ShowAsync("gw", "sessions", cancellation)).FirstOrDefault();
        _shown["terminal"] = PathLines.Rows(await run.ShowAsync("mn", "sessions", cancellation)).LastOrDefault();
        await CurlAsync(run, "page", "page", ["--max-time", "15", "--cacert", At(run, "cn", "authorities.pem")], cancellation);
        _used = LabRun.Now;
        await CurlAsync(run, "page", "another authority", ["--max-time", "15", "--cacert", System.IO.Path.Combine(run.Directory.FolderOf("impostor"), "ca.crt")], cancellation);
        run.Progress.Note($"{_transfers["page"]}; gateway: {_shown["gateway"]}");
    }

    /// <summary>TM-AC33: a download that takes seconds, and a move in its midst.</summary>
    private async Task MoveAsync(LabRun run, string bound, string link, CancellationToken cancellation)
    {
        run.Progress.Step($"A download over a move, the session bound to the {bound}");
        var download = CurlAsync(
            run, "download", bound, ["--max-time", "40", "--cacert", At(run, "cn", "authorities.pem"), "--limit-rate", DownloadRate.ToString(CultureInfo.InvariantCulture)], cancellation);
        await Task.Delay(1000, cancellation);
        var radio = run.Network.Radio("mn", "eth0");
        radio.Leave();
        await Task.Delay(s_outOfReach, cancellation);
        var moved = LabRun.Now;
        radio.Reach(link);
        await download;
        _transfers[bound] = _transfers[bound] with { Moved = moved };
        _shown[bound] = PathLines.Rows(await run.ShowAsync("mn", "sessions", cancellation)).LastOrDefault();
        run.Progress.Note(_transfers[bound].ToString());
    }

    /// <summary>curl as any user would run it on the terminal's host.</summary>
    private async Task CurlAsync(LabRun run, string file, string name, string[] options, CancellationToken cancellation)
    {
        var (from, into) = (LabRun.Now, System.IO.Path.Combine(run.Directory.FolderOf("curl"), name.Replace(' ', '-')));
        var result = await run.ExecuteAsync(
            "mn",
            [
                LabCommand.Find("curl")!, "-6", "-sS", "--resolve", $"{CorrespondentName}:443:[{Correspondent}]", "-o", into, "-w", "%{http_code} %{ssl_verify_result} %{size_download}", .. options,
                $"https://{CorrespondentName}/{file}",
            ],
            cancellation);
        var served = await File.ReadAllBytesAsync(System.IO.Path.Combine(run.Directory.FolderOf("served"), file), cancellation);
        var came = File.Exists(into) ? await File.ReadAllBytesAsync(into, cancellation) : [];
        _transfers[name] = new Transfer(from, 0, LabRun.Now, result.ExitCode, $"{result.Output.Trim()} {result.Errors.Trim()}".Trim(), came.AsSpan().SequenceEqual(served));
    }

    private static async Task EstablishedAsync(LabRun run, CancellationToken cancellation)
    {
        var stands = await LabRun.UntilAsync(
            async () => Text(PathLines.Rows(await run.ShowAsync("mn", "sessions", cancellation)).LastOrDefault(), "state") == "established" && PathLines.Rows(await run.ShowAsync("gw", "sessions", cancellation)).Any(),
            TimeSpan.FromSeconds(40), cancellation);
        if (!stands)
        {
            throw new ScenarioException($"there is no TLS session with the gateway: {string.Join("; ", (await EventsAsync(run, "mn", "", cancellation)).TakeLast(6))}; {string.Join("; ", (await EventsAsync(run, "gw", "", cancellation)).TakeLast(4))}");
        }
    }

    private static string At(LabRun run, string node, string file) => System.IO.Path.Combine(StoreOf(run, node), file);

    /// <summary>Handshakes: the outer one at the gateway's outer link, the inner one behind it.</summary>
    private IEnumerable<LadderStep> Steps()
    {
        var seen = new HashSet<string>();
        foreach (var packet in Packets.Where(p => p.Time >= _gatewayStarted && p.Time <= _used && p.Link is "core-gw" or "inner-cn"))
        {
            var (outer, fromTerminal) = (packet.Link == "core-gw", packet.Is("tcp.dstport", GatewayPort) || packet.Is("tcp.dstport", "443"));
            foreach (var name in packet.Of("tls.handshake.type").Select(NameOf).OfType<string>().Where(n => seen.Add($"{outer} {fromTerminal} {n}")))
            {
                var (far, detail, kind) = outer ? ("gw", "session 709", LadderKind.Diameter) : ("cn", "session 711, inside 709 before the gateway", LadderKind.Protected);
                yield return new LadderStep((packet.Time - _gatewayStarted) / 1e6, fromTerminal ? "mn" : far, fromTerminal ? far : "mn", name, detail, kind);
            }
        }
    }

    private static string? NameOf(string type) => type switch
    {
        ClientHello => "ClientHello",
        ServerHello => "ServerHello",
        "4" => "NewSessionTicket",
        "8" => "EncryptedExtensions",
        Certificate => "Certificate",
        "13" => "CertificateRequest",
        CertificateVerify => "CertificateVerify",
        Finished => "Finished",
        _ => null,
    };
}
