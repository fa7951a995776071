using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Lab.Capture;

namespace Sojourn.Lab.Network;

/// <summary>
/// Many mobile nodes in one process: each is the engine of a mobile node with a link address of its own, in reach of one
/// of several links at a time. Frames go through packet sockets on those links, so that agents see real stations.
/// </summary>
public sealed class Crowd : IDisposable
{
    /// <summary>Echo (RFC 862).</summary>
    public const ushort EchoPort = 7;

    private const string Interface = "radio";
    private const ushort MobileIpPort = 434;
    private static readonly LinkAddress AllRouters = new([0x01, 0, 0x5e, 0, 0, 2]), Broadcast = new([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);

    private readonly PacketSocket[] _links;
    private readonly List<Station> _stations = [];
    private readonly Dictionary<LinkAddress, Station> _byLinkAddress = [];
    private readonly PriorityQueue<Station, DateTimeOffset> _deadlines = new();
    private readonly ConcurrentQueue<Action> _posted = new();
    private readonly Thread _thread;
    private volatile bool _stopping;
    private Exception? _failure;

    /// <param name="space">Namespace at whose interfaces the links end.</param>
    /// <param name="interfaces">One per link; stations name a link by its place here.</param>
    /// <param name="users">Who the stations are; <see cref="MobileNodeOptions.Interface"/> is set here.</param>
    public Crowd(NetworkNamespace space, IReadOnlyList<string> interfaces, IReadOnlyList<MobileNodeOptions> users)
    {
        _links = space.Run(() => interfaces.Select(name => new PacketSocket(name)).ToArray());
        foreach (var (user, index) in users.Select((user, i) => (user, i)))
        {
            var address = new LinkAddress([2, 0, 0x5a, 0, (byte)(index >> 8), (byte)index]);
            var station = new Station(new MobileNode(user with { Interface = Interface }, SystemRandomSource.Instance), address, user.HomeAddress!);
            _stations.Add(station);
            _byLinkAddress.Add(address, station);
        }

        _thread = new Thread(Run) { IsBackground = true, Name = "crowd" };
        _thread.Start();
    }

    public int Count => _stations.Count;

    /// <summary>Messages of the engines, summed over all stations.</summary>
    public async Task<IReadOnlyDictionary<string, long>> CountersAsync() => await AskAsync(() => (IReadOnlyDictionary<string, long>)_stations
        .SelectMany(s => s.Counters).GroupBy(c => c.Key, StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.Sum(c => c.Value)));

    /// <summary>Switches a station on within reach of a link.</summary>
    public void Start(int station, int link) => _posted.Enqueue(() =>
    {
        var s = _stations[station];
        s.Link = link;
        Tell(s, new EngineStarted([]));
        Tell(s, new LinkChanged(Interface, true));
    });

    /// <summary>Takes a station from the link it is on to another one, at once.</summary>
    public void Move(int station, int link) => _posted.Enqueue(() =>
    {
        var s = _stations[station];
        Tell(s, new LinkChanged(Interface, false));
        s.Link = link;
        Tell(s, new LinkChanged(Interface, true));
    });

    public void Leave(int station) => _posted.Enqueue(() => Tell(_stations[station], new DeregisterNode()));

    /// <summary>Sends one datagram from a station to a correspondent that echoes; nothing while it is not registered.</summary>
    public void Echo(int station, IPAddress correspondent) => _posted.Enqueue(() =>
    {
        var s = _stations[station];
        if (s.Engine.Registration is { } registration && s.Link is { } link && s.Routers.TryGetValue(registration.Agent, out var router))
        {
            var data = new byte[16];
            BinaryPrimitives.WriteInt32BigEndian(data, s.Sent++);
            Send(link, router, s.Address, Packets.Udp(s.Home, correspondent, 40_000, EchoPort, data));
        }
    });

    /// <summary>What the stations are at this instant.</summary>
    public Task<IReadOnlyList<StationView>> ViewAsync() => AskAsync(() => (IReadOnlyList<StationView>)
        [.. _stations.Select(s => new StationView(s.Home, s.Link, s.Engine.State is MobileNodeState.Registered, s.Engine.Registration?.CareOfAddress, s.Sent, s.Received))]);

    public void Dispose()
    {
        _stopping = true;
        _thread.Join();
        foreach (var link in _links)
        {
            link.Dispose();
        }
    }

    private Task<T> AskAsync<T>(Func<T> question)
    {
        var answer = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        _posted.Enqueue(() => answer.SetResult(question()));
        return _failure is { } failure ? Task.FromException<T>(failure) : answer.Task.WaitAsync(TimeSpan.FromSeconds(30));
    }

    private void Run()
    {
        PreciseWait.SharpenThread();
        try
        {
            while (!_stopping)
            {
                var idle = true;
                while (_posted.TryDequeue(out var action))
                {
                    action();
                    idle = false;
                }

                for (var link = 0; link < _links.Length; link++)
                {
                    for (var frames = 0; frames < 64 && _links[link].TryReceive(out var frame, out _); frames++)
                    {
                        Received(link, frame);
                        idle = false;
                    }
                }

                while (_deadlines.TryPeek(out var station, out var at) && at <= DateTimeOffset.UtcNow)
                {
                    _deadlines.Dequeue();
                    if (station.Wake == at)
                    {
                        station.Wake = null;
                        Tell(station, new DeadlineReached());
                    }
                }

                if (idle)
                {
                    Thread.Sleep(1);
                }
            }
        }
        catch (Exception e)
        {
            _failure = e;
        }
    }

    private void Received(int link, ReadOnlySpan<byte> frame)
    {
        if (frame.Length < 34 || BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) != 0x0800 || Ipv4Packet.Parse(frame[14..].ToArray()) is not { } packet)
        {
            return;
        }

        var source = new LinkAddress(frame[6..12]);
        if ((frame[0] & 1) != 0)
        {
            foreach (var station in _stations.Where(s => s.Link == link))
            {
                Take(station, packet, source);
            }
        }
        else if (_byLinkAddress.TryGetValue(new LinkAddress(frame[..6]), out var station) && station.Link == link)
        {
            Take(station, packet, source);
        }
    }

