using System.Buffers.Text;

namespace Sojourn.Lab.Evidence;

/// <summary>
/// For how long something on this machine waited for a processor, sampled from the kernel's pressure stall information while a scenario runs.
/// A bound in milliseconds is one of the product's messages and processing; what a crowded machine adds is told apart by it.
/// </summary>
public sealed class ProcessorWait : IDisposable
{
    private const string Source = "/proc/pressure/cpu";
    private const int Period = 10;
    private readonly List<(long Time, long Waited)> _samples = [];
    private readonly ManualResetEventSlim _stopped = new();
    private readonly Thread? _thread;

    public ProcessorWait()
    {
        if (File.Exists(Source))
        {
            _thread = new Thread(Sample) { IsBackground = true, Name = "processor wait" };
            _thread.Start();
        }
    }

    /// <summary>Milliseconds of a stretch; 0 where the kernel does not tell.</summary>
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
        Span<byte> text = stackalloc byte[256];
        using var file = File.OpenHandle(Source);
        do
        {
            var read = text[..RandomAccess.Read(file, text, 0)];
            var total = read.IndexOf("total="u8);
            if (total >= 0 && Utf8Parser.TryParse(read[(total + 6)..], out long waited, out _))
            {
                lock (_samples)
                {
                    _samples.Add((LabRun.Now, waited));
                }
            }
        }
        while (!_stopped.Wait(Period));
    }
}
