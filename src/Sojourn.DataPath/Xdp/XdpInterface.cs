using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.Xdp;

/// <summary>An interface that runs <see cref="XdpProgram"/>, with a socket for each of its queues. All of it goes with this object, or with the process.</summary>
internal sealed unsafe class XdpInterface : IDisposable
{
    private const int MostQueues = 64, SmallFrame = 2048, LargeFrame = 4096, MostTries = 100, TryMilliseconds = 20;

    private readonly List<XdpSocket> _sockets = [];
    private readonly FileDescriptor _map;
    private readonly FileDescriptor? _program, _attachment;

    /// <param name="link">In the namespace of the calling thread; Ethernet.</param>
    /// <param name="addresses">The map of our addresses.</param>
    /// <exception cref="SystemCallException">The interface cannot have it.</exception>
    public XdpInterface(LinkState link, FileDescriptor addresses)
    {
        Link = link;
        var frameSize = link.Mtu + XdpSocket.EthernetHeader + XdpSocket.Headroom <= SmallFrame ? SmallFrame : LargeFrame;
        LongestPacket = Math.Min(link.Mtu, frameSize - XdpSocket.EthernetHeader);
        _map = Bpf.CreateMap(Bpf.XskMap, sizeof(uint), sizeof(uint), MostQueues);
        try
        {
            Span<byte> station = stackalloc byte[8];
            link.Address!.Value.ToArray().CopyTo(station);
            _program = Bpf.LoadXdpProgram(XdpProgram.Assemble(addresses, _map, station, frameSize - XdpSocket.Headroom));
            _attachment = Attach(link);
            for (var queue = 0; queue < MostQueues && OpenQueue(queue, frameSize); queue++)
            {
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public LinkState Link { get; }

    /// <summary>Octets of the longest packet that may leave by it.</summary>
    public int LongestPacket { get; }

    /// <summary>In driver mode frames never become packets of the kernel's; in generic mode they are copied from one.</summary>
    public bool InDriver { get; private set; }

    /// <summary>One for each queue.</summary>
    public IReadOnlyList<XdpSocket> Sockets => _sockets;

    /// <summary>Something was not sent since the interface was down: another object has to take its place.</summary>
    public bool IsBroken => _sockets.Exists(socket => socket.IsBroken);

    public void Dispose()
    {
        // The program first: what comes from now on is the kernel's.
        _attachment?.Dispose();
        foreach (var socket in _sockets)
        {
            socket.Dispose();
        }

        _program?.Dispose();
        _map.Dispose();
    }

    private FileDescriptor Attach(LinkState link)
    {
        // A veth pair has a driver mode that takes segmentation offload from its far end, and copies frames just the same.
        if (link.Kind != "veth")
        {
            try
            {
                var attachment = Bpf.AttachXdp(_program!, link.Index, Bpf.DriverMode);
                InDriver = true;
                return attachment;
            }
            catch (SystemCallException refused) when (refused.Errno is not (Libc.EBUSY or Libc.EPERM))
            {
                // Most drivers have none, or not for this MTU.
            }
        }

        return Bpf.AttachXdp(_program!, link.Index, Bpf.GenericMode);
    }

    private bool OpenQueue(int queue, int frameSize)
    {
        XdpSocket? socket = null;
        for (var tries = 1; socket is null; tries++)
        {
            try
            {
                socket = new XdpSocket(Link.Index, queue, frameSize);
            }
            catch (SystemCallException refused) when (refused.Errno == Libc.EINVAL && queue > 0)
            {
                return false;
            }
            catch (SystemCallException refused) when (refused.Errno == Libc.EBUSY && tries < MostTries)
            {
                // The kernel takes a queue from a closed socket in its own time.
                Thread.Sleep(TryMilliseconds);
            }
        }

        _sockets.Add(socket);
        var (key, value) = ((uint)queue, (uint)socket.Fd.Value);
        Bpf.Update(_map, &key, &value);
        return true;
    }
}
