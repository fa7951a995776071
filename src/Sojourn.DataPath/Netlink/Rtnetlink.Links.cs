using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;
using Sojourn.Engine;

namespace Sojourn.DataPath.Netlink;

/// <summary>
/// Links, addresses, routes, rules and neighbours of one network namespace, set through rtnetlink (linux/rtnetlink.h).
/// An instance belongs to the namespace of the thread that made it and may be used from any thread. Every failure is a
/// <see cref="NetlinkException"/> that names the object.
/// </summary>
public sealed partial class Rtnetlink : IDisposable
{
    private const ushort NewLink = 16, DeleteLinkType = 17, GetLink = 18;
    private const ushort AttributeHardwareAddress = 1, AttributeName = 3, AttributeMtu = 4, AttributeMaster = 10, AttributeQueueLength = 13, AttributeInfo = 18, AttributeNamespaceFd = 28, AttributeGsoMaximumSegments = 40, AttributeCarrierDownCount = 48;
    private const uint FlagUp = 0x1, FlagLowerUp = 0x10000;

    private readonly NetlinkSocket _socket = new();

    /// <summary>Opens rtnetlink in <paramref name="network"/>.</summary>
    public static Rtnetlink Open(NetworkNamespace network) => network.Run(() => new Rtnetlink());

    public void Dispose() => _socket.Dispose();

    /// <summary>All interfaces, by index.</summary>
    public IReadOnlyList<LinkState> Links()
    {
        var links = new List<LinkState>();
        _socket.Query(() =>
        {
            var request = new NetlinkRequest(GetLink, NetlinkRequest.Dump);
            request.Header(16);
            return request;
        }, "list links", links.Clear, (type, body) =>
        {
            if (ParseLink(type, body) is { } link)
            {
                links.Add(link);
            }
        });
        return links;
    }

    /// <summary>The interface of that name, or null.</summary>
    public LinkState? FindLink(string name)
    {
        LinkState? found = null;
        try
        {
            _socket.Query(() =>
            {
                var request = new NetlinkRequest(GetLink, 0);
                request.Header(16);
                return request.Attribute(AttributeName, name);
            }, $"find link {name}", () => found = null, (type, body) => found = ParseLink(type, body));
        }
        catch (NetlinkException refused) when (refused.Errno == Libc.ENODEV)
        {
            return null;
        }

        return found;
    }

    /// <summary>The interface of that name; it must exist.</summary>
    public LinkState Link(string name) => FindLink(name) ?? throw new NetlinkException($"find link {name}", Libc.ENODEV);

    /// <summary>
    /// Creates a veth pair, each end in its namespace (null = this one). Both ends are down. <paramref name="index"/> is that
    /// of the first end (0 = the kernel's choice). Ends with equal indices in different namespaces hear of their carrier up to a
    /// second late, since the kernel then takes them for interfaces without a peer.
    /// </summary>
    public void CreateVeth(string name, string peer, NetworkNamespace? network = null, NetworkNamespace? peerNetwork = null, int index = 0)
    {
        var request = Create("veth", name, network, out var info, index);
        var data = request.Begin(2);
        var end = request.Begin(1);
        request.Header(16);
        request.Attribute(AttributeName, peer);
        if (peerNetwork is not null)
        {
            request.Attribute(AttributeNamespaceFd, peerNetwork.Fd);
        }

        request.End(end);
        request.End(data);
        request.End(info);
        _socket.Execute(request, $"create veth {name}-{peer}");
    }

    /// <summary>Creates a bridge (no spanning tree).</summary>
    public void CreateBridge(string name)
    {
        var request = Create("bridge", name, null, out var info);
        request.End(info);
        _socket.Execute(request, $"create bridge {name}");
    }

    /// <summary>Creates a device that swallows what is sent into it.</summary>
    public void CreateDummy(string name)
    {
        var request = Create("dummy", name, null, out var info);
        request.End(info);
        _socket.Execute(request, $"create dummy {name}");
    }

    public void SetUp(string name, bool up = true)
    {
        var request = ChangeLink(Link(name).Index, up ? FlagUp : 0, FlagUp);
        _socket.Execute(request, $"set link {name} {(up ? "up" : "down")}");
    }

    /// <param name="name">Interface.</param>
    /// <param name="mtu">Octets.</param>
    public void SetMtu(string name, int mtu) =>
        _socket.Execute(ChangeLink(Link(name).Index).Attribute(AttributeMtu, (uint)mtu), $"set link {name} mtu {mtu}");

    /// <summary>Packets that wait at most until the interface takes them.</summary>
    public void SetQueueLength(string name, int packets) =>
        _socket.Execute(ChangeLink(Link(name).Index).Attribute(AttributeQueueLength, (uint)packets), $"set link {name} txqueuelen {packets}");

