using System.Globalization;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>What the links, tables and programs showed.</summary>
public sealed partial class Terminal2
{
    private const string Up = "IP6(CoA>HA) IP6(HoA>CN) P", Down = "IP6(HA>CoA) IP6(CN>HoA) P";

    private static readonly string[] s_neighbourDiscovery = ["133", "134", "135", "136", "143"];

    public override void Judge(LabRun run, CaptureSet captures, RowBook rows)
    {
        ReadCaptures(run);
        rows.Part("registration", () => JudgeRegistration(rows));
        rows.Part("data", () => JudgeData(rows));
        rows.Part("move", () => JudgeMove(rows));
        rows.Part("ends", () => JudgeEnds(rows));
        rows.Part("refusals", () => JudgeRefusals(rows));
    }

    private static Layouts LayoutsOf(string careOf, string home) =>
        new(new Dictionary<string, string> { [HomeAgent] = "HA", [careOf] = "CoA", [home] = "HoA", [Correspondent] = "CN" });

    private void JudgeRegistration(RowBook rows)
    {
        var tunnel = Only("tunnels registered");
        var careOf = Text(tunnel, "start");
        var layouts = LayoutsOf(careOf, Home);
        var valid = _shown["scenarios registered"].Where(s => Text(s, "valid") == "True").Select(s => Text(s, "number")).ToList();
        rows.Check("TM2.1", "10001 is valid, alone", valid is ["10001"], string.Join(" ", valid));
        rows.Check(
            "TM0.2", "in a network that is not the home link the terminal takes a care-of address of the advertised prefix; without advertisement it has none",
            careOf.StartsWith("2001:db8:5b:", StringComparison.Ordinal) && _shown["binding-list before"].Count == 0 && _shown["tunnels before"].Count == 0, $"{careOf}; before {_shown["tunnels before"].Count} tunnels");

        var update = On("access-5b").FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        var answer = On("access-5b").FirstOrDefault(p => p.Sender == "ar-b" && p.Is("mip6.mhtype", BindingAcknowledgement));
        var listed = _shown["binding-list registered"].SingleOrDefault(e => Text(e, "list") == "registration");
        rows.Check("TM-L1", "plain update: Home Address option, then the Mobility Header with A and H", layouts.Of(update) == "IP6(CoA>HA) DO{HoA} BU" && update!.First("mip6.bu.a_flag") is "1" or "True" && update.First("mip6.bu.h_flag") is "1" or "True",
            $"{layouts.Of(update)}, A {update?.First("mip6.bu.a_flag")}, H {update?.First("mip6.bu.h_flag")}");
        rows.Check("TM-L2", "plain acknowledgement: routing header with the home address, then the Mobility Header, accepted", layouts.Of(answer) == "IP6(HA>CoA) RH2{HoA} BA" && answer!.Is("mip6.ba.status", "0"), $"{layouts.Of(answer)}, status {answer?.First("mip6.ba.status")}");
        rows.Check(
            "TM2.2", "update and acknowledgement are exchanged, the home agent has the binding, and the list home agent, home address and care-of address",
            update is not null && answer is not null && Text(listed, "peer") == HomeAgent && Text(listed, "homeAddress") == Home && Text(listed, "careOfAddress") == careOf && Text(listed, "state") == "registered"
                && _shown["bindings registered"].Any(e => Text(e, "homeAddress") == Home && Text(e, "careOfAddress") == careOf),
            $"{listed}; home agent: {string.Join("; ", _shown["bindings registered"].Select(e => $"{Text(e, "homeAddress")} at {Text(e, "careOfAddress")}"))}");
        foreach (var row in (string[])["TM2.3", "TM2.4"])
        {
            rows.Check(row, "the acknowledgement has chosen program 10001", _choices.Count > 0 && _choices.All(c => c.StartsWith("10001", StringComparison.Ordinal)), string.Join("; ", _choices));
        }

        foreach (var row in (string[])["TM2.5", "TM-R14", "TM-R15"])
        {
            rows.Check(row, "the tunnel leads from the care-of address to the home agent", careOf.Length > 0 && Text(tunnel, "end") == HomeAgent && Text(tunnel, "homeAddress") == Home && answer?.To(careOf) == true, $"{tunnel}");
        }

        foreach (var row in (string[])["TM2.6", "TM-R15"])
        {
            rows.Check(row, "interface 19 has the home address, no virtual one, and no translation is made; before the acknowledgement it had none",
                _host["registered"].Contains($"inet6 {Home}/128", StringComparison.Ordinal) && !_host["registered"].Contains(" 198.18.", StringComparison.Ordinal) && !_host["before"].Contains(Home, StringComparison.Ordinal) && _shown["translation used"].Count == 0,
                $"{_host["registered"].ReplaceLineEndings(" ")}; {_shown["translation used"].Count} translations");
        }
    }

