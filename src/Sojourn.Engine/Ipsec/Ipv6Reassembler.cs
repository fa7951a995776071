// Readings:
// - Overlapping fragments end their datagram, and what still comes of it is dropped until its time is over (RFC 8200 4.5, RFC 5722);
//   an exact copy of a fragment is no overlap but a copy (RFC 8200 4.5 allows to ignore it).
// - No ICMPv6 error leaves for what could not be put together: who fragments here is the far end of a tunnel, which cannot do
//   anything about it, and forged fragments would make this node answer strangers.
// - ECN follows RFC 3168 5.3: a mark on one fragment marks the whole, and a mark beside a fragment whose sender takes no marks
//   ends the datagram.
using System.Buffers.Binary;
using Sojourn.Wire.Ip;

namespace Sojourn.Engine.Ipsec;

public enum ReassemblyOutcome : byte
{
    /// <summary>Not a fragment; goes on as it is.</summary>
    NotFragment,

    /// <summary>Kept; others are missing.</summary>
    Waiting,

    /// <summary>The last that was missing: the packet is whole.</summary>
    Complete,

    /// <summary>Malformed, overlapping, or more than is kept.</summary>
    Refused,
}

/// <summary>Bounds of an <see cref="Ipv6Reassembler"/>.</summary>
public sealed record ReassemblyLimits
{
    /// <summary>Packets being put together at once; the oldest goes when another begins.</summary>
    public int Datagrams { get; init; } = 1024;

    /// <summary>Of these, packets of one source.</summary>
    public int DatagramsPerSource { get; init; } = 64;

    /// <summary>Octets kept for all of them.</summary>
    public int Octets { get; init; } = 8 << 20;

    /// <summary>Fragments of one packet: a full-sized packet over links of the IPv6 minimum MTU takes 54.</summary>
    public int Fragments { get; init; } = 128;

    /// <summary>RFC 8200 4.5.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(60);
}

/// <summary>Puts IPv6 packets together at their destination (RFC 8200 4.5), within bounds. For one thread.</summary>
public sealed class Ipv6Reassembler(ReassemblyLimits? limits = null)
{
    private const int FragmentHeaderLength = 8;
    private const byte NotCapable = 0, Marked = 3;

    private readonly ReassemblyLimits _limits = limits ?? new ReassemblyLimits();
    private readonly Dictionary<Key, Datagram> _datagrams = [];
    private readonly Dictionary<UInt128, int> _ofSource = [];
    private readonly Queue<(Key Key, Datagram Datagram)> _ages = new();
    private int _octets;

    private readonly record struct Key(UInt128 Source, UInt128 Destination, uint Identification);

    private readonly record struct Piece(int Offset, byte[] Octets)
    {
        public int End => Offset + Octets.Length;
    }

    private sealed class Datagram(DateTimeOffset begun)
    {
        public DateTimeOffset Begun { get; } = begun;

        /// <summary>In the order of their offsets, without overlap.</summary>
        public List<Piece> Pieces { get; } = [];

        /// <summary>Headers before the fragment header of the first fragment, with the next header that stood in that.</summary>
        public byte[]? Head { get; set; }

        public int? End { get; set; }

        public int Octets { get; set; }

        public bool HasMark { get; set; }

        public bool HasNotCapable { get; set; }

        /// <summary>Nothing can come of it any more.</summary>
        public bool Dead { get; set; }
    }

    /// <summary>Packets being put together.</summary>
    public int Count => _datagrams.Count;

    /// <summary>Octets kept for them.</summary>
    public int Octets => _octets;

