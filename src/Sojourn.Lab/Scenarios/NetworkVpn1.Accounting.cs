using System.Globalization;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>Accounting of Bob, who leaves: what the home AAA server has of him is what his link carried.</summary>
public sealed partial class NetworkVpn1
{
    private const ushort MobileIpPort = 434;

    private IReadOnlyList<JsonElement> _charges = [];
    private string _usageShown = "";
    private PingResult? _bobLarge;
    private long _bobLeft, _bobAccounted;

    /// <summary>Traffic of another size than every other ping of his, so that octets are told apart from packets.</summary>
    private async Task UseAsync(LabRun run, CancellationToken cancellation) =>
        _bobLarge = await run.PingAsync("bob", Host.ToString(), new PingOptions(20) { Size = 1000 }, cancellation);

    private async Task UsageAsync(LabRun run, CancellationToken cancellation)
    {
        _bobLeft = LabRun.Now;
        await LabRun.UntilAsync(
            async () =>
            {
                _charges = [.. PathLines.Rows(await run.ShowAsync("aaah", "usage-charges?nai=bob@home.example", cancellation))];
                return _charges.Count(c => Text(c, "record") == "stop") >= 2;
            },
            TimeSpan.FromSeconds(10), cancellation);
        _bobAccounted = LabRun.Now;
        _usageShown = (await run.SojournAsync(["show", "usage", "--nai", "bob@home.example", "--socket", run.Node("aaah").Control.SocketPath], cancellation)).Output;
    }

    private void Accounting(CaptureSet captures, RowBook rows)
    {
        var link = captures.On("access-bob").Where(p => p.Time <= _bobLeft && !IsMobility(p.Packet)).ToList();
        var up = link.Where(p => p.SenderNode == "bob" && p.Packet.Source.Equals(Bob) && p.Packet.Destination.GetAddressBytes()[0] < 224).ToList();
        var down = link.Where(p => p.ReceiverNode == "bob" && p.Packet.Destination.Equals(Bob)).ToList();
        var carried = (up.Count, up.Sum(p => p.Packet.Octets.Length), down.Count, down.Sum(p => p.Packet.Octets.Length));

        // Every packet of his belongs to the one profile he has, and none was on the way when he left: equality is exact.
        foreach (var (place, name) in ((string, string)[])[("foreign-agent", "foreign agent"), ("home-agent", "home agent")])
        {
            var mine = _charges.Where(c => Text(c, "measuredBy") == place).ToList();
            var told = (Sum(mine, "packetsUp"), Sum(mine, "octetsUp"), Sum(mine, "packetsDown"), Sum(mine, "octetsDown"));
            var records = mine.Select(c => Text(c, "record")).Distinct().ToList();
            rows.Check("accounting", $"after Bob has left, what the home AAA server has of him by the {name} is what his link carried, packet by packet and octet by octet",
                _bobLarge!.AllArrived && carried.Item1 >= _bobLarge.Sent && told == carried && records.SequenceEqual(["start", "stop"])
                && mine.All(c => (Text(c, "sessionKnown") == "True" && Text(c, "profileNumber") == "2") || Sum([c], "packetsUp") == 0)
                && mine.Any(c => Text(c, "sessionKnown") == "True"),
                string.Create(CultureInfo.InvariantCulture, $"link: {carried.Item1} packets {carried.Item2} octets up, {carried.Item3} packets {carried.Item4} octets down; told: {told.Item1} {told.Item2} up, {told.Item3} {told.Item4} down, records {string.Join(", ", mine.Select(c => $"{Text(c, "record")} of profile {Text(c, "profileNumber")}{(Text(c, "sessionKnown") == "True" ? "" : ", session unknown")}"))}; his last ping: {_bobLarge.Summary}"));
        }

        var requests = captures.Signals.Where(s => s.Name == "ACR" && s.Diameter!.UserName == "bob@home.example" && s.Time <= _bobAccounted).ToList();
        var sessions = requests.Select(s => s.Diameter!.Find(50)?.Text).Distinct().ToList();
        var ways = requests.Select(s => $"{s.From} > {s.To}").Distinct().Order(StringComparer.Ordinal).ToList();
        var answers = captures.Signals.Where(s => s.Name == "ACA" && s.Diameter!.UserName == "bob@home.example" && s.Time <= _bobAccounted).ToList();

        // On a crowded machine his node may ask again before it is answered: that is a login of its own, with nothing carried under the first.
        var logins = captures.Signals.Count(s => s is { Name: "AMR", To: "aaaf" } && s.Diameter!.UserName == "bob@home.example" && s.Time <= _bobAccounted);
        rows.Check("accounting", "ACRs go FA > AAAF > AAAH and HA > AAAH under one Acct-Multi-Session-Id for each login, and each is answered with success",
            ways.SequenceEqual(["aaaf > aaah", "fa1 > aaaf", "ha > aaah"]) && sessions.Count > 0 && sessions.Count <= logins && !sessions.Contains(null) && answers.Count == requests.Count && answers.All(a => a.Diameter!.ResultCode == 2001),
            $"{requests.Count} ACR ({string.Join(", ", ways)}), {sessions.Count} Acct-Multi-Session-Id for {logins} logins, {answers.Count} ACA, results {string.Join("/", answers.Select(a => a.Diameter!.ResultCode).Distinct())}");
        rows.Check("accounting", "the operator sees it with `show usage`", _usageShown.Contains(string.Create(CultureInfo.InvariantCulture, $"{carried.Item2}"), StringComparison.Ordinal),
            _usageShown.Split('\n').FirstOrDefault(l => l.Contains("foreign-agent", StringComparison.Ordinal))?.Trim() ?? "nothing of Bob");

        // Between node and agent, and nobody's use: registrations, advertisements and solicitations.
        static bool IsMobility(Ipv4Packet packet) => packet.IcmpType is 9 or 10 || (packet.IsUdp && (packet.SourcePort == MobileIpPort || packet.DestinationPort == MobileIpPort));

        static long Sum(IEnumerable<JsonElement> charges, string member) => charges.Sum(c => c.GetProperty(member).GetInt64());
    }
}
