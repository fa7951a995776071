using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV7: the user changes the correspondent (spec network-vpn section 5).</summary>
public sealed partial class NetworkVpn7 : Scenario
{
    private const string AliceNai = "alice@home.example", BobNai = "bob@home.example";

    private static readonly IPAddress Alice = IPAddress.Parse("10.99.0.10"), Bob = IPAddress.Parse("10.99.0.11"),
        Host = IPAddress.Parse("192.168.60.10"), NewHost = IPAddress.Parse("192.168.70.10"),
        Agent = IPAddress.Parse("10.0.1.2"), BobsAgent = IPAddress.Parse("10.0.11.2"), Home = IPAddress.Parse("10.0.3.2"),
        Partner = IPAddress.Parse("10.0.4.2"), NewPartner = IPAddress.Parse("10.0.5.2"), Web = IPAddress.Parse("10.0.7.1");

    /// <summary>What the scenario file grants at the first partner's gateway.</summary>
    private static readonly TimeSpan BindingLifetime = TimeSpan.FromSeconds(15);

    private readonly Tables _tables = new() { More = ["ipsec", "qos", "bindings", "vpn-db"] };
    private SeenRegistration? _login, _renewal, _update;
    private PingResult? _loginPing, _renewalPing, _newUp, _newDown, _oldUp, _oldDown, _bob, _end;
    private (uint Sent, IReadOnlyDictionary<uint, int> Taken) _flow, _newFlow;
    private long _asked, _gone;

    public override string Name => "network-vpn/7";

    public override async Task DriveAsync(LabRun run, CancellationToken cancellation)
    {
        await SetPasswordsAsync(run, cancellation);
        await run.RegisterAsync("bob", "access-bob", cancellation);
        _login = await run.RegisterAsync("alice", "access-alice", cancellation);
        _loginPing = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
        await run.PingAsync("bob", Host.ToString(), new PingOptions(3), cancellation);
        await _tables.TakeAsync(run, "login", cancellation);

        await VisitPageAsync(run, cancellation);
        await _tables.TakeAsync(run, "changed", cancellation);

        run.Progress.Step("Alice's registration is renewed, without a service update");
        _renewal = await run.RegisterAgainAsync("alice", "access-alice", serviceUpdate: false, () => Task.CompletedTask, cancellation);
        _renewalPing = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
        await _tables.TakeAsync(run, "renewed", cancellation);

        await ServiceUpdateAsync(run, cancellation);
        _end = await run.PingAsync("alice", NewHost.ToString(), new PingOptions(5), cancellation);
        await AnnouncedAsync(run, cancellation);
    }

    public override IReadOnlyList<LadderChapter> Chapters(CaptureSet captures)
    {
        var chapters = new List<LadderChapter>();
        void Add(string title, long? from, long? to, IPAddress about)
        {
            if (from is { } begin && to is { } end && end > begin)
            {
                chapters.Add(new LadderChapter(title, Ladder.Of(captures, begin, end, about)));
            }
        }

        Add("Service update: the path moves to the second partner", _update?.From, _newDown?.To, Alice);
        Add("Alice logs in: a direct path to the first partner", _login?.From, _loginPing?.To, Alice);
        Add("The renewal before it changes nothing, though the database says otherwise", _renewal?.From, _renewalPing?.To, Alice);
        Add("The first partner's gateway asks for Alice's binding, and nobody answers", _asked - 50_000_000, _gone, Alice);
        Add("Changes announced: the AAA server has the node register again", _announced is null ? null : _announcedFrom, _announcedPing?.To, Alice);
        Add("It asks for Bob's, and the home agent renews it", _bob?.From, _bob?.To, Bob);
        return chapters;
    }

    /// <summary>NV7.2-NV7.15, with Bob's traffic over all of it.</summary>
    private async Task ServiceUpdateAsync(LabRun run, CancellationToken cancellation)
    {
        // Bob's traffic outlasts two lifetimes of his binding.
        using var flow = new Flow(run.Network.Namespace("cn"), run.Network.Namespace("bob"), Bob, TimeSpan.FromMilliseconds(10));
        var bob = run.PingAsync("bob", Host.ToString(), new PingOptions(320) { Interval = TimeSpan.FromMilliseconds(100) }, cancellation);
        try
        {
            await Task.Delay(500, cancellation);
            run.Progress.Step("Alice's terminal asks for a service update");
            _update = await run.RegisterAgainAsync("alice", "access-alice", serviceUpdate: true, () => _tables.TakeAsync(run, "reply", cancellation), cancellation);

            // Long enough to see what is left of the old path go while the new one carries.
            using var fresh = new Flow(run.Network.Namespace("cn2"), run.Network.Namespace("alice"), Alice, TimeSpan.FromMilliseconds(2));
            var pings = await Task.WhenAll(
                run.PingAsync("alice", NewHost.ToString(), new PingOptions(60), cancellation), run.PingAsync("cn2", Alice.ToString(), new PingOptions(60), cancellation));
            (_newUp, _newDown) = (pings[0], pings[1]);
            await fresh.StopAsync(TimeSpan.FromMilliseconds(500), cancellation);
            _newFlow = (fresh.Sent, fresh.Taken);
            run.Progress.Note($"{_newUp.Summary}; from there: {_newDown.Summary}");
            var few = new PingOptions(3) { Wait = TimeSpan.FromMilliseconds(500) };
            _oldUp = await run.PingAsync("alice", Host.ToString(), few, cancellation);
            _oldDown = await run.PingAsync("cn", Alice.ToString(), few, cancellation);

            run.Progress.Step("The first partner's gateway asks for Alice's binding, then lets go of it");
            var request = await run.WaitForAsync("core-pcn", _update.Replied ?? _update.From, (_, packet) => IsRequestFor(packet, Alice), BindingLifetime * 2, cancellation);
            _asked = request?.Time ?? 0;
            await _tables.TakeAsync(run, "asked", cancellation);
            await LabRun.UntilAsync(async () => !Entries(await run.ShowAsync("pcn", "paths", cancellation)).Any(p => IsOf(p, Alice)), BindingLifetime, cancellation);
            _gone = LabRun.Now;
            await _tables.TakeAsync(run, "expired", cancellation);
            run.Progress.Note(request is null ? "it did not ask" : $"asked, and held it {(_gone - _asked) / 1e9:F1} s longer");
        }
        finally
        {
            await ((Task)bob).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        _bob = await bob;
        await flow.StopAsync(TimeSpan.FromMilliseconds(500), cancellation);
        _flow = (flow.Sent, flow.Taken);
        await _tables.TakeAsync(run, "end", cancellation);
        run.Progress.Note($"Bob meanwhile: {_bob.Summary}");
    }

    private static bool IsRequestFor(Ipv4Packet packet, IPAddress node) =>
        packet.IsUdp && MobileIpView.Parse(packet.UdpData) is { BindingKind: 3 } request && request.HomeAddress.Equals(node);
}
