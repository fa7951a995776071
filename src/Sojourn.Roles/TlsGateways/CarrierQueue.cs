using System.Diagnostics;
using System.Threading.Channels;
using Sojourn.Wire.Ip;

namespace Sojourn.Roles.TlsGateways;

/// <summary>
/// Packets that wait for a stream, framed. Bounded in octets: what does not fit is dropped, which the ends of a connection inside take as
/// the sign of congestion that it is. Packets that waited too long for the stream to stand are dropped too.
/// </summary>
internal sealed class CarrierQueue
{
    /// <summary>About what a path of 50 Mbit/s and 40 ms holds.</summary>
    private const int MostOctets = 256 * 1024;

    /// <summary>What a TLS record takes (RFC 8446 5.1).</summary>
    private const int RecordOctets = 16 * 1024;

    private static readonly TimeSpan s_longestWait = TimeSpan.FromSeconds(3);

    private readonly Channel<(byte[] Frame, long At)> _frames = Channel.CreateUnbounded<(byte[], long)>(new UnboundedChannelOptions { SingleReader = true });
    private long _octets;

    /// <summary>Any thread. False when there is no room.</summary>
    public bool Add(ReadOnlySpan<byte> packet)
    {
        var length = CarriedPacket.PrefixLength + packet.Length;
        if (packet.Length > ushort.MaxValue || Interlocked.Add(ref _octets, length) > MostOctets)
        {
            Interlocked.Add(ref _octets, -length);
            return false;
        }

        var frame = new byte[length];
        CarriedPacket.Write(frame, packet);
        return _frames.Writer.TryWrite((frame, Stopwatch.GetTimestamp()));
    }

    /// <summary>Waits for packets, and takes as many as a TLS record has room for, or one that is longer.</summary>
    /// <param name="buffer">Takes any frame.</param>
    /// <returns>Octets.</returns>
    public async ValueTask<int> TakeAsync(Memory<byte> buffer, CancellationToken cancellation)
    {
        var filled = 0;
        while (filled == 0)
        {
            await _frames.Reader.WaitToReadAsync(cancellation).ConfigureAwait(false);
            while (_frames.Reader.TryPeek(out var next) && filled + next.Frame.Length <= (filled == 0 ? buffer.Length : RecordOctets) && _frames.Reader.TryRead(out next))
            {
                Interlocked.Add(ref _octets, -next.Frame.Length);
                if (Stopwatch.GetElapsedTime(next.At) <= s_longestWait)
                {
                    next.Frame.CopyTo(buffer[filled..]);
                    filled += next.Frame.Length;
                }
            }
        }

        return filled;
    }
}
