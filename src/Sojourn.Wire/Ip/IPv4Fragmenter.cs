using System.Buffers.Binary;

namespace Sojourn.Wire.Ip;

/// <summary>
/// Cuts an IPv4 packet into fragments (RFC 791 3.2), one call per fragment. A packet that is a fragment itself may be
/// cut again. The first fragment keeps all options, later ones those with the copied flag.
/// </summary>
public ref struct IPv4Fragmenter
{
    private readonly IPv4Header _packet;
    private readonly int _mtu;
    private int _sent;

    /// <param name="mtu">Longest fragment in octets; at least header + 8.</param>
    public IPv4Fragmenter(in IPv4Header packet, int mtu)
    {
        _packet = packet;
        _mtu = mtu;
    }

    public readonly bool Finished => _sent >= _packet.Payload.Length && _sent > 0;

    /// <summary>Writes the next fragment and returns its length, 0 when there is none or the MTU cannot hold 8 octets of payload.</summary>
    public int Next(Span<byte> destination)
    {
        if (Finished)
        {
            return 0;
        }

        var headerLength = _sent == 0 ? WriteWholeHeader(destination) : WriteLaterHeader(destination);
        var rest = _packet.Payload.Length - _sent;
        var length = Math.Min(rest, (_mtu - headerLength) & ~7);
        if (rest <= _mtu - headerLength)
        {
            length = rest;
        }

        if (length <= 0)
        {
            return 0;
        }

        var more = length < rest || _packet.MoreFragments;
        var field = ((_packet.FragmentOffset + _sent) / 8) | (more ? IPv4Header.MoreFragmentsFlag : 0)
            | (_packet.DontFragment ? IPv4Header.DontFragmentFlag : 0);
        BinaryPrimitives.WriteUInt16BigEndian(destination[6..], (ushort)field);
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)(headerLength + length));
        IPv4Header.WriteChecksum(destination[..headerLength]);
        _packet.Payload.Slice(_sent, length).CopyTo(destination[headerLength..]);
        _sent += length;
        return headerLength + length;
    }

    private readonly int WriteWholeHeader(Span<byte> destination)
    {
        _packet.Packet[.._packet.HeaderLength].CopyTo(destination);
        return _packet.HeaderLength;
    }

    private readonly int WriteLaterHeader(Span<byte> destination)
    {
        _packet.Packet[..IPv4Header.MinimumLength].CopyTo(destination);
        var at = IPv4Header.MinimumLength;
        var walk = new IPv4OptionWalk(_packet.Options);
        while (walk.MoveNext())
        {
            if ((walk.Type & IPv4OptionType.CopiedFlag) != 0)
            {
                walk.Current.CopyTo(destination[at..]);
                at += walk.Length;
            }
        }

        while (at % 4 != 0)
        {
            destination[at++] = IPv4OptionType.EndOfList;
        }

        destination[0] = (byte)(0x40 | (at / 4));
        return at;
    }
}
