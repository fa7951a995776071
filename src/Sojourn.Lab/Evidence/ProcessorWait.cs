using System.Buffers.Text;
using Microsoft.Win32.SafeHandles;

namespace Sojourn.Lab.Evidence;

/// <summary>
/// For how long something on this machine waited for a processor, sampled while a scenario runs: processes, by the kernel's pressure stall information, and
/// the machine itself where it is a virtual one (steal time, proc_stat(5)). A bound in milliseconds is one of the product's messages and processing; what a
/// crowded machine adds is told apart by it.
/// </summary>
public sealed class ProcessorWait : IDisposable
{
    private const string Pressure = "/proc/pressure/cpu", Statistics = "/proc/stat";
    private const int Period = 10, StealColumn = 8;

    /// <summary>USER_HZ is 100 on every architecture of today.</summary>
    private const long TickMicroseconds = 10_000;

    private readonly List<(long Time, long Waited)> _samples = [];
    private readonly ManualResetEventSlim _stopped = new();
    private readonly Thread? _thread;

    public ProcessorWait()
    {
        if (File.Exists(Pressure) && File.Exists(Statistics))
        {
            _thread = new Thread(Sample) { IsBackground = true, Name = "processor wait" };
            _thread.Start();
        }
    }

    /// <summary>Milliseconds of a stretch, at most its length; 0 where the kernel does not tell.</summary>
    /// <param name="from">Nanoseconds since 1970.</param>
    /// <param name="to">Nanoseconds since 1970.</param>
    public double Between(long from, long to)
    {
        lock (_samples)
        {
            var (before, after) = (_samples.LastOrDefault(s => s.Time <= from), _samples.FirstOrDefault(s => s.Time >= to));
            return before == default || after == default ? 0 : Math.Min((after.Waited - before.Waited) / 1e3, (to - from) / 1e6);
        }
    }

    public void Dispose()
    {
        _stopped.Set();
        _thread?.Join();
        _stopped.Dispose();
    }

    private void Sample()
    {
        using var pressure = File.OpenHandle(Pressure);
        using var statistics = File.OpenHandle(Statistics);
        do
        {
            var waited = Stalled(pressure) + (TickMicroseconds * Stolen(statistics));
            lock (_samples)
            {
                _samples.Add((LabRun.Now, waited));
            }
        }
        while (!_stopped.Wait(Period));
    }

    /// <summary>Microseconds in which a process that could have run did not: <c>some avg10=… total=N</c>.</summary>
    private static long Stalled(SafeFileHandle file)
    {
        Span<byte> text = stackalloc byte[128];
        text = text[..RandomAccess.Read(file, text, 0)];
        var total = text.IndexOf("total="u8);
        return total >= 0 && Utf8Parser.TryParse(text[(total + 6)..], out long value, out _) ? value : 0;
    }

    /// <summary>Ticks of all processors that the host gave to others: a column of <c>cpu  user nice system …</c>.</summary>
    private static long Stolen(SafeFileHandle file)
    {
        Span<byte> text = stackalloc byte[256];
        text = text[..RandomAccess.Read(file, text, 0)];
        var column = 0;
        foreach (var range in text.Split((byte)' '))
        {
            if (!text[range].IsEmpty && column++ == StealColumn)
            {
                return Utf8Parser.TryParse(text[range], out long value, out _) ? value : 0;
            }
        }

        return 0;
    }
}
