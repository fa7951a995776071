using Sojourn.DataPath.Native;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.Xfrm;

/// <summary>
/// What the kernel tells by itself: limits reached, packets that wait for an association. While somebody listens the kernel remembers
/// what it has asked for; otherwise it would drop such packets without a word. Handlers run on a thread of its own.
/// </summary>
internal sealed unsafe class XfrmNotices : IDisposable
{
    private readonly NetlinkSocket _socket = new(XfrmFormat.GroupAcquire | XfrmFormat.GroupExpire, NetlinkRequest.Xfrm);
    private readonly WakeEvent _stop = new();
    private readonly Action<XfrmExpired> _expired;
    private readonly Action<XfrmAcquired> _acquired;
    private readonly Thread _thread;

    public XfrmNotices(Action<XfrmExpired> expired, Action<XfrmAcquired> acquired)
    {
        (_expired, _acquired) = (expired, acquired);
        _thread = new Thread(Run) { IsBackground = true, Name = "xfrm notices" };
        _thread.Start();
    }

    public void Dispose()
    {
        _stop.Set();
        _thread.Join();
        _socket.Dispose();
        _stop.Dispose();
    }

    private void Run()
    {
        var fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = _socket.Fd, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = _stop.Fd, Events = Libc.POLLIN };
        while (true)
        {
            _ = Libc.Poll(fds, 2, -1);
            if ((fds[1].Revents & Libc.POLLIN) != 0)
            {
                return;
            }

            // Notices that were lost are made up for: an acquisition comes again with the next packets, a limit shows in the counters.
            _socket.ReadNotices((type, body) =>
            {
                if (type == XfrmFormat.Expire && XfrmFormat.ParseExpired(body) is { } expired)
                {
                    _expired(expired);
                }
                else if (type == XfrmFormat.Acquire && XfrmFormat.ParseAcquired(body) is { } acquired)
                {
                    _acquired(acquired);
                }
            });
        }
    }
}
