using System.Buffers.Binary;
using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Dns;

/// <summary>What is asked for; in an update the zone (RFC 1035 4.1.2, RFC 2136 2.3).</summary>
public sealed record DnsQuestion(DnsName Name, DnsRecordType Type, DnsClass Class = DnsClass.Internet)
{
    public int Length => Name.Length + 4;

    internal int Write(Span<byte> destination)
    {
        var at = Name.Write(destination);
        BinaryPrimitives.WriteUInt16BigEndian(destination[at..], (ushort)Type);
        BinaryPrimitives.WriteUInt16BigEndian(destination[(at + 2)..], (ushort)Class);
        return at + 4;
    }
}

/// <summary>
/// A resource record (RFC 1035 4.1.3). Names in data are read compressed where RFC 1035 allows that (and in SRV, as RFC 3597 4
/// asks of receivers) and never written so.
/// </summary>
/// <param name="Seconds">Time to live.</param>
public sealed record DnsRecord(DnsName Name, DnsRecordType Type, DnsClass Class, uint Seconds, DnsData Data)
{
    public int Length => Name.Length + 10 + Data.Length;

    internal int Write(Span<byte> destination)
    {
        var at = Name.Write(destination);
        BinaryPrimitives.WriteUInt16BigEndian(destination[at..], (ushort)Type);
        BinaryPrimitives.WriteUInt16BigEndian(destination[(at + 2)..], (ushort)Class);
        BinaryPrimitives.WriteUInt32BigEndian(destination[(at + 4)..], Seconds);
        BinaryPrimitives.WriteUInt16BigEndian(destination[(at + 8)..], (ushort)Data.Length);
        Data.Write(destination[(at + 10)..]);
        return at + 10 + Data.Length;
    }

    internal static bool TryRead(ReadOnlySpan<byte> message, ref int offset, out DnsRecord record, out WireError error)
    {
        record = null!;
        if (!DnsName.TryRead(message, ref offset, compressed: true, out var name, out error))
        {
            return false;
        }

        if (message.Length - offset < 10)
        {
            error = new WireError("Resource Record", offset, "ends before its data", "RFC 1035 4.1.3");
            return false;
        }

        var type = (DnsRecordType)BinaryPrimitives.ReadUInt16BigEndian(message[offset..]);
        var @class = (DnsClass)BinaryPrimitives.ReadUInt16BigEndian(message[(offset + 2)..]);
        var seconds = BinaryPrimitives.ReadUInt32BigEndian(message[(offset + 4)..]);
        var length = BinaryPrimitives.ReadUInt16BigEndian(message[(offset + 8)..]);
        offset += 10;
        if (message.Length - offset < length)
        {
            error = new WireError("RDLENGTH", offset - 2, "more than there is", "RFC 1035 4.1.3");
            return false;
        }

        if (!TryReadData(message[..(offset + length)], offset, type, @class, out var data, out error))
        {
            return false;
        }

        offset += length;
        record = new DnsRecord(name, type, @class, seconds, data);
        return true;
    }

    /// <param name="message">Up to the end of the data, so that nothing reads beyond it while pointers still find earlier names.</param>
    private static bool TryReadData(ReadOnlySpan<byte> message, int offset, DnsRecordType type, DnsClass @class, out DnsData data, out WireError error)
    {
        data = DnsOpaque.Empty;
        error = default;
        var octets = message[offset..];
        switch (type)
        {
            case DnsRecordType.OPT:
                return TryReadOptions(octets, offset, out data, out error);
            case DnsRecordType.TSIG:
                return TryReadSignature(message, offset, out data, out error);
            case var _ when octets.IsEmpty && @class is (DnsClass.Any or DnsClass.None):
                return true;
            case var _ when @class is not (DnsClass.Internet or DnsClass.None):
                // Of another class data may mean something else; with ANY there should be none.
                data = new DnsOpaque(octets);
                return true;
            case DnsRecordType.A or DnsRecordType.AAAA:
                if (octets.Length != (type == DnsRecordType.A ? 4 : 16))
                {
                    error = new WireError("RDLENGTH", offset - 2, "is not that of an address", type == DnsRecordType.A ? "RFC 1035 3.4.1" : "RFC 3596 2.2");
                    return false;
                }

                data = new DnsAddress(new IPAddress(octets));
                return true;
            case DnsRecordType.NS or DnsRecordType.CNAME or DnsRecordType.PTR or DnsRecordType.MB or DnsRecordType.MG or DnsRecordType.MR or DnsRecordType.DNAME:
                {
                    var read = DnsName.TryRead(message, ref offset, compressed: type != DnsRecordType.DNAME, out var target, out error);
                    data = new DnsTarget(target);
                    return read && IsAtEnd(message, offset, out error);
                }

            case DnsRecordType.SOA:
                return TryReadAuthority(message, offset, out data, out error);
            case DnsRecordType.MX when octets.Length > 2:
                {
                    offset += 2;
                    var read = DnsName.TryRead(message, ref offset, compressed: true, out var exchange, out error);
                    data = new DnsMailExchange(BinaryPrimitives.ReadUInt16BigEndian(octets), exchange);
                    return read && IsAtEnd(message, offset, out error);
                }

            case DnsRecordType.SRV when octets.Length > 6:
                {
                    offset += 6;
                    var read = DnsName.TryRead(message, ref offset, compressed: true, out var target, out error);
                    data = new DnsService(BinaryPrimitives.ReadUInt16BigEndian(octets), BinaryPrimitives.ReadUInt16BigEndian(octets[2..]), BinaryPrimitives.ReadUInt16BigEndian(octets[4..]), target);
                    return read && IsAtEnd(message, offset, out error);
                }

            case DnsRecordType.MX or DnsRecordType.SRV:
                error = new WireError("RDLENGTH", offset - 2, "too short for the type", "RFC 1035 3.3.9, RFC 2782");
                return false;
            case DnsRecordType.DHCID:
                if (octets.Length < 3 || (octets[2] == DnsOwnerDigest.Sha256 && octets.Length != 35))
                {
                    error = new WireError("RDLENGTH", offset - 2, "is not that of the digest", "RFC 4701 3.5");
                    return false;
                }

                data = new DnsOwnerDigest(BinaryPrimitives.ReadUInt16BigEndian(octets), octets[2], octets[3..]);
                return true;
            default:
                data = new DnsOpaque(octets);
                return true;
        }
    }

