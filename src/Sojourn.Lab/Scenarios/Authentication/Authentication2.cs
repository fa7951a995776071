using System.Globalization;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>TA2: the gateway is the requesting router and authorises access (spec authentication 5.2, embodiment 2).</summary>
public sealed partial class Authentication2 : GatewayScenario
{
    private const string GatewayDuid = "00:03:00:01:02:00:00:00:00:77";

    /// <summary>What users type; the authentication server has their hashes only (scenario.yaml).</summary>
    private static readonly IReadOnlyDictionary<string, string> s_passwords = new Dictionary<string, string>
    {
        ["mn1"] = "cloud-chamber lantern 71",
        ["mn2"] = "seven quiet harbours 12",
        ["mn3"] = "paper kite over Lisbon 5",
    };

    private readonly Dictionary<string, JsonElement> _shown = [];
    private IReadOnlyList<JsonElement> _leases = [], _identities = [], _permissions = [], _leasesAtEnd = [], _sessionsAtEnd = [];
    private IReadOnlyList<string> _granted = [], _refusals = [], _gatewayRefusals = [];
    private PingResult? _toTerminal, _toCorrespondent, _shutOut, _withoutGateway;
    private string _careOf3 = "";
    private long _wrongStarted, _wrongEnded, _retried, _died, _back;

    public override string Name => "authentication/2";

    protected override IReadOnlyList<string> Fields =>
    [
        .. base.Fields, "icmpv6.code", "radius.code", "radius.User_Name", "radius.Message_Authenticator", "eap.code", "eap.type", "isakmp.cfg.attr.type", "isakmp.cfg.attr.value", "tcp.srcport", "tcp.dstport", "tcp.len", "udp.dstport",
    ];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        await PrepareAsync(run, s_passwords, cancellation);
        foreach (var terminal in new[] { "mn1", "mn2" })
        {
            run.Progress.Step($"{terminal} is switched on");
            await SwitchOnAsync(run, terminal, s_passwords[terminal], cancellation);
            _shown[terminal] = await ReachAsync(run, terminal, "REG", TimeSpan.FromSeconds(40), cancellation);
            run.Progress.Note(string.Create(CultureInfo.InvariantCulture, $"REG after {(LabRun.Now - Started[terminal]) / 1e6:F0} ms: {_shown[terminal]}"));
        }

