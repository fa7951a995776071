using System.Net;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.Engine.Ipv6Host;

/// <summary>Neighbours of one interface: address resolution and neighbour unreachability detection (RFC 4861 7.2, 7.3).</summary>
internal sealed class NeighborCache(Ipv6HostOptions options, Action<IPAddress, bool, EffectSink> solicit, Action<ReadOnlyMemory<byte>, LinkAddress, EffectSink, int> transmit)
{
    private const int Solicitations = 3;

    private static readonly TimeSpan s_retransmit = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_delay = TimeSpan.FromSeconds(5);

    private readonly Dictionary<IPAddress, Neighbor> _neighbors = [];

    /// <summary>How long a confirmation holds; routers may say (RFC 4861 6.3.2).</summary>
    public TimeSpan ReachableTime { get; set; } = TimeSpan.FromSeconds(30);

    private enum Reachability : byte
    {
        Incomplete,
        Reachable,
        Stale,
        Delay,
        Probe,
    }

    private sealed class Neighbor
    {
        public required IPAddress Address { get; init; }

        public Reachability State { get; set; }

        public LinkAddress? Link { get; set; }

        public int Sent { get; set; }

        public DateTimeOffset? Next { get; set; }

        public DateTimeOffset Used { get; set; }

        public Queue<(ReadOnlyMemory<byte> Packet, int SegmentSize)> Waiting { get; } = new();
    }

    public DateTimeOffset? NextDeadline => _neighbors.Values.Min(n => n.Next);

    public void Clear() => _neighbors.Clear();

    /// <param name="segmentSize">See <see cref="Wire.Ip.Segmentation"/>.</param>
    public void Send(ReadOnlyMemory<byte> packet, int segmentSize, IPAddress nextHop, DateTimeOffset now, EffectSink effects)
    {
        var neighbor = Find(nextHop, now, effects);
        if (neighbor is null)
        {
            effects.Count("ipv6.neighbours_full");
            return;
        }

        neighbor.Used = now;
        if (neighbor.Link is { } link)
        {
            if (neighbor.State == Reachability.Stale)
            {
                (neighbor.State, neighbor.Next) = (Reachability.Delay, now + s_delay);
            }

            transmit(packet, link, effects, segmentSize);
            return;
        }

        if (neighbor.Waiting.Count == options.MaximumWaiting)
        {
            neighbor.Waiting.Dequeue();
            effects.Count("ipv6.neighbour_queue_full");
        }

        neighbor.Waiting.Enqueue((packet, segmentSize));
        effects.Count("ipv6.waits_for_neighbour");
    }

    /// <summary>Asks a neighbour whether it is still there, without waiting for a packet to it.</summary>
    public void Probe(IPAddress address, DateTimeOffset now, EffectSink effects)
    {
        if (Find(address, now, effects) is { Link: not null, State: not Reachability.Probe } neighbor)
        {
            (neighbor.State, neighbor.Sent, neighbor.Next) = (Reachability.Probe, 1, now + s_retransmit);
            solicit(address, true, effects);
        }
    }

    /// <summary>An option of a solicitation or a router advertisement: where the neighbour is, not that it hears us.</summary>
    public void Hint(IPAddress address, LinkAddress link, DateTimeOffset now, EffectSink effects)
    {
        if (Find(address, now, effects, ask: false) is { } neighbor && neighbor.Link != link)
        {
            Become(neighbor, link, Reachability.Stale, null, effects);
        }
    }

