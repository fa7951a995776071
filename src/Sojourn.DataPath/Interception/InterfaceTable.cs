using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// Interfaces and addresses of one namespace as last read. What is not found is looked for again, at most ten times a
/// second, so that a stranger's packets cannot make this the bottleneck.
/// </summary>
internal sealed class InterfaceTable : IDisposable
{
    private readonly Rtnetlink _route = new();
    private readonly Lock _gate = new();
    private Dictionary<int, LinkState> _byIndex = [];
    private Dictionary<string, LinkState> _byName = [];
    private HashSet<IPAddress> _own = [];
    private HashSet<IPAddress> _broadcasts = [];
    private Dictionary<string, IPAddress> _first = [];
    private long _read;

    public InterfaceTable() => Refresh();

    public string? NameOf(int index) => Get(() => _byIndex.GetValueOrDefault(index))?.Name;

    public int? IndexOf(string name) => Find(name)?.Index;

    public LinkState? Find(string name) => Get(() => _byName.GetValueOrDefault(name));

    public bool IsOwn(IPAddress address) => Get(() => _own.Contains(address) ? address : null) is not null;

    /// <summary>Whether this is the broadcast address of a network of ours.</summary>
    public bool IsDirectedBroadcast(IPAddress address) => Get(() => _broadcasts.Contains(address) ? address : null) is not null;

    /// <summary>The interface's first IPv4 address.</summary>
    public IPAddress? AddressOf(string name) => Get(() => _first.GetValueOrDefault(name));

    /// <summary>The link-layer address the kernel has for a neighbour, if any.</summary>
    public LinkAddress? NeighbourOf(string name, IPAddress address)
    {
        lock (_gate)
        {
            return _route.Neighbours().FirstOrDefault(neighbour => !neighbour.Proxy && neighbour.Interface == name && neighbour.Address.Equals(address))?.LinkAddress;
        }
    }

    public void Dispose() => _route.Dispose();

    private T? Get<T>(Func<T?> find)
        where T : class
    {
        lock (_gate)
        {
            if (find() is { } found)
            {
                return found;
            }

            if (Stopwatch.GetElapsedTime(_read) < TimeSpan.FromMilliseconds(100))
            {
                return null;
            }

            Refresh();
            return find();
        }
    }

    private void Refresh()
    {
        var links = _route.Links();
        _byIndex = links.ToDictionary(link => link.Index);
        _byName = links.ToDictionary(link => link.Name);
        var addresses = _route.Addresses();
        _own = [.. addresses.Select(address => address.Address)];
        _first = [];
        _broadcasts = [];
        foreach (var address in addresses.Where(address => address.Address.AddressFamily == AddressFamily.InterNetwork))
        {
            _first.TryAdd(address.Interface, address.Address);
            if (address.PrefixLength < 31)
            {
                var number = BinaryPrimitives.ReadUInt32BigEndian(address.Address.GetAddressBytes()) | (uint.MaxValue >> address.PrefixLength);
                var octets = new byte[4];
                BinaryPrimitives.WriteUInt32BigEndian(octets, number);
                _broadcasts.Add(new IPAddress(octets));
            }
        }

        _read = Stopwatch.GetTimestamp();
    }
}
