using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using Sojourn.Engine;
using Sojourn.Host.Configuration;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Sojourn.Roles.Gateways;

namespace Sojourn.Lab.VirtualMachine;

/// <summary>What the kernel has counted on one way of a tunnel since it was entered.</summary>
/// <param name="Source">Outer source.</param>
/// <param name="Destination">Outer destination.</param>
/// <param name="Spi">Null without cryptography.</param>
/// <param name="Packets">Packets protected or opened, refused ones not counted.</param>
public sealed record KernelCounter(IPAddress Source, IPAddress Destination, uint? Spi, long Packets)
{
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Source} > {Destination}{(Spi is { } spi ? $" SPI 0x{spi:x8}" : "")}: {Packets} packets");
}

/// <summary>
/// A static gateway (SGW, spec NV1.2) that is a Linux kernel. Its node has the settings of our own gateway role, and
/// its standing tunnels are entered with <c>ip xfrm</c> as an engineer of that company would do from the contract: addresses,
/// SPIs and keys. Nothing of ours runs in it.
/// </summary>
public partial class LinuxGateway : IMachine
{
    private readonly List<VpnPath> _tunnels = [];
    private LinuxVirtualMachine? _machine;
    private string _entered = "";

    /// <summary>Null before it was started.</summary>
    public LinuxVirtualMachine? Machine => _machine;

    /// <inheritdoc/>
    /// <exception cref="ScenarioException">The settings are wrong, or the machine does not come up.</exception>
    public async Task StartAsync(LabRun run, LabNode node, CancellationToken cancellation)
    {
        var ends = run.Topology.LinksOf(node.Name).Select(l => l.Link.Ends[l.End]).ToList();
        var kernel = await GuestKernel.ObtainAsync(cancellation);
        _machine = await LinuxVirtualMachine.StartAsync(
            kernel, FileSystem(run, node), run.Network.Namespace(node.Name), [.. ends.Select(e => e.Interface)], run.Directory.Remember, cancellation,
            Path.Combine(run.Directory.FolderOf(node.Name), "machine"));
        await _machine.ConfigureAsync([.. ends.Select(e => (e.Address!, e.PrefixLength))], [.. node.Routes.Select(r => (r.Destination, r.Gateway))], cancellation);
        run.Progress.Note(string.Create(CultureInfo.InvariantCulture, $"Linux {_machine.Release} up after {_machine.BootTime.TotalSeconds:F1} s"));
        _entered = await EnterAsync(run, node, _machine, cancellation);
    }

    /// <summary>What the guest boots with.</summary>
    protected virtual Initramfs FileSystem(LabRun run, LabNode node) => new();

    /// <summary>Sets the tunnels up.</summary>
    /// <returns>What was typed in, for the evidence.</returns>
    protected virtual async Task<string> EnterAsync(LabRun run, LabNode node, LinuxVirtualMachine machine, CancellationToken cancellation)
    {
        _tunnels.AddRange(Tunnels(NodeFiles.ConfigurationOf(run.Directory, node.Name)));

        // Our nodes send the authentication header of RFC 4302, which Linux takes when told so.
        var commands = string.Concat(_tunnels.Select((t, i) => KernelTunnel.Commands(t, i + 1, align4: true)));
        await machine.ExecuteAsync(commands, cancellation);
        run.Progress.Note(string.Create(CultureInfo.InvariantCulture, $"{_tunnels.Count} tunnel(s) entered by hand"));
        return commands;
    }

    /// <summary>Both ways of every tunnel, as <c>ip -s xfrm state</c> or the tunnel device tells them.</summary>
    public async Task<IReadOnlyList<KernelCounter>> CountersAsync(CancellationToken cancellation)
    {
        var states = await _machine!.ExecuteAsync("ip -s xfrm state list nokeys", cancellation);
        var counters = State().Matches(states).Select(m => new KernelCounter(
            IPAddress.Parse(m.Groups[1].Value), IPAddress.Parse(m.Groups[2].Value), uint.Parse(m.Groups[3].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture),
            long.Parse(m.Groups[4].Value, CultureInfo.InvariantCulture))).ToList();
        foreach (var (tunnel, number) in _tunnels.Select((t, i) => (t, i + 1)).Where(t => t.t.SecurityType == SecurityType.EncapsulationOnly))
        {
            var text = await _machine.ExecuteAsync(string.Create(CultureInfo.InvariantCulture, $"cd /sys/class/net/vpn{number}/statistics; cat tx_packets rx_packets"), cancellation);
            var counts = text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => long.Parse(l, CultureInfo.InvariantCulture)).ToList();
            counters.Add(new KernelCounter(tunnel.LocalGateway, tunnel.RemoteGateway, null, counts[0]));
            counters.Add(new KernelCounter(tunnel.RemoteGateway, tunnel.LocalGateway, null, counts[1]));
        }

        return counters;
    }

    /// <summary>Counters of <c>/proc/net/xfrm_stat</c> that are not zero: packets the kernel refused, by reason.</summary>
    public async Task<IReadOnlyList<string>> RefusalsAsync(CancellationToken cancellation)
    {
        var text = await _machine!.ExecuteAsync("cat /proc/net/xfrm_stat", cancellation);
        return [.. text.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => string.Join(' ', l.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries))).Where(l => !l.EndsWith(" 0", StringComparison.Ordinal))];
    }

    /// <inheritdoc/>
    public virtual async Task CollectAsync(string folder, CancellationToken cancellation)
    {
        if (_machine is null)
        {
            return;
        }

        File.WriteAllText(Path.Combine(folder, "entered.sh"), LinuxVirtualMachine.Masked(_entered));
        foreach (var (file, script) in ((string, string)[])
            [("kernel.txt", "uname -a; cat /proc/uptime"), ("xfrm-state.txt", "ip -s xfrm state list nokeys"), ("xfrm-policy.txt", "ip -s xfrm policy"), ("xfrm-stat.txt", "cat /proc/net/xfrm_stat"), ("links.txt", "ip -s address; ip route")])
        {
            File.WriteAllText(Path.Combine(folder, file), await _machine.ExecuteAsync(script, cancellation));
        }

        File.WriteAllText(Path.Combine(folder, "console.txt"), _machine.Console);
    }

    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        if (_machine is not null)
        {
            await _machine.DisposeAsync();
        }
    }

    /// <summary>The standing tunnels our own gateway would have with this configuration.</summary>
    private static IEnumerable<VpnPath> Tunnels(string configuration)
    {
        var read = ConfigurationReader.ReadFile(configuration);
        if (read.Node is not { } node)
        {
            throw new ScenarioException(string.Join("; ", read.Findings));
        }

        var role = new StaticGatewayRole(node, SystemRandomSource.Instance);
        role.Vpn.Start(new EffectSink());

        // A preset association is a path of its own, which carries nothing by itself.
        return role.Vpn.Paths.Where(p => p.State == PathState.Active);
    }

    [GeneratedRegex(@"^src (\S+) dst (\S+)\n\s+proto \S+ spi 0x([0-9a-f]+).*?lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex State();
}