    /// <summary>A neighbour advertisement (RFC 4861 7.2.5).</summary>
    public void Advertised(NeighborAdvertisement advertisement, DateTimeOffset now, EffectSink effects)
    {
        if (!_neighbors.TryGetValue(advertisement.Target, out var neighbor))
        {
            return;
        }

        var link = LinkOf(advertisement.Options.TargetLinkLayerAddress);
        var solicited = advertisement.Has(NeighborAdvertisementFlags.Solicited);
        if (neighbor.State == Reachability.Incomplete)
        {
            if (link is { } found)
            {
                Become(neighbor, found, solicited ? Reachability.Reachable : Reachability.Stale, solicited ? now + ReachableTime : null, effects);
            }

            return;
        }

        var changes = link is { } other && neighbor.Link != other;
        if (changes && !advertisement.Has(NeighborAdvertisementFlags.Override))
        {
            if (neighbor.State == Reachability.Reachable)
            {
                (neighbor.State, neighbor.Next) = (Reachability.Stale, null);
            }

            return;
        }

        if (solicited)
        {
            Become(neighbor, link ?? neighbor.Link!.Value, Reachability.Reachable, now + ReachableTime, effects);
        }
        else if (changes)
        {
            Become(neighbor, link!.Value, Reachability.Stale, null, effects);
        }
    }

    /// <summary>Lets time pass and says who did not answer.</summary>
    public IReadOnlyList<IPAddress> OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        List<IPAddress> gone = [];
        foreach (var neighbor in _neighbors.Values.Where(n => n.Next <= now).ToList())
        {
            switch (neighbor.State)
            {
                case Reachability.Reachable:
                    (neighbor.State, neighbor.Next) = (Reachability.Stale, null);
                    break;
                case Reachability.Delay:
                    (neighbor.State, neighbor.Sent, neighbor.Next) = (Reachability.Probe, 1, now + s_retransmit);
                    solicit(neighbor.Address, true, effects);
                    break;
                case Reachability.Incomplete or Reachability.Probe when neighbor.Sent < Solicitations:
                    (neighbor.Sent, neighbor.Next) = (neighbor.Sent + 1, now + s_retransmit);
                    solicit(neighbor.Address, neighbor.State == Reachability.Probe, effects);
                    break;
                default:
                    effects.Count("ipv6.unreachable", Math.Max(1, neighbor.Waiting.Count));
                    _neighbors.Remove(neighbor.Address);
                    gone.Add(neighbor.Address);
                    break;
            }
        }

        return gone;
    }

    public LinkAddress? LinkOf(IPAddress address) => _neighbors.GetValueOrDefault(address)?.Link;

    /// <summary>Six octets of an option; null when there is none or it is no Ethernet address.</summary>
    public static LinkAddress? LinkOf(LinkLayerAddressOption? option) => option is { Address.Length: 6 } ? new LinkAddress(option.Address.Span) : null;

    private void Become(Neighbor neighbor, LinkAddress link, Reachability state, DateTimeOffset? next, EffectSink effects)
    {
        (neighbor.Link, neighbor.State, neighbor.Next) = (link, state, next);
        while (neighbor.Waiting.TryDequeue(out var waiting))
        {
            transmit(waiting.Packet, link, effects, waiting.SegmentSize);
        }
    }

    private Neighbor? Find(IPAddress address, DateTimeOffset now, EffectSink effects, bool ask = true)
    {
        if (_neighbors.TryGetValue(address, out var neighbor))
        {
            if (ask && neighbor is { State: Reachability.Incomplete, Next: null })
            {
                Ask(neighbor, now, effects);
            }

            return neighbor;
        }

        if (_neighbors.Count >= options.MaximumNeighbors)
        {
            // Whom nobody has spoken with for longest goes, but never one that is being asked for.
            if (_neighbors.Values.Where(n => n.State is Reachability.Stale or Reachability.Reachable).MinBy(n => n.Used) is not { } oldest)
            {
                return null;
            }

            _neighbors.Remove(oldest.Address);
        }

        neighbor = new Neighbor { Address = address, State = Reachability.Incomplete, Used = now };
        _neighbors[address] = neighbor;
        if (ask)
        {
            Ask(neighbor, now, effects);
        }

        return neighbor;
    }

    private void Ask(Neighbor neighbor, DateTimeOffset now, EffectSink effects)
    {
        (neighbor.Sent, neighbor.Next) = (1, now + s_retransmit);
        solicit(neighbor.Address, false, effects);
    }
}
