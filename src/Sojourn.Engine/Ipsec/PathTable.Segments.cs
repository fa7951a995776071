using System.Buffers.Binary;
using Sojourn.Wire.Ip;

namespace Sojourn.Engine.Ipsec;

/// <summary>Towards the far end, many at a time: what is the same for all packets that a longer one stands for is done once.</summary>
public sealed partial class PathTable
{
    /// <summary>
    /// Cuts a classified packet that stands for several and marks, protects and encapsulates what it stands for, in order, as many as the output takes. Each is cut
    /// where its outer packet is made. Ends early where <see cref="Protect"/> would not send.
    /// </summary>
    /// <param name="packet">What is cut.</param>
    /// <returns><see cref="OutboundVerdict.Protect"/> when nothing was done: the next one goes to <see cref="Protect"/>, which knows all cases and says why.</returns>
    public OutboundResult ProtectSegments(PathHandle handle, ReadOnlySpan<byte> packet, ref SegmentCutter segments, Span<byte> output, DateTimeOffset now)
    {
        if (handle.Installed is not { Retired: false, Outbound: { Cipher: { } cipher } association } path || path.InnerIsIPv6 != (packet[0] >> 4 == 6))
        {
            return default;
        }

        var innerMtu = path.InnerMtu(path.Tunnel.Current(now));
        var trafficClass = TrafficClassOf(path, IpPacket.OfChecked(packet).TrafficClass);
        var dontFragment = !path.Tunnel.BelowFloor && (path.InnerIsIPv6 || (packet[6] & 0x40) != 0);
        var flowLabel = path.InnerIsIPv6 ? BinaryPrimitives.ReadUInt32BigEndian(packet) & 0xFFFFF : 0;
        var (at, count, octets) = (0, 0, 0);
        PathSignal? signal = null;
        lock (association.Gate)
        {
            while (!segments.Finished && segments.NextLength <= innerMtu && output.Length - at >= segments.NextLength + MaximumOverhead
                && association.TryNext(now, out var sequence) == DropReason.None)
            {
                var room = output[at..];
                var length = segments.Next(room[path.InnerOffset..]);
                Mark(path, room.Slice(path.InnerOffset, length), trafficClass, innerMtu);
                at += SealEsp(path, association, cipher, room, length, sequence, trafficClass, flowLabel, dontFragment, path.InnerProtocol);
                association.Use(length, now);
                signal ??= association.DueSignal(now);
                octets += length;
                count++;
            }
        }

        RaiseForHolders(association, signal);
        if (count == 0)
        {
            return default;
        }

        path.Counters.CountOut(octets, count, now);
        path.Meter?.CountOut(octets, count);
        return new OutboundResult(OutboundVerdict.Send, DropReason.None, new PathHandle(path), 0, at, count);
    }

    private static byte TrafficClassOf(InstalledPath path, byte inner) => path.MarkDscp is { } dscp ? (byte)((dscp << 2) | (inner & Ecn.Mask)) : inner;

    /// <summary>Changes of the inner packet before it is protected.</summary>
    private void Mark(InstalledPath path, Span<byte> inner, byte trafficClass, int innerMtu)
    {
        if (path.MarkDscp is not null)
        {
            IpPacket.RewriteTrafficClass(inner, trafficClass);
        }

        if (_options.ClampTcpMss)
        {
            ClampMss(inner, innerMtu);
        }
    }
}
