using Sojourn.DataPath.Native;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.PacketPath;

/// <summary>Gets a packet; the octets are good until it returns.</summary>
public delegate void PacketHandler(ReadOnlySpan<byte> packet);

/// <summary>Gets a packet that may stand for several; the octets are good until it returns.</summary>
/// <param name="segmentSize">See <see cref="Wire.Ip.Segmentation"/>.</param>
internal delegate void SegmentHandler(ReadOnlySpan<byte> packet, int segmentSize);

/// <summary>Hands over what comes out of a TUN interface, on a thread of its own, until it is disposed of or the interface goes.</summary>
internal sealed unsafe class TunReader : IDisposable
{
    private const int LongestPacket = 65_575, Batch = 64;

    private readonly TunDevice _tun;
    private readonly SegmentHandler _handler;
    private readonly WakeEvent _stop = new();
    private readonly Thread _thread;

    /// <summary>Packets that stand for several are handed over one by one.</summary>
    public TunReader(TunDevice tun, PacketHandler handler)
        : this(tun, new Cutter(handler).Take)
    {
    }

    public TunReader(TunDevice tun, SegmentHandler handler)
    {
        (_tun, _handler) = (tun, handler);
        _thread = new Thread(Run) { IsBackground = true, Name = $"device {tun.Name}" };
        _thread.Start();
    }

    /// <summary>No packet is handed over any more when this returns.</summary>
    public void Dispose()
    {
        _stop.Set();
        _thread.Join();
        _stop.Dispose();
    }

    private sealed class Cutter(PacketHandler handler)
    {
        private byte[] _room = [];

        public void Take(ReadOnlySpan<byte> packet, int segmentSize)
        {
            if (segmentSize == 0)
            {
                handler(packet);
                return;
            }

            var length = Segmentation.LengthOfAll(packet, segmentSize);
            if (_room.Length < length)
            {
                _room = GC.AllocateUninitializedArray<byte>(length);
            }

            foreach (var one in new PacketSequence(_room.AsSpan(0, Segmentation.Cut(packet, segmentSize, _room))))
            {
                handler(one);
            }
        }
    }

    private void Run()
    {
        var buffer = GC.AllocateUninitializedArray<byte>(LongestPacket, pinned: true);
        var fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = _tun.Fd, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = _stop.Fd, Events = Libc.POLLIN };
        while (true)
        {
            if (Libc.Poll(fds, 2, -1) < 0)
            {
                // Interrupted: what happened is not known.
                continue;
            }

            if ((fds[1].Revents & Libc.POLLIN) != 0)
            {
                return;
            }

            if ((fds[0].Revents & Libc.POLLERR) != 0)
            {
                // Somebody deleted the interface; the error would wake this thread for ever.
                fds[0].Fd = -1;
                continue;
            }

            for (var i = 0; i < Batch && _tun.Read(buffer, out int segmentSize) is >= 0 and var length; i++)
            {
                if (length > 0)
                {
                    _handler(buffer.AsSpan(0, length), segmentSize);
                }
            }
        }
    }
}
