using System.Net;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.PacketPath;

/// <summary>
/// A TUN interface that IPv6 prefixes are routed into, none of whose addresses is the kernel's own: whatever is sent to them is
/// handed over, and what is written goes wherever routing leads. Switches forwarding on. Lives in the namespace of the thread that
/// made it; routes go with it.
/// </summary>
public sealed class RoutedDevice : IDisposable
{
    private readonly TunDevice _tun;
    private readonly NetworkNamespace _network = NetworkNamespace.Current();
    private readonly string? _forwarding;
    private TunReader? _reader;

    /// <param name="mtu">Octets.</param>
    /// <exception cref="IOException">The system refuses interface or routes.</exception>
    public RoutedDevice(string name, int mtu, IEnumerable<IPNetwork> prefixes)
    {
        using var route = new Rtnetlink();
        _tun = TunDevice.Create(name, mtu, route);
        try
        {
            foreach (var prefix in prefixes)
            {
                route.ReplaceRoute(new Route { Destination = prefix, Interface = name });
            }

            _forwarding = Sysctl.Change("1", "ipv6", "conf", "all", "forwarding");
        }
        catch
        {
            _tun.Dispose();
            throw;
        }
    }

    public string Name => _tun.Name;

    /// <summary>Hands over what comes from now on, on a thread of its own.</summary>
    public void Start(PacketHandler handler) => _reader = new TunReader(_tun, handler);

    /// <summary>False when the kernel does not take it. Any thread.</summary>
    public bool Write(ReadOnlySpan<byte> packet) => _tun.Write(packet);

    public void Dispose()
    {
        _reader?.Dispose();
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

        _tun.Dispose();
        _network.Dispose();
    }
}
