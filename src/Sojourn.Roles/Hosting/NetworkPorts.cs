using System.Collections.Concurrent;
using System.Data.Common;
using System.Net;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;
using Sojourn.Storage;

namespace Sojourn.Roles.Hosting;

/// <summary>One UDP port: <see cref="SendDatagram"/> from it out, <see cref="DatagramReceived"/> in.</summary>
internal sealed class DatagramPort(UdpPortOptions options, Action<EngineInput> deliver, Action<string, long> count, LinkNeighbours? neighbours = null) : IEffectPort, IDisposable
{
    /// <summary>Mobile IP's.</summary>
    public const ushort MobileIp = 434;

    private readonly UdpPort _port = new(options, deliver);

    public bool TryCarryOut(Effect effect)
    {
        if (effect is not SendDatagram datagram || datagram.Source.Port != options.Port || datagram.Source.AddressFamily != options.Family)
        {
            return false;
        }

        if (datagram is { LinkDestination: null, Interface: { } name } && neighbours?.Find(name, datagram.Destination.Address) is { } link)
        {
            datagram = datagram with { LinkDestination = link };
        }

        try
        {
            _port.Send(datagram);
        }
        catch (SystemCallException)
        {
            // The network, not the node: no route, neighbour or buffer. The protocols retransmit.
            count("udp.send_failed", 1);
        }

        return true;
    }

    public void Dispose() => _port.Dispose();
}

/// <summary>
/// Agents heard on a link and their link-layer addresses. A mobile node has neither address nor route there, so it cannot
/// ask ARP; it answers to where the advertisement came from (RFC 5944 2.4).
/// </summary>
internal sealed class LinkNeighbours
{
    private const int MostNeighbours = 256;

    private readonly ConcurrentDictionary<(string, IPAddress), LinkAddress> _known = new();

    public void Learn(IcmpReceived icmp)
    {
        if (icmp is { Interface: { } name, LinkSource: { } link } && (_known.Count < MostNeighbours || _known.ContainsKey((name, icmp.Source))))
        {
            _known[(name, icmp.Source)] = link;
        }
    }

    public LinkAddress? Find(string name, IPAddress address) => _known.TryGetValue((name, address), out var link) ? link : null;
}

/// <summary>Agent advertisements and solicitations.</summary>
internal sealed class AgentDiscoveryPort(IEnumerable<string> interfaces, Action<EngineInput> deliver, Action<string, long> count, LinkNeighbours? neighbours = null) : IEffectPort, IDisposable
{
    private readonly IcmpPort _port = new(interfaces, icmp =>
    {
        neighbours?.Learn(icmp);
        deliver(icmp);
    });

    public bool TryCarryOut(Effect effect)
    {
        if (effect is not SendIcmp icmp)
        {
            return false;
        }

        try
        {
            _port.Send(icmp);
        }
        catch (SystemCallException)
        {
            count("icmp.send_failed", 1);
        }

        return true;
    }

    public void Dispose() => _port.Dispose();
}

/// <summary>Paths, visitors and attracted addresses of a gateway. A path that cannot be installed is told to the engine.</summary>
internal sealed class PacketPathPort(IPacketPath packetPath, Func<EspKeyExport?> keyExport, Action<EngineInput> deliver, Action<EngineEvent> report) : IEffectPort
{
    public void Prepare(IReadOnlyList<Effect> batch)
    {
        try
        {
            packetPath.Reserve(batch.OfType<ChangePaths>().SelectMany(change => change.Install));
        }
        catch (IOException e)
        {
            // Each change tries again by itself, and tells its own failure.
            report(new EngineEvent("path.not_reserved", EventSeverity.Warning, e.Message) { Rule = "M3" });
        }
    }

    public bool TryCarryOut(Effect effect)
    {
        if (effect is ReadUsage read)
        {
            deliver(new UsageRead(read.Number, packetPath.TakeUsage()));
            return true;
        }

        try
        {
            if (effect is ChangePaths change)
            {
                keyExport()?.Write(change.Install);
            }

            if (!packetPath.Apply(effect, out var refusal))
            {
                return false;
            }

            if (refusal is not null)
            {
                report(refusal.ToEvent());
            }
        }
        catch (IOException e)
        {
            report(new EngineEvent("path.not_installed", EventSeverity.Error, $"the system refused a change of paths or routes: {e.Message}"));
            if (effect is ChangePaths failed)
            {
                foreach (var path in failed.Install)
                {
                    deliver(new PathSignalled(path.Id, PathSignal.InstallFailed));
                }
            }
        }

        return true;
    }
}

/// <summary>Address and default route of a mobile node, which has no packet path (G1).</summary>
internal sealed class AttachmentPort(NodeRouting routing) : IEffectPort
{
    public bool TryCarryOut(Effect effect) => routing.Apply(effect);
}

/// <summary>Tells the engine when one of its links gains or loses its carrier; first how they are.</summary>
internal sealed class LinkPort(IReadOnlyList<string> links, Action<EngineInput> deliver) : IDisposable
{
    private readonly LinkMonitor _monitor = new((link, usable) =>
    {
        if (links.Contains(link.Name))
        {
            deliver(new LinkChanged(link.Name, usable));
        }
    });

    public void Dispose() => _monitor.Dispose();
}

/// <summary>Diameter connections.</summary>
internal sealed class DiameterPort(Diameter.DiameterTransport transport) : IEffectPort
{
    public bool TryCarryOut(Effect effect) => transport.TryCarryOut(effect);
}

/// <summary>Counters of associations, kept over restarts (spec M3, M5).</summary>
internal sealed class SequenceStore(StateStore state) : ISequenceStore
{
    public IReadOnlyDictionary<string, ulong> ReadAll() => state.SequenceFloors();

    public void Write(IReadOnlyCollection<KeyValuePair<string, ulong>> raised, IReadOnlyCollection<string> forgotten)
    {
        try
        {
            state.ChangeSequenceFloors(raised, forgotten);
        }
        catch (DbException e)
        {
            throw new IOException($"sequence numbers could not be stored: {e.Message}", e);
        }
    }
}
