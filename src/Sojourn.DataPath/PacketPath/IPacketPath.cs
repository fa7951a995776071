using Sojourn.DataPath.Native;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;

namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// What carries the packets of a gateway: the set of paths made real. Calls may come from any thread, one at a time. What it notices on
/// the way goes to <see cref="PacketPathOptions.Signal"/>.
/// </summary>
public interface IPacketPath : IDisposable
{
    /// <summary>Routes, visitors, home addresses and interception of this node.</summary>
    NodeRouting Routing { get; }

    /// <summary>Installed paths that carry packets both ways.</summary>
    int ActivePaths { get; }

    /// <summary>What was counted by name. Costs the same however many paths there are, unlike <see cref="Report"/>.</summary>
    IReadOnlyDictionary<string, long> Counters { get; }

    /// <summary>
    /// Installs or replaces paths, then removes others; or refuses and changes nothing. What the paths select never leaves in clear
    /// meanwhile, and removing an unknown id is no error.
    /// </summary>
    /// <exception cref="IOException">The system or the sequence store refuses; nothing is changed.</exception>
    PathChangeResult Change(IReadOnlyList<VpnPath> install, IReadOnlyList<PathId> remove);

    /// <summary>Stores the first sequence numbers of several changes to come in one transaction.</summary>
    /// <exception cref="IOException">Nothing was stored; each change will try by itself.</exception>
    void Reserve(IEnumerable<VpnPath> paths);

    /// <summary>Carries out <see cref="ChangePaths"/> and the effects of <see cref="NodeRouting.Apply"/>. False for other effects; a refused change raises <see cref="PathSignal.InstallFailed"/> for each of its paths.</summary>
    bool Apply(Effect effect, out PathRefusal? refusal);

    /// <summary>
    /// Opens a UDP port that encapsulated ESP shares with a key exchange (RFC 3948 2.2), before any path needs it. What is not
    /// ESP goes to <see cref="PacketPathOptions.UdpNotEsp"/>.
    /// </summary>
    /// <exception cref="SystemCallException">The port is taken.</exception>
    void ListenUdp(ushort port);

    /// <summary>Sends a datagram from an open UDP port of the packet path. Any thread may call.</summary>
    /// <returns>False when the system refuses; the protocol retransmits.</returns>
    bool SendUdp(SendDatagram datagram);

    /// <summary>What users' profiles carried since the last call; see <see cref="PathTable.TakeUsage"/>.</summary>
    IReadOnlyList<(string Session, ProfileUsage Usage)> TakeUsage();

    /// <summary>Whether a path is installed.</summary>
    bool Holds(PathId id);

    PacketPathReport Report();
}

/// <summary>What every back end does alike.</summary>
internal static class PacketPathChanges
{
    /// <summary>Changes paths as an engine says; a refusal is signalled for each of the new ones.</summary>
    public static PathRefusal? CarryOut(this IPacketPath packetPath, ChangePaths change, Action<PathSignalled>? signal)
    {
        var refusal = packetPath.Change(change.Install, change.Remove).Refusal;
        if (refusal is not null)
        {
            foreach (var path in change.Install)
            {
                signal?.Invoke(new PathSignalled(path.Id, PathSignal.InstallFailed));
            }
        }

        return refusal;
    }
}