    private void JudgeData(RowBook rows)
    {
        var (from, to) = _times["used"];
        var layouts = LayoutsOf(Text(Only("tunnels registered"), "start"), Home);
        var up = On("access-5b", from, to).Where(p => p.Sender == "mn" && IsData(p)).ToList();
        var down = On("access-5b", from, to).Where(p => p.Sender == "ar-b" && IsData(p)).ToList();
        var plainUp = On("core-cn", from, to).Where(p => p.Sender == "core" && IsData(p) && p.From(Home)).ToList();
        var plainDown = On("core-cn", from, to).Where(p => p.Sender == "cn" && IsData(p) && p.To(Home)).ToList();
        var page = _ran["fetched"].Output.Trim();
        var used = _ran["fetched"].ExitCode == 0 && page.StartsWith("this is cn", StringComparison.Ordinal) && page.EndsWith($"200 {Home} {Correspondent}", StringComparison.Ordinal) && _ran["sent"].ExitCode == 0 && _pinged!.Received > 0;
        var observed = $"curl: {page.ReplaceLineEndings(" ")}; {_pinged!.Summary}; up {layouts.Tally(up)}; down {layouts.Tally(down)}";
        foreach (var row in (string[])["TM-AC08", "TM2.9", "TM2.10", "TM-L6"])
        {
            rows.Check(row, "unmodified IPv6 programs are served; all they send leaves in the plain mobile tunnel and reaches the correspondent from the home address",
                used && up.Count > 20 && up.All(p => layouts.Of(p) == Up) && plainUp.Count > 20 && plainUp.All(p => layouts.Of(p) == "IP6(HoA>CN) P") && _shown["translation used"].Count == 0, $"{observed}; at the correspondent {layouts.Tally(plainUp)}");
        }

        foreach (var row in (string[])["TM-AC08", "TM2.7", "TM-L5"])
        {
            rows.Check(row, "what the correspondent sends to the home address comes through the plain mobile tunnel, also when it begins",
                _called!.Received > 0 && plainDown.Count > 20 && plainDown.All(p => layouts.Of(p) == "IP6(CN>HoA) P") && down.Count > 20 && down.All(p => layouts.Of(p) == Down), $"{_called.Summary}; at the correspondent {layouts.Tally(plainDown)}; {observed}");
        }

        var problems = plainUp.Concat(plainDown).Concat(up).Concat(down).Count();
        foreach (var row in (string[])["TM2.8", "TM-R86"])
        {
            rows.Check(row, "the host hears the packets as they are: its programs name home address and correspondent, and a connection of theirs has the same ends at the correspondent",
                page.EndsWith($"{Home} {Correspondent}", StringComparison.Ordinal) && plainUp.Exists(p => p.Has("tcp")) && plainUp.Where(p => p.Has("tcp")).All(p => p.From(Home)) && _called!.Received > 0, string.Create(CultureInfo.InvariantCulture, $"{page.ReplaceLineEndings(" ")}; {problems} packets"));
        }

        var strangers = On("access-5b", _times["registered"].From, to).Where(p => !IsExpected(p, layouts)).ToList();
        rows.Check("TM-AC08", "on the access link there are neighbour discovery, L1, L2, L5 and L6 alone", strangers.Count == 0, layouts.Tally(strangers));
    }

    private void JudgeMove(RowBook rows)
    {
        var (from, to) = _times["moved"];
        var (before, after) = (Text(Only("tunnels registered"), "start"), Text(Only("tunnels moved"), "start"));
        var layouts = LayoutsOf(after, Home);
        var echoes = On("access-5a", from, to).Where(p => p.Sender == "mn" && p.Is("icmpv6.type", "128")).ToList();
        rows.Check("TM0.2", "in the next network it takes another one, under which packets go through the same tunnel, and the home address stays",
            before != after && after.StartsWith("2001:db8:5a:", StringComparison.Ordinal) && _pingedAgain!.Received > 0 && echoes.Count == 5 && echoes.All(p => layouts.Of(p) == Up) && _host["moved"].Contains($"inet6 {Home}/128", StringComparison.Ordinal),
            $"{before} > {after}; {_pingedAgain!.Summary}; {layouts.Tally(echoes)}");
        var update = On("access-5a", from, to).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        if (update is not null)
        {
            rows.Measure("from the move to the update", (update.Time - from) / 1e6, "ms");
        }
    }

