using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Text;

namespace Sojourn.Lab.Capture;

/// <summary>A Mobile IPv4 message as the judge reads it (RFC 5944 section 3.3, 3.4; binding messages as in docs/wire-extensions.md section 3).</summary>
public sealed class MobileIpView
{
    private MobileIpView(ReadOnlyMemory<byte> octets) => Octets = octets;

    public ReadOnlyMemory<byte> Octets { get; }

    public byte Type => Octets.Span[0];

    public bool IsRequest => Type == 1;

    public bool IsReply => Type == 3;

    public bool IsBinding => Type == 255 && Octets.Length >= 28 && Octets.Span[1] == 26;

    /// <summary>1 BU, 2 BA, 3 BR, 4 BW; 0 for other messages.</summary>
    public int BindingKind => IsBinding ? Octets.Span[6] : 0;

    public bool IsBindingUpdate => BindingKind == 1;

    public bool IsBindingAcknowledgement => BindingKind == 2;

    /// <summary>Code of a reply, status of an acknowledgement; -1 for other messages.</summary>
    public int Code => IsReply ? Octets.Span[1] : IsBindingAcknowledgement ? Octets.Span[2] : -1;

    /// <summary>Seconds.</summary>
    public ushort Lifetime => IsBinding ? BinaryPrimitives.ReadUInt16BigEndian(Octets.Span[4..]) : Octets.Length >= 4 ? BinaryPrimitives.ReadUInt16BigEndian(Octets.Span[2..]) : (ushort)0;

    public IPAddress HomeAddress => new(Octets.Span.Slice(IsBinding ? 8 : 4, 4));

    /// <summary>Requests and binding messages; null for others.</summary>
    public IPAddress? CareOfAddress => IsRequest || IsBinding ? new IPAddress(Octets.Span.Slice(12, 4)) : null;

    public ulong Identification => BinaryPrimitives.ReadUInt64BigEndian(Octets.Span[(IsReply ? 12 : IsBinding ? 20 : 16)..]);

    public string Name => Type switch
    {
        1 => Lifetime == 0 ? "RRQ (deregistration)" : "RRQ",
        3 => "RRP",
        7 => "Revocation",
        15 => "Revocation Ack",
        255 => BindingKind switch
        {
            1 => "BU",
            2 => "BA",
            3 => "BR",
            4 => "BW",
            _ => "experimental message",
        },
        var type => string.Create(CultureInfo.InvariantCulture, $"Mobile IP type {type}"),
    };

    /// <summary>The NAI extension (131); null when there is none.</summary>
    public string? Nai => Extensions.Where(e => e.Type == 131).Select(e => Encoding.UTF8.GetString(e.Data.Span)).FirstOrDefault();

    /// <summary>True when the last extension ends exactly where the message ends.</summary>
    public bool IsWhole => Type is 7 or 15 || Start + Extensions.Sum(e => e.Data.Length + (IsLong(e.Type) ? 4 : 2)) == Octets.Length;

    private int Start => IsReply ? 20 : IsBinding ? 28 : 24;

    public IEnumerable<(byte Type, ReadOnlyMemory<byte> Data)> Extensions
    {
        get
        {
            for (var at = Start; at + 2 <= Octets.Length;)
            {
                var type = Octets.Span[at];
                var isLong = IsLong(type);
                if (isLong && at + 4 > Octets.Length)
                {
                    yield break;
                }

                var length = isLong ? BinaryPrimitives.ReadUInt16BigEndian(Octets.Span[(at + 2)..]) : Octets.Span[at + 1];
                var start = at + (isLong ? 4 : 2);
                if (start + length > Octets.Length)
                {
                    yield break;
                }

                yield return (type, Octets.Slice(start, length));
                at = start + length;
            }
        }
    }

    /// <summary>36, 38, 40-43 and so on carry a subtype and a 16-bit length (RFC 5944 1.11).</summary>
    private static bool IsLong(byte type) => type is >= 36 and <= 43;

    /// <summary>Null when the datagram is no Mobile IP message of a known shape.</summary>
    public static MobileIpView? Parse(ReadOnlyMemory<byte> data)
    {
        var least = data.Length == 0 ? int.MaxValue : data.Span[0] switch
        {
            1 => 24,
            3 => 20,
            7 or 15 => 12,
            255 => 28,
            _ => int.MaxValue,
        };
        return data.Length < least ? null : new MobileIpView(data);
    }
}
