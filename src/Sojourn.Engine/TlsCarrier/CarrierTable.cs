using System.Buffers.Binary;
using System.Net;
using Sojourn.Wire.Ip;

namespace Sojourn.Engine.TlsCarrier;

/// <summary>What becomes of a packet that a terminal has sent through its session.</summary>
public enum CarriedVerdict : byte
{
    Forward,

    /// <summary>No whole IPv6 packet.</summary>
    Malformed,

    /// <summary>Its source is not this terminal's.</summary>
    ForeignSource,

    /// <summary>It leads out of the inner network.</summary>
    ForeignDestination,
}

/// <summary>
/// Which session carries which address, and what may come out of a session (spec terminal TM-R107). One thread changes it, any number
/// of threads ask.
/// </summary>
/// <typeparam name="TSession">What a packet for a terminal is handed to.</typeparam>
public sealed class CarrierTable<TSession>(IEnumerable<IPNetwork> innerNetworks)
    where TSession : class
{
    private readonly PrefixSet<object> _inner = new(innerNetworks.Select(prefix => KeyValuePair.Create(prefix, new object())));
    private readonly Dictionary<IPNetwork, TSession> _sessions = [];
    private volatile PrefixSet<TSession> _lookup = new([]);
    private long _forwarded, _carried, _malformed, _foreignSource, _foreignDestination, _noSession;

    /// <summary>Packets by what became of them.</summary>
    public IReadOnlyDictionary<string, long> Counters => new Dictionary<string, long>
    {
        ["tls.carrier.forwarded"] = Interlocked.Read(ref _forwarded),
        ["tls.carrier.carried"] = Interlocked.Read(ref _carried),
        ["tls.carrier.malformed"] = Interlocked.Read(ref _malformed),
        ["tls.carrier.foreign_source"] = Interlocked.Read(ref _foreignSource),
        ["tls.carrier.foreign_destination"] = Interlocked.Read(ref _foreignDestination),
        ["tls.carrier.no_session"] = Interlocked.Read(ref _noSession),
    };

    /// <summary>Packets for these prefixes go to a session, and from it only packets out of them are taken.</summary>
    public void Add(TSession session, IEnumerable<IPNetwork> prefixes)
    {
        foreach (var prefix in prefixes)
        {
            _sessions[prefix] = session;
        }

        _lookup = new PrefixSet<TSession>(_sessions);
    }

    public void Remove(TSession session)
    {
        foreach (var prefix in _sessions.Where(pair => pair.Value == session).Select(pair => pair.Key).ToList())
        {
            _sessions.Remove(prefix);
        }

        _lookup = new PrefixSet<TSession>(_sessions);
    }

    /// <summary>Judges what came out of a session.</summary>
    public CarriedVerdict FromTerminal(TSession session, ReadOnlySpan<byte> packet)
    {
        if (!IPv6Header.TryParse(packet, out var header, out _) || header.Packet.Length != packet.Length)
        {
            Interlocked.Increment(ref _malformed);
            return CarriedVerdict.Malformed;
        }

        if (_lookup.Find(header.Source) != session)
        {
            Interlocked.Increment(ref _foreignSource);
            return CarriedVerdict.ForeignSource;
        }

        if (_inner.Find(header.Destination) is null)
        {
            Interlocked.Increment(ref _foreignDestination);
            return CarriedVerdict.ForeignDestination;
        }

        Interlocked.Increment(ref _forwarded);
        return CarriedVerdict.Forward;
    }

    /// <summary>The session that a packet of the inner network has to go through; null: it cannot go.</summary>
    public TSession? ToTerminal(ReadOnlySpan<byte> packet)
    {
        var session = IPv6Header.TryParse(packet, out var header, out _) ? _lookup.Find(header.Destination) : null;
        Interlocked.Increment(ref (session is null ? ref _noSession : ref _carried));
        return session;
    }
}

/// <summary>Longest-prefix match over few lengths: a hash table for each, the longest first. Does not change.</summary>
internal sealed class PrefixSet<T>
    where T : class
{
    private readonly (UInt128 Mask, Dictionary<UInt128, T> Values)[] _lengths;

    public PrefixSet(IEnumerable<KeyValuePair<IPNetwork, T>> prefixes) => _lengths =
    [
        .. prefixes.GroupBy(pair => pair.Key.PrefixLength).OrderByDescending(group => group.Key).Select(group =>
            (MaskOf(group.Key), group.ToDictionary(pair => NumberOf(pair.Key.BaseAddress.GetAddressBytes()), pair => pair.Value))),
    ];

    public T? Find(ReadOnlySpan<byte> address)
    {
        var number = NumberOf(address);
        foreach (var (mask, values) in _lengths)
        {
            if (values.TryGetValue(number & mask, out var value))
            {
                return value;
            }
        }

        return null;
    }

    private static UInt128 NumberOf(ReadOnlySpan<byte> address) => BinaryPrimitives.ReadUInt128BigEndian(address);

    private static UInt128 MaskOf(int length) => length == 0 ? UInt128.Zero : UInt128.MaxValue << (128 - length);
}