    private void Take(Station station, Ipv4Packet packet, LinkAddress from)
    {
        if (packet.IcmpType == 9)
        {
            station.Routers[packet.Source] = from;
            Tell(station, new IcmpReceived(packet.Source, packet.Destination, packet.Payload.ToArray(), Interface, from));
        }
        else if (packet.IsUdp && packet.DestinationPort == MobileIpPort)
        {
            Tell(station, new DatagramReceived(new IPEndPoint(packet.Source, packet.SourcePort), new IPEndPoint(packet.Destination, packet.DestinationPort), packet.UdpData.ToArray(), Interface, from));
        }
        else if (packet.IsUdp && packet.SourcePort == EchoPort && packet.Destination.Equals(station.Home))
        {
            station.Received++;
        }
    }

    private void Tell(Station station, EngineInput input)
    {
        var effects = new EffectSink();
        station.Engine.Handle(input, DateTimeOffset.UtcNow, effects);
        foreach (var effect in effects.Effects)
        {
            switch (effect)
            {
                case SendDatagram send when station.Link is { } link:
                    Send(link, send.LinkDestination ?? Broadcast, station.Address, Packets.Udp(send.Source.Address, send.Destination.Address, (ushort)send.Source.Port, (ushort)send.Destination.Port, send.Payload.Span));
                    break;
                case SendIcmp send when station.Link is { } link:
                    Send(link, send.LinkDestination ?? AllRouters, station.Address, Packets.Icmp(send.Source ?? IPAddress.Any, send.Destination, send.Message.Span, send.TimeToLive));
                    break;
                case CountEvent count:
                    station.Counters[count.Counter] = station.Counters.GetValueOrDefault(count.Counter) + count.Amount;
                    break;
            }
        }

        if (station.Engine.NextDeadline is { } next && station.Wake != next)
        {
            station.Wake = next;
            _deadlines.Enqueue(station, next);
        }
    }

    private void Send(int link, LinkAddress to, LinkAddress from, byte[] packet)
    {
        byte[] frame = [.. to.ToArray(), .. from.ToArray(), 0x08, 0x00, .. packet];
        _links[link].TrySend(frame);
    }

    private sealed class Station(MobileNode engine, LinkAddress address, IPAddress home)
    {
        public MobileNode Engine => engine;

        public LinkAddress Address => address;

        public IPAddress Home => home;

        public int? Link { get; set; }

        public DateTimeOffset? Wake { get; set; }

        public int Sent { get; set; }

        public int Received { get; set; }

        /// <summary>Link addresses of the agents heard.</summary>
        public Dictionary<IPAddress, LinkAddress> Routers { get; } = [];

        public Dictionary<string, long> Counters { get; } = new(StringComparer.Ordinal);
    }
}

/// <summary>A station from outside.</summary>
/// <param name="Link">The link it is on.</param>
/// <param name="CareOf">Where it is registered, as far as it knows.</param>
/// <param name="Sent">Echo requests.</param>
/// <param name="Received">Echo replies.</param>
public sealed record StationView(IPAddress Home, int? Link, bool Registered, IPAddress? CareOf, int Sent, int Received);
