using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV4: first registration, dynamic gateway of a partner (spec network-vpn section 5).</summary>
public sealed partial class NetworkVpn4 : Scenario
{
    private const uint ContractSpi = 0x300;

    private static readonly IPAddress Alice = IPAddress.Parse("10.99.0.10"), Carol = IPAddress.Parse("10.99.0.13"), Dora = IPAddress.Parse("10.99.0.14"),
        Host = IPAddress.Parse("192.168.60.10"), SecondHost = IPAddress.Parse("192.168.60.11"), ThirdHost = IPAddress.Parse("192.168.60.12"),
        CompanyHost = IPAddress.Parse("192.168.50.10"), Printer = IPAddress.Parse("10.99.0.200"),
        Agent = IPAddress.Parse("10.0.1.2"), Home = IPAddress.Parse("10.0.3.2"), Partner = IPAddress.Parse("10.0.4.2"), Company = IPAddress.Parse("10.0.5.2");

    private readonly Tables _tables = new();
    private readonly List<(string What, byte[] Datagram, string[] Counters)> _forgeries = [];
    private SeenRegistration? _alice, _carol, _dora, _doraLater;
    private PingResult? _up, _down, _authenticated, _encrypted, _encapsulated, _home, _changed, _cutPing, _group, _afterForgeries;
    private long _forgedFrom, _forgedTo;

    public override string Name => "network-vpn/4";

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        await _tables.TakeAsync(run, "before", cancellation);
        await run.WarmUpAsync("alice", "access-alice", Host.ToString(), cancellation);
        _alice = await run.RegisterAndLookAsync("alice", "access-alice", () => _tables.TakeAsync(run, "reply", cancellation), cancellation);
        run.Progress.Step("Alice pings the partner's host");
        _up = await run.PingAsync("alice", Host.ToString(), new PingOptions(20), cancellation);
        run.Progress.Note(_up.Summary);
        _down = await run.PingAsync("cn", Alice.ToString(), new PingOptions(5) { From = Host.ToString() }, cancellation);
        await _tables.TakeAsync(run, "alice", cancellation);

        await ForgeAsync(run, cancellation);

