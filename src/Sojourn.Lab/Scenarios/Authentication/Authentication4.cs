using System.Globalization;
using System.Net;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>TA4: preset home addresses, certificates kept by the home agent, a home prefix that changes (spec authentication 5.4, embodiment 4).</summary>
public sealed partial class Authentication4 : TerminalScenario
{
    private const string Name1 = "mn1.home.example", Name2 = "mn2.home.example", Name3 = "mn3.home.example", HomeAgentName = "ha1.home.example", AuthorityName = "ca.home.example";
    private const string Authority = "2001:db8:3::2", HomeAgent = "2001:db8:a::1", Correspondent = "2001:db8:6::2", Server = "2001:db8:7::53";
    private const string Home1 = "2001:db8:a:1::71", Home2 = "2001:db8:a:1::72", Home3 = "2001:db8:a:1::73", NewHome1 = "2001:db8:a:9::71", Unused = "2001:db8:a:1::7f";
    private const string OldPrefix = "2001:db8:a:1::/64", NewPrefix = "2001:db8:a:9::/64";
    private const string Zone = "home.example", ReverseZone = "a.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";

    private static readonly string[] s_columns = ["mn1", "ar", "ca", "ha"];

    private static readonly IPNetwork s_access = IPNetwork.Parse("2001:db8:f1::/64");

    /// <summary>How long the old home prefix lasts once it is to go.</summary>
    private static readonly TimeSpan s_remaining = TimeSpan.FromSeconds(10);

    private readonly Dictionary<string, IReadOnlyList<JsonElement>> _shown = [];
    private readonly Dictionary<string, string> _dug = [];
    private string _serial1 = "", _permissions = "";
    private PingResult? _toTerminal, _toNewHome;
    private long _registered, _changed, _followed, _ended;
    private long _askedBefore, _askedAfter;
    private long? _opened;
    private CommandResult? _reload;

    public override string Name => "authentication/4";

    protected override IReadOnlyList<string> Fields => [.. base.Fields, "mip6.dnsu.status", "mip6.dnsu.mn_id", "http.request.uri", "json.value.string", .. DeviceFields];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        if (!NameServer.IsAvailable)
        {
            throw new ScenarioException("this scenario needs named, dig, nsupdate and tsig-keygen (Debian packages bind9 and bind9-dnsutils)");
        }

