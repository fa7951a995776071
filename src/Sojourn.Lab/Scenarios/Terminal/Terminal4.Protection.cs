using System.Globalization;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>Translation with a protected signal (AC09, AC10), and which packets stand under ESP (spec terminal 3.8).</summary>
public sealed partial class Terminal4
{
    /// <summary>While 10010 is in force: one renewal of the binding, then IPv4 between the host and a correspondent that has called.</summary>
    private async Task TranslateAsync(LabRun run, CancellationToken cancellation)
    {
        var (started, runs) = (LabRun.Now, await RunsAsync(run, cancellation));
        _shown["sa before"] = await AssociationsAsync(run, cancellation);
        await LabRun.UntilAsync(async () => await RunsAsync(run, cancellation) > runs, TimeSpan.FromSeconds(10), cancellation);
        _shown["sa after"] = await AssociationsAsync(run, cancellation);
        _renewed = (started, LabRun.Now);

        var from = LabRun.Now;
        await run.PingAsync("cn", Home, new PingOptions(2), cancellation);
        await TakeAsync(run, "called", cancellation);
        var peer = Text(_shown["translation called"].FirstOrDefault(t => Text(t, "ipv6Address") == Correspondent), "ipv4Address");
        _translated = peer.Length > 0 ? await run.PingAsync("mn", peer, new PingOptions(5), cancellation) : null;
        _translatedPing = (from, LabRun.Now);
    }

    private static async Task<int> RunsAsync(LabRun run, CancellationToken cancellation) =>
        PathLines.Rows(await run.ShowAsync("mn", "events", cancellation)).Count(e => Text(e, "event") == "scenario.run" && Text(e, "text").StartsWith("10010: ", StringComparison.Ordinal));

    private static async Task<IReadOnlyList<JsonElement>> AssociationsAsync(LabRun run, CancellationToken cancellation) => [.. PathLines.Rows(await run.ShowAsync("mn", "sa", cancellation))];

    private (long In, long Out) Carried(string moment)
    {
        var signalling = _shown[moment].Where(sa => Text(sa, "mode") == "transport").ToList();
        return (signalling.Sum(sa => sa.GetProperty("packetsIn").GetInt64()), signalling.Sum(sa => sa.GetProperty("packetsOut").GetInt64()));
    }

    private void Translating(RowBook rows)
    {
        var updates = On("access-2", _renewed.From, _renewed.To).Where(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate)).ToList();
        var answers = On("access-2", _renewed.From, _renewed.To).Where(p => p.Sender == "ar2" && p.Is("mip6.mhtype", BindingAcknowledgement)).ToList();
        var (before, after) = (Carried("sa before"), Carried("sa after"));
        rows.Check(
            "TM-AC09", "with 10010 valid an update leaves as L3 and is acknowledged as L4, which runs 10010; the counters of the association rise by one each way",
            updates.Count == 1 && answers.Count == 1 && Stack(updates[0]) == "ipv6 ipv6.dstopts esp mipv6" && Stack(answers[0]) == "ipv6 ipv6.routing esp mipv6" && (after.In - before.In, after.Out - before.Out) == (1, 1)
                && _shown["events"].Any(e => Text(e, "text").StartsWith("10010: ", StringComparison.Ordinal)),
            string.Create(CultureInfo.InvariantCulture, $"{updates.Count} {Stack(updates.FirstOrDefault())}, {answers.Count} {Stack(answers.FirstOrDefault())}; in {before.In} to {after.In}, out {before.Out} to {after.Out}"));

        var (from, to) = _translatedPing;
        var careOf = Text(_shown["tunnels called"].FirstOrDefault(), "start");
        var up = On("access-2", from, to).Where(p => p.Sender == "mn" && p.Is("icmpv6.type", EchoRequest)).ToList();
        var down = On("access-2", from, to).Where(p => p.Sender == "ar2" && p.Is("icmpv6.type", EchoReply)).ToList();
        var ipv4 = Packets.Count(p => p.Has("ip"));
        foreach (var row in (string[])["TM-AC10", "TM-A-43"])
        {
            rows.Check(
                row, "with 10010 and no policy for data, what an IPv4 program of the host sends leaves as L6 and comes as L5, nothing of it under ESP and nothing in IPv4",
                _translated is { Received: > 0 } && up.Count == 5 && down.Count == 5 && ipv4 == 0 && up.All(p => Stack(p).StartsWith("ipv6 ipv6 icmpv6", StringComparison.Ordinal) && Ends(p) == $"{careOf} > {HomeAgent} | {Home} > {Correspondent}")
                    && down.All(p => Stack(p).StartsWith("ipv6 ipv6 icmpv6", StringComparison.Ordinal) && Ends(p) == $"{HomeAgent} > {careOf} | {Correspondent} > {Home}"),
                $"{_translated?.Summary}; {up.Count} {Ends(up.FirstOrDefault())}; {down.Count} {Ends(down.FirstOrDefault())}; {ipv4} packets of IPv4");
        }

