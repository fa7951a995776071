using System.Globalization;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>TM-M3: what does not enter the guest, its own packets and what is excluded of the host's.</summary>
public sealed partial class Terminal4
{
    private const string OwnAddress = "2001:db8:77::2", Printer = "2001:db8:78::5", Beyond = "2001:db8:79::5";

    private PingResult? _local, _beyond;
    private (long From, long To) _went;
    private string _watched = "";

    /// <summary>Has tshark print what crosses interface 19, from before the registration on.</summary>
    private static async Task<ForeignProgram> WatchHostAsync(LabRun run, CancellationToken cancellation)
    {
        var said = () => "";
        var program = await ForeignProgram.StartAsync(
            run, "mn", ["tshark", "-n", "-l", "-i", "mip0", "-T", "fields", "-E", "separator=,", "-E", "aggregator=/s", "-e", "ipv6.src", "-e", "ipv6.dst", "-e", "frame.protocols"], ForeignProgram.Lives(), cancellation);
        said = () => program.Said;
        await AwaitAsync(run, "tshark watches interface 19", () => Task.FromResult(said().Contains("Capturing on", StringComparison.Ordinal)), TimeSpan.FromSeconds(10), cancellation);
        return program;
    }

    /// <summary>Both addresses lie behind the router of the local network, which the machine's own default route names; one is excluded.</summary>
    private async Task GoLocalAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("The host pings a printer of the local network, which is excluded, and an address that is not");
        foreach (var address in (string[])[Printer, Beyond])
        {
            await run.ExecuteAsync("printer", ["ip", "-6", "address", "add", address + "/128", "dev", "eth0", "nodad"], cancellation);
        }

        var from = LabRun.Now;
        _local = await run.PingAsync("mn", Printer, new PingOptions(3), cancellation);
        _beyond = await run.PingAsync("mn", Beyond, new PingOptions(3) { Wait = TimeSpan.FromMilliseconds(300) }, cancellation);
        _went = (from, LabRun.Now);
    }

    private void Exclusion(RowBook rows)
    {
        var direct = On("local", _went.From, _went.To).Where(p => p.Sender == "mn" && p.Is("icmpv6.type", EchoRequest)).ToList();
        var tunnelled = On("access-1", _went.From, _went.To).Where(p => p.Sender == "mn" && p.Is("icmpv6.type", EchoRequest)).ToList();
        rows.Check("TM-M3", "what is excluded leaves by the machine's own default route with its own address and is on no link of the terminal; what is not goes through the tunnel, although the same route leads there",
            _local is { Received: > 0 } && direct.Count == 3 && direct.All(p => p.From(OwnAddress) && p.To(Printer)) && tunnelled.Count == 3 && tunnelled.All(p => Ends(p).EndsWith($"> {HomeAgent} | {Home} > {Beyond}", StringComparison.Ordinal)),
            string.Create(CultureInfo.InvariantCulture, $"on the local network {string.Join(", ", direct.Select(Ends).Distinct())} ({direct.Count}), {_local?.Summary}; on the access link {string.Join(", ", tunnelled.Select(Ends).Distinct())} ({tunnelled.Count}), {_beyond?.Summary}"));

        // The guest's own: neighbour discovery, key exchange, updates, tunnels.
        var crossed = _watched.Split('\n').Where(l => l.Contains(",raw:", StringComparison.Ordinal)).ToList();
        var own = crossed.Where(l => l.Contains(HomeAgent + ",", StringComparison.Ordinal) || l.Contains("mipv6", StringComparison.Ordinal) || l.Contains("isakmp", StringComparison.Ordinal) || l.Contains("esp", StringComparison.Ordinal)).ToList();
        var (users, printed) = (crossed.Count(l => l.Contains(Correspondent, StringComparison.Ordinal)), crossed.Count(l => l.Contains(Printer, StringComparison.Ordinal)));
        var sent = Packets.Count(p => p.Link is "access-1" or "access-2" && p.Sender == "mn" && (p.Has("isakmp") || p.Has("mipv6")));
        rows.Check("TM-M3", "nothing of the guest's own crosses interface 19, no key exchange, update, neighbour discovery or tunnel header, while its packets are on the access links and the host's cross",
            own.Count == 0 && printed == 0 && users > 10 && sent > 3, string.Create(CultureInfo.InvariantCulture, $"{crossed.Count} packets crossed, {users} from or to the correspondent, {printed} to the printer, {own.Count} of the guest's{(own.Count > 0 ? ": " + own[0] : "")}; {sent} of the guest's on the access links"));
    }
}
