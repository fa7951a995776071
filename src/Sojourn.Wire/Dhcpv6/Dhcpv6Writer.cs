using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace Sojourn.Wire.Dhcpv6;

/// <summary>
/// Writes messages into a buffer, every octet of what it writes. Options that hold options are opened and closed:
/// <c>var at = writer.Begin(code); … writer.End(at);</c>
/// </summary>
/// <remarks>A buffer that is too short throws <see cref="ArgumentOutOfRangeException"/>: it is our own doing, not a peer's.</remarks>
public ref struct Dhcpv6Writer(Span<byte> destination)
{
    private readonly Span<byte> _destination = destination;

    /// <summary>Octets written.</summary>
    public int Length { get; private set; }

    public readonly ReadOnlySpan<byte> Written => _destination[..Length];

    /// <param name="transactionId">24 bits.</param>
    public void Message(Dhcpv6MessageType type, uint transactionId) => UInt32(((uint)type << 24) | (transactionId & 0xFF_FFFF));

    /// <param name="link">16 octets.</param>
    /// <param name="peer">16 octets.</param>
    public void Relay(Dhcpv6MessageType type, byte hopCount, scoped ReadOnlySpan<byte> link, scoped ReadOnlySpan<byte> peer)
    {
        UInt8((byte)type);
        UInt8(hopCount);
        Bytes(link[..16]);
        Bytes(peer[..16]);
    }

    /// <summary>Opens an option; <see cref="End"/> closes it.</summary>
    public int Begin(Dhcpv6OptionCode code)
    {
        UInt16((ushort)code);
        UInt16(0);
        return Length;
    }

    /// <param name="begun">What <see cref="Begin"/> gave.</param>
    public readonly void End(int begun) => BinaryPrimitives.WriteUInt16BigEndian(_destination[(begun - 2)..], checked((ushort)(Length - begun)));

    public void Option(Dhcpv6OptionCode code, scoped ReadOnlySpan<byte> data)
    {
        var at = Begin(code);
        Bytes(data);
        End(at);
    }

    /// <summary>An option as it was read, known or not.</summary>
    public void Option(scoped in Dhcpv6Option option) => Bytes(option.Octets);

    /// <summary>Opens IA_PD; its IA Prefixes and status follow, then <see cref="End"/>.</summary>
    public int BeginPrefixAssociation(uint iaid, uint t1, uint t2)
    {
        var at = Begin(Dhcpv6OptionCode.PrefixDelegation);
        UInt32(iaid);
        UInt32(t1);
        UInt32(t2);
        return at;
    }

    public void Prefix(in DelegatedPrefix prefix)
    {
        var at = Begin(Dhcpv6OptionCode.Prefix);
        UInt32(prefix.Preferred);
        UInt32(prefix.Valid);
        UInt8((byte)prefix.Prefix.PrefixLength);
        prefix.Prefix.BaseAddress.TryWriteBytes(Take(16), out _);
        End(at);
    }

    /// <param name="text">For a person; ASCII.</param>
    public void Status(Dhcpv6Status status, string text)
    {
        var at = Begin(Dhcpv6OptionCode.StatusCode);
        UInt16((ushort)status);
        Encoding.UTF8.GetBytes(text, Take(Encoding.UTF8.GetByteCount(text)));
        End(at);
    }

    public void UInt8(byte value) => Take(1)[0] = value;

    public void UInt16(ushort value) => BinaryPrimitives.WriteUInt16BigEndian(Take(2), value);

    public void UInt32(uint value) => BinaryPrimitives.WriteUInt32BigEndian(Take(4), value);

    public void Bytes(scoped ReadOnlySpan<byte> value) => value.CopyTo(Take(value.Length));

    private Span<byte> Take(int count)
    {
        var taken = _destination.Slice(Length, count);
        Length += count;
        return taken;
    }
}