    /// <summary>Takes a packet addressed to this node.</summary>
    /// <param name="whole">With <see cref="ReassemblyOutcome.Complete"/>: the packet without fragment header.</param>
    public ReassemblyOutcome Add(ReadOnlySpan<byte> packet, DateTimeOffset now, out byte[] whole)
    {
        whole = [];
        if (!IPv6Header.TryParse(packet, out var header, out _))
        {
            return ReassemblyOutcome.Refused;
        }

        var walk = new IPv6ExtensionWalk(header);
        while (walk.MoveNext() && walk.Type != IpProtocol.Fragment)
        {
        }

        if (walk.Error is not null)
        {
            return ReassemblyOutcome.Refused;
        }

        if (walk.Type != IpProtocol.Fragment)
        {
            return ReassemblyOutcome.NotFragment;
        }

        packet = header.Packet;
        var at = walk.Offset;
        var field = BinaryPrimitives.ReadUInt16BigEndian(packet[(at + 2)..]);
        var (offset, more) = (field & 0xFFF8, (field & 1) != 0);
        var payload = packet[(at + FragmentHeaderLength)..];
        if (offset == 0)
        {
            // The first fragment has all headers (RFC 7112): what decides about a packet must not come later.
            if (!IPv6ExtensionWalk.TryFindUpper(header, out var upper) || (upper.UpperProtocol != IpProtocol.NoNextHeader && upper.UpperOffset >= packet.Length))
            {
                return ReassemblyOutcome.Refused;
            }

            if (!more)
            {
                // All of it in one: has nothing to do with others of that number (RFC 6946).
                whole = Join(HeadOf(packet, at, PreviousField(header, at)), [new Piece(0, payload.ToArray())], payload.Length);
                return ReassemblyOutcome.Complete;
            }
        }

        if ((more && payload.Length % 8 != 0) || payload.IsEmpty || at - IPv6Header.Length + offset + payload.Length > ushort.MaxValue)
        {
            return ReassemblyOutcome.Refused;
        }

        Expire(now);
        var key = new Key(AddressNumber.Of(header.Source), AddressNumber.Of(header.Destination), BinaryPrimitives.ReadUInt32BigEndian(packet[(at + 4)..]));
        if (!_datagrams.TryGetValue(key, out var datagram))
        {
            if (_ofSource.GetValueOrDefault(key.Source) >= _limits.DatagramsPerSource)
            {
                return ReassemblyOutcome.Refused;
            }

            if (_datagrams.Count >= _limits.Datagrams)
            {
                RemoveOldest();
            }

            datagram = new Datagram(now);
            _datagrams.Add(key, datagram);
            _ages.Enqueue((key, datagram));
            _ofSource[key.Source] = _ofSource.GetValueOrDefault(key.Source) + 1;
        }

        if (datagram.Dead)
        {
            return ReassemblyOutcome.Refused;
        }

        switch (Place(datagram, offset, payload, more))
        {
            case null:
                Kill(datagram);
                return ReassemblyOutcome.Refused;
            case false:
                return ReassemblyOutcome.Waiting;
        }

        var ecn = (byte)(header.TrafficClass & 3);
        datagram.HasMark |= ecn == Marked;
        datagram.HasNotCapable |= ecn == NotCapable;
        if (offset == 0)
        {
            datagram.Head = HeadOf(packet, at, PreviousField(header, at));
        }

        if (datagram is not { Head: { } head, End: { } end } || datagram.Octets != end)
        {
            while (_octets > _limits.Octets)
            {
                RemoveOldest();
            }

            return ReassemblyOutcome.Waiting;
        }

        Remove(key, datagram);
        if ((datagram.HasMark && datagram.HasNotCapable) || head.Length - IPv6Header.Length + end > ushort.MaxValue)
        {
            return ReassemblyOutcome.Refused;
        }

        whole = Join(head, datagram.Pieces, end);
        if (datagram.HasMark)
        {
            IPv6Header.RewriteTrafficClass(whole, (byte)(IPv6Header.TryParse(whole, out var joined, out _) ? joined.TrafficClass | Marked : Marked));
        }

        return ReassemblyOutcome.Complete;
    }

    /// <summary>True: new. False: a copy of one that is there. Null: it contradicts what is there, or is one too many.</summary>
    private bool? Place(Datagram datagram, int offset, ReadOnlySpan<byte> payload, bool more)
    {
        var end = offset + payload.Length;
        var pieces = datagram.Pieces;
        var index = pieces.FindIndex(p => p.End > offset);
        if (index >= 0 && pieces[index].Offset < end)
        {
            var there = pieces[index];
            return there.Offset == offset && there.Octets.AsSpan().SequenceEqual(payload) && (more ? datagram.End != end : datagram.End == end) ? false : null;
        }

        if (pieces.Count >= _limits.Fragments || (more ? end >= datagram.End : datagram.End is not null || (pieces.Count > 0 && pieces[^1].End > end)))
        {
            return null;
        }

        pieces.Insert(index < 0 ? pieces.Count : index, new Piece(offset, payload.ToArray()));
        datagram.End = more ? datagram.End : end;
        datagram.Octets += payload.Length;
        _octets += payload.Length;
        return true;
    }

    private void Kill(Datagram datagram)
    {
        _octets -= datagram.Octets;
        (datagram.Dead, datagram.Octets, datagram.Head) = (true, 0, null);
        datagram.Pieces.Clear();
    }

    private void Expire(DateTimeOffset now)
    {
        while (_ages.TryPeek(out var oldest) && (now - oldest.Datagram.Begun >= _limits.Timeout || _datagrams.GetValueOrDefault(oldest.Key) != oldest.Datagram))
        {
            _ages.Dequeue();
            Remove(oldest.Key, oldest.Datagram);
        }
    }

    private void RemoveOldest()
    {
        while (_ages.TryDequeue(out var oldest) && !Remove(oldest.Key, oldest.Datagram))
        {
        }
    }

    private bool Remove(Key key, Datagram datagram)
    {
        if (_datagrams.GetValueOrDefault(key) != datagram)
        {
            return false;
        }

        _datagrams.Remove(key);
        _octets -= datagram.Octets;
        if (--_ofSource[key.Source] == 0)
        {
            _ofSource.Remove(key.Source);
        }

        // Those that were completed stand in the queue until they come to its head; there must not be more of them than of others.
        if (_ages.Count > 64 + (2 * _datagrams.Count))
        {
            var living = _ages.Where(a => _datagrams.GetValueOrDefault(a.Key) == a.Datagram).ToList();
            _ages.Clear();
            living.ForEach(_ages.Enqueue);
        }

        return true;
    }

    private static int PreviousField(in IPv6Header header, int fragmentAt)
    {
        var walk = new IPv6ExtensionWalk(header);
        var field = 6;
        while (walk.MoveNext() && walk.Offset < fragmentAt)
        {
            field = walk.Offset;
        }

        return field;
    }

    private static byte[] HeadOf(ReadOnlySpan<byte> packet, int fragmentAt, int nextHeaderField)
    {
        var head = packet[..fragmentAt].ToArray();
        head[nextHeaderField] = packet[fragmentAt];
        return head;
    }

    private static byte[] Join(byte[] head, List<Piece> pieces, int end)
    {
        var whole = new byte[head.Length + end];
        head.CopyTo(whole, 0);
        foreach (var piece in pieces)
        {
            piece.Octets.CopyTo(whole, head.Length + piece.Offset);
        }

        BinaryPrimitives.WriteUInt16BigEndian(whole.AsSpan(4), (ushort)(whole.Length - IPv6Header.Length));
        return whole;
    }
}
