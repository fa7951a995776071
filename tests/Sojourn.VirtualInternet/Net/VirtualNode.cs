using System.Net;
using Sojourn.Engine.Ipsec;

namespace Sojourn.VirtualInternet.Net;

/// <summary>
/// A machine: an engine, its packet path and its disk. A restart takes engine, paths, visitors and attracted addresses
/// away; <see cref="EngineNode.State"/> and the reserved sequence numbers stay, as the role host keeps them.
/// </summary>
internal sealed class VirtualNode(string name, string? identity, IReadOnlyList<IPAddress> addresses, Func<IRandomSource, IEngine> build) : EngineNode(name)
{
    /// <summary>Name in its certificate; null for what speaks no Diameter.</summary>
    public string? Identity => identity;

    public IReadOnlyList<IPAddress> Addresses => addresses;

    /// <summary>Correspondents behind it: their packets come here, and UDP 434 towards them is taken when <see cref="Intercepts"/>.</summary>
    public IReadOnlyList<IPNetwork> Behind { get; init; } = [];

    public bool Intercepts { get; init; }

    /// <summary>Foreign agent: its access link.</summary>
    public string? AccessInterface { get; init; }

    /// <summary>Mobile node: its interface. It hears <see cref="AttachedTo"/> there.</summary>
    public string? RoamingInterface { get; init; }

    public LinkAddress LinkAddress { get; init; }

    /// <summary>A mobile node that claims to be somebody whose key it does not have.</summary>
    public bool IsIntruder { get; init; }

    public VirtualNode? AttachedTo { get; set; }

    public PathTable? Paths { get; set; }

    public SequenceDisk Sequences { get; } = new();

    public Dictionary<IPAddress, LinkAddress> Visitors { get; } = [];

    public HashSet<IPAddress> Attracted { get; } = [];

    /// <summary>Packets that met a path which is not ready, and until when they wait for it.</summary>
    public Queue<(byte[] Packet, DateTimeOffset Until)> Held { get; } = new();

    /// <summary>Mobile node: the address its interface has now, and the router it uses.</summary>
    public IPAddress? HomeAddress { get; set; }

    public override IEngine Build(IRandomSource random) => build(random);
}

/// <summary>Reserved sequence numbers of a machine.</summary>
internal sealed class SequenceDisk : ISequenceStore
{
    private readonly Dictionary<string, ulong> _reserved = [];

    public IReadOnlyDictionary<string, ulong> ReadAll() => _reserved;

    public void Write(IReadOnlyCollection<KeyValuePair<string, ulong>> raised, IReadOnlyCollection<string> forgotten)
    {
        foreach (var (association, number) in raised)
        {
            _reserved[association] = Math.Max(number, _reserved.GetValueOrDefault(association));
        }

        foreach (var association in forgotten)
        {
            _reserved.Remove(association);
        }
    }
}
