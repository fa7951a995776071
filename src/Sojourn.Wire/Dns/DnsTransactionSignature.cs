using System.Buffers.Binary;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Dns;

/// <summary>
/// The data of TSIG (RFC 8945 4.2), the last record of a message that is signed with a shared key. The record's name is the key's.
/// <code>
/// | Algorithm Name ... | Time Signed (6) | Fudge (2) | MAC Size (2) | MAC ... | Original ID (2) | Error (2) | Other Len (2) | Other Data ... |
/// </code>
/// </summary>
/// <param name="Seconds">Time Signed: seconds since 1970, 48 bits.</param>
/// <param name="Fudge">Seconds the clocks of both sides may differ.</param>
/// <param name="Original">Identifier of the message when it was signed; a forwarder may have changed the header's.</param>
public sealed record DnsTransactionSignature(DnsName Algorithm, ulong Seconds, ushort Fudge, OctetString Mac, ushort Original, DnsResponseCode Error, OctetString Other) : DnsData
{
    public const ulong LatestSeconds = 0xFFFF_FFFF_FFFF;

    public override int Length => Algorithm.Length + 16 + Mac.Length + Other.Length;

    /// <summary>What of the record is signed behind the message (RFC 8945 4.3.3): everything but the MAC and the original identifier.</summary>
    public byte[] Variables(DnsName key)
    {
        var (name, algorithm) = (key.ToCanonical(), Algorithm.ToCanonical());
        var variables = new byte[name.Length + algorithm.Length + 18 + Other.Length];
        name.CopyTo(variables, 0);
        var at = name.Length;
        BinaryPrimitives.WriteUInt16BigEndian(variables.AsSpan(at), (ushort)DnsClass.Any);
        at += 6;
        algorithm.CopyTo(variables, at);
        at += algorithm.Length;
        at += WriteTimes(variables.AsSpan(at));
        BinaryPrimitives.WriteUInt16BigEndian(variables.AsSpan(at), (ushort)Error);
        BinaryPrimitives.WriteUInt16BigEndian(variables.AsSpan(at + 2), (ushort)Other.Length);
        Other.Span.CopyTo(variables.AsSpan(at + 4));
        return variables;
    }

    internal override void Write(Span<byte> destination)
    {
        var at = Algorithm.Write(destination);
        at += WriteTimes(destination[at..]);
        BinaryPrimitives.WriteUInt16BigEndian(destination[at..], (ushort)Mac.Length);
        Mac.Span.CopyTo(destination[(at + 2)..]);
        at += 2 + Mac.Length;
        BinaryPrimitives.WriteUInt16BigEndian(destination[at..], Original);
        BinaryPrimitives.WriteUInt16BigEndian(destination[(at + 2)..], (ushort)Error);
        BinaryPrimitives.WriteUInt16BigEndian(destination[(at + 4)..], (ushort)Other.Length);
        Other.Span.CopyTo(destination[(at + 6)..]);
    }

    private int WriteTimes(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt16BigEndian(destination, (ushort)(Seconds >> 32));
        BinaryPrimitives.WriteUInt32BigEndian(destination[2..], (uint)Seconds);
        BinaryPrimitives.WriteUInt16BigEndian(destination[6..], Fudge);
        return 8;
    }
}
