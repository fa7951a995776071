using System.Buffers.Binary;

namespace Sojourn.Wire.Ip;

/// <summary>
/// Walks the extension headers of an IPv6 packet (RFC 8200 4). Each step yields one header; when the walk ends without
/// <see cref="Error"/>, <see cref="UpperProtocol"/> and <see cref="UpperOffset"/> name the first header that is not an
/// extension header. ESP and AH count as upper: what follows is theirs. The walk ends at a fragment that is not the
/// first, whose octets are not a header (RFC 8200 4.5).
/// </summary>
public ref struct IPv6ExtensionWalk
{
    /// <summary>More extension headers than this in one packet are refused: no sane sender makes them.</summary>
    public const int MaximumHeaders = 16;

    private readonly ReadOnlySpan<byte> _packet;
    private int _count;

    public IPv6ExtensionWalk(in IPv6Header header)
    {
        _packet = header.Packet;
        UpperProtocol = header.NextHeader;
        UpperOffset = IPv6Header.Length;
    }

    /// <summary>Type of the current extension header.</summary>
    public byte Type { get; private set; }

    /// <summary>Octets from the start of the packet to the current extension header.</summary>
    public int Offset { get; private set; }

    public int HeaderLength { get; private set; }

    /// <summary>The next header not yet walked; after the walk the upper-layer protocol.</summary>
    public byte UpperProtocol { get; private set; }

    public int UpperOffset { get; private set; }

    /// <summary>Offset of the octet that names <see cref="UpperProtocol"/>.</summary>
    public int NextHeaderField { get; private set; } = 6;

    public bool IsFragment { get; private set; }

    /// <summary>True past a fragment header with an offset: the octets at <see cref="UpperOffset"/> are the middle of something.</summary>
    public bool IsLaterFragment { get; private set; }

    public WireError? Error { get; private set; }

    public readonly ReadOnlySpan<byte> Current => _packet.Slice(Offset, HeaderLength);

    public bool MoveNext()
    {
        if (IsLaterFragment || Error is not null
            || UpperProtocol is not (IpProtocol.HopByHop or IpProtocol.Routing or IpProtocol.DestinationOptions or IpProtocol.Fragment))
        {
            return false;
        }

        var at = UpperOffset;
        if (++_count > MaximumHeaders)
        {
            Error = new WireError("Next Header", NextHeaderField, "too many extension headers", "RFC 8200 4");
            return false;
        }

        if (at + 8 > _packet.Length)
        {
            Error = new WireError("Extension Header", at, "cut off", "RFC 8200 4");
            return false;
        }

        if (UpperProtocol == IpProtocol.HopByHop && at != IPv6Header.Length)
        {
            Error = new WireError("Next Header", NextHeaderField, "hop-by-hop options not in first place", "RFC 8200 4.1");
            return false;
        }

        var length = UpperProtocol == IpProtocol.Fragment ? 8 : (_packet[at + 1] + 1) * 8;
        if (at + length > _packet.Length)
        {
            Error = new WireError("Hdr Ext Len", at + 1, "longer than the packet", "RFC 8200 4");
            return false;
        }

        Type = UpperProtocol;
        Offset = at;
        HeaderLength = length;
        if (Type == IpProtocol.Fragment)
        {
            var field = BinaryPrimitives.ReadUInt16BigEndian(_packet[(at + 2)..]);
            IsFragment = (field & 0xFFF9) != 0;
            IsLaterFragment = (field & 0xFFF8) != 0;
        }

        UpperProtocol = _packet[at];
        NextHeaderField = at;
        UpperOffset = at + length;
        return true;
    }

    /// <summary>Walks to the end. False when the chain is malformed.</summary>
    public static bool TryFindUpper(in IPv6Header header, out IPv6ExtensionWalk end)
    {
        end = new IPv6ExtensionWalk(header);
        while (end.MoveNext())
        {
        }

        return end.Error is null;
    }
}
