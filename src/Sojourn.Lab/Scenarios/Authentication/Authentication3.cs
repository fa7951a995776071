using System.Globalization;
using System.Net;
using System.Text.Json;
using Sojourn.Lab.Evidence;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>TA3: the gateway is a mobility anchor point too (spec authentication 5.3, embodiment 3).</summary>
public sealed partial class Authentication3 : GatewayScenario
{
    private const int EthernetHeader = 14;

    private static readonly IPNetwork s_first = IPNetwork.Parse("2001:db8:f1::/64"), s_second = IPNetwork.Parse("2001:db8:f2::/64"), s_regional = IPNetwork.Parse("2001:db8:b::/64");
    private static readonly TimeSpan s_outOfReach = TimeSpan.FromMilliseconds(20);

    /// <summary>What users type; the authentication server has their hashes only (scenario.yaml).</summary>
    private static readonly IReadOnlyDictionary<string, string> s_passwords = new Dictionary<string, string>
    {
        ["mn1"] = "cloud-chamber lantern 71",
        ["mn2"] = "seven quiet harbours 12",
    };

    private readonly Dictionary<string, JsonElement> _shown = [];
    private IReadOnlyList<JsonElement> _refusedBindings = [], _afterForgery = [], _homeAfterForgery = [];
    private IReadOnlyList<string> _refusals = [], _handOvers = [];
    private PingResult? _toTerminal, _toCorrespondent, _overMove;
    private string _states = "";
    private long _discarded;
    private long? _opened;
    private long _wrongStarted, _wrongEnded, _forged, _forgedEnd, _removed, _moved;

    public override string Name => "authentication/3";

    protected override IReadOnlyList<string> Fields =>
    [
        .. base.Fields, "icmpv6.opt.map.global_address", "mip6.bu.a_flag", "mip6.bu.m_flag", "mip6.bu.h_flag", "radius.code", "radius.User_Name", "isakmp.cfg.attr.type", .. DeviceFields,
    ];

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        NeedTools();
        EquipDevices(run, [("ports1", "access", "access.visited.example"), ("ports2", "access", "access.visited.example")], [("mn1", 1)]);
        await Task.WhenAll(PrepareAsync(run, s_passwords, cancellation), StartAccessRouterAsync(run, "1", cancellation), StartAccessRouterAsync(run, "2", cancellation));
        WatchStore(run, "mn1");
        await WrongPasswordAsync(run, cancellation);
        foreach (var terminal in s_passwords.Keys)
        {
            run.Progress.Step($"{terminal} is switched on");
            await SwitchOnAsync(run, terminal, s_passwords[terminal], cancellation);
            _shown[terminal] = await ReachAsync(run, terminal, "REG", TimeSpan.FromSeconds(40), cancellation);
            run.Progress.Note(string.Create(CultureInfo.InvariantCulture, $"REG after {(LabRun.Now - Started[terminal]) / 1e6:F0} ms: {_shown[terminal]}"));
        }

