using System.Net;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// A TUN interface that IPv6 prefixes are routed into, none of whose addresses is the kernel's own: whatever is sent to them is
/// handed over, and what is written goes wherever routing leads. With several queues each has a thread of its own, and a flow stays with
/// one of them (<see cref="TunDevice.OpenQueue"/>). Switches forwarding on. Lives in the namespace of the thread that made it; routes go with it.
/// </summary>
public sealed class RoutedDevice : IDisposable
{
    private readonly List<TunDevice> _queues = [];
    private readonly TunDevice _writer;
    private readonly NetworkNamespace _network = NetworkNamespace.Current();
    private readonly string? _forwarding;
    private IReadOnlyList<TunReader> _readers = [];

    /// <param name="mtu">Octets.</param>
    /// <param name="queues">How many are read.</param>
    /// <param name="segments">Take from the kernel in one piece what it has as a long TCP segment. It is handed over in packets.</param>
    /// <exception cref="IOException">The system refuses interface or routes.</exception>
    public RoutedDevice(string name, int mtu, IEnumerable<IPNetwork> prefixes, int queues = 1, bool segments = false)
    {
        using var route = new Rtnetlink();
        _queues.Add(TunDevice.Create(name, mtu, route, segments, queues: queues > 1));
        try
        {
            while (_queues.Count < queues)
            {
                _queues.Add(_queues[0].OpenQueue(read: true));
            }

            _writer = queues > 1 ? _queues[0].OpenQueue(read: false) : _queues[0];
            foreach (var prefix in prefixes)
            {
                route.ReplaceRoute(new Route { Destination = prefix, Interface = name });
            }

            _forwarding = Sysctl.Change("1", "ipv6", "conf", "all", "forwarding");
        }
        catch
        {
            Close();
            throw;
        }
    }

    public string Name => _queues[0].Name;

    /// <summary>How many are read.</summary>
    public int Queues => _queues.Count;

    /// <summary>Leads one more prefix into the device.</summary>
    /// <exception cref="IOException">The system refuses.</exception>
    public void Attract(IPNetwork prefix)
    {
        using var route = new Rtnetlink();
        route.ReplaceRoute(new Route { Destination = prefix, Interface = Name });
    }

    /// <summary>Takes back what <see cref="Attract"/> has done.</summary>
    /// <exception cref="IOException">The system refuses, or the prefix leads elsewhere.</exception>
    public void Release(IPNetwork prefix)
    {
        using var route = new Rtnetlink();
        route.RemoveRoute(new Route { Destination = prefix, Interface = Name });
    }

    /// <summary>Hands over what comes from now on, on a thread for each queue.</summary>
    public void Start(PacketHandler handler) => StartEach(_ => handler);

    /// <param name="handlerOf">What takes the packets of a queue, by its number from 0 on.</param>
    public void StartEach(Func<int, PacketHandler> handlerOf) => _readers = [.. _queues.Select((queue, number) => new TunReader(queue, handlerOf(number)))];

    /// <summary>False when the kernel does not take it. Any thread.</summary>
    public bool Write(ReadOnlySpan<byte> packet) => _writer.Write(packet, segmentSize: 0);

    public void Dispose()
    {
        foreach (var reader in _readers)
        {
            reader.Dispose();
        }

        if (_forwarding is { } before)
        {
            try
            {
                _network.Run(() => Sysctl.Change(before, "ipv6", "conf", "all", "forwarding"));
            }
            catch (IOException)
            {
                // The namespace is going.
            }
        }

        Close();
        _network.Dispose();
    }

    private void Close()
    {
        _writer?.Dispose();
        foreach (var queue in _queues)
        {
            queue.Dispose();
        }
    }
}
