using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// The TUN device that the applications of a terminal see (spec terminal 2.1): it has the home address, and the default route
/// leads into it; or in its place the virtual IPv4 address that stands for it, and the IPv4 default route. Both are routes of two halves,
/// which go before a default route that the machine has, and leave it as it is. It also has the care-of address, which no application gets without asking for it by name: only what is
/// sent from it goes by the routing table that knows it. Lives in the namespace of the thread that made it; packets are handed over
/// by a thread of its own. Address and routes go with the device.
/// </summary>
public sealed class HostDevice : IDisposable
{
    private const uint CareOfTable = 4260, CareOfPriority = 1260;

    private static readonly IPNetwork s_everywhere = new(IPAddress.IPv6Any, 0);

    private static readonly IPNetwork[]
        s_halves = [IPNetwork.Parse("::/1"), IPNetwork.Parse("8000::/1")],
        s_halves4 = [IPNetwork.Parse("0.0.0.0/1"), IPNetwork.Parse("128.0.0.0/1")];

    private readonly Rtnetlink _route = new();
    private readonly TunDevice _tun;
    private readonly TunReader _reader;
    private IPAddress? _home;
    private IPAddress? _virtual;
    private IPAddress? _careOf;
    private IPAddress? _regional;

    /// <param name="mtu">Octets; what the tunnel leaves of the access link's.</param>
    /// <param name="sent">Gets every packet that an application sends, with its segment size (<see cref="Wire.Ip.Segmentation"/>).</param>
    /// <exception cref="IOException">The device cannot be made.</exception>
    public HostDevice(string name, int mtu, Action<ReadOnlyMemory<byte>, int> sent)
    {
        try
        {
            // A process that was killed leaves its rule; all else goes with its device.
            foreach (var stale in _route.Rules().Where(rule => rule is { Priority: CareOfPriority, Table: CareOfTable }))
            {
                _route.RemoveRule(stale);
            }

            _tun = TunDevice.Create(name, mtu, _route, segments: true);
            _route.AddRoute(new Route { Destination = s_everywhere, Interface = name, Table = CareOfTable });
        }
        catch
        {
            _tun?.Dispose();
            _route.Dispose();
            throw;
        }

        _reader = new TunReader(_tun, (packet, segmentSize) => sent(packet.ToArray(), segmentSize));
    }

    public string Name => _tun.Name;

    /// <summary>False when the kernel does not take it.</summary>
    public bool Deliver(ReadOnlySpan<byte> packet, int segmentSize = 0) => _tun.Write(packet, segmentSize);

    /// <summary>Sets the addresses; null = there is none.</summary>
    /// <param name="regional">Of an anchor point's network; like the care-of address, only for who asks for it by name.</param>
    /// <exception cref="IOException">The system refuses.</exception>
    public void Configure(IPAddress? home, IPAddress? careOf, IPAddress? virtualAddress = null, IPAddress? regional = null)
    {
        Change(ref _home, home, s_halves, 128);
        Change(ref _virtual, virtualAddress, s_halves4, 32);
        ChangeByName(ref _careOf, careOf);
        ChangeByName(ref _regional, regional);
    }

    private void ChangeByName(ref IPAddress? present, IPAddress? wanted)
    {
        if (Equals(wanted, present))
        {
            return;
        }

        if (present is { } former)
        {
            _route.RemoveRule(RuleOf(former));
            _route.RemoveAddress(Name, former, 128);
            present = null;
        }

        if (wanted is not null)
        {
            _route.AddAddress(Name, wanted, 128, detectDuplicates: false);
            _route.AddRule(RuleOf(wanted));
            present = wanted;
        }
    }

    /// <summary>An address that applications get, with the default route of its IP version.</summary>
    private void Change(ref IPAddress? present, IPAddress? wanted, IPNetwork[] everywhere, int length)
    {
        if (Equals(wanted, present))
        {
            return;
        }

        if (present is { } former)
        {
            // The route first: without its address it would let others be chosen as source.
            foreach (var half in everywhere)
            {
                _route.RemoveRoute(new Route { Destination = half, Interface = Name });
            }

            _route.RemoveAddress(Name, former, length);
            present = null;
        }

        if (wanted is not null)
        {
            _route.AddAddress(Name, wanted, length, detectDuplicates: false);
            foreach (var half in everywhere)
            {
                _route.ReplaceRoute(new Route { Destination = half, Interface = Name, PreferredSource = wanted });
            }

            present = wanted;
        }
    }

    public void Dispose()
    {
        _reader.Dispose();
        try
        {
            Configure(null, null);
        }
        catch (IOException)
        {
            // What is left goes with the device.
        }

        _tun.Dispose();
        _route.Dispose();
    }

    private static PolicyRule RuleOf(IPAddress careOf) => new() { Priority = CareOfPriority, Source = new IPNetwork(careOf, 128), Table = CareOfTable, IPv6 = true };
}
