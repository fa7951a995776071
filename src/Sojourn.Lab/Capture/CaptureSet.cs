using System.Buffers.Binary;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Capture;

/// <summary>All captures of a run with the keys that open them: what happened on every link, for judges and for the ladder.</summary>
public sealed class CaptureSet
{
    private readonly Lazy<IReadOnlyList<Signal>> _signals;
    private readonly TlsKeys _tls;

    /// <param name="topology">Names the nodes at the ends.</param>
    /// <param name="frames">Frames of all links.</param>
    /// <param name="esp">Exported ESP keys.</param>
    /// <param name="tls">TLS secrets of the Diameter connections.</param>
    public CaptureSet(LabTopology topology, IEnumerable<CapturedFrame> frames, EspKeys esp, TlsKeys tls)
    {
        Topology = topology;
        _tls = tls;
        EspKeys = esp;
        Frames = [.. frames.OrderBy(f => f.Time)];
        Packets = [.. Frames.Select(f => Open(f, esp)).OfType<Sighting>()];
        _signals = new Lazy<IReadOnlyList<Signal>>(() => [.. Datagrams().Concat(DiameterMessages()).OrderBy(s => s.Time)]);
    }

    public LabTopology Topology { get; }

    public EspKeys EspKeys { get; }

    public IReadOnlyList<CapturedFrame> Frames { get; }

    /// <summary>IPv4 packets of all links in order of time; a packet that crosses three links is here three times.</summary>
    public IReadOnlyList<Sighting> Packets { get; }

    /// <summary>Every signalling message once, with the node that sent it and the node that took it.</summary>
    public IReadOnlyList<Signal> Signals => _signals.Value;

    /// <summary>Reads the captures of an evidence folder back from their files.</summary>
    public static CaptureSet Read(LabTopology topology, string captures, EspKeys esp, TlsKeys tls) =>
        new(topology, Directory.GetFiles(captures, "*.pcapng").SelectMany(PcapngReader.Read), esp, tls);

    public IEnumerable<Sighting> On(string link) => Packets.Where(p => p.Link == link && !p.Frame.Lost);

    /// <summary>Packets on links of a kind, in either direction.</summary>
    public IEnumerable<Sighting> On(LinkKind kind) => Packets.Where(p => Topology.Link(p.Link).Kind == kind && !p.Frame.Lost);

    private Sighting? Open(CapturedFrame frame, EspKeys esp)
    {
        if (Ipv4Packet.Of(frame) is not { } packet)
        {
            return null;
        }

        var ends = Topology.Link(frame.Link).Ends;
        var sighting = new Sighting(frame, ends[frame.Sender].Node, ends[1 - frame.Sender].Node, packet);
        if (packet.FragmentOffset != 0)
        {
            return sighting;
        }

        var payload = packet.Payload;
        switch (packet.Protocol)
        {
            case 4:
                return sighting with { Protection = SeenProtection.Encapsulation, Inner = Ipv4Packet.Parse(payload) };
            case 51 when payload.Length >= 12:
                var length = (payload.Span[1] + 2) * 4;
                return sighting with
                {
                    Protection = SeenProtection.Ah,
                    Spi = BinaryPrimitives.ReadUInt32BigEndian(payload.Span[4..]),
                    Sequence = BinaryPrimitives.ReadUInt32BigEndian(payload.Span[8..]),
                    Inner = payload.Span[0] == 4 && length < payload.Length ? Ipv4Packet.Parse(payload[length..]) : null,
                };
            case 50 when payload.Length >= 8:
            case 17 when packet.IsUdp && (packet.SourcePort == 4500 || packet.DestinationPort == 4500) && packet.UdpData.Length >= 8:
                var data = packet.Protocol == 50 ? payload : packet.UdpData;
                var spi = BinaryPrimitives.ReadUInt32BigEndian(data.Span);
                return spi == 0 ? sighting : sighting with
                {
                    Protection = SeenProtection.Esp,
                    Spi = spi,
                    Sequence = BinaryPrimitives.ReadUInt32BigEndian(data.Span[4..]),
                    Inner = packet.IsFragment ? null : esp.Open(packet),
                };
            default:
                return sighting;
        }
    }

