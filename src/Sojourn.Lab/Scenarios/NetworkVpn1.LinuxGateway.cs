using System.Globalization;
using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.VirtualMachine;

namespace Sojourn.Lab.Scenarios;

/// <summary>What changes when the company's gateway is a Linux kernel (<c>--gateway linux</c>), or has its packets carried by one (<c>--gateway kernel</c>): it shows its own tables.</summary>
public sealed partial class NetworkVpn1
{
    private KernelView? _kernelBefore, _kernelAfter;

    /// <param name="ByHand">Not by our own program.</param>
    private sealed record KernelView(string Release, bool ByHand, TimeSpan BootTime, IReadOnlyList<KernelCounter> Counters, IReadOnlyList<string> Refusals);

    /// <summary>Null when the gateway is our own.</summary>
    private static async Task<KernelView?> LookIntoKernelAsync(LabRun run, CancellationToken cancellation) =>
        run.Machines.GetValueOrDefault("sgw") is LinuxGateway { Machine: { } machine } gateway
            ? new KernelView(machine.Release, gateway is not SojournGateway, machine.BootTime, await gateway.CountersAsync(cancellation), await gateway.RefusalsAsync(cancellation))
            : null;

    /// <summary>Tunnels at the company's gateway before anybody has logged in.</summary>
    private int StandingTunnels => _kernelBefore?.Counters.Count(c => c.Source.Equals(Company)) ?? _tables.Rows("before", "sgw", "paths").Count;

    private void LinuxKernel(CaptureSet captures, RowBook rows, SeenProtection want)
    {
        if (_kernelBefore is not { } before || _kernelAfter is not { } after)
        {
            return;
        }

        foreach (var (from, to, spi, way) in ((IPAddress, IPAddress, uint, string)[])[(Home, Company, 0x1001, "HA > SGW"), (Company, Home, 0x1002, "SGW > HA")])
        {
            var (first, last) = (Of(before, from, to), Of(after, from, to));
            var seen = captures.On("core-sgw").Count(p => p.Between(from, to) && p.Protection == want && p.Time >= _before!.To && p.Time <= _down!.To);
            rows.Check("NV1.2", $"the company's gateway, Linux {after.Release} with a tunnel entered by {(after.ByHand ? "hand" : "our program")}, has itself counted the packets {way}",
                last is not null && first is not null && (want == SeenProtection.Encapsulation ? last.Spi is null : last.Spi == spi) && last.Packets - first.Packets == seen && seen >= _up!.Sent + _down!.Sent,
                string.Create(CultureInfo.InvariantCulture, $"{(last is null ? "no such tunnel" : $"{last}, {last.Packets - first?.Packets} of them since the login")}; {seen} on the wire"));
        }

        rows.Check("NV1.2", "the Linux kernel has refused no packet", after.Refusals.Count == 0, after.Refusals.Count == 0 ? "all counters of xfrm_stat are 0" : string.Join("; ", after.Refusals));
        rows.Measure("Linux kernel gateway, start to first command", after.BootTime.TotalSeconds, "s");
    }

    private static KernelCounter? Of(KernelView view, IPAddress from, IPAddress to) => view.Counters.FirstOrDefault(c => c.Source.Equals(from) && c.Destination.Equals(to));
}
