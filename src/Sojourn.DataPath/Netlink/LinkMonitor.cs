using Sojourn.DataPath.Native;

namespace Sojourn.DataPath.Netlink;

/// <summary>
/// Watches interfaces come, go, and gain or lose their carrier, in the namespace of the thread that made it. The first
/// calls report what is; later ones only changes. A carrier that was lost and is back again, of which the kernel may tell
/// only the end, is reported as both: the cable may be in another socket now. Calls come one at a time from the monitor's own thread.
/// </summary>
public sealed unsafe class LinkMonitor : IDisposable
{
    private const uint LinkGroup = 1;

    private readonly NetlinkSocket _notices = new(LinkGroup);
    private readonly Rtnetlink _route = new();
    private readonly WakeEvent _stop = new();
    private readonly Dictionary<int, LinkState> _known = [];
    private readonly Action<LinkState, bool> _changed;
    private readonly Thread _thread;

    /// <param name="changed">Gets the link and whether it is usable (exists, up, with carrier).</param>
    public LinkMonitor(Action<LinkState, bool> changed)
    {
        _changed = changed;
        _thread = new Thread(Run) { IsBackground = true, Name = "link monitor" };
        _thread.Start();
    }

    public void Dispose()
    {
        _stop.Set();
        if (Thread.CurrentThread != _thread)
        {
            _thread.Join();
        }

        _stop.Dispose();
        _notices.Dispose();
        _route.Dispose();
    }

    private void Run()
    {
        Compare();
        var fds = stackalloc Libc.PollFd[2];
        fds[0] = new Libc.PollFd { Fd = _notices.Fd, Events = Libc.POLLIN };
        fds[1] = new Libc.PollFd { Fd = _stop.Fd, Events = Libc.POLLIN };
        while (true)
        {
            if (Libc.Poll(fds, 2, -1) < 0 && Libc.LastError != Libc.EINTR)
            {
                return;
            }

            if ((fds[1].Revents & Libc.POLLIN) != 0)
            {
                return;
            }

            var complete = _notices.ReadNotices((type, body) =>
            {
                if (Rtnetlink.ParseLink(type, body) is { } link)
                {
                    Take(link, type == 17);
                }
            });
            if (!complete)
            {
                Compare();
            }
        }
    }

    /// <summary>Reads everything afresh: at the start, and when the kernel dropped notices because its queue was full.</summary>
    private void Compare()
    {
        var links = _route.Links();
        foreach (var gone in _known.Values.Where(known => links.All(link => link.Index != known.Index)).ToList())
        {
            Take(gone with { Up = false, Carrier = false }, removed: true);
        }

        foreach (var link in links)
        {
            Take(link, removed: false);
        }
    }

    private void Take(LinkState link, bool removed)
    {
        var usable = link is { Up: true, Carrier: true } && !removed;
        if (removed)
        {
            if (!_known.Remove(link.Index, out var earlier) || earlier is not { Up: true, Carrier: true })
            {
                return;
            }
        }
        else
        {
            var before = _known.GetValueOrDefault(link.Index);
            _known[link.Index] = link;
            if (before is not null && before.Name == link.Name && (before is { Up: true, Carrier: true }) == usable)
            {
                if (!usable || before.CarrierLosses == link.CarrierLosses)
                {
                    return;
                }

                _changed(link with { Carrier = false }, false);
            }
        }

        _changed(link, usable);
    }
}