        run.Progress.Step("The operator makes authority, home agent and name server; three devices get certificates, three cards are written");
        EquipDevices(run, [("ar", "access", "access.visited.example")], [("mn1", 1), ("mn2", 2), ("mn3", 3)]);
        var database = await MakeAuthorityAsync(run, cancellation);
        await Task.WhenAll(
            run.Node("ar").StartAsync(cancellation),
            IssueAsync(run, database, "ca", AuthorityName, [Authority], cancellation),
            ListServerAsync(run, database, "ha", HomeAgentName, "home-agent", [HomeAgent], "ha", cancellation),
            WriteCardAsync(run, database, "mn1", Name1, "mn1", cancellation),
            WriteCardAsync(run, database, "mn2", Name2, "mn2", cancellation),
            WriteCardAsync(run, database, "mn3", Name3, "mn3", cancellation));
        await run.Node("ca").StartAsync(cancellation);
        await EnrolAsync(run, "ha", HomeAgentName, $"http://[{Authority}]:8080", "ha", cancellation);
        var keyFile = Path.Combine(run.Directory.FolderOf("ha"), "names.tsig");
        var key = await NameServer.MakeKeyAsync(run, keyFile, HomeAgentName, cancellation);
        await using var names = await NameServer.StartAsync(run, "dns", Server, (Zone, ReverseZone), keyFile, key, cancellation);
        await run.Node("ha").StartAsync(cancellation);
        await using var advertiser = await RouterAdvertiser.StartAsync(run, "ar", "access0", s_access.ToString(), managed: false, cancellation);
        await RegisterAsync(run, names, database, cancellation);
        await ForgeAdvertisementAsync(run, cancellation);
        await ClaimAsync(run, cancellation);
        await BorrowNameAsync(run, names, cancellation);
        await BorrowCertificateAsync(run, cancellation);
        await RenumberAsync(run, names, database, cancellation);
        await LeaveAsync(run, names, cancellation);
        await RestartAsync(run, cancellation);
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures) => [new LadderChapter("Terminal 1, from power-on to its new home address", new Ladder(s_columns, [.. Steps()]))];

    /// <summary>TA4.101 to 137.</summary>
    private async Task RegisterAsync(LabRun run, NameServer names, string database, CancellationToken cancellation)
    {
        run.Progress.Step("Two terminals with preset home addresses are switched on");
        WatchStore(run, "mn1");
        _registered = LabRun.Now;
        await Task.WhenAll(run.Node("mn1").StartAsync(cancellation), run.Node("mn2").StartAsync(cancellation));
        _shown["mn1"] = [await ReachAsync(run, "mn1", "REG", TimeSpan.FromSeconds(60), cancellation)];
        _opened = OpenedAt(run, "mn1");
        _shown["mn2"] = [await ReachAsync(run, "mn2", "REG", TimeSpan.FromSeconds(60), cancellation)];
        _dug["registered"] = await names.DigUntilAsync(run, "cn", Name1, "AAAA", Home1, cancellation);
        _dug["reverse"] = await names.DigAsync(run, "cn", Reverse(Home1), "PTR", cancellation);
        await TakeAsync(run, "registered", cancellation);
        var card = await File.ReadAllTextAsync(Path.Combine(StoreOf(run, "mn1"), "certificate.pem"), cancellation);
        using var certificate = System.Security.Cryptography.X509Certificates.X509Certificate2.CreateFromPem(card);
        _serial1 = certificate.SerialNumber.ToLowerInvariant();
        _permissions = (await run.SojournAsync(["ca", "permission", "list", "--json", "--database", database], cancellation)).Output;
        _toTerminal = await run.PingAsync("cn", Home1, new PingOptions(5), cancellation);
        run.Progress.Note($"{_toTerminal.Summary}; {Name1} is {_dug["registered"]}");
    }

    /// <summary>TA4.172p to 177: terminal 1 is approved, terminal 2 is not any more.</summary>
    private async Task RenumberAsync(LabRun run, NameServer names, string database, CancellationToken cancellation)
    {
        run.Progress.Step("The authority takes terminal 2's approval back; the operator gives the home link another prefix");
        await OperateAsync(run, ["ca", "permission", "clear", Name2, "--database", database], cancellation);
        _askedBefore = await CounterAsync(run, "ha", "mip6.ha.permissions_asked", cancellation);
        var until = DateTimeOffset.UtcNow + s_remaining;
        Change(run, "ha", $$"""
            home-agent6:
              preset-prefixes:
                - { prefix: "{{NewPrefix}}" }
                - { prefix: "{{OldPrefix}}", until: "{{until.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture)}}" }
            """);
        _changed = LabRun.Now;
        _reload = await run.SojournAsync(["reload", "--socket", run.Node("ha").Control.SocketPath], cancellation);
        run.Progress.Note(_reload.Output.Trim().ReplaceLineEndings("; "));
        await AwaitAsync(
            run, $"mn1 is registered as {NewHome1}", async () => await SessionAsync(run, "mn1", cancellation) is var session && Text(session, "homeAddress") == NewHome1 && Text(session, "state") == "REG", TimeSpan.FromSeconds(20), cancellation);
        _followed = LabRun.Now;
        _shown["mn1 followed"] = [await SessionAsync(run, "mn1", cancellation)];
        _askedAfter = await CounterAsync(run, "ha", "mip6.ha.permissions_asked", cancellation);
        _dug["followed"] = await names.DigUntilAsync(run, "cn", Name1, "AAAA", NewHome1, cancellation);
        await TakeAsync(run, "followed", cancellation);
        run.Progress.Note(string.Create(CultureInfo.InvariantCulture, $"registered as {Text(_shown["mn1 followed"][0], "homeAddress")} {(_followed - _changed) / 1e6:F0} ms after the change"));
        _toNewHome = await run.PingAsync("cn", NewHome1, new PingOptions(5), cancellation);

        run.Progress.Step("The old home prefix comes to its end");
        var over = until + TimeSpan.FromSeconds(1.5) - DateTimeOffset.UtcNow;
        await Task.Delay(over > TimeSpan.Zero ? over : TimeSpan.Zero, cancellation);
        _ended = LabRun.Now;
        _dug["ended"] = await names.DigUntilAsync(run, "cn", Name2, "AAAA", "", cancellation);
        await TakeAsync(run, "ended", cancellation);
    }

    /// <summary>TA-A20: the name goes with the registration.</summary>
    private async Task LeaveAsync(LabRun run, NameServer names, CancellationToken cancellation)
    {
        run.Progress.Step("Terminal 1 gives up its registration");
        await OperateAsync(run, ["clear", "session", "--all", "--socket", run.Node("mn1").Control.SocketPath], cancellation);
        _dug["left"] = await names.DigUntilAsync(run, "cn", Name1, "AAAA", "", cancellation);
        await TakeAsync(run, "left", cancellation);
    }

    /// <summary>The home agent comes back with its table, and its operator takes a row out of it.</summary>
    private async Task RestartAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The home agent is restarted; its operator lets it forget terminal 3");
        await run.Node("ha").StopAsync();
        await run.Node("ha").StartAsync(cancellation);
        await TakeAsync(run, "restarted", cancellation);
        await OperateAsync(run, ["clear", "certificate", Name3, "--socket", run.Node("ha").Control.SocketPath], cancellation);
        await TakeAsync(run, "forgotten", cancellation);
    }

    private async Task TakeAsync(LabRun run, string moment, CancellationToken cancellation)
    {
        foreach (var table in (string[])["certificates", "bindings", "names"])
        {
            _shown[$"{table} {moment}"] = [.. PathLines.Rows(await run.ShowAsync("ha", table, cancellation))];
        }
    }

    private static string Reverse(string address) =>
        string.Join('.', Convert.ToHexStringLower(IPAddress.Parse(address).GetAddressBytes()).Reverse()) + ".ip6.arpa";

    /// <summary>What crossed terminal 1's link and is no neighbour discovery.</summary>
    private IEnumerable<LadderStep> Steps()
    {
        foreach (var packet in On("access-1", _registered))
        {
            var (name, kind) = packet switch
            {
                _ when EapolName(packet) is { } eapol => (eapol, LadderKind.Clear),
                _ when packet.First("cmp.body") is { } body => ($"CMP {body}", LadderKind.Diameter),
                _ when packet.First("isakmp.exchangetype") is { } exchange => (exchange switch { SaInit => "IKE_SA_INIT", Auth => "IKE_AUTH", _ => "INFORMATIONAL" }, LadderKind.Diameter),
                _ when packet.Is("icmpv6.type", DiscoveryRequest) || packet.Is("icmpv6.type", DiscoveryReply) => (packet.Is("icmpv6.type", DiscoveryRequest) ? "discovery request" : "discovery reply", LadderKind.MobileIp),
                _ when packet.Is("icmpv6.type", PrefixAdvertisement) => (packet.First("esp.spi") is null ? "forged prefix advertisement" : "prefix advertisement", LadderKind.Binding),
                _ when packet.Is("icmpv6.type", PrefixSolicitation) => ("prefix solicitation", LadderKind.Binding),
                _ when packet.First("mip6.mhtype") is { } message => (message == BindingUpdate ? "BU" : "BA", LadderKind.Binding),
                _ => (null, LadderKind.Clear),
            };
            if (name is not null)
            {
                var (from, to) = IsEapol(packet) ? packet.Sender == "mn1" ? ("mn1", "ar") : ("ar", "mn1") : packet.Sender == "mn1" ? ("mn1", Owner(packet.Destination)) : (Owner(packet.Source), "mn1");
                yield return new LadderStep((packet.Time - _registered) / 1e6, from, to, name, $"{packet.Source} > {packet.Destination}", kind);
            }
        }

        static string Owner(IPAddress? address) => address?.ToString() == Authority ? "ca" : "ha";
    }
}
