using System.Buffers.Binary;
using System.Net;

namespace Sojourn.Engine.Dhcpv6;

/// <summary>
/// Prefixes of one length out of a larger one. What was never taken comes first, then what was given back longest ago.
/// Taking and giving back cost the same however large the pool is.
/// </summary>
internal sealed class PrefixPool
{
    private readonly UInt128 _base;
    private readonly UInt128 _mask;
    private readonly int _shift;
    private readonly HashSet<ulong> _taken = [];
    private readonly Queue<ulong> _back = new();
    private ulong _next;

    /// <param name="prefix">What is cut up.</param>
    /// <param name="delegatedLength">Bits of each piece; not less than the prefix has.</param>
    public PrefixPool(IPNetwork prefix, int delegatedLength)
    {
        Prefix = prefix;
        DelegatedLength = delegatedLength;
        _base = Number(prefix.BaseAddress);
        _mask = prefix.PrefixLength == 0 ? 0 : UInt128.MaxValue << (128 - prefix.PrefixLength);
        _shift = 128 - delegatedLength;
        Size = delegatedLength - prefix.PrefixLength >= 63 ? 1UL << 63 : 1UL << (delegatedLength - prefix.PrefixLength);
    }

    public IPNetwork Prefix { get; }

    public int DelegatedLength { get; }

    /// <summary>How many prefixes there are; more than 2^63 count as that many.</summary>
    public ulong Size { get; }

    public ulong Taken => (ulong)_taken.Count;

    public bool HasFree => Taken < Size;

    public bool TryTake(out IPNetwork prefix)
    {
        while (_next < Size)
        {
            if (_taken.Add(_next++))
            {
                prefix = At(_next - 1);
                return true;
            }
        }

        while (_back.TryDequeue(out var index))
        {
            if (_taken.Add(index))
            {
                prefix = At(index);
                return true;
            }
        }

        prefix = default;
        return false;
    }

    /// <summary>Takes a certain prefix; false when it is not of this pool or taken.</summary>
    public bool TryTake(IPNetwork prefix) => Contains(prefix) && _taken.Add(IndexOf(prefix));

    public void GiveBack(IPNetwork prefix)
    {
        var index = IndexOf(prefix);
        if (_taken.Remove(index) && index < _next)
        {
            _back.Enqueue(index);
        }
    }

    public bool Contains(IPNetwork prefix) => prefix.PrefixLength == DelegatedLength && Covers(prefix.BaseAddress);

    public bool Covers(IPAddress address) => (Number(address) & _mask) == _base;

    /// <summary>The prefix of a length that an IPv6 address lies in.</summary>
    public static IPNetwork PieceOf(IPAddress address, int length) =>
        new(Address(length == 0 ? 0 : Number(address) & (UInt128.MaxValue << (128 - length))), length);

    private IPNetwork At(ulong index) => new(Address(_base | ((UInt128)index << _shift)), DelegatedLength);

    private ulong IndexOf(IPNetwork prefix) => (ulong)((Number(prefix.BaseAddress) & ~_mask) >> _shift);

    private static UInt128 Number(IPAddress address)
    {
        Span<byte> octets = stackalloc byte[16];
        return address.TryWriteBytes(octets, out var length) && length == 16 ? BinaryPrimitives.ReadUInt128BigEndian(octets) : 0;
    }

    private static IPAddress Address(UInt128 number)
    {
        Span<byte> octets = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(octets, number);
        return new IPAddress(octets);
    }
}
