using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Nodes;

/// <summary>
/// A foreign system that stands where a node would stand, for instance a Linux kernel in a virtual machine as company
/// gateway (<c>--gateway linux</c>). Its links end in the node's namespace as any node's do; the machine attaches itself there.
/// </summary>
public interface IMachine : IAsyncDisposable
{
    /// <summary>Boots it inside the node's namespace and returns when it forwards packets.</summary>
    Task StartAsync(LabRun run, LabNode node, CancellationToken cancellation);

    /// <summary>Writes what the system itself tells about the run into a folder of the evidence, without secrets. The run still stands.</summary>
    Task CollectAsync(string folder, CancellationToken cancellation);
}
