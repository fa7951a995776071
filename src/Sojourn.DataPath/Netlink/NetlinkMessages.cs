using System.Net;
using System.Runtime.InteropServices;
using System.Text;

namespace Sojourn.DataPath.Netlink;

/// <summary>Builds one netlink message: nlmsghdr, a family header, attributes (linux/netlink.h). Host byte order.</summary>
internal sealed class NetlinkRequest
{
    /// <summary>Family number of the IPsec databases (NETLINK_XFRM).</summary>
    public const int Xfrm = 6;

    /// <summary>Family number of packet filters and marks (NETLINK_NETFILTER).</summary>
    public const int Netfilter = 12;

    public const ushort Acknowledge = 0x4, Dump = 0x300, Replace = 0x100, Exclusive = 0x200, Create = 0x400, Append = 0x800;
    private const int HeaderLength = 16;
    private const ushort Request = 0x1, Nested = 0x8000;

    private byte[] _buffer = new byte[512];
    private int _length = HeaderLength;

    public NetlinkRequest(ushort type, ushort flags)
    {
        Put(4, type);
        Put(6, (ushort)(flags | Request));
    }

    /// <summary>The kernel answers it also when all is well.</summary>
    public void AskForAcknowledgement() => Put(6, (ushort)(MemoryMarshal.Read<ushort>(_buffer.AsSpan(6)) | Acknowledge));

    /// <summary>The finished message under a sequence number.</summary>
    public ReadOnlySpan<byte> Finish(uint sequence)
    {
        Put(0, (uint)_length);
        Put(8, sequence);
        return _buffer.AsSpan(0, _length);
    }

    /// <summary>Room for a fixed header, zero filled; valid until the next call.</summary>
    public Span<byte> Header(int size)
    {
        Reserve(size);
        var span = _buffer.AsSpan(_length, size);
        _length += Align(size);
        return span;
    }

    public NetlinkRequest Attribute(ushort type, ReadOnlySpan<byte> value)
    {
        Reserve(4 + value.Length);
        Put(_length, (ushort)(4 + value.Length));
        Put(_length + 2, type);
        value.CopyTo(_buffer.AsSpan(_length + 4));
        _length += Align(4 + value.Length);
        return this;
    }

    public NetlinkRequest Attribute<T>(ushort type, T value)
        where T : unmanaged
    {
        var copy = value;
        return Attribute(type, MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(ref copy, 1)));
    }

    public NetlinkRequest Attribute(ushort type, string value) => Attribute(type, (ReadOnlySpan<byte>)Encoding.UTF8.GetBytes(value + '\0'));

    public NetlinkRequest Attribute(ushort type, IPAddress value) => Attribute(type, (ReadOnlySpan<byte>)value.GetAddressBytes());

    /// <summary>Opens a nested attribute; hand the result to <see cref="End"/>.</summary>
    public int Begin(ushort type)
    {
        var at = _length;
        Attribute((ushort)(type | Nested), []);
        return at;
    }

    public void End(int at) => Put(at, (ushort)(_length - at));

    private void Put<T>(int at, T value)
        where T : unmanaged => MemoryMarshal.Write(_buffer.AsSpan(at), value);

    private void Reserve(int size)
    {
        if (_length + Align(size) > _buffer.Length)
        {
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + Align(size)));
        }
    }

    private static int Align(int length) => (length + 3) & ~3;
}

/// <summary>Walks attributes. A length that does not fit ends the walk.</summary>
internal ref struct AttributeReader(ReadOnlySpan<byte> data)
{
    private ReadOnlySpan<byte> _rest = data;

    public ushort Type { get; private set; }

    public ReadOnlySpan<byte> Value { get; private set; }

    public bool Next()
    {
        if (_rest.Length < 4)
        {
            return false;
        }

        int length = MemoryMarshal.Read<ushort>(_rest);
        if (length < 4 || length > _rest.Length)
        {
            return false;
        }

        Type = (ushort)(MemoryMarshal.Read<ushort>(_rest[2..]) & 0x3FFF);
        Value = _rest[4..length];
        _rest = _rest[Math.Min(_rest.Length, (length + 3) & ~3)..];
        return true;
    }

    public readonly uint UInt32 => Value.Length >= 4 ? MemoryMarshal.Read<uint>(Value) : 0;

    public readonly int Int32 => (int)UInt32;

    public readonly string Text => Encoding.UTF8.GetString(Value.TrimEnd((byte)0));

    public readonly IPAddress? Address => Value.Length is 4 or 16 ? new IPAddress(Value) : null;
}