    private static bool IsAtEnd(ReadOnlySpan<byte> message, int offset, out WireError error)
    {
        error = offset == message.Length ? default : new WireError("RDLENGTH", offset, "more data than the type has", "RFC 1035 4.1.3");
        return offset == message.Length;
    }

    private static bool TryReadAuthority(ReadOnlySpan<byte> message, int offset, out DnsData data, out WireError error)
    {
        data = DnsOpaque.Empty;
        if (!DnsName.TryRead(message, ref offset, compressed: true, out var primary, out error) || !DnsName.TryRead(message, ref offset, compressed: true, out var mailbox, out error))
        {
            return false;
        }

        if (message.Length - offset != 20)
        {
            error = new WireError("RDLENGTH", offset, "not five numbers behind the names", "RFC 1035 3.3.13");
            return false;
        }

        var numbers = message[offset..];
        data = new DnsStartOfAuthority(
            primary, mailbox, BinaryPrimitives.ReadUInt32BigEndian(numbers), BinaryPrimitives.ReadUInt32BigEndian(numbers[4..]), BinaryPrimitives.ReadUInt32BigEndian(numbers[8..]),
            BinaryPrimitives.ReadUInt32BigEndian(numbers[12..]), BinaryPrimitives.ReadUInt32BigEndian(numbers[16..]));
        return true;
    }

    private static bool TryReadOptions(ReadOnlySpan<byte> octets, int offset, out DnsData data, out WireError error)
    {
        data = DnsOpaque.Empty;
        error = default;
        var options = new List<DnsExtensionOption>();
        while (!octets.IsEmpty)
        {
            if (octets.Length < 4 || BinaryPrimitives.ReadUInt16BigEndian(octets[2..]) > octets.Length - 4)
            {
                error = new WireError("OPTION-LENGTH", offset, "more than there is", "RFC 6891 6.1.2");
                return false;
            }

            var length = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]);
            options.Add(new DnsExtensionOption(BinaryPrimitives.ReadUInt16BigEndian(octets), octets.Slice(4, length)));
            octets = octets[(4 + length)..];
            offset += 4 + length;
        }

        data = new DnsExtensionOptions(options);
        return true;
    }

    private static bool TryReadSignature(ReadOnlySpan<byte> message, int offset, out DnsData data, out WireError error)
    {
        data = DnsOpaque.Empty;
        if (!DnsName.TryRead(message, ref offset, compressed: false, out var algorithm, out error))
        {
            return false;
        }

        var rest = message[offset..];
        var mac = rest.Length < 16 ? int.MaxValue : BinaryPrimitives.ReadUInt16BigEndian(rest[8..]);
        if (mac > rest.Length - 16)
        {
            error = new WireError("MAC Size", offset + 8, "more than there is", "RFC 8945 4.2");
            return false;
        }

        var tail = rest[(10 + mac)..];
        if (BinaryPrimitives.ReadUInt16BigEndian(tail[4..]) != tail.Length - 6)
        {
            error = new WireError("Other Len", offset + 14 + mac, "is not what is left", "RFC 8945 4.2");
            return false;
        }

        data = new DnsTransactionSignature(
            algorithm, ((ulong)BinaryPrimitives.ReadUInt16BigEndian(rest) << 32) | BinaryPrimitives.ReadUInt32BigEndian(rest[2..]), BinaryPrimitives.ReadUInt16BigEndian(rest[6..]),
            rest.Slice(10, mac), BinaryPrimitives.ReadUInt16BigEndian(tail), (DnsResponseCode)BinaryPrimitives.ReadUInt16BigEndian(tail[2..]), tail[6..]);
        return true;
    }
}
