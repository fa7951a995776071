using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Ikev2;

/// <summary>An entry of a TS payload.</summary>
public abstract record IkeSelector
{
    internal abstract int Length { get; }

    internal abstract void Write(Span<byte> destination);
}

/// <summary>
/// A range of addresses and of ports or types (RFC 7296 3.13.1, TS types 7 and 8).
/// <code>
/// |   TS Type     |IP Protocol ID |       Selector Length         |
/// |           Start Port          |           End Port            |
/// |                         Starting Address                      |
/// |                         Ending Address                        |
/// </code>
/// For ICMP the type is the high octet of the port, the code the low one; for Mobility Header the type is the high octet
/// (RFC 4301 4.4.1.1, RFC 4877 7.2).
/// </summary>
/// <param name="Protocol">IP protocol; 0 = any.</param>
public sealed record TrafficSelector(byte Protocol, ushort StartPort, ushort EndPort, IPAddress StartAddress, IPAddress EndAddress) : IkeSelector
{
    public const byte IPv4Type = 7, IPv6Type = 8;

    /// <summary>Ports that mean "whatever stands in a field that cannot be seen" (RFC 7296 3.13.1: 65535 to 0).</summary>
    public bool IsOpaque => StartPort == ushort.MaxValue && EndPort == 0;

    public bool IsIPv6 => StartAddress.AddressFamily == AddressFamily.InterNetworkV6;

    internal override int Length => IsIPv6 ? 40 : 16;

    /// <summary>Every packet between the addresses of a prefix.</summary>
    public static TrafficSelector Of(IPNetwork prefix, byte protocol = 0)
    {
        var last = prefix.BaseAddress.GetAddressBytes();
        for (var bit = prefix.PrefixLength; bit < last.Length * 8; bit++)
        {
            last[bit / 8] |= (byte)(0x80 >> (bit % 8));
        }

        return new TrafficSelector(protocol, 0, ushort.MaxValue, prefix.BaseAddress, new IPAddress(last));
    }

    public static TrafficSelector Of(IPAddress address, byte protocol = 0) => new(protocol, 0, ushort.MaxValue, address, address);

    internal override void Write(Span<byte> destination)
    {
        destination[0] = IsIPv6 ? IPv6Type : IPv4Type;
        destination[1] = Protocol;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)Length);
        BinaryPrimitives.WriteUInt16BigEndian(destination[4..], StartPort);
        BinaryPrimitives.WriteUInt16BigEndian(destination[6..], EndPort);
        StartAddress.TryWriteBytes(destination[8..], out var size);
        EndAddress.TryWriteBytes(destination[(8 + size)..], out _);
    }

    internal static TrafficSelector? Read(ReadOnlySpan<byte> octets, int offset, out WireError error)
    {
        var size = octets[0] == IPv6Type ? 16 : 4;
        if (octets.Length != 8 + (2 * size))
        {
            error = new WireError("Selector Length", offset + 2, "is not that of its type", "RFC 7296 3.13.1");
            return null;
        }

        var (start, end) = (BinaryPrimitives.ReadUInt16BigEndian(octets[4..]), BinaryPrimitives.ReadUInt16BigEndian(octets[6..]));
        if (start > end && !(start == ushort.MaxValue && end == 0))
        {
            error = new WireError("Start Port", offset + 4, "is above the end port", "RFC 7296 3.13.1");
            return null;
        }

        var first = octets.Slice(8, size);
        var last = octets.Slice(8 + size, size);
        if (first.SequenceCompareTo(last) > 0)
        {
            error = new WireError("Starting Address", offset + 8, "is above the ending address", "RFC 7296 3.13.1");
            return null;
        }

        error = default;
        return new TrafficSelector(octets[1], start, end, new IPAddress(first), new IPAddress(last));
    }

    public override string ToString()
    {
        var ports = IsOpaque ? "opaque" : StartPort == 0 && EndPort == ushort.MaxValue ? "any" : $"0x{StartPort:x4}-0x{EndPort:x4}";
        return $"{StartAddress}-{EndAddress}[{Protocol}/{ports}]";
    }
}

/// <summary>A selector of a type without a reading here; nothing matches it.</summary>
public sealed record UnknownSelector(byte SelectorType, byte Protocol, OctetString Data) : IkeSelector
{
    internal override int Length => 4 + Data.Length;

    internal override void Write(Span<byte> destination)
    {
        destination[0] = SelectorType;
        destination[1] = Protocol;
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)Length);
        Data.Span.CopyTo(destination[4..]);
    }
}

/// <summary>TSi or TSr payload (RFC 7296 3.13): number of selectors, three reserved octets, selectors.</summary>
public sealed record SelectorsPayload(bool OfInitiator, IReadOnlyList<IkeSelector> Selectors) : IkePayload
{
    public override IkePayloadType Type => OfInitiator ? IkePayloadType.SelectorsInitiator : IkePayloadType.SelectorsResponder;

    public override int BodyLength => 4 + Selectors.Sum(s => s.Length);

    /// <summary>Those that can match a packet.</summary>
    public IEnumerable<TrafficSelector> Traffic => Selectors.OfType<TrafficSelector>();

    protected override void WriteBody(Span<byte> destination)
    {
        destination[0] = (byte)Selectors.Count;
        destination[1..4].Clear();
        var at = 4;
        foreach (var selector in Selectors)
        {
            selector.Write(destination[at..]);
            at += selector.Length;
        }
    }

    internal static SelectorsPayload? Read(IkePayloadType type, ReadOnlySpan<byte> body, int offset, out WireError error)
    {
        if (TooShort(body, 4, offset, "Number of TSs", "RFC 7296 3.13", out error))
        {
            return null;
        }

        var count = body[0];
        if (count is 0 or > Ikev2Limits.Selectors)
        {
            error = new WireError("Number of TSs", offset, count == 0 ? "there is none" : "more than the limit", count == 0 ? "RFC 7296 3.13" : "Ikev2Limits.Selectors");
            return null;
        }

        var selectors = new List<IkeSelector>(count);
        var at = 4;
        for (var i = 0; i < count; i++)
        {
            var rest = body[at..];
            var length = rest.Length < 4 ? 0 : BinaryPrimitives.ReadUInt16BigEndian(rest[2..]);
            if (length < 4 || length > rest.Length)
            {
                error = new WireError("Selector Length", offset + at, "is not within the payload", "RFC 7296 3.13.1");
                return null;
            }

            IkeSelector? selector = rest[0] is TrafficSelector.IPv4Type or TrafficSelector.IPv6Type
                ? TrafficSelector.Read(rest[..length], offset + at, out error)
                : new UnknownSelector(rest[0], rest[1], rest[4..length]);
            if (selector is null)
            {
                return null;
            }

            selectors.Add(selector);
            at += length;
        }

        if (at != body.Length)
        {
            error = new WireError("Number of TSs", offset, "is not what the payload holds", "RFC 7296 3.13");
            return null;
        }

        return new SelectorsPayload(type == IkePayloadType.SelectorsInitiator, selectors);
    }
}