    /// <summary>Packets that the interface's driver is given at most in one piece; what is longer the kernel cuts before. 1 = each by itself, as on a cable.</summary>
    public void SetSegmentsAtOnce(string name, int count) =>
        _socket.Execute(ChangeLink(Link(name).Index).Attribute(AttributeGsoMaximumSegments, (uint)count), $"set link {name} gso_max_segs {count}");

    public void SetLinkAddress(string name, LinkAddress address) =>
        _socket.Execute(ChangeLink(Link(name).Index).Attribute(AttributeHardwareAddress, (ReadOnlySpan<byte>)address.ToArray()), $"set link {name} address {address}");

    /// <summary>Makes the interface a port of a bridge; null takes it out.</summary>
    public void SetMaster(string name, string? bridge) =>
        _socket.Execute(ChangeLink(Link(name).Index).Attribute(AttributeMaster, bridge is null ? 0 : Link(bridge).Index), $"set link {name} master {bridge ?? "none"}");

    /// <summary>The interface must be down.</summary>
    public void Rename(string name, string newName) =>
        _socket.Execute(ChangeLink(Link(name).Index).Attribute(AttributeName, newName), $"rename link {name} to {newName}");

    /// <summary>Moves the interface into another namespace; it loses its addresses and is down there.</summary>
    public void MoveLink(string name, NetworkNamespace network) =>
        _socket.Execute(ChangeLink(Link(name).Index).Attribute(AttributeNamespaceFd, network.Fd), $"move link {name} to namespace {network.Name}");

    /// <summary>Deletes the interface (with a veth, both ends).</summary>
    public void DeleteLink(string name)
    {
        var request = new NetlinkRequest(DeleteLinkType, NetlinkRequest.Acknowledge);
        MemoryMarshal.Write(request.Header(16)[4..], Link(name).Index);
        _socket.Execute(request, $"delete link {name}");
    }

    internal static LinkState? ParseLink(ushort type, ReadOnlySpan<byte> body)
    {
        // A bridge sends notices about its ports in the same group under its own family; a port leaving it is no link gone.
        if (type is not (NewLink or DeleteLinkType) || body.Length < 16 || body[0] != Libc.AF_UNSPEC)
        {
            return null;
        }

        var flags = MemoryMarshal.Read<uint>(body[8..]);
        string name = "", kind = "";
        int mtu = 0, master = 0, carrierLosses = 0;
        LinkAddress? address = null;
        var attributes = new AttributeReader(body[16..]);
        while (attributes.Next())
        {
            switch (attributes.Type)
            {
                case AttributeHardwareAddress when attributes.Value.Length is > 0 and <= 8:
                    address = new LinkAddress(attributes.Value);
                    break;
                case AttributeName:
                    name = attributes.Text;
                    break;
                case AttributeMtu:
                    mtu = attributes.Int32;
                    break;
                case AttributeMaster:
                    master = attributes.Int32;
                    break;
                case AttributeCarrierDownCount:
                    carrierLosses = attributes.Int32;
                    break;
                case AttributeInfo:
                    var info = new AttributeReader(attributes.Value);
                    while (info.Next())
                    {
                        kind = info.Type == 1 ? info.Text : kind;
                    }

                    break;
            }
        }

        var present = type == NewLink;
        return new LinkState(MemoryMarshal.Read<int>(body[4..]), name, kind.Length == 0 ? null : kind, present && (flags & FlagUp) != 0,
            present && (flags & FlagLowerUp) != 0, mtu, address, master, (uint)carrierLosses);
    }

    private static NetlinkRequest Create(string kind, string name, NetworkNamespace? network, out int info, int index = 0)
    {
        var request = new NetlinkRequest(NewLink, NetlinkRequest.Acknowledge | NetlinkRequest.Create | NetlinkRequest.Exclusive);
        MemoryMarshal.Write(request.Header(16)[4..], index);
        request.Attribute(AttributeName, name);
        if (network is not null)
        {
            request.Attribute(AttributeNamespaceFd, network.Fd);
        }

        info = request.Begin(AttributeInfo);
        request.Attribute(1, kind);
        return request;
    }

    private static NetlinkRequest ChangeLink(int index, uint flags = 0, uint change = 0)
    {
        var request = new NetlinkRequest(NewLink, NetlinkRequest.Acknowledge);
        var header = request.Header(16);
        MemoryMarshal.Write(header[4..], index);
        MemoryMarshal.Write(header[8..], flags);
        MemoryMarshal.Write(header[12..], change);
        return request;
    }

    private Dictionary<int, string> InterfaceNames() => Links().ToDictionary(link => link.Index, link => link.Name);
}
