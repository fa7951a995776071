using System.Globalization;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>AC02: a home link that another host shares, and the home agent in the terminal's place on it (RFC 6275 10.4.1).</summary>
public sealed partial class Terminal1
{
    private const string Neighbour = "2001:db8:1::50", FormerPlace = "02:00:00:00:01:00", NeighborSolicitation = "135", NeighborAdvertisement = "136";

    private static readonly string[] s_homeLinkFields =
        ["eth.src", "eth.dst", "icmpv6.nd.ns.target_address", "icmpv6.nd.na.target_address", "icmpv6.nd.na.flag.s", "icmpv6.nd.na.flag.o", "icmpv6.nd.na.flag.r", "icmpv6.opt.linkaddr"];

    private readonly Dictionary<string, string> _neighbours = [];

    /// <summary>The neighbour knows the terminal from when it was at home.</summary>
    private async Task RememberAsync(LabRun run, CancellationToken cancellation)
    {
        await run.ExecuteAsync("neighbour", ["ip", "-6", "neigh", "replace", Home, "lladdr", FormerPlace, "dev", "eth0", "nud", "reachable"], cancellation);
        await ReadNeighbourAsync(run, "before", cancellation);
    }

    private async Task ReadNeighbourAsync(LabRun run, string moment, CancellationToken cancellation) =>
        _neighbours[moment] = (await run.ExecuteAsync("neighbour", ["ip", "-6", "neigh", "show", Home, "dev", "eth0"], cancellation)).Output.Trim();

    /// <summary>With what the announcement taught the neighbour, and again after it has forgotten everything and has to ask.</summary>
    private async Task BeReachedFromHomeAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("A host on the home link reaches the terminal, and the home agent, which answers for both addresses");
        var from = LabRun.Now;
        string[] ping = ["ping", "-6", "-c", "3", "-i", "0.1", "-W", "2"];
        await RunAsync(run, "from home", "neighbour", [.. ping, Home], cancellation);
        await run.ExecuteAsync("neighbour", ["ip", "-6", "neigh", "flush", "dev", "eth0"], cancellation);
        await RunAsync(run, "from home again", "neighbour", [.. ping, Home], cancellation);
        await RunAsync(run, "to the home agent", "neighbour", [.. ping, HomeAgent], cancellation);
        _times["from home"] = (from, LabRun.Now);
    }

    private void JudgeHomeLink(RowBook rows)
    {
        var agent = On("home").FirstOrDefault(p => p.Sender == "ha")?.First("eth.src") ?? "";
        var tested = On("home").FirstOrDefault(p => p.Sender == "ha" && p.Is("icmpv6.type", NeighborSolicitation) && p.Is("icmpv6.nd.ns.target_address", Home) && p.From("::"));
        var announced = On("home").FirstOrDefault(p => p.Sender == "ha" && p.Is("icmpv6.type", NeighborAdvertisement) && p.Is("icmpv6.nd.na.target_address", Home) && p.To("ff02::1"));
        var answer = On("access-5b").FirstOrDefault(p => p.Sender == "ar-b" && p.Is("mip6.mhtype", BindingAcknowledgement));
        var (before, after) = (_shown["bindings before"], _shown["bindings registered"]);
        var careOf = Text(Only("tunnels registered"), "start");
        foreach (var row in (string[])["TM1.4", "TM-AC02"])
        {
            rows.Check(row, "the home agent tests the home address for duplicates on the home link, then multicasts a gratuitous neighbour advertisement with its own link-layer address and the override flag, and only then does the terminal get its answer",
                tested is not null && announced is not null && answer is not null && tested.Time < announced.Time && announced.Time < answer.Time
                && IsSet(announced, "o") && !IsSet(announced, "s") && !IsSet(announced, "r") && announced.Is("icmpv6.opt.linkaddr", agent),
                $"{Line(tested)}; {Line(announced)} for {announced?.First("icmpv6.nd.na.target_address")} at {announced?.First("icmpv6.opt.linkaddr")}; answer {(announced is null || answer is null ? "missing" : Ms(announced.Time, answer.Time) + " later")}");
            rows.Check(row, "a host of the link that had the terminal at its old place has it at the home agent's then, and the home agent's cache, empty before, has the care-of address",
                _neighbours["before"].Contains(FormerPlace, StringComparison.Ordinal) && agent.Length > 0 && _neighbours["registered"].Contains("lladdr " + agent, StringComparison.Ordinal)
                && before.Count == 0 && after is [var only] && Text(only, "homeAddress") == Home && Text(only, "careOfAddress") == careOf && careOf.Length > 0,
                $"{_neighbours["before"]}; then {_neighbours["registered"]}; cache {string.Join(" ", after)}");
        }

        var own = Entries("registered").SingleOrDefault(e => Text(e, "kind") == "own");
        var listed = _shown["binding-list registered"].SingleOrDefault(e => Text(e, "list") == "registration");
        string[] tables = ["binding-list", "tunnels", "translation"];
        rows.Check("TM-AC02", "tables of the terminal: empty before; then home agent, home and care-of address with a life time, the tunnel between the two, home and virtual address, which interface 19 has",
            tables.All(t => _shown[t + " before"].Count == 0) && Text(listed, "peer") == HomeAgent && Text(listed, "homeAddress") == Home && Text(listed, "careOfAddress") == careOf && Text(listed, "expires").Length > 0
            && Text(Only("tunnels registered"), "end") == HomeAgent && Text(own, "ipv6Address") == Home && Text(own, "ipv4Address") == Host && _addresses.Contains($"inet {Host}/32", StringComparison.Ordinal),
            $"{string.Join(" ", tables.Select(t => _shown[t + " before"].Count))} entries before; {listed}; {Only("tunnels registered")}; {own}; {_addresses.ReplaceLineEndings(" ")}");
        JudgeCapture(rows, agent, careOf);
    }

    private void JudgeCapture(RowBook rows, string agent, string careOf)
    {
        var (from, to) = _times["from home"];
        var asked = On("home", from, to).Count(p => p.Sender == "ha" && p.Is("icmpv6.nd.na.target_address", Home) && IsSet(p, "s") && !IsSet(p, "o") && p.Is("icmpv6.opt.linkaddr", agent));
        var handed = On("home", from, to).Count(p => p.Sender == "neighbour" && p.To(Home) && p.Is("icmpv6.type", "128") && p.Is("eth.dst", agent));
        var tunnelled = On("access-5b", from, to).Count(p => p.Sender == "ar-b" && IsTunnelled(p, HomeAgent, careOf, Neighbour, Home));
        var answered = new[] { "from home", "from home again", "to the home agent" }.Select(m => Last(_ran[m])).ToList();
        var observed = string.Create(CultureInfo.InvariantCulture, $"{asked} answers to solicitations, {handed} packets of the neighbour to the home agent's link-layer address, {tunnelled} of them in the tunnel; {string.Join("; ", answered)}");
        foreach (var row in (string[])["TM1.4", "TM-R101"])
        {
            rows.Check(row, "the home agent answers a neighbour that asks for the home address, takes what it sends there and tunnels it to the care-of address; the terminal's answers come back, and the home agent's own address is there too",
                asked > 0 && handed == 6 && tunnelled == 6 && answered.All(a => a.Contains(" 0% packet loss", StringComparison.Ordinal)), observed);
        }
    }

    private static bool IsSet(DissectedPacket packet, string flag) => packet.First("icmpv6.nd.na.flag." + flag) is "1" or "True";
}