        _opened = OpenedAt(run, "mn1");
        _shown["anchored"] = await BindingAsync(run, "gw", "mn1", cancellation);
        _shown["at home"] = await BindingAsync(run, "ha", "mn1", cancellation);
        run.Progress.Step("A correspondent pings the first terminal's home address, and the terminal the correspondent");
        _toTerminal = await run.PingAsync("cn", Text(_shown["mn1"], "homeAddress"), new PingOptions(20), cancellation);
        _toCorrespondent = await run.PingAsync("mn1", Correspondent, new PingOptions(20), cancellation);
        run.Progress.Note($"{_toTerminal.Summary}; {_toCorrespondent.Summary}");
        await ForgeAsync(run, cancellation);
        await MoveAsync(run, cancellation);
        _states = string.Join(" ", await EventsAsync(run, "mn1", "terminal.state", cancellation));
    }

    /// <summary>The ports first: the bridge that joins them is the router's interface on its access link.</summary>
    private static async Task StartAccessRouterAsync(LabRun run, string number, CancellationToken cancellation)
    {
        await run.Node("ports" + number).StartAsync(cancellation);
        await run.Node("ar" + number).StartAsync(cancellation);
    }

    private static async Task<JsonElement> BindingAsync(LabRun run, string node, string terminal, CancellationToken cancellation) =>
        PathLines.Rows(await run.ShowAsync(node, "bindings", cancellation)).FirstOrDefault(b => Mentions(b, terminal + ".home.example"));

    /// <summary>TA-N26: access is refused, and with it the local binding.</summary>
    private async Task WrongPasswordAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The second terminal's user types a wrong password");
        await SwitchOnAsync(run, "mn2", "not his password", cancellation);
        _wrongStarted = Started["mn2"];
        await AwaitEventAsync(run, "mn2", "binding.refused", TimeSpan.FromSeconds(20), cancellation);
        _refusals = await EventsAsync(run, "mn2", "binding.refused", cancellation);
        _refusedBindings = [.. PathLines.Rows(await run.ShowAsync("gw", "bindings", cancellation))];
        _shown["refused"] = await SessionAsync(run, "mn2", cancellation);
        await run.Node("mn2").StopAsync();
        _wrongEnded = LabRun.Now;
        run.Progress.Note($"{_refusals.FirstOrDefault() ?? "nothing was refused"}; {_refusedBindings.Count} bindings");
    }

    /// <summary>TA-H25: from the second terminal's place and under its own access, for the first one's addresses.</summary>
    private async Task ForgeAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("From the second terminal's place somebody sends binding updates for the first one's regional and home address");
        var own = await BindingAsync(run, "gw", "mn2", cancellation);
        var (here, regional) = (IPAddress.Parse(Text(own, "careOfAddress")), IPAddress.Parse(Text(own, "homeAddress")));
        var (gateway, agent) = (IPAddress.Parse(Gateway), IPAddress.Parse(HomeAgent));
        var (itsRegional, itsHome) = (IPAddress.Parse(Text(_shown["anchored"], "homeAddress")), IPAddress.Parse(Text(_shown["mn1"], "homeAddress")));
        var wire = run.Network.Wire("access-3");
        var header = wire.Recording.Frames(0).Last(f => f.Sender == 0 && f.Data.Length > EthernetHeader && f.Data[12] == 0x86 && f.Data[13] == 0xDD && (f.Data[0] & 1) == 0).Data[..EthernetHeader];
        var local = new BindingUpdate { SequenceNumber = 40_000, Flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.MobilityAnchorPoint, Lifetime = 100 };
        var home = new BindingUpdate { SequenceNumber = 40_000, Flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.HomeRegistration, Lifetime = 100 };
        MobileIpv6Packet Tunnelled(IPAddress from) => new()
        {
            Source = here,
            Destination = gateway,
            Protocol = IpProtocol.IPv6,
            Payload = new MobileIpv6Packet { Source = from, Destination = agent, HomeAddress = itsHome, Protocol = IpProtocol.Mobility, Payload = home.ToArray(itsHome, agent) }.ToArray(),
        };
        _discarded = -await DiscardedAsync(run, cancellation);
        _forged = LabRun.Now;
        foreach (var packet in new[]
        {
            new MobileIpv6Packet { Source = here, Destination = gateway, HomeAddress = itsRegional, Protocol = IpProtocol.Mobility, Payload = local.ToArray(itsRegional, gateway) },
            Tunnelled(itsRegional),
            Tunnelled(regional),
        })
        {
            wire.Inject(0, [.. header, .. packet.ToArray()], "forged by the scenario: another's address");
        }

        await Task.Delay(1000, cancellation);
        _afterForgery = [.. PathLines.Rows(await run.ShowAsync("gw", "bindings", cancellation))];
        _homeAfterForgery = [.. PathLines.Rows(await run.ShowAsync("ha", "bindings", cancellation))];
        _discarded += await DiscardedAsync(run, cancellation);
        _forgedEnd = LabRun.Now;
    }

    /// <summary>How much signalling the home agent has thrown away.</summary>
    private static Task<long> DiscardedAsync(LabRun run, CancellationToken cancellation) => CounterAsync(run, "ha", "mip6.ha.discarded.", cancellation);

    private async Task MoveAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The first terminal moves to network 5a inside the domain while it is pinged every 10 ms");
        var radio = run.Network.Radio("mn1", "eth0");
        var pings = run.PingAsync("cn", Text(_shown["mn1"], "homeAddress"), new PingOptions(800) { Interval = TimeSpan.FromMilliseconds(10) }, cancellation);
        await Task.Delay(1000, cancellation);
        _removed = LabRun.Now;
        radio.Leave();
        await Task.Delay(s_outOfReach, cancellation);
        radio.Reach("access-2");
        _moved = LabRun.Now;
        _overMove = await pings;
        run.Progress.Note(_overMove.Summary);
        _shown["moved"] = await ReachAsync(run, "mn1", "REG", TimeSpan.FromSeconds(20), cancellation);
        _shown["anchored moved"] = await BindingAsync(run, "gw", "mn1", cancellation);
        _shown["at home moved"] = await BindingAsync(run, "ha", "mn1", cancellation);
        _handOvers = await EventsAsync(run, "mn1", "handover.timed", cancellation);
        run.Progress.Note(_handOvers.LastOrDefault() ?? "no hand-over was timed");
    }
}
