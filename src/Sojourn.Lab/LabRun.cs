using System.Globalization;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Sojourn.Lab.VirtualMachine;

namespace Sojourn.Lab;

/// <summary>Somebody who wants to know how a run goes.</summary>
public interface ILabProgress
{
    /// <summary>A step begins.</summary>
    void Step(string text);

    /// <summary>Something worth a line happened.</summary>
    void Note(string text);
}

/// <summary>One standing laboratory: namespaces, wires, node processes and the folder the evidence goes to.</summary>
public sealed class LabRun : IAsyncDisposable
{
    private readonly Dictionary<string, NodeProcess> _nodes = [];
    private readonly List<CommandResult> _commands = [];
    private readonly Dictionary<string, IMachine> _machines = [];
    private readonly Dictionary<string, int> _pings = [];

    private LabRun(ScenarioDefinition definition, string evidence, RunDirectory run, LabNetwork network, ILabProgress progress)
    {
        Definition = definition;
        Evidence = evidence;
        Directory = run;
        Network = network;
        Progress = progress;
        foreach (var node in definition.Topology.Nodes.Where(n => n.RunsSojourn))
        {
            _nodes.Add(node.Name, new NodeProcess(run, node.Name, network.Namespace(node.Name).Name));
        }
    }

    public ScenarioDefinition Definition { get; }

    public LabTopology Topology => Definition.Topology;

    /// <summary>Folder of the evidence.</summary>
    public string Evidence { get; }

    public RunDirectory Directory { get; }

    public LabNetwork Network { get; }

    public ILabProgress Progress { get; }

    public IReadOnlyDictionary<string, NodeProcess> Nodes => _nodes;

    /// <summary>Foreign systems that stand in place of nodes.</summary>
    public IReadOnlyDictionary<string, IMachine> Machines => _machines;

    /// <summary>How crowded the machine was while the laboratory stood.</summary>
    public ProcessorWait ProcessorWait { get; } = new();

    /// <summary>Every command run so far with its output.</summary>
    public IReadOnlyList<CommandResult> Commands => _commands;

    /// <summary>Builds namespaces, links and node files. Nothing is started.</summary>
    /// <param name="definition">Scenario.</param>
    /// <param name="evidence">Folder for the evidence; an earlier run's evidence in it is replaced.</param>
    /// <param name="progress">Told what happens.</param>
    public static async Task<LabRun> BuildAsync(ScenarioDefinition definition, string evidence, ILabProgress progress)
    {
        if (Environment.UserName != "root")
        {
            throw new ScenarioException("the lab makes network namespaces and needs to be root (sudo sojourn lab …)");
        }

        foreach (var removed in RunDirectory.RemoveLeftovers())
        {
            progress.Note($"removed what a crashed run left: {removed}");
        }

        evidence = Path.GetFullPath(evidence);
        foreach (var part in (string[])["captures", "keys", "nodes"])
        {
            if (System.IO.Directory.Exists(Path.Combine(evidence, part)))
            {
                System.IO.Directory.Delete(Path.Combine(evidence, part), recursive: true);
            }

            System.IO.Directory.CreateDirectory(Path.Combine(evidence, part));
        }

        progress.Step(string.Create(CultureInfo.InvariantCulture, $"Building {definition.Topology.Nodes.Count} hosts and {definition.Topology.Links.Count} links"));
        var run = RunDirectory.Create();
        LabNetwork? network = null;
        try
        {
            NodeFiles.Write(definition, run);
            network = await Task.Run(() => new LabNetwork(definition.Topology, run.Id, Path.Combine(evidence, "captures")));
            return new LabRun(definition, evidence, run, network, progress);
        }
        catch
        {
            network?.Dispose();
            LabNetwork.RemoveNamespaces(run.Id + "-");
            run.Dispose();
            throw;
        }
    }

    public NodeProcess Node(string name) => _nodes.TryGetValue(name, out var node) ? node : throw new ScenarioException($"there is no Sojourn node '{name}'; nodes: {string.Join(", ", _nodes.Keys)}");

    /// <summary>Starts every node that does not wait for the scenario, in the scenario's order.</summary>
    public async Task StartAsync(CancellationToken cancellation)
    {
        foreach (var node in Topology.Nodes.Where(n => n.Role == LabNode.MachineRole))
        {
            IMachine machine = Definition.Options.Gateway == GatewayPeer.Kernel ? new SojournGateway() : new LinuxGateway();
            _machines.Add(node.Name, machine);
            Progress.Step($"Booting {node.Name}");
            await machine.StartAsync(this, node, cancellation);
        }

        foreach (var group in Topology.Nodes.Where(n => n.RunsSojourn && n.StartAtOnce).GroupBy(n => n.Order).OrderBy(g => g.Key))
        {
            Progress.Step($"Starting {string.Join(", ", group.Select(n => n.Name))}");
            await Task.WhenAll(group.Select(n => Node(n.Name).StartAsync(cancellation)));
        }
    }