    /// <summary>Mobile IP datagrams. The same datagram on later links of its way tells who took it in the end.</summary>
    private IEnumerable<Signal> Datagrams()
    {
        var ways = new Dictionary<(string, int), List<Sighting>>();
        var counts = new Dictionary<(string Link, string Key), int>();
        foreach (var sighting in Packets.Where(p => p.Protection == SeenProtection.None && p.Packet is { IsUdp: true, IsFragment: false }
            && (p.Packet.DestinationPort == 434 || p.Packet.SourcePort == 434)))
        {
            var key = $"{sighting.Packet.Source}:{sighting.Packet.SourcePort}>{sighting.Packet.Destination}:{sighting.Packet.DestinationPort}:{Convert.ToHexString(sighting.Packet.UdpData.Span)}";
            var count = counts[(sighting.Link, key)] = counts.GetValueOrDefault((sighting.Link, key)) + 1;
            if (!ways.TryGetValue((key, count), out var way))
            {
                ways.Add((key, count), way = []);
            }

            way.Add(sighting);
        }

        foreach (var way in ways.Values)
        {
            if (MobileIpView.Parse(way[0].Packet.UdpData) is { } message)
            {
                yield return new Signal(way[0].Time, way[^1].Frame.Lost ? null : way[^1].Time, way[0].SenderNode, way[^1].ReceiverNode, message.Name, way)
                {
                    MobileIp = message,
                };
            }
        }
    }

    /// <summary>Diameter messages out of TLS (or plain TCP), taken where their sender put them on its own link.</summary>
    private IEnumerable<Signal> DiameterMessages()
    {
        foreach (var link in Topology.Links)
        {
            var packets = On(link.Name).Where(p => p.Protection == SeenProtection.None && p.Packet.IsTcp && !p.Packet.IsFragment)
                .Select(p => (p.Frame, p.Packet)).ToList();
            var streams = TcpStream.All(packets);
            foreach (var client in streams.Where(s => s.FromClient))
            {
                var server = streams.FirstOrDefault(s => !s.FromClient && s.Source.Equals(client.Destination) && s.Destination.Equals(client.Source));
                if (server is null)
                {
                    continue;
                }

                var (fromClient, fromServer) = client.Data.Length > 0 && client.Data[0] == 22
                    ? _tls.Open(client, server)
                    : (Plain(client), Plain(server));
                foreach (var (stream, data) in ((TcpStream, IReadOnlyList<TimedData>)[])[(client, fromClient), (server, fromServer)])
                {
                    // The same connection is seen on every link of its way; only its sender's own link counts.
                    var sender = Topology.Owner(stream.Source.Address)?.Name;
                    var receiver = Topology.Owner(stream.Destination.Address)?.Name;
                    if (sender is null || receiver is null || link.Ends.All(e => e.Node != sender))
                    {
                        continue;
                    }

                    foreach (var (message, time) in DiameterView.Split(data))
                    {
                        yield return new Signal(time, null, sender, receiver, message.Name, []) { Diameter = message };
                    }
                }
            }
        }
    }

    private static IReadOnlyList<TimedData> Plain(TcpStream stream) =>
        stream.Data.Length == 0 ? [] : [.. stream.Pieces];
}

/// <summary>One signalling message of the run.</summary>
/// <param name="Time">When its sender put it on its link, nanoseconds since 1970.</param>
/// <param name="Arrived">When it was put on the last link of its way; null when that is not known.</param>
/// <param name="From">Node that sent it.</param>
/// <param name="To">Node that took it, which for an intercepted binding update is not the owner of its destination address.</param>
/// <param name="Name">Short name, e.g. <c>AMR</c>.</param>
/// <param name="Way">The packet on each link it crossed; empty for stream transports.</param>
public sealed record Signal(long Time, long? Arrived, string From, string To, string Name, IReadOnlyList<Sighting> Way)
{
    public MobileIpView? MobileIp { get; init; }

    public DiameterView? Diameter { get; init; }

    public DateTimeOffset At => DateTimeOffset.UnixEpoch.AddTicks(Time / 100);

    public override string ToString() => $"{From} > {To} {Name}";
}
