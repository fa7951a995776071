using System.Collections.Concurrent;
using System.Net;
using Sojourn.DataPath.Interception;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Storage;

namespace Sojourn.Roles.Hosting;

/// <summary>Mobile IP's UDP port 434: <see cref="SendDatagram"/> out, <see cref="DatagramReceived"/> in.</summary>
public sealed class MobileIpPort(UdpPortOptions options, Action<EngineInput> deliver, LinkNeighbours? neighbours = null) : IEffectPort, IDisposable
{
    public const ushort Number = 434;

    private readonly UdpPort _port = new(options, deliver);

    public bool TryCarryOut(Effect effect)
    {
        if (effect is not SendDatagram datagram)
        {
            return false;
        }

        if (datagram is { LinkDestination: null, Interface: { } name } && neighbours?.Find(name, datagram.Destination.Address) is { } link)
        {
            datagram = datagram with { LinkDestination = link };
        }

        _port.Send(datagram);
        return true;
    }

    public void Dispose() => _port.Dispose();
}

/// <summary>
/// Agents heard on a link and their link-layer addresses. A mobile node has neither address nor route there, so it cannot
/// ask ARP; it answers to where the advertisement came from (RFC 5944 2.4).
/// </summary>
public sealed class LinkNeighbours
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
public sealed class AgentDiscoveryPort(IEnumerable<string> interfaces, Action<EngineInput> deliver, LinkNeighbours? neighbours = null) : IEffectPort, IDisposable
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

        _port.Send(icmp);
        return true;
    }

    public void Dispose() => _port.Dispose();
}

/// <summary>Paths, visitors and attracted addresses of a gateway.</summary>
public sealed class PacketPathPort(UserPacketPath path, Action<EngineEvent> report) : IEffectPort
{
    public bool TryCarryOut(Effect effect)
    {
        if (!path.Apply(effect, out var refusal))
        {
            return false;
        }

        if (refusal is not null)
        {
            report(new EngineEvent("path.refused", EventSeverity.Error, $"{refusal.Path}: {refusal.Text}") { Rule = refusal.Rule });
        }

        return true;
    }
}

/// <summary>Address and default route of a mobile node, which has no packet path (G1).</summary>
public sealed class AttachmentPort(NodeRouting routing) : IEffectPort
{
    public bool TryCarryOut(Effect effect) => routing.Apply(effect);
}

/// <summary>Carrier changes of one interface.</summary>
public sealed class LinkPort(string name, Action<EngineInput> deliver) : IDisposable
{
    private readonly LinkMonitor _monitor = new((link, usable) =>
    {
        if (link.Name == name)
        {
            deliver(new LinkChanged(name, usable));
        }
    });

    public void Dispose() => _monitor.Dispose();
}

/// <summary>Diameter connections.</summary>
public sealed class DiameterPort(Diameter.DiameterTransport transport) : IEffectPort
{
    public bool TryCarryOut(Effect effect) => transport.TryCarryOut(effect);
}

/// <summary>Counters of typed-in associations, kept over restarts (spec M5).</summary>
public sealed class SequenceStore(StateStore state) : ISequenceStore
{
    public ulong Read(string association) => state.SequenceFloor(association);

    public void Write(string association, ulong reservedUpTo) => state.RaiseSequenceFloor(association, reservedUpTo);
}
