using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// The TUN device that the applications of a terminal see (spec terminal 2.1): it has the home address, and the default route
/// leads into it; or in its place the virtual IPv4 address that stands for it, and the IPv4 default route. Both stand in a table of their own,
/// which is asked after the machine's routes but before its default route, and leaves that as it is. Prefixes that are excluded (TM-M3) have the machine's routes alone.
/// It also has the care-of address, which no application gets without asking for it by name: only what is
/// sent from it goes by the routing table that knows it. Lives in the namespace of the thread that made it; packets are handed over
/// by a thread of its own. Address and routes go with the device.
/// </summary>
public sealed class HostDevice : IDisposable
{
    /// <summary>What leads into the device while it has an address.</summary>
    internal const uint HostTable = 4261;

    private const uint CareOfTable = 4260;

    /// <summary>In the order in which they are asked.</summary>
    private const uint CareOfPriority = 1260, ExcludedPriority = 1261, NowherePriority = 1262, MachinePriority = 1263, HostPriority = 1264;

    /// <summary>Who set the rules (FRA_PROTOCOL): that they are found again.</summary>
    private const byte RuleOwner = 126;

    private static readonly IPNetwork s_everywhere = new(IPAddress.IPv6Any, 0), s_everywhere4 = new(IPAddress.Any, 0);

    private readonly Rtnetlink _route = new();
    private readonly TunDevice _tun;
    private readonly TunReader _reader;
    private IPAddress? _home;
    private IPAddress? _virtual;
    private IPAddress? _careOf;
    private IPAddress? _regional;

    /// <param name="mtu">Octets; what the tunnel leaves of the access link's.</param>
    /// <param name="sent">Gets every packet that an application sends, with its segment size (<see cref="Wire.Ip.Segmentation"/>).</param>
    /// <param name="excluded">Prefixes of either IP version that never lead into the device.</param>
    /// <exception cref="IOException">The device cannot be made.</exception>
    public HostDevice(string name, int mtu, Action<ReadOnlyMemory<byte>, int> sent, IReadOnlyList<IPNetwork>? excluded = null)
    {
        try
        {
            // A process that was killed leaves its rules; all else goes with its device.
            RemoveRules();
            _tun = TunDevice.Create(name, mtu, _route, segments: true);
            _route.AddRoute(new Route { Destination = s_everywhere, Interface = name, Table = CareOfTable });
            foreach (var rule in Rules(excluded ?? []))
            {
                _route.AddRule(rule);
            }
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
        Change(ref _home, home, s_everywhere);
        Change(ref _virtual, virtualAddress, s_everywhere4);
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
    private void Change(ref IPAddress? present, IPAddress? wanted, IPNetwork everywhere)
    {
        if (Equals(wanted, present))
        {
            return;
        }

        if (present is { } former)
        {
            // The route first: without its address it would let others be chosen as source.
            _route.RemoveRoute(new Route { Destination = everywhere, Interface = Name, Table = HostTable });
            _route.RemoveAddress(Name, former, former.GetAddressBytes().Length * 8);
            present = null;
        }

        if (wanted is not null)
        {
            _route.AddAddress(Name, wanted, wanted.GetAddressBytes().Length * 8, detectDuplicates: false);
            _route.ReplaceRoute(new Route { Destination = everywhere, Interface = Name, Table = HostTable, PreferredSource = wanted });
            present = wanted;
        }
    }

    public void Dispose()
    {
        _reader.Dispose();
        try
        {
            Configure(null, null);
            RemoveRules();
        }
        catch (IOException)
        {
            // What is left goes with the device.
        }

        _tun.Dispose();
        _route.Dispose();
    }

    private void RemoveRules()
    {
        foreach (var rule in _route.Rules().Where(rule => rule.Owner == RuleOwner && rule.Priority is >= CareOfPriority and <= HostPriority))
        {
            _route.RemoveRule(rule);
        }
    }

    /// <summary>What is excluded has the machine's routes or none; everything else has them but for the default route, and then the device.</summary>
    private static IEnumerable<PolicyRule> Rules(IReadOnlyList<IPNetwork> excluded) =>
    [
        .. excluded.Select(prefix => new PolicyRule { Priority = ExcludedPriority, Destination = prefix, Table = Route.MainTable, Owner = RuleOwner }),
        .. excluded.Select(prefix => new PolicyRule { Priority = NowherePriority, Destination = prefix, Action = RuleAction.Unreachable, Owner = RuleOwner }),
        .. new[] { true, false }.SelectMany(ipv6 => new[]
        {
            new PolicyRule { Priority = MachinePriority, Table = Route.MainTable, SuppressedLength = 0, IPv6 = ipv6, Owner = RuleOwner },
            new PolicyRule { Priority = HostPriority, Table = HostTable, IPv6 = ipv6, Owner = RuleOwner },
        }),
    ];

    private static PolicyRule RuleOf(IPAddress careOf) => new() { Priority = CareOfPriority, Source = new IPNetwork(careOf, 128), Table = CareOfTable, IPv6 = true, Owner = RuleOwner };
}
