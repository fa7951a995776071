using System.Globalization;
using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

public abstract partial class MoveScenario
{
    private static readonly TimeSpan Allowance = TimeSpan.FromMilliseconds(100);

    /// <summary>Packets: those on the access link, and those that come until the kernel has told the agent of its carrier.</summary>
    private const int OnTheAir = 40;

    /// <summary>The rows of the specification that are the same at every move.</summary>
    private protected sealed record HandOffRows(string Update, string OldAgent, string Acknowledgement, string Reply, string During, string Afterwards, string Gap, string Forwarding);

    private protected abstract HandOffRows Rows { get; }

    /// <summary>Round trips that the specification allows the downlink to be without packets, beside <see cref="Allowance"/>.</summary>
    private protected abstract IReadOnlyList<(string From, string To)> RoundTrips { get; }

    /// <summary>The node at the far end of the user's tunnel, which turns it: the home agent or the partner's gateway.</summary>
    private protected abstract (string Node, IPAddress Address) FarEnd { get; }

    /// <summary>The gateway of the correspondent, as the trace of a packet names it.</summary>
    private protected abstract IReadOnlyList<string> Hops(string agent);

    /// <summary>The steps of the signalling, which differ from one kind of move to another.</summary>
    private protected abstract void Steps(LabRun run, CaptureSet captures, RowBook rows);

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        var want = run.Definition.Options.Security.Seen();
        var flow = captures.Packets.Where(p => !p.Frame.Lost && p.ReceiverNode == "alice" && Flow.NumberOf(p.Packet) is not null).ToList();
        rows.Part("Steps", () => Steps(run, captures, rows));
        rows.Part("HandOff", () => HandOff(captures, rows));
        rows.Part("During", () => During(run, captures, rows, want, First!.Phases(captures, flow)));
        rows.Part("Overlap", () => Overlap(rows));
        rows.Part("Afterwards", () => Afterwards(captures, rows, want));
        rows.Part("Gap", () => Gap(run, captures, rows, flow));
        rows.Part("Series", () => Series(captures, rows));
        rows.Part("Machines", () => Machines(run, captures, rows));
    }

    private protected IPAddress AddressOf(LabTopology topology, string node) =>
        topology.LinksOf(node).Where(l => l.Link.Kind == LinkKind.Core).Select(l => l.Link.Ends[l.End].Address!).First();

    /// <summary>First message of the move that is looked at closely.</summary>
    private protected Signal? Of(CaptureSet captures, string name, string from, string to) =>
        First!.Signals(captures).FirstOrDefault(s => s.Name == name && s.From == from && s.To == to);

    /// <summary>What the home agent says once it has switched.</summary>
    private protected Signal? Switched(CaptureSet captures) => First!.Signals(captures).FirstOrDefault(s => s.From == "ha" && s.Name is "RRP" or "HAA");

    private protected bool HasOut(string moment, string node, IPAddress local, IPAddress remote) => Tables.Legs(moment, node, local, remote).Out;

    private protected string Out(string moment, string node) =>
        string.Join("; ", Tables.Rows(moment, node, "paths").Where(p => Mentions(p, Nai)).Select(p => $"{Text(p, "state")} {PathText(p)}")) is { Length: > 0 } paths ? paths : "none";

    private void HandOff(CaptureSet captures, RowBook rows)
    {
        var (old, next) = (AddressOf(captures.Topology, First!.Old.Node), AddressOf(captures.Topology, First.New.Node));
        var update = Of(captures, "BU", First.New.Node, First.Old.Node);
        var acknowledgement = Of(captures, "BA", First.Old.Node, First.New.Node);
        var reply = Of(captures, "RRP", First.New.Node, "alice");
        var switched = Switched(captures);
        rows.Check(Rows.Update, "nFA > oFA: BU with the copied profile, once the home agent has switched; what the old agent will send is awaited already",
            update?.MobileIp is { } sent && update.Way[0].Packet.Source.Equals(next) && update.Way[0].Packet.Destination.Equals(old) && next.Equals(sent.CareOfAddress)
                && sent.Extensions.Any(e => e.Type == 38) && update.Time > switched?.Time && Tables.Legs("after", First.New.Node, next, old).In,
            update is null ? "no BU" : $"BU to {update.Way[0].Packet.Destination}, care-of {update.MobileIp!.CareOfAddress}, {(update.Time - switched?.Time) / 1e6:F2} ms after the home agent's answer; paths of nFA: {Out("after", First.New.Node)}");
        rows.Check(Rows.OldAgent, $"oFA: no tunnel to {FarEnd.Node} any more, tunnel (3) to nFA instead",
            !HasOut("after", First.Old.Node, old, FarEnd.Address) && HasOut("after", First.Old.Node, old, next), $"paths of oFA: {Out("after", First.Old.Node)}");
        rows.Check(Rows.Acknowledgement, "oFA > nFA: BA, accepted", acknowledgement?.MobileIp!.Code == 0 && acknowledgement.Time > update?.Time,
            acknowledgement is null ? "no BA" : $"status {acknowledgement.MobileIp!.Code}, {(acknowledgement.Time - update?.Time) / 1e6:F2} ms after the BU left nFA");
        rows.Check(Rows.Reply, "nFA > MN: RRP", First.Registration.Accepted && reply is not null, reply is null ? "no RRP" : $"code {reply.MobileIp!.Code}, {(reply.Time - switched?.Time) / 1e6:F2} ms after the home agent's answer");
        rows.Check(Rows.Forwarding, "the reply to the mobile node follows the BA", reply?.Time > acknowledgement?.Time, acknowledgement is null || reply is null ? "one of them is missing" : $"{(reply.Time - acknowledgement.Time) / 1e6:F2} ms after it");
    }

    /// <summary>Packets that reach the old agent after the hand-off go on to the new one and to the node, once.</summary>
    private void During(LabRun run, CaptureSet captures, RowBook rows, SeenProtection want, Phases first)
    {
        var traffic = _traffic.Single(t => t.Name == "delayed");
        var delayed = Delayed!;
        var (old, next) = (AddressOf(captures.Topology, delayed.Old.Node), AddressOf(captures.Topology, delayed.New.Node));
        var link = captures.On(delayed.Old.Core).Where(p => p.Time >= _heldFrom && p.Time <= traffic.To).ToList();
        var held = link.Where(p => p.Time <= _released && p.Between(FarEnd.Address, old)).Select(p => Number(p)).OfType<uint>().ToHashSet();
        var forwarded = link.Where(p => p.SenderNode == delayed.Old.Node && p.Between(old, next) && p.Protection == want && Number(p) is not null).ToList();
        var missing = held.Except(forwarded.Select(p => Number(p)!.Value)).Count();
        rows.Check(Rows.During, $"every packet for the node that reaches oFA after the hand-off goes on as {want.Name()} oFA > nFA", held.Count > 0 && missing == 0,
            string.Create(CultureInfo.InvariantCulture, $"{held.Count} packets were under way to oFA; {forwarded.Count} forwarded, {missing} not"));
        rows.Check(Rows.Forwarding, "each of them reaches the node once", held.Count > 0 && held.All(n => traffic.Taken.GetValueOrDefault(n) == 1),
            string.Create(CultureInfo.InvariantCulture, $"{held.Count(n => traffic.Taken.ContainsKey(n))} of {held.Count} arrived, {held.Count(n => traffic.Taken.GetValueOrDefault(n) > 1)} of them more than once"));
        var clear = captures.On(LinkKind.Core).Where(p => p.Protection == SeenProtection.None && p.Packet.IsUdp && Flow.NumberOf(p.Packet) is not null).ToList();
        rows.Check(Rows.Forwarding, "none is ever clear on the core", clear.Count == 0, clear.Count("clear packets"));
        var handOff = forwarded.Select(p => p.Spi).OfType<uint>().ToHashSet();
        var former = link.Where(p => p.Between(FarEnd.Address, old)).Select(p => p.Spi).OfType<uint>().ToHashSet();
        var keys = captures.EspKeys.All.ToLookup(k => k.Spi, k => Convert.ToHexString(k.CipherKey) + Convert.ToHexString(k.AuthenticationKey));
        rows.Check(Rows.Forwarding, $"SPI and key of (3) differ from those between {FarEnd.Node} and FA",
            want == SeenProtection.Encapsulation ? forwarded.Count > 0 : handOff.Count > 0 && !handOff.Intersect(former).Any() && !handOff.SelectMany(s => keys[s]).Intersect(former.SelectMany(s => keys[s])).Any(),
            $"(3): {Hex(handOff)}; {FarEnd.Node} > oFA: {Hex(former)}");
        var move = _traffic.Single(t => t.Name == "move");
        var gone = move.Sent - move.Taken.Count;
        rows.Check(Rows.During, "of the whole move nothing is lost but what was on the air when the link broke", move.Sent > 0 && gone <= first.MayLose(OnTheAir, run.ProcessorWait),
            string.Create(CultureInfo.InvariantCulture, $"{move.Sent} sent, {gone} lost; {first.MayLose(OnTheAir, run.ProcessorWait):F0} allowed, at {Traffic.FlowInterval.TotalMilliseconds} ms from one to the next"));
        var doubled = _traffic.Sum(t => t.Taken.Values.Count(n => n > 1));
        rows.Check(Rows.During, "no packet of the whole scenario reaches the node twice", doubled == 0 && _traffic.Sum(t => t.Taken.Count) > 0,
            string.Create(CultureInfo.InvariantCulture, $"{_traffic.Sum(t => t.Sent)} sent, {_traffic.Sum(t => t.Taken.Count)} arrived, {doubled} more than once"));
    }

    private void Overlap(RowBook rows)
    {
        foreach (var (name, move) in ((string, Move?)[])[("overlap-there", There), ("overlap-back", Back)])
        {
            var traffic = _traffic.Single(t => t.Name == name);
            var lost = traffic.Sent - traffic.Taken.Count;
            rows.Check(Rows.During, "make before break: nothing is lost either way", move!.Registration.Accepted && traffic.Sent > 0 && lost == 0 && traffic.Up.AllArrived && traffic.Down.AllArrived,
                string.Create(CultureInfo.InvariantCulture, $"{move.Old.Node} to {move.New.Node}: {traffic.Sent} sent, {lost} lost; up {traffic.Up.Summary}; down {traffic.Down.Summary}"));
        }
    }

    private void Afterwards(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        var (old, next) = (AddressOf(captures.Topology, First!.Old.Node), AddressOf(captures.Topology, First.New.Node));
        var word = want == SeenProtection.Encapsulation ? "ENCAPSULATION" : want.ToString().ToUpperInvariant();
        string Way(IEnumerable<string> nodes)
        {
            var way = nodes.ToList();
            return string.Join(", ", way.Zip(way.Skip(1)).Select((hop, i) => $"{hop.First} -{(i == 0 || i == way.Count - 2 ? "clear" : word)}-> {hop.Second}"));
        }

        var (up, down) = (captures.Trace(_settled!, Alice, Correspondent.Address, 8), captures.Trace(_settled!, Correspondent.Address, Alice, 0));
        rows.Check(Rows.Afterwards, "afterwards up and down go through nFA, clear only at both ends", up == Way(Hops(First.New.Node)) && down == Way(Hops(First.New.Node).Reverse()), $"up: {up}; down: {down}");
        rows.Check(Rows.Afterwards, $"{FarEnd.Node} sends nothing towards oFA any more", !HasOut("after", FarEnd.Node, FarEnd.Address, old) && !Tables.Legs("settled", FarEnd.Node, FarEnd.Address, old).In, $"right after the move: {Out("after", FarEnd.Node)}; later: {Out("settled", FarEnd.Node)}");
        var left = Tables.Paths("settled", First.Old.Node, Nai).Concat(Tables.Paths("settled", First.Old.Node, Alice.ToString())).Distinct().ToList();
        var cached = Tables.Profiles("settled", First.Old.Node, Nai).Count;
        rows.Check(Rows.Afterwards, "after the hand-off tunnel time oFA has no cache, route or tunnel of the node", left.Count == 0 && cached == 0 && _routesLeft.Count == 0,
            string.Create(CultureInfo.InvariantCulture, $"{left.Count} paths{string.Concat(left.Select(l => $" ({l})"))}, {cached} profiles, {_routesLeft.Count} routes{string.Concat(_routesLeft.Select(r => $" ({r})"))}"));
        rows.Check(Rows.Afterwards, "at the beginning and at the end the user's packets get through", _start!.AllArrived && _end!.AllArrived, $"{_start.Summary}; {_end!.Summary}");
    }

    /// <summary>The interruption: what the specification allows, and what it consists of.</summary>
    private void Gap(LabRun run, CaptureSet captures, RowBook rows, IReadOnlyList<Sighting> flow)
    {
        var trips = RoundTrips.Select(t => (t.From, t.To, Time: run.Topology.RoundTrip(t.From, t.To))).ToList();
        var limit = trips.Sum(t => t.Time) + Allowance.TotalMilliseconds;
        var allowed = string.Create(CultureInfo.InvariantCulture, $"{string.Join(" + ", trips.Select(t => $"{t.Time:F0} ms ({t.From}-{t.To})"))} + {Allowance.TotalMilliseconds} ms = {limit:F0} ms");
        var first = First!.Phases(captures, flow);
        var emulated = run.Machines.ContainsKey(FarEnd.Node);
        var answered = Emulated(run, captures, First);
        rows.Check(Rows.Gap, "the downlink is back within the round trips of the signalling and 100 ms from the request", first.BackWithin(limit + answered, run.ProcessorWait),
            string.Create(CultureInfo.InvariantCulture, $"{Told(first)}; allowed {allowed}{(emulated ? $", {answered:F0} ms that the emulated gateway took from update to acknowledgement" : "")} and {first.Excused(run.ProcessorWait):F0} ms for which the machine had no processor free"));
        var series = _series.Select(m => m.Phases(captures, flow)).ToList();
        var gaps = Sorted(series.Select(p => p.Gap));
        var back = Sorted(series.Select(p => p.FromRequest));
        var answers = _series.ConvertAll(m => Emulated(run, captures, m));
        var within = series.Zip(answers).Count(m => m.First.BackWithin(limit + m.Second, run.ProcessorWait));
        rows.Check(Rows.Gap, "so it is in most of twenty moves, and each is accepted", _series.All(m => m.Registration.Accepted) && series.Count == SeriesLength && within > SeriesLength / 2,
            string.Create(CultureInfo.InvariantCulture, $"{_series.Count(m => m.Registration.Accepted)} accepted; from the request median {Median(back):F1} ms, worst {back[^1]:F1} ms, {within} within the bound; whole gap median {Median(gaps):F1} ms, worst {gaps[^1]:F1} ms"));
        foreach (var (name, part) in ((string, Func<Phases, double>)[])
            [
                ("gap of the downlink", p => p.Gap), ("request to first packet over the new link", p => p.FromRequest), ("detect: break to request", p => p.Detect),
                ("detect, break to the node's first frame on the new link", p => p.Link), ("detect, from there to the advertisement", p => p.Advertisement), ("detect, from there to the request", p => p.Request), ("register: request to the home agent's answer", p => p.Register),
                ("path set-up: home agent's answer to first packet", p => p.Path), ("request to reply on the access link", p => p.Reply),
            ])
        {
            var values = Sorted(series.Select(part));
            rows.Measure($"{SeriesLength} moves, {name}, median", Median(values), "ms");
            rows.Measure($"{SeriesLength} moves, {name}, worst", values.Count == 0 ? double.NaN : values[^1], "ms");
        }

        if (emulated)
        {
            rows.Measure($"{SeriesLength} moves, emulated gateway's update to acknowledgement, median", Median(Sorted(answers)), "ms");
            rows.Measure($"{SeriesLength} moves, emulated gateway's update to acknowledgement, worst", answers.Max(), "ms");
        }

        foreach (var traffic in _traffic)
        {
            rows.Measure($"{traffic.Name}: downlink sent", traffic.Sent, "packets");
            rows.Measure($"{traffic.Name}: downlink lost", traffic.Sent - traffic.Taken.Count, "packets");
            rows.Measure($"{traffic.Name}: pings up lost", traffic.Up.Sent - traffic.Up.Received, "packets");
            rows.Measure($"{traffic.Name}: pings down lost", traffic.Down.Sent - traffic.Down.Received, "packets");
        }
    }

    /// <summary>NV-A31.</summary>
    private void Series(CaptureSet captures, RowBook rows)
    {
        var last = AddressOf(captures.Topology, _series[^1].New.Node);
        var former = AddressOf(captures.Topology, _series[^1].Old.Node);
        rows.Check("NV-A31", "after twenty moves, one per second, the last location holds", HasOut("series", FarEnd.Node, FarEnd.Address, last) && !Tables.Legs("series", FarEnd.Node, FarEnd.Address, former).In, $"paths of {FarEnd.Node}: {Out("series", FarEnd.Node)}");
        var expired = captures.Packets.Where(p => (p.Host ?? p.Packet).IcmpType == 11).ToList();
        rows.Check("NV-A31", "no packet went round in circles", expired.Count == 0, expired.Count("TTL-expired messages"));

        NonceQuestions.Judge(captures, rows, "NV-A31");
    }

    private static uint? Number(Sighting packet) => packet.Host is { } host ? Flow.NumberOf(host) : null;

    private static List<double> Sorted(IEnumerable<double> values) => [.. values.Where(double.IsFinite).Order()];

    private static double Median(List<double> sorted) => sorted.Count == 0 ? double.NaN : sorted[sorted.Count / 2];

    private static string Told(Phases phases) => string.Create(
        CultureInfo.InvariantCulture, $"back {phases.FromRequest:F1} ms after the request; whole gap {phases.Gap:F1} ms: detect {phases.Detect:F1} ms, register {phases.Register:F1} ms, path set-up {phases.Path:F1} ms; uplink after {phases.Reply:F1} ms");
}
