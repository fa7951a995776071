namespace Sojourn.Lab.Capture;

/// <summary>Everything one link carried: a pcapng file that grows, and the same frames for whoever watches the run.</summary>
public sealed class Recording : IDisposable
{
    private readonly Lock _gate = new();
    private readonly List<CapturedFrame> _frames = [];
    private readonly PcapngWriter? _writer;

    /// <param name="link">Link name.</param>
    /// <param name="ends">Names of the two ends, e.g. <c>fa1/up0</c>.</param>
    /// <param name="path">File to write; null = none.</param>
    public Recording(string link, (string First, string Second) ends, string? path)
    {
        Link = link;
        Ends = ends;
        Path = path;
        if (path is not null)
        {
            _writer = new PcapngWriter(new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.ReadWrite), [ends.First, ends.Second], $"link {link}");
        }
    }

    public string Link { get; }

    public (string First, string Second) Ends { get; }

    public string? Path { get; }

    public int Count
    {
        get
        {
            lock (_gate)
            {
                return _frames.Count;
            }
        }
    }

    /// <summary>Frames from position <paramref name="from"/> on.</summary>
    public IReadOnlyList<CapturedFrame> Frames(int from = 0)
    {
        lock (_gate)
        {
            return _frames[Math.Min(from, _frames.Count)..];
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _writer?.Dispose();
        }
    }

    internal void Add(CapturedFrame frame)
    {
        lock (_gate)
        {
            _frames.Add(frame);
            _writer?.Write(frame.Sender, frame.Time, frame.Data, PacketDirection.Outbound, frame.Comment);
        }
    }
}