    /// <summary>The namespace of a node as <c>ip netns</c> knows it.</summary>
    public string SpaceOf(string node) => Network.Namespace(node).Name;

    /// <summary>Runs a program on a node to its end, by default for two minutes at most.</summary>
    public async Task<CommandResult> ExecuteAsync(string node, IReadOnlyList<string> command, CancellationToken cancellation, TimeSpan? limit = null)
    {
        var result = await LabCommand.RunAsync(LabCommand.Inside(SpaceOf(node), command), cancellation, limit);
        lock (_commands)
        {
            _commands.Add(result);
        }

        return result;
    }

    /// <summary>Runs the <c>sojourn</c> command itself, as an operator would.</summary>
    public async Task<CommandResult> SojournAsync(IReadOnlyList<string> arguments, CancellationToken cancellation)
    {
        var result = await LabCommand.RunAsync([.. LabCommand.Sojourn, .. arguments], cancellation);
        lock (_commands)
        {
            _commands.Add(result);
        }

        return result;
    }

    /// <summary>
    /// Pings from a node with the system's own unmodified ping. That waits for its last replies no longer than twice the longest
    /// round trip so far, whatever it was told; what came to the node within <see cref="PingOptions.Wait"/> arrived all the same. Of two pings
    /// at a time the node cannot tell whose reply came late, so that they are taken at their word.
    /// </summary>
    public async Task<PingResult> PingAsync(string node, string destination, PingOptions options, CancellationToken cancellation)
    {
        var start = Now;
        var replies = new EchoReplies(Network.Namespace(node), destination);
        var others = PingsOf(node, +1);
        var result = PingResult.Parse(await ExecuteAsync(node, ["ping", .. options.Arguments, destination], cancellation), start, Now);
        others = Math.Max(others, PingsOf(node, -1));
        if (result.Received == 0 || result.Received >= result.Sent || others > 0)
        {
            return result;
        }

        await UntilAsync(() => Task.FromResult(replies.Received - result.Duplicates >= result.Sent), options.Wait, cancellation);
        return result.With((int)Math.Clamp(replies.Received - result.Duplicates - result.Received, 0, result.Sent - result.Received));
    }

    /// <summary>Counts a ping of a node in or out. Returns how many others there are.</summary>
    private int PingsOf(string node, int change)
    {
        lock (_pings)
        {
            var pings = _pings[node] = _pings.GetValueOrDefault(node) + change;
            return change > 0 ? pings - 1 : pings;
        }
    }

    /// <summary>Nodes whose tables can be read now: the program runs, here or in a virtual machine.</summary>
    public IEnumerable<LabNode> Showing =>
        _nodes.Values.Where(n => n.IsRunning).Select(n => n.Name).Concat(_machines.Where(m => m.Value is SojournGateway).Select(m => m.Key)).Select(Topology.Node);

    /// <summary>Reads a table of a node, e.g. <c>paths</c>, as <c>sojourn show … --json</c> gives it.</summary>
    public Task<JsonElement> ShowAsync(string node, string table, CancellationToken cancellation) =>
        _machines.GetValueOrDefault(node) is SojournGateway gateway ? gateway.ShowAsync(table, cancellation) : Node(node).Control.GetAsync(table, cancellation);

    /// <summary>Waits for a packet on a link from a moment on.</summary>
    /// <returns>Null when it did not come in time.</returns>
    public async Task<CapturedFrame?> WaitForAsync(string link, long from, Func<CapturedFrame, Ipv4Packet, bool> wanted, TimeSpan limit, CancellationToken cancellation)
    {
        var recording = Network.Wire(link).Recording;
        var looked = 0;
        for (var end = DateTime.UtcNow + limit; ;)
        {
            foreach (var frame in recording.Frames(looked))
            {
                looked++;
                if (frame.Time >= from && Ipv4Packet.Of(frame) is { } packet && wanted(frame, packet))
                {
                    return frame;
                }
            }

            if (DateTime.UtcNow > end)
            {
                return null;
            }

            await Task.Delay(10, cancellation);
        }
    }

    /// <summary>Asks again and again until the answer is yes.</summary>
    public static async Task<bool> UntilAsync(Func<Task<bool>> question, TimeSpan limit, CancellationToken cancellation)
    {
        for (var end = DateTime.UtcNow + limit; DateTime.UtcNow < end; await Task.Delay(50, cancellation))
        {
            if (await question())
            {
                return true;
            }
        }

        return await question();
    }

    /// <summary>Nanoseconds since 1970, the clock of the captures.</summary>
    public static long Now => LinkWire.Now();

    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(_nodes.Values.Select(n => n.DisposeAsync().AsTask()));
        foreach (var machine in _machines.Values)
        {
            await machine.DisposeAsync();
        }

        ProcessorWait.Dispose();
        Network.Dispose();
        Directory.Dispose();
    }
}
