using System.Globalization;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>A gateway in a virtual machine: what its kernel does with packets of a move, told apart from what the emulated processor adds in time.</summary>
public abstract partial class MoveScenario
{
    /// <summary>
    /// Paths change under traffic without a packet lost in the gateway. An emulated one may be late with them, as its one processor has its own program
    /// to run beside, and by how much is measured.
    /// </summary>
    private void Machines(LabRun run, CaptureSet captures, RowBook rows)
    {
        foreach (var machine in run.Machines.Keys)
        {
            var left = new Dictionary<(int Port, uint Number), long>();
            foreach (var packet in captures.Packets.Where(p => p.SenderNode == machine && p.Protection != SeenProtection.None && Number(p) is not null))
            {
                left.TryAdd((packet.Host!.SourcePort, Number(packet)!.Value), packet.Time);
            }

            var entered = captures.Packets.Where(p => p.ReceiverNode == machine && p.Protection == SeenProtection.None && Number(p) is not null)
                .Select(p => (p.Time, Left: left.TryGetValue((p.Packet.SourcePort, Number(p)!.Value), out var time) ? time : (long?)null)).ToList();
            var lost = entered.Count(p => p.Left is null);
            rows.Check(Rows.During, $"{machine} protects and sends on every packet that enters it, whatever moves", entered.Count > 0 && lost == 0,
                string.Create(CultureInfo.InvariantCulture, $"{entered.Count} entered, {lost} did not leave"));
            foreach (var traffic in _traffic)
            {
                var delays = Sorted(entered.Where(p => p.Time >= traffic.From && p.Time <= traffic.To && p.Left is not null).Select(p => (p.Left!.Value - p.Time) / 1e6));
                rows.Measure($"{traffic.Name}: through emulated {machine}, median", Median(delays), "ms");
                rows.Measure($"{traffic.Name}: through emulated {machine}, worst", delays.Count == 0 ? double.NaN : delays[^1], "ms");
            }
        }
    }

    /// <summary>What a far end in a virtual machine took to answer the update of a move, milliseconds: no gateway runs on a processor that slow. 0 without one.</summary>
    private double Emulated(LabRun run, CaptureSet captures, Move move)
    {
        var signals = move.Signals(captures);
        var update = signals.FirstOrDefault(s => s.Name == "BU" && s.To == FarEnd.Node);
        var answer = signals.FirstOrDefault(s => s.Name == "BA" && s.From == FarEnd.Node);
        return run.Machines.ContainsKey(FarEnd.Node) && update?.Arrived is { } sent && answer is not null
            ? ((answer.Time - sent) / 1e6) - run.Topology.LinksOf(FarEnd.Node).First(l => l.Link.Kind == LinkKind.Core).Link.Character.Delay.TotalMilliseconds
            : 0;
    }
}