        _leases = [.. PathLines.Rows(await run.ShowAsync("ha", "leases", cancellation))];
        _identities = await TableAsync(run, ["prefix", "list", "--json", "--database", PrefixDatabase(run)], cancellation);
        _shown["gateway"] = PathLines.Rows(await run.ShowAsync("gw", "sessions", cancellation)).FirstOrDefault(s => Text(s, "nai") == "mn1.home.example");
        run.Progress.Step("A correspondent pings the first terminal's home address, and the terminal the correspondent");
        _toTerminal = await run.PingAsync("cn", Text(_shown["mn1"], "homeAddress"), new PingOptions(20), cancellation);
        _toCorrespondent = await run.PingAsync("mn1", Correspondent, new PingOptions(20), cancellation);
        run.Progress.Note($"{_toTerminal.Summary}; {_toCorrespondent.Summary}");
        await WrongPasswordAsync(run, cancellation);
        await NoPermissionAsync(run, cancellation);
        _granted = await EventsAsync(run, "as", "access.granted", cancellation);
        _leasesAtEnd = [.. PathLines.Rows(await run.ShowAsync("ha", "leases", cancellation))];
        _sessionsAtEnd = [.. PathLines.Rows(await run.ShowAsync("gw", "sessions", cancellation))];
        run.Progress.Step("The gateway dies, and somebody on its access link pings the correspondent");
        _died = LabRun.Now;
        await run.Node("gw").KillAsync();
        _withoutGateway = await run.PingAsync("ar", Correspondent, new PingOptions(3) { Wait = TimeSpan.FromSeconds(1) }, cancellation);
        _back = LabRun.Now;
        await run.Node("gw").StartAsync(cancellation);
    }

    private static string PrefixDatabase(LabRun run) => System.IO.Path.Combine(run.Directory.FolderOf("ha"), "prefixes.db");

    private static string AuthorityDatabase(LabRun run) => System.IO.Path.Combine(run.Directory.FolderOf("ca"), "ca.db");

    /// <summary>The third terminal is refused; what its device then sends by itself stays at the gateway (TA-N24).</summary>
    private async Task WrongPasswordAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The third terminal has a wrong password");
        await SwitchOnAsync(run, "mn3", "not her password", cancellation);
        _wrongStarted = Started["mn3"];
        await AwaitEventAsync(run, "mn3", "terminal.access_refused", TimeSpan.FromSeconds(20), cancellation);
        _refusals = await EventsAsync(run, "as", "access.refused", cancellation);
        _shown["mn3"] = await SessionAsync(run, "mn3", cancellation);
        _careOf3 = Text(_shown["mn3"], "careOfAddress");
        await run.Node("mn3").StopAsync();
        run.Progress.Note($"{string.Join("; ", _refusals)}; {_shown["mn3"]}");

        run.Progress.Step("Its system pings the home agent from the same address");
        await CommandAsync(run, ["sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6"], cancellation);
        await CommandAsync(run, ["ip", "-6", "addr", "replace", _careOf3 + "/64", "dev", "eth0", "nodad"], cancellation);
        await CommandAsync(run, ["ip", "-6", "route", "replace", "default", "via", "2001:db8:f3::1"], cancellation);
        _shutOut = await run.PingAsync("mn3", HomeAgent, new PingOptions(3) { Wait = TimeSpan.FromSeconds(1) }, cancellation);
        _wrongEnded = LabRun.Now;
        run.Progress.Note(_shutOut.Output.Split('\n').FirstOrDefault(l => l.StartsWith("From", StringComparison.Ordinal)) ?? _shutOut.Summary);
        await CommandAsync(run, ["ip", "-6", "addr", "flush", "dev", "eth0"], cancellation);
    }

    /// <summary>It types the right one, but the operator has taken its permission back (TA-N25).</summary>
    private async Task NoPermissionAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The operator takes back its permission; its user types the right password");
        await OperateAsync(run, ["ca", "permission", "clear", "mn3.home.example", "--database", AuthorityDatabase(run)], cancellation);
        _permissions = await TableAsync(run, ["ca", "permission", "list", "--json", "--database", AuthorityDatabase(run)], cancellation);
        _retried = LabRun.Now;
        await SwitchOnAsync(run, "mn3", s_passwords["mn3"], cancellation);
        await AwaitAsync(run, "the gateway refuses mn3", async () => (await EventsAsync(run, "gw", "access.refused", cancellation)).Any(OfThird), TimeSpan.FromSeconds(30), cancellation);
        _gatewayRefusals = [.. (await EventsAsync(run, "gw", "access.refused", cancellation)).Where(OfThird)];
        run.Progress.Note(_gatewayRefusals.LastOrDefault() ?? "the gateway refused nobody");
        await AwaitAsync(run, "two sessions at the gateway", async () => PathLines.Rows(await run.ShowAsync("gw", "sessions", cancellation)).Count() == 2, TimeSpan.FromSeconds(3), cancellation);
    }

    private static bool OfThird(string text) => text.Contains("mn3.home.example", StringComparison.Ordinal);

    private static async Task CommandAsync(LabRun run, IReadOnlyList<string> command, CancellationToken cancellation)
    {
        var result = await run.ExecuteAsync("mn3", command, cancellation);
        if (result.ExitCode != 0)
        {
            throw new ScenarioException($"{result}: {result.Errors.Trim()}");
        }
    }

    private static async Task<IReadOnlyList<JsonElement>> TableAsync(LabRun run, IReadOnlyList<string> command, CancellationToken cancellation)
    {
        var result = await run.SojournAsync(command, cancellation);
        if (result.ExitCode != 0)
        {
            throw new ScenarioException($"{result}: {result.Errors.Trim()}");
        }

        using var table = JsonDocument.Parse(result.Output);
        return [.. PathLines.Rows(table.RootElement.Clone())];
    }
}