        _carol = await run.RegisterAsync("carol", "access-carol", cancellation);
        await _tables.TakeAsync(run, "carol", cancellation);
        run.Progress.Step("Carol's three security types, each on its own path");
        _authenticated = await run.PingAsync("carol", Host.ToString(), new PingOptions(5), cancellation);
        _encrypted = await run.PingAsync("carol", SecondHost.ToString(), new PingOptions(5), cancellation);
        _encapsulated = await run.PingAsync("carol", CompanyHost.ToString(), new PingOptions(5), cancellation);
        _home = await run.PingAsync("carol", Printer.ToString(), new PingOptions(5), cancellation);
        await ChangedOctetAsync(run, cancellation);
        await UnreachableAsync(run, cancellation);
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures)
    {
        var chapters = new List<LadderChapter>();
        if (_alice is not null && _up is not null)
        {
            chapters.Add(new LadderChapter("Alice registers and pings the partner's host", Ladder.Of(captures, _alice.From, _up.To, Alice)));
        }

        if (_carol is not null && _home is not null)
        {
            chapters.Add(new LadderChapter("Carol: one static and two dynamic profiles, a host in the home network", Ladder.Of(captures, _carol.From, _home.To, Carol)));
        }

        if (_dora is not null && _cutPing is not null)
        {
            chapters.Add(new LadderChapter("Dora, while the partner's gateway cannot be reached", Ladder.Of(captures, _dora.From, _cutPing.To, Dora)));
        }

        if (_group is not null && _cutPing is not null)
        {
            chapters.Add(new LadderChapter("Dora, once it can", Ladder.Of(captures, _cutPing.To, _group.To, Dora)));
        }

        return chapters;
    }

    /// <summary>NV-A30: binding updates nobody entitled sent, put on the link to the gateway and to the foreign agent.</summary>
    private async Task ForgeAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Forged and replayed binding updates");
        var wire = run.Network.Wire("core-pcn");
        var genuine = wire.Recording.Frames().Select(f => (Frame: f, Packet: Ipv4Packet.Of(f)))
            .Last(f => f.Frame.Sender == 1 && f.Packet is { IsUdp: true } && MobileIpView.Parse(f.Packet.UdpData) is { IsBindingUpdate: true });
        var update = MobileIpMessage.TryParse(genuine.Packet!.UdpData.Span, out BindingUpdate? parsed, out _) ? parsed : throw new Topology.ScenarioException("the captured binding update cannot be read");
        var secret = new KeyMaterial(NodeFiles.Secrets(run.Directory).Single(s => s.Name == "ha-pcn").Octets);
        var association = new BindingAssociation(AuthenticationKind.HomeCorrespondent, ContractSpi, secret);
        var stranger = new BindingAssociation(AuthenticationKind.HomeCorrespondent, ContractSpi, new KeyMaterial(SystemRandomSource.Instance.NextBytes(32)));

        // An Identification is a time in units of 2^-32 s (RFC 5944 5.7.1); on a slow machine the update is some seconds old by now.
        var later = update.Identification + (ulong)((((LabRun.Now - genuine.Frame.Time) / 1e9) + 1) * (1UL << 32));
        var bare = update with { Extensions = MobileIpExtensions.Of(update.Extensions.Where(e => e is not AuthenticationExtension)) };
        _forgeries.AddRange(
        [
            ("wrong MAC", stranger.Sign(bare with { Identification = later }).ToArray(), ["bad_mac"]),
            ("no MAC", (bare with { Identification = later }).ToArray(), ["missing_mac"]),
            ("foreign home prefix, by the home agent itself", association.Sign(bare with { Identification = later, HomeAddress = IPAddress.Parse("10.77.0.5") }).ToArray(), ["foreign_home_prefix"]),

            // One that is older than a clock may be wrong is refused for that.
            ("old Identification", association.Sign(bare with { Identification = update.Identification - 1 }).ToArray(), ["old_identification", "identification_mismatch"]),
        ]);
        _forgedFrom = LabRun.Now;
        foreach (var (what, datagram, _) in _forgeries)
        {
            wire.Inject(1, Datagrams.Udp(genuine.Frame, Home, Host, 434, 434, datagram), $"forged by the scenario: {what}");
            await Task.Delay(60, cancellation);
        }

        wire.Inject(1, Datagrams.Udp(genuine.Frame, IPAddress.Parse("10.0.66.66"), Host, 434, 434, stranger.Sign(bare with { Identification = later }).ToArray()), "forged by the scenario: unknown home agent");
        wire.Inject(1, genuine.Frame.Data, "sent again by the scenario");
        await Task.Delay(100, cancellation);

        // To the foreign agent: somebody claims to be the next agent of Alice.
        var agentWire = run.Network.Wire("core-fa1");
        var sample = agentWire.Recording.Frames().Last(f => f.Sender == 1 && Ipv4Packet.Of(f) is not null);
        var hijack = new BindingAssociation(AuthenticationKind.ForeignForeign, 0x400, new KeyMaterial(SystemRandomSource.Instance.NextBytes(32)));
        agentWire.Inject(1, Datagrams.Udp(sample, IPAddress.Parse("10.0.11.2"), Agent, 434, 434, hijack.Sign(bare with
        {
            Identification = later,
            CareOfAddress = IPAddress.Parse("10.0.11.2"),
            Supplier = IPAddress.Parse("10.0.11.2"),
        }).ToArray()), "forged by the scenario: next agent without proof");
        await Task.Delay(400, cancellation);
        _forgedTo = LabRun.Now;
        await _tables.TakeAsync(run, "forged", cancellation);
        _afterForgeries = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
    }

    /// <summary>NV-A23: one octet of the protected packet is changed on the core.</summary>
    private async Task ChangedOctetAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("An octet of an authenticated packet is changed on the way");
        var wire = run.Network.Wire("core-pcn");
        wire.Tap = frame => frame.Sender == 1 && Ipv4Packet.Of(frame) is { Protocol: 51 } ? Change(frame) : WireVerdict.Pass;
        _changed = await run.PingAsync("carol", Host.ToString(), new PingOptions(3) { Wait = TimeSpan.FromMilliseconds(500) }, cancellation);
        wire.Tap = null;
        await _tables.TakeAsync(run, "changed", cancellation);
    }

    /// <summary>NV-A29: the partner's gateway cannot be reached at registration; later it can, and a whole prefix is open.</summary>
    private async Task UnreachableAsync(LabRun run, CancellationToken cancellation)
    {
        var wire = run.Network.Wire("core-pcn");
        wire.Cut = true;
        _dora = await run.RegisterAsync("dora", "access-dora", cancellation);
        _cutPing = await run.PingAsync("dora", Host.ToString(), new PingOptions(3) { Wait = TimeSpan.FromMilliseconds(500) }, cancellation);
        await _tables.TakeAsync(run, "cut", cancellation);
        wire.Cut = false;

        run.Progress.Step("The partner's gateway is back; Dora registers again and reaches every host there");
        await run.Node("dora").StopAsync();
        _doraLater = await run.RegisterAsync("dora", "access-dora", cancellation);
        await _tables.TakeAsync(run, "dora", cancellation);
        _ = await run.PingAsync("dora", Host.ToString(), new PingOptions(3), cancellation);
        _group = await run.PingAsync("dora", ThirdHost.ToString(), new PingOptions(5), cancellation);
    }

    private static WireVerdict.Replace Change(CapturedFrame frame)
    {
        var changed = frame.Data.ToArray();
        changed[^1] ^= 0x55;
        return new WireVerdict.Replace(changed, "one octet changed by the scenario");
    }
}