    private void JudgeEnds(RowBook rows)
    {
        var (lostAt, over) = _times["lost"];
        var before = _shown["translation before the end"];
        var lost = On("access-2", lostAt, over).Count(p => p.Sender == "mn2" && p.Is("mip6.mhtype", BindingUpdate));
        var answers = On("access-2", lostAt, over).Count(p => p.Sender == "ar-b" && p.Is("mip6.mhtype", BindingAcknowledgement));
        rows.Check(
            "TM-AC07", "without updates the entries of binding update list, binding cache, tunnel, own address and correspondent are there at first and gone at the end of their lifetimes",
            before.Any(e => Text(e, "ipv6Address") == Home2 && Text(e, "ipv4Address") == Host) && before.Any(e => Text(e, "ipv6Address") == Correspondent) && _shown["binding-list before the end"].Any(e => Text(e, "state") == "registered")
                && _shown["bindings before the end"].Any(e => Text(e, "homeAddress") == Home2) && _shown["tunnels before the end"].Count == 1 && IsOver("after the end") && lost > 0 && answers == 0
                && over >= Latest(before),
            string.Create(CultureInfo.InvariantCulture, $"{lost} updates lost, {answers} acknowledged; {(over - lostAt) / 1e9:F1} s later {_shown["translation after the end"].Count} translations, {_shown["tunnels after the end"].Count} tunnels, list: {string.Join("; ", _shown["binding-list after the end"].Select(e => Text(e, "state")))}"));
        rows.Check("TM-AC07", "other terminals' bindings stay", _shown["bindings after the end"].Any(e => Text(e, "homeAddress") == Home), string.Join("; ", _shown["bindings after the end"].Select(e => Text(e, "homeAddress"))));
    }

    private void JudgeRefusals(RowBook rows)
    {
        var answers = On("access-3").Concat(On("access-3b")).Where(p => p.Sender != "mn3" && p.Is("mip6.mhtype", BindingAcknowledgement)).Select(p => p.First("mip6.ba.status")).ToList();
        foreach (var (row, number, step) in new[] { ("TM2.11", "10001", "65"), ("TM-R14", "10001", "65"), ("TM1.11", "10000", "62"), ("TM-R11", "10000", "62") })
        {
            var tables = $"refused by {number}";
            rows.Check(
                row, $"an acknowledgement with a status of 128 or more is discarded at step {step}, and no table has changed",
                answers.Count > 0 && answers.All(s => int.Parse(s ?? "0", NumberStyles.None, CultureInfo.InvariantCulture) >= 128) && _discards.Any(d => d.Contains($"step {step}: ba.status_refused", StringComparison.Ordinal)) && _refusals > 0
                    && _shown["tunnels " + tables].Count == 0 && _shown["translation " + tables].Count == 0 && !_shown["binding-list " + tables].Any(e => Text(e, "state") == "registered")
                    && !_host[tables].Contains(Home3, StringComparison.Ordinal) && !_host[tables].Contains(" 198.18.", StringComparison.Ordinal),
                $"status {string.Join(", ", answers)}; {string.Join("; ", _discards.Distinct())}; {_shown["tunnels " + tables].Count} tunnels, {_shown["translation " + tables].Count} translations");
        }
    }

    private static bool IsData(DissectedPacket packet) => packet.Has("tcp") || packet.First("icmpv6.type") is "128" or "129";

    private static bool IsExpected(DissectedPacket packet, Layouts layouts) =>
        layouts.Of(packet) is Up or Down or "IP6(CoA>HA) DO{HoA} BU" or "IP6(HA>CoA) RH2{HoA} BA" || (packet.Of("ipv6.src").Count == 1 && s_neighbourDiscovery.Contains(packet.First("icmpv6.type")));

    /// <summary>The end of the last entry, nanoseconds since 1970.</summary>
    private static long Latest(IEnumerable<JsonElement> entries) =>
        entries.Max(e => (DateTimeOffset.Parse(Text(e, "expires"), CultureInfo.InvariantCulture) - DateTimeOffset.UnixEpoch).Ticks * 100);

    private JsonElement Only(string table) => _shown[table] is [var only] ? only : default;
}