        rows.Check(
            "TM-P5", "the host's interface has the home address while applications are IPv6, the virtual IPv4 address while they are translated, and never both",
            _host["registered"].Contains($" {Home}/128 ", StringComparison.Ordinal) && !_host["registered"].Contains(" 198.18.", StringComparison.Ordinal) && _host["translated"].Contains($" {Virtual}/32 ", StringComparison.Ordinal) && !_host["translated"].Contains(Home, StringComparison.Ordinal),
            $"{_host["registered"]}; {_host["translated"]}");
    }

    private void Protection(RowBook rows)
    {
        var update = On("access-1", _started).FirstOrDefault(p => p.Sender == "mn" && p.Is("mip6.mhtype", BindingUpdate));
        var answer = On("access-1", _started).FirstOrDefault(p => p.Sender == "ar1" && p.Is("mip6.mhtype", BindingAcknowledgement));
        var messages = Packets.Where(p => p.First("mip6.mhtype") is BindingUpdate or BindingAcknowledgement).ToList();
        var bare = messages.Count(p => !p.Has("esp"));
        foreach (var row in (string[])["TM-SP1", "TM-A-38"])
        {
            rows.Check(row, "every update and acknowledgement is under ESP in transport mode, behind the option with the home address or the routing header",
                messages.Count > 6 && bare == 0 && messages.All(p => Stack(p) is "ipv6 ipv6.dstopts esp mipv6" or "ipv6 ipv6.routing esp mipv6"), $"{messages.Count} messages, {bare} in clear: {string.Join("; ", messages.Select(Stack).Distinct())}");
        }

        var bound = _shown["bindings registered"].Any(b => Text(b, "homeAddress") == Home && Text(b, "careOfAddress") == $"{update?.Source}");
        foreach (var row in (string[])["TM-R100", "TM-FS1", "TM-FS2", "TM-P20"])
        {
            rows.Check(row, "the home agent has the binding and answers the care-of address: routing header with the home address, ESP, then the mobility header with status 0",
                bound && answer is not null && Stack(answer) == "ipv6 ipv6.routing esp mipv6" && answer.From(HomeAgent) && answer.To($"{update?.Source}") && answer.Is("ipv6.routing.mipv6.home_address", Home) && answer.Is("mip6.ba.status", "0"),
                $"{Stack(answer)} {answer?.Source} > {answer?.Destination}, {answer?.First("ipv6.routing.mipv6.home_address")}, status {answer?.First("mip6.ba.status")}");
        }

        var moved = On("access-2", _moved, _switched).Where(p => p.First("mip6.mhtype") is BindingUpdate or BindingAcknowledgement).ToList();
        var start = Text(_shown["tunnels moved"].FirstOrDefault(), "start");
        rows.Check("TM0.4", "after the move an update from the new care-of address and its acknowledgement, both under ESP; the home agent has the new one",
            moved.Any(p => p.Sender == "mn" && p.From(start) && Stack(p) == "ipv6 ipv6.dstopts esp mipv6") && moved.Any(p => p.Sender == "ar2" && p.To(start) && Stack(p) == "ipv6 ipv6.routing esp mipv6")
                && _shown["bindings moved"].Any(b => Text(b, "homeAddress") == Home && Text(b, "careOfAddress") == start),
            $"{string.Join("; ", moved.Take(2).Select(p => $"{Stack(p)} {p.Source} > {p.Destination}"))}; {start}");

        var keys = On("access-3").Where(p => p.Has("isakmp")).ToList();
        rows.Check("TM-SP7", "where all data are to be protected the key exchange passes in UDP between care-of address and home agent, outside of ESP",
            keys.Count >= 4 && keys.All(p => !p.Has("esp") && Stack(p).StartsWith("ipv6 udp isakmp", StringComparison.Ordinal) && (p.To(HomeAgent) || p.From(HomeAgent))), $"{keys.Count} messages: {string.Join("; ", keys.Select(Stack).Distinct())}");
    }
}
