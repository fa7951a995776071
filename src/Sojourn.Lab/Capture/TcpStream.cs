using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Lab.Capture;

/// <summary>One direction of a TCP connection put together from a capture: octets in order, each with the time it was first sent.</summary>
public sealed class TcpStream
{
    private readonly List<(int End, long Time)> _marks = [];

    private TcpStream(IPEndPoint source, IPEndPoint destination, bool fromClient, byte[] data)
    {
        Source = source;
        Destination = destination;
        FromClient = fromClient;
        Data = data;
    }

    public IPEndPoint Source { get; }

    public IPEndPoint Destination { get; }

    /// <summary>True when this side sent the first SYN.</summary>
    public bool FromClient { get; }

    public byte[] Data { get; }

    /// <summary>When the octet at that position was first sent, in nanoseconds since 1970.</summary>
    public long TimeOf(int position) => _marks.FirstOrDefault(m => position < m.End).Time;

    /// <summary>The stream in the pieces it was sent in.</summary>
    public IEnumerable<TimedData> Pieces
    {
        get
        {
            var start = 0;
            foreach (var (end, time) in _marks)
            {
                yield return new TimedData(time, Data.AsMemory(start, end - start));
                start = end;
            }
        }
    }

    /// <summary>All directions of all connections in the packets (of one capture) whose start was captured.</summary>
    public static IReadOnlyList<TcpStream> All(IEnumerable<(CapturedFrame Frame, Ipv4Packet Packet)> packets)
    {
        var streams = new List<TcpStream>();
        foreach (var group in packets.Where(p => p.Packet.IsTcp && !p.Frame.Lost).GroupBy(p => (
            Source: new IPEndPoint(p.Packet.Source, p.Packet.SourcePort), Destination: new IPEndPoint(p.Packet.Destination, p.Packet.DestinationPort))))
        {
            // A port pair may be used again by a later connection: a SYN begins a new stream.
            List<(CapturedFrame Frame, Ipv4Packet Packet)>? current = null;
            foreach (var packet in group)
            {
                if ((packet.Packet.Payload.Span[13] & 2) != 0 && (current is null || Sequence(current[0].Packet) != Sequence(packet.Packet)))
                {
                    if (current is not null)
                    {
                        streams.Add(Assemble(group.Key.Source, group.Key.Destination, current));
                    }

                    current = [];
                }

                current?.Add(packet);
            }

            if (current is not null)
            {
                streams.Add(Assemble(group.Key.Source, group.Key.Destination, current));
            }
        }

        return streams;
    }

    private static TcpStream Assemble(IPEndPoint source, IPEndPoint destination, List<(CapturedFrame Frame, Ipv4Packet Packet)> packets)
    {
        var first = Sequence(packets[0].Packet) + 1;
        var data = new MemoryStream();
        var marks = new List<(int, long)>();
        foreach (var (frame, packet) in packets.Skip(1).OrderBy(p => (long)(int)(Sequence(p.Packet) - first)).ThenBy(p => p.Frame.Time))
        {
            var header = (packet.Payload.Span[12] >> 4) * 4;
            var offset = (int)(Sequence(packet) - first);
            if (header < 20 || header >= packet.Payload.Length || offset > data.Length)
            {
                continue;
            }

            var fresh = packet.Payload[header..];
            var known = (int)data.Length - offset;
            if (offset < 0 || known >= fresh.Length)
            {
                continue;
            }

            data.Write(fresh.Span[known..]);
            marks.Add(((int)data.Length, frame.Time));
        }

        var stream = new TcpStream(source, destination, (packets[0].Packet.Payload.Span[13] & 0x12) == 2, data.ToArray());
        stream._marks.AddRange(marks);
        return stream;
    }

    private static uint Sequence(Ipv4Packet packet) => BinaryPrimitives.ReadUInt32BigEndian(packet.Payload.Span[4..]);
}
