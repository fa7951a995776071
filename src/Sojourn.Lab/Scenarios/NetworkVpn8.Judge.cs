using System.Globalization;
using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

public sealed partial class NetworkVpn8
{
    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        var want = run.Definition.Options.Security.Seen();
        rows.Part("Registration", () => Registration(captures, rows));
        rows.Part("NodeFirst", () => NodeFirst(captures, rows));
        rows.Part("CorrespondentFirst", () => CorrespondentFirst(captures, rows, want));
        rows.Part("DirectPath", () => DirectPath(captures, rows, want));
        rows.Part("ByOption", () => ByOption(captures, rows, want));
        rows.Part("NeverClear", () => NeverClear(captures, rows));
    }

    private static string Word(SeenProtection protection) => protection switch { SeenProtection.Ah => "AH", SeenProtection.Esp => "ESP", _ => "ENCAPSULATION" };

    /// <summary>The binding messages about a node, without repetitions.</summary>
    private static List<Signal> Bindings(CaptureSet captures, IPAddress home, long from, long to) =>
        captures.Signals.During(from, to).Where(s => s.MobileIp is { IsBinding: true } message && message.HomeAddress.Equals(home)).WithoutRepetitions();

    private static string Names(IEnumerable<Signal> signals) => string.Join(", ", signals.Select(s => s.Name == "BA" ? $"{s} {s.MobileIp!.Code}" : s.ToString()));

    /// <summary>NV8.1 and the first half of NV-A16.</summary>
    private void Registration(CaptureSet captures, RowBook rows)
    {
        var signals = captures.Of(_alice!);
        var order = signals.Where(s => s.Name is "HAR" or "BU" or "BA" or "HAA" or "AMA" or "RRP").Select(s => s.Name).ToList();
        rows.Check("NV8.1", "registration as NV4, without a BU: HAR, HAA, AMA, RRP", order.SequenceEqual(["HAR", "HAA", "AMA", "AMA", "RRP"]) && _alice!.Accepted, string.Join(", ", order));
        var legs = signals.Where(s => s.Name is "HAR" or "AMA").SelectMany(s => s.Diameter!.Profiles).ToList();
        rows.Check("NV8.1", "the profile's trigger is the first packet", legs.Count == 3 && legs.All(l => l.Vpn(27)?.Number == 1), $"{legs.Count} profiles in HAR and AMA, triggers {string.Join(", ", legs.Select(l => l.Vpn(27)?.Number))}");
        rows.Check("NV8.1", "the profile waits in the HA's cache, its traffic is held there", _tables.Profiles("reply", "ha", AliceNai).Count == 1 && Held("reply", "ha", Host, Alice), string.Join("; ", _tables.Paths("reply", "ha", AliceNai)));
        rows.Check("NV8.1", "the FA has its profile from the AMA and keeps it inactive", _tables.Profiles("reply", "fa1", AliceNai).Count == 1 && _tables.Legs("reply", "fa1", Agent, Partner) == (false, true) && Held("reply", "fa1", Alice, Host), string.Join("; ", _tables.Paths("reply", "fa1", AliceNai)));
        var updates = captures.Signals.During(_alice!.From, _first!.From).Count(s => s.Name == "BU");
        rows.Check("NV-A16", "until the correspondent's first packet there is no BU on any link", updates == 0, $"{updates} BU");
        foreach (var moment in (string[])["reply", "early"])
        {
            var there = _tables.Rows(moment, "pcn", "paths").Count(p => Mentions(p, Alice + "/32")) + _tables.Profiles(moment, "pcn", Alice.ToString()).Count;
            rows.Check("NV-A16", moment == "reply" ? "when the node registers there is nothing at the PCN" : "nor is there after the node has spoken first", there == 0, $"{there} paths and profiles");
        }
    }

    private bool Held(string moment, string node, IPAddress source, IPAddress destination) =>
        _tables.Rows(moment, node, "paths").Any(p => Text(p, "source") == source + "/32" && Text(p, "destination") == destination + "/32" && Text(p, "state") == "blocked");

    /// <summary>NV8.3, what the node sends first.</summary>
    private void NodeFirst(CaptureSet captures, RowBook rows)
    {
        var onCore = captures.On(LinkKind.Core).Where(p => p.Time >= _early!.From && p.Time <= _first!.From).Hosts(Alice, Host).ToList();
        rows.Check("NV8.3", "a packet the node sends first leaves its foreign agent neither in clear nor otherwise", _early is { Sent: 3, Received: 0 } && onCore.Count == 0, $"{_early!.Summary}; {onCore.Count("packets on core links")}");
        var counters = _tables.Increase("reply", "early", "fa1").ToDictionary(c => c.Name, c => c.By);
        rows.Check("NV8.3", "it is held, then dropped and counted", counters.GetValueOrDefault("datapath.held") == 3 && counters.GetValueOrDefault("datapath.held_expired") == 3,
            $"held {counters.GetValueOrDefault("datapath.held")}, expired {counters.GetValueOrDefault("datapath.held_expired")}");
        var asked = Bindings(captures, Alice, _early.From, _first!.From);
        rows.Check("NV8.3", "the foreign agent asks for it once, and the home agent declines", asked is [{ Name: "BR", From: "fa1", To: "ha" }, { Name: "BA", From: "ha", To: "fa1", MobileIp.Code: 129 }], Names(asked));
    }

    /// <summary>NV8.2, NV8.3, NV8.4 and the second half of NV-A16.</summary>
    private void CorrespondentFirst(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        var word = Word(want);
        var down = captures.Packets.During(_first!).Hosts(Host, Alice).Where(p => p.Host!.IcmpType == 8).ToList();
        var arrived = down.FirstOrDefault(p => p is { Link: "core-ha", ReceiverNode: "ha" });
        rows.Check("NV8.2", "the correspondent's packet for the home address reaches the HA, under the providers' standing association", arrived?.Protection == want && arrived.Between(Partner, Home), arrived is null ? "none" : $"{arrived.Packet}");

        var bindings = Bindings(captures, Alice, _first!.From, _down!.To);
        var update = bindings.FirstOrDefault(s => s.Name == "BU");
        var acknowledgement = bindings.FirstOrDefault(s => s.Name == "BA");
        rows.Check("NV8.3", "the HA sends one BU with the VPN data, addressed to the correspondent", bindings.Count(s => s.Name == "BU") == 1 && update is { From: "ha", To: "pcn" } && arrived is not null && update.Time > arrived.Time
            && update.Way[0].Packet.Destination.Equals(Host) && update.MobileIp!.Extensions.Any(e => e.Type == 38),
            update is null || arrived is null ? "no BU" : string.Create(CultureInfo.InvariantCulture, $"{bindings.Count(s => s.Name == "BU")} BU for {_first.Sent + _up!.Sent + _down.Sent} pings, to {update.Way[0].Packet.Destination}, {(update.Time - arrived.Time) / 1e6:F2} ms after the packet"));
        var onward = down.FirstOrDefault(p => p is { Link: "core-ha", SenderNode: "ha" });
        rows.Check("NV8.3", "the packet is held until the gateway has acknowledged, then goes by the HA's protected FA leg", onward is not null && onward.Protection == want && onward.Between(Home, Agent) && acknowledgement?.Arrived < onward.Time,
            onward is null ? "it never left" : string.Create(CultureInfo.InvariantCulture, $"{onward.Packet}, {(onward.Time - (arrived?.Time ?? 0)) / 1e6:F2} ms after it came, {(onward.Time - (acknowledgement?.Arrived ?? 0)) / 1e6:F2} ms after the BA did"));
        var way = captures.Trace(_first, Host, Alice, 8);
        rows.Check("NV8.3", "the way of the first packet", way == $"cn -clear-> pcn, pcn -{word}-> ha, ha -{word}-> fa1, fa1 -clear-> alice", way);

        rows.Check("NV8.4", "PCN > HA: BA; the PCN has its tunnel to the FA", acknowledgement is { From: "pcn", To: "ha", MobileIp.Code: 0 } && _tables.Legs("first", "pcn", Partner, Agent) == (true, true),
            $"{Names(bindings)}; {PathText(_tables.Rows("first", "pcn", "paths").FirstOrDefault(p => Is(p, "remoteGateway", Agent) && Mentions(p, Alice + "/32")))}");
        var reached = captures.On("core-fa1").During(_first).FirstOrDefault(p => p.ReceiverNode == "fa1" && p.Protection == want && p.Host?.Destination.Equals(Alice) == true);
        var sent = captures.On("core-fa1").During(_first).FirstOrDefault(p => p.SenderNode == "fa1" && p.Protection == want && p.Host?.Source.Equals(Alice) == true);
        rows.Check("NV8.4", "the FA's half turns active with the first valid tunnel packet", reached is not null && sent is not null && sent.Time > reached.Time && _tables.Legs("first", "fa1", Agent, Partner) == (true, true) && !Held("first", "fa1", Alice, Host),
            reached is null || sent is null ? "no tunnel packets" : string.Create(CultureInfo.InvariantCulture, $"first in {reached.Packet.Source} > {reached.Packet.Destination}, first out {sent.Packet.Source} > {sent.Packet.Destination} {(sent.Time - reached.Time) / 1e6:F2} ms later"));
        rows.Check("NV8.4", "no packet is lost, the first included", _first.AllArrived, _first.Summary);

        var fromPartner = captures.On("core-pcn").Where(p => p.Time >= _first.From).FirstOrDefault(p => p.Between(Partner, Agent) && p.Protection == want);
        var fromAgent = captures.On("core-fa1").Where(p => p.Time >= _first.From).FirstOrDefault(p => p.Between(Agent, Partner) && p.Protection == want);

        // The tunnel stands before the BA leaves, and another thread carries packets: one of them may be on the link a hair before it.
        const long Hair = 10_000_000;
        rows.Check("NV-A16", $"exactly one BU, BA, then {want.Name()} PCN-FA both ways",
            bindings is [{ Name: "BU" }, { Name: "BA" }] && fromPartner is not null && fromAgent is not null && update!.Time < acknowledgement!.Time && acknowledgement.Time < fromPartner.Time + Hair && acknowledgement.Time < fromAgent.Time + Hair, $"{Names(bindings)}; {(fromPartner is null ? "nothing" : "PCN > FA")}, {(fromAgent is null ? "nothing" : "FA > PCN")}");
        if (arrived is not null && onward is not null && update is not null && acknowledgement is not null)
        {
            rows.Measure("first packet held at the home agent", (onward.Time - arrived.Time) / 1e6, "ms");
            rows.Measure("BU to BA at the home agent", ((acknowledgement.Arrived ?? acknowledgement.Time) - update.Time) / 1e6, "ms");
        }
    }

    /// <summary>NV8.4: later packets.</summary>
    private void DirectPath(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        var word = Word(want);
        var up = captures.Trace(_up!, Alice, Host, 8);
        var down = captures.Trace(_down!, Host, Alice, 8);
        rows.Check("NV8.4", "later packets use the direct path both ways", up == $"alice -clear-> fa1, fa1 -{word}-> pcn, pcn -clear-> cn" && down == $"cn -clear-> pcn, pcn -{word}-> fa1, fa1 -clear-> alice" && _up!.AllArrived && _down!.AllArrived,
            $"{_up!.Summary}: {up}; {_down!.Summary}: {down}");
        var atHome = captures.On("core-ha").During(_up).Concat(captures.On("core-ha").During(_down)).Where(p => p.Protection != SeenProtection.None || p.Between(Alice, Host) || p.Between(Host, Alice)).ToList();
        rows.Check("NV8.4", "the links of the HA carry none of them", atHome.Count == 0, atHome.Count("data packets"));
        rows.Measure("ping on the direct path, median", _up.Median, "ms");
    }

    /// <summary>NV8.3, by option a packet of the node's own.</summary>
    private void ByOption(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        var word = Word(want);
        rows.Check("NV8.3", "the option is taken over while the home agent runs", _reloaded is { ExitCode: 0 }, _reloaded!.Output.Trim());
        var before = Bindings(captures, Bob, _bob!.From, _bobFirst!.From);
        rows.Check("NV8.3", "by option: nothing is distributed before the node's first packet", _bob.Accepted && before.Count == 0 && Held("bob-reply", "fa1", Bob, SecondHost), before.Count == 0 ? "no binding message" : Names(before));
        var bindings = Bindings(captures, Bob, _bobFirst.From, _bobDown!.To);
        rows.Check("NV8.3", "by option: the node's first packet triggers the same through the HA", bindings is
            [{ Name: "BR", From: "fa1", To: "ha" }, { Name: "BU", From: "ha", To: "pcn" }, { Name: "BA", From: "pcn", To: "ha", MobileIp.Code: 0 }, { Name: "BA", From: "ha", To: "fa1", MobileIp.Code: 0 }], Names(bindings));
        var notice = bindings.LastOrDefault(s => s is { Name: "BA", From: "ha" });
        var first = captures.On("core-fa1").During(_bobFirst).Hosts(Bob, SecondHost).FirstOrDefault();
        rows.Check("NV8.4", "on the HA's notice, and not before, the FA sends what it held", notice?.Arrived is { } told && first?.Time > told && first.Between(Agent, Partner) && first.Protection == want, first is null ? "nothing left the foreign agent" : $"{first.Packet}");
        var way = captures.Trace(_bobFirst, Bob, SecondHost, 8);
        rows.Check("NV8.4", "the node's first packet and all after it go the direct way", _bobFirst.AllArrived && _bobDown.AllArrived && way == $"bob -clear-> fa1, fa1 -{word}-> pcn, pcn -clear-> cn", $"{_bobFirst.Summary}; from the host: {_bobDown.Summary}; {way}");
    }

    private static void NeverClear(CaptureSet captures, RowBook rows)
    {
        foreach (var (home, host) in ((IPAddress, IPAddress)[])[(Alice, Host), (Bob, SecondHost)])
        {
            var clear = captures.On(LinkKind.Core).Readable(home, host);
            rows.Check("NV-A16", $"no clear packet between {home} and {host} on any core link, in the whole run", clear.Count == 0, clear.Count("clear packets"));
        }

        var vpn = captures.On(LinkKind.Access).Concat(captures.On(LinkKind.Partner)).VpnTraffic();
        rows.Check("NV-A34", "no IPsec, IKE or VPN packet to or from any terminal or host", vpn.Count == 0, vpn.Count("such packets"));
    }
}
