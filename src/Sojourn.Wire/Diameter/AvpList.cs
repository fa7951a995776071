using System.Buffers.Binary;
using System.Collections;
using System.Diagnostics.CodeAnalysis;
using System.Net;

namespace Sojourn.Wire.Diameter;

/// <summary>
/// AVPs in wire order; immutable. The <c>TryGet…</c> members look at the first AVP of a name and are false when there is
/// none or when its data is not of that type.
/// </summary>
public sealed class AvpList : IReadOnlyList<Avp>
{
    public static readonly AvpList Empty = new([]);

    private readonly Avp[] _avps;
    private int _length;

    public AvpList(IEnumerable<Avp> avps)
        : this([.. avps])
    {
    }

    private AvpList(Avp[] avps) => _avps = avps;

    public int Count => _avps.Length;

    /// <summary>Octets on the wire, padding included.</summary>
    public int Length
    {
        get
        {
            if (_length == 0)
            {
                _length = LengthOf(_avps);
            }

            return _length;
        }
    }

    public Avp this[int index] => _avps[index];

    /// <summary>Reads AVPs until <paramref name="source"/> ends.</summary>
    /// <param name="offset">Where <paramref name="source"/> stands in its message; only used in <paramref name="error"/>.</param>
    /// <param name="broken">What could be read of the AVP that failed, cut to its header: the material for a Failed-AVP.</param>
    internal static bool TryParse(
        ReadOnlyMemory<byte> source, DiameterLimits limits, int offset,
        [NotNullWhen(true)] out AvpList? list, out WireError error, out Avp? broken)
    {
        list = null;
        error = default;
        broken = null;
        var avps = new Avp[Math.Min(CountIn(source.Span), limits.MaximumAvps)];
        var count = 0;
        var at = 0;
        while (at < source.Length)
        {
            if (count >= limits.MaximumAvps)
            {
                error = new WireError("AVPs", offset + at, "more than this receiver takes", "receiver limit");
                return false;
            }

            var rest = source[at..];
            if (!Avp.TryParse(rest, offset + at, out var avp, out var consumed, out error))
            {
                broken = Avp.Remains(rest.Span);
                return false;
            }

            avps[count++] = avp!;
            at += consumed;
        }

        list = new AvpList(avps);
        return true;
    }

    /// <summary>AVPs up to the end or to the first that cannot be read.</summary>
    private static int CountIn(ReadOnlySpan<byte> source)
    {
        var count = 0;
        while (source.Length >= 8)
        {
            var length = (int)(BinaryPrimitives.ReadUInt32BigEndian(source[4..]) & 0x00FF_FFFF);
            if (length < 8 || length > source.Length)
            {
                break;
            }

            count++;
            source = source[Math.Min((length + 3) & ~3, source.Length)..];
        }

        return count;
    }

    internal static int LengthOf(ReadOnlySpan<Avp> avps)
    {
        var length = 0;
        foreach (var avp in avps)
        {
            length += avp.PaddedLength;
        }

        return length;
    }

    public bool TryGet(AvpKey key, [NotNullWhen(true)] out Avp? avp)
    {
        foreach (var candidate in _avps)
        {
            if (candidate.Key == key)
            {
                avp = candidate;
                return true;
            }
        }

        avp = null;
        return false;
    }

    /// <summary>The AVPs, for going through them without an enumerator.</summary>
    public ReadOnlySpan<Avp> AsSpan() => _avps;

    public bool Contains(AvpKey key) => TryGet(key, out _);

    public IEnumerable<Avp> All(AvpKey key) => _avps.Where(a => a.Key == key);

    public bool TryGetUnsigned32(AvpKey key, out uint value)
    {
        value = 0;
        return TryGet(key, out var avp) && avp.TryReadUnsigned32(out value);
    }

    public bool TryGetUnsigned64(AvpKey key, out ulong value)
    {
        value = 0;
        return TryGet(key, out var avp) && avp.TryReadUnsigned64(out value);
    }

    /// <summary>Integer32 and Enumerated.</summary>
    public bool TryGetInteger32(AvpKey key, out int value)
    {
        value = 0;
        return TryGet(key, out var avp) && avp.TryReadInteger32(out value);
    }

    public bool TryGetAddress(AvpKey key, [NotNullWhen(true)] out IPAddress? value)
    {
        value = null;
        return TryGet(key, out var avp) && avp.TryReadAddress(out value);
    }

    public bool TryGetTime(AvpKey key, out DateTimeOffset value)
    {
        value = default;
        return TryGet(key, out var avp) && avp.TryReadTime(out value);
    }

    public bool TryGetText(AvpKey key, [NotNullWhen(true)] out string? value)
    {
        value = null;
        return TryGet(key, out var avp) && avp.TryReadText(out value);
    }

    public bool TryGetIdentity(AvpKey key, [NotNullWhen(true)] out string? value)
    {
        value = null;
        return TryGet(key, out var avp) && avp.TryReadIdentity(out value);
    }

    public bool TryGetOctets(AvpKey key, out ReadOnlyMemory<byte> value)
    {
        value = TryGet(key, out var avp) ? avp.Data : default;
        return avp is not null;
    }

    public bool TryGetGroup(AvpKey key, [NotNullWhen(true)] out AvpList? members)
    {
        members = null;
        return TryGet(key, out var avp) && avp.TryReadGroup(DiameterLimits.Default, out members, out _);
    }

    public int Write(Span<byte> destination)
    {
        var at = 0;
        foreach (var avp in _avps)
        {
            at += avp.Write(destination[at..]);
        }

        return at;
    }

    public byte[] ToArray()
    {
        var octets = new byte[Length];
        Write(octets);
        return octets;
    }

    public IEnumerator<Avp> GetEnumerator() => ((IEnumerable<Avp>)_avps).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => _avps.GetEnumerator();
}
