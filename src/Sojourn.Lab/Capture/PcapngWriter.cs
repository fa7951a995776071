using System.Buffers.Binary;
using System.Text;

namespace Sojourn.Lab.Capture;

/// <summary>Direction of a packet as its interface sees it (epb_flags bits 0-1).</summary>
public enum PacketDirection : byte
{
    Unknown = 0,
    Inbound = 1,
    Outbound = 2,
}

/// <summary>
/// Writes a pcapng capture (IETF draft-ietf-opsawg-pcapng): a section header, one interface description per end with
/// its name and nanosecond resolution, and enhanced packet blocks with direction and comment. Little endian.
/// </summary>
public sealed class PcapngWriter : IDisposable
{
    private const uint SectionHeader = 0x0A0D0D0A, InterfaceDescription = 1, EnhancedPacket = 6;
    private const ushort EndOfOptions = 0, Comment = 1, Application = 4, InterfaceName = 2, TimestampResolution = 9, PacketFlags = 2;
    private const ushort LinkTypeEthernet = 1;

    private readonly Stream _stream;
    private readonly MemoryStream _block = new();

    /// <param name="stream">Written to and closed by this writer.</param>
    /// <param name="interfaces">Names, numbered from 0.</param>
    /// <param name="description">Comment of the section; null = none.</param>
    public PcapngWriter(Stream stream, IReadOnlyList<string> interfaces, string? description = null)
    {
        _stream = new BufferedStream(stream, 1 << 20);
        Begin(SectionHeader);
        UInt32(0x1A2B3C4D);
        UInt16(1);
        UInt16(0);
        UInt64(ulong.MaxValue);
        if (description is not null)
        {
            Option(Comment, Encoding.UTF8.GetBytes(description));
        }

        Option(Application, "sojourn lab"u8);
        Option(EndOfOptions, []);
        End();
        foreach (var name in interfaces)
        {
            Begin(InterfaceDescription);
            UInt16(LinkTypeEthernet);
            UInt16(0);
            UInt32(0);
            Option(InterfaceName, Encoding.UTF8.GetBytes(name));
            Option(TimestampResolution, [9]);
            Option(EndOfOptions, []);
            End();
        }
    }

    /// <param name="interface">Number of the interface.</param>
    /// <param name="time">Nanoseconds since 1970.</param>
    /// <param name="data">Frame from its Ethernet header on.</param>
    /// <param name="direction">As that interface sees it.</param>
    /// <param name="comment">Free text; null = none.</param>
    public void Write(int @interface, long time, ReadOnlySpan<byte> data, PacketDirection direction, string? comment = null)
    {
        Begin(EnhancedPacket);
        UInt32((uint)@interface);
        UInt32((uint)((ulong)time >> 32));
        UInt32((uint)time);
        UInt32((uint)data.Length);
        UInt32((uint)data.Length);
        _block.Write(data);
        Pad();
        Span<byte> flags = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(flags, (uint)direction);
        Option(PacketFlags, flags);
        if (comment is not null)
        {
            Option(Comment, Encoding.UTF8.GetBytes(comment));
        }

        Option(EndOfOptions, []);
        End();
    }

    public void Flush() => _stream.Flush();

    public void Dispose() => _stream.Dispose();

    private void Begin(uint type)
    {
        _block.SetLength(0);
        UInt32(type);
        UInt32(0);
    }

    /// <summary>Total length stands before and after the body, so that files can be read backwards.</summary>
    private void End()
    {
        var length = (uint)_block.Length + 4;
        UInt32(length);
        var block = _block.GetBuffer().AsSpan(0, (int)_block.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(block[4..], length);
        _stream.Write(block);
    }

    private void Option(ushort code, ReadOnlySpan<byte> value)
    {
        UInt16(code);
        UInt16((ushort)value.Length);
        _block.Write(value);
        Pad();
    }

    private void Pad()
    {
        while (_block.Length % 4 != 0)
        {
            _block.WriteByte(0);
        }
    }

    private void UInt16(ushort value)
    {
        Span<byte> octets = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(octets, value);
        _block.Write(octets);
    }

    private void UInt32(uint value)
    {
        Span<byte> octets = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(octets, value);
        _block.Write(octets);
    }

    private void UInt64(ulong value)
    {
        Span<byte> octets = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(octets, value);
        _block.Write(octets);
    }
}
