using System.Buffers.Binary;
using System.Net;
using System.Security.Cryptography;
using Sojourn.Wire.Ip;

namespace Sojourn.VirtualInternet.Net;

/// <summary>What must never happen, watched over all lives of all nodes.</summary>
internal sealed class Ledger(VirtualNetwork network)
{
    private readonly Dictionary<(UInt128 Key, uint Spi, ulong Nonce), string> _nonces = [];

    /// <summary>Packets taken out of tunnels, with the life in which.</summary>
    private readonly Dictionary<(string Node, int Life, (UInt128 Key, uint Spi, ulong Nonce)), int> _accepted = [];

    /// <summary>Home address and correspondents of every profile with ESP or AH.</summary>
    private readonly HashSet<(IPAddress Home, IPNetwork Correspondents)> _protected = [];

    /// <summary>What was promised to a node: an accepted registration must be on the disks of those who promised.</summary>
    public Action<VirtualNode, EngineEvent>? OnEvent { get; set; }

    public int PacketsSealed { get; private set; }

    public void Protect(IPAddress home, IPNetwork correspondents) => _protected.Add((home, correspondents));

    public void Reported(VirtualNode node, EngineEvent what) => OnEvent?.Invoke(node, what);

    /// <summary>
    /// A protected packet leaves a node. Under one key no initialisation vector may come twice, and no sequence number
    /// either: the far end would take the second packet for a replay.
    /// </summary>
    public void Sent(VirtualNode node, VpnPath path, ReadOnlySpan<byte> outer)
    {
        if (path.Outbound is not { } association)
        {
            return;
        }

        PacketsSealed++;
        var name = NameOf(path.SecurityType, association, outer);
        var who = $"{node} (life {node.Life}) on {path.Id}, spi {association.Spi:x}";
        if (!_nonces.TryAdd(name, who))
        {
            throw network.Violation($"nonce {name.Nonce} repeats under one {association.Algorithm} key: {_nonces[name]}, then {who}");
        }
    }

    /// <summary>
    /// A packet comes out of a tunnel. No node takes the same one twice, not in different lives either; only what comes under
    /// typed-in keys, whose sender may be anybody's, may be taken once in each life.
    /// </summary>
    public void Accepted(VirtualNode node, VpnPath path, ReadOnlySpan<byte> outer)
    {
        if (path.Inbound is not { } association)
        {
            return;
        }

        var name = (node.Name, association.StaticKeys ? node.Life : 0, NameOf(path.SecurityType, association, outer));
        if (!_accepted.TryAdd(name, node.Life))
        {
            throw network.Violation($"{node} (life {node.Life}) takes packet {name.Item3.Nonce} of spi {association.Spi:x} on {path.Id} again, first in life {_accepted[name]}");
        }
    }

    private static (UInt128 Key, uint Spi, ulong Nonce) NameOf(SecurityType type, SaParameters association, ReadOnlySpan<byte> outer)
    {
        var packet = IpPacket.OfChecked(outer);
        ulong nonce = BinaryPrimitives.ReadUInt32BigEndian(packet.Payload[(type == SecurityType.Esp ? 4 : 8)..]);
        if (type == SecurityType.Esp && !association.Algorithm.AllowsStaticKey())
        {
            nonce = BinaryPrimitives.ReadUInt64BigEndian(packet.Payload[8..]);
        }

        Span<byte> digest = stackalloc byte[32];
        SHA256.HashData(association.Keys.Encryption.Octets.Length > 0 ? association.Keys.Encryption.Octets : association.Keys.Authentication.Octets, digest);
        return (BinaryPrimitives.ReadUInt128BigEndian(digest), association.Algorithm.AllowsStaticKey() ? association.Spi : 0, nonce);
    }

    /// <summary>A packet crosses the core.</summary>
    public void OnCore(VirtualNode? from, ReadOnlySpan<byte> octets)
    {
        var packet = IpPacket.OfChecked(octets);
        while (packet.NextHeader == IpProtocol.IPv4)
        {
            if (!IpPacket.TryParse(packet.Payload, out packet, out _))
            {
                return;
            }
        }

        if (packet.NextHeader is IpProtocol.Esp or IpProtocol.Ah)
        {
            return;
        }

        var source = packet.SourceAddress;
        var destination = packet.DestinationAddress;
        foreach (var (home, correspondents) in _protected)
        {
            if ((home.Equals(source) && correspondents.Contains(destination)) || (home.Equals(destination) && correspondents.Contains(source)))
            {
                throw network.Violation($"clear packet {source} > {destination} on the core, from {from?.Name ?? "a correspondent"}");
            }
        }
    }
}
