using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;

namespace Sojourn.DataPath.Xfrm;

/// <summary>What the kernel tells: counters, limits, first packets.</summary>
public sealed partial class KernelPacketPath
{
    /// <summary>A counter of 32 bits is nearly used up (RFC 4303 3.3.3).</summary>
    private const ulong ExhaustionWarning = 0xF000_0000;

    /// <inheritdoc/>
    public IReadOnlyDictionary<string, long> Counters
    {
        get
        {
            long sent, received;
            lock (_control)
            {
                (sent, received) = _associations.Gone;
                foreach (var association in _associations.All)
                {
                    (sent, received) = association.Outbound ? (sent + (long)association.Counts.Packets, received) : (sent, received + (long)association.Counts.Packets);
                }
            }

            var counters = _network.Run(_counters.Read);
            counters["datapath.outer_sent"] = sent;
            counters["datapath.outer_received"] = received;
            return counters;
        }
    }

    /// <inheritdoc/>
    public PacketPathReport Report()
    {
        lock (_control)
        {
            Refresh();
            return new PacketPathReport([.. _paths.Values.Select(ReportOf)], [], Counters);
        }
    }

    /// <summary>
    /// The kernel counts by association. A path's figures are those of its associations, which other paths may share; one that only holds them
    /// for others (its selector names nobody) has none.
    /// </summary>
    private PathReport ReportOf(InstalledPath installed)
    {
        var path = installed.Path;
        var carries = !path.Source.Equals(path.Destination);
        var outbound = carries && path.State == PathState.Active ? installed.Outbound : null;
        var inbound = carries && path.State != PathState.Blocked ? installed.Inbound : null;
        return new PathReport(
            path, (long)(outbound?.Counts.Packets ?? 0), (long)(outbound?.Counts.Bytes ?? 0), (long)(inbound?.Counts.Packets ?? 0), (long)(inbound?.Counts.Bytes ?? 0),
            outbound?.Counted?.LastUse, inbound?.Counted?.LastUse, _options.Table.OuterMtu, InnerMtu(path, _options.Table.OuterMtu), 0,
            ReportOf(installed.Outbound), ReportOf(installed.Inbound), new Dictionary<string, long>());
    }

    private static AssociationReport? ReportOf(KernelAssociation? association)
    {
        if (association is null)
        {
            return null;
        }

        var parameters = association.Parameters;
        var drops = new SortedDictionary<string, long>(StringComparer.Ordinal);
        if (association.Counts is { Refused: > 0 and var refused })
        {
            drops[DropReason.BadIcv.CounterName()] = refused;
        }

        if (association.Counts is { Replayed: > 0 and var replayed })
        {
            drops[DropReason.Replay.CounterName()] = replayed;
        }

        return new AssociationReport(
            association.Protocol, parameters.Spi, parameters.Source, parameters.Destination, parameters.Algorithm, parameters.ExtendedSequence,
            association.Counts.Packets, association.Counts.Bytes, association.Sequence, association.Holders.Count, association.Counted?.LastUse, "kernel", drops);
    }

    /// <summary>Longest inner packet that fits (RFC 4303 2, RFC 4302 2).</summary>
    private static int InnerMtu(VpnPath path, int outerMtu)
    {
        var room = outerMtu - (path.LocalGateway.AddressFamily == AddressFamily.InterNetworkV6 ? 40 : 20) - (path.Udp is null ? 0 : 8);
        if (path.SecurityType != SecurityType.Esp)
        {
            return room - (path.SecurityType == SecurityType.Ah ? path.LocalGateway.AddressFamily == AddressFamily.InterNetworkV6 ? 32 : 28 : 0);
        }

        var (iv, block) = path.Outbound?.Algorithm switch
        {
            IpsecAlgorithm.Aes128CbcHmacSha256 or IpsecAlgorithm.Aes256CbcHmacSha256 => (16, 16),
            IpsecAlgorithm.HmacSha256 => (0, 4),
            _ => (8, 4),
        };
        room -= 8 + iv + 16;
        return room - (room % block) - 2;
    }

    /// <summary>Under <see cref="_control"/>.</summary>
    private void Refresh()
    {
        foreach (var association in _associations.Refresh())
        {
            Raise(association, PathSignal.FirstInbound);
        }

        foreach (var association in _associations.All.Where(a => a is { Outbound: true, Parameters.ExtendedSequence: false, ExhaustionTold: false, Sequence: >= ExhaustionWarning }))
        {
            association.ExhaustionTold = true;
            Raise(association, PathSignal.SoftLifetimeReached);
        }
    }

    private void Raise(KernelAssociation association, PathSignal signal)
    {
        foreach (var holder in association.Holders)
        {
            _signals.Enqueue(new PathSignalled(holder, signal));
        }
    }

    private void OnExpired(XfrmExpired expired)
    {
        lock (_control)
        {
            if (_disposed || _associations.Entered(expired.State.Key) is not { } association || association.Number != expired.State.RequestId)
            {
                return;
            }

            association.Counted = expired.State;

            try
            {
                if (!expired.Hard)
                {
                    Raise(association, PathSignal.SoftLifetimeReached);
                }
                else if (!_associations.GoesOn(association))
                {
                    Raise(association, PathSignal.HardLifetimeReached);
                }
            }
            catch (SystemCallException)
            {
                Raise(association, PathSignal.InstallFailed);
            }
        }

        DeliverSignals();
    }

    private void OnAcquired(XfrmAcquired acquired)
    {
        if (_waiting.TryGetValue(acquired.RequestId, out var path))
        {
            _options.Signal?.Invoke(new PathSignalled(path, PathSignal.PacketWaiting));
        }
    }

    private void KeepHouse()
    {
        lock (_control)
        {
            if (_disposed)
            {
                return;
            }

            try
            {
                Refresh();
                _associations.Sweep(DateTimeOffset.UtcNow);
            }
            catch (IOException)
            {
                // Asked again in the next round; a counter that is not stored runs into its limit in the kernel.
            }

            SendKeepalives(DateTimeOffset.UtcNow);
        }

        DeliverSignals();
    }

    private void SendKeepalives(DateTimeOffset now)
    {
        if (_options.NatKeepalive is not { } interval || now - _lastKeepalive < interval)
        {
            return;
        }

        _lastKeepalive = now;
        foreach (var path in _paths.Values.Select(p => p.Path).Where(path => path.Udp is not null && path.State != PathState.Blocked)
            .DistinctBy(path => (path.LocalGateway, path.RemoteGateway, path.Udp)))
        {
            SendUdp(new SendDatagram(new IPEndPoint(path.LocalGateway, path.Udp!.LocalPort), new IPEndPoint(path.RemoteGateway, path.Udp.RemotePort), new byte[] { 0xFF }));
        }
    }

    private void DeliverSignals()
    {
        while (_signals.TryDequeue(out var signal))
        {
            _options.Signal?.Invoke(signal);
        }
    }
}
