using System.Buffers.Binary;
using System.Net;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Wire.Icmpv6;

/// <summary>
/// Home agent address discovery request (RFC 6275 6.5), to <see cref="AnycastAddress"/>; R: for a mobile router (RFC 3963 4.5).
/// <code>
/// |          Identifier           |R|         Reserved            |
/// </code>
/// </summary>
public sealed record HomeAgentAddressDiscoveryRequest(ushort Identifier) : Icmpv6Message
{
    public bool MobileRouter { get; init; }

    public override Icmpv6MessageType Type => Icmpv6MessageType.HomeAgentAddressDiscoveryRequest;

    protected override int BodyLength => 4;

    protected override void WriteBody(Span<byte> body)
    {
        BinaryPrimitives.WriteUInt16BigEndian(body, Identifier);
        body[2] = (byte)(MobileRouter ? 0x80 : 0);
    }

    /// <summary>
    /// Mobile IPv6 Home-Agents anycast address of a prefix: anycast identifier 126 (RFC 2526). Interface identifiers of
    /// 64 bits have the universal/local bit clear: fdff:ffff:ffff:fffe; other lengths are all ones before the seven bits.
    /// </summary>
    public static IPAddress AnycastAddress(IPNetwork prefix)
    {
        Span<byte> octets = stackalloc byte[IPv6Octets.Size];
        IPv6Octets.Write(octets, prefix.BaseAddress);
        for (var i = 0; i < octets.Length; i++)
        {
            octets[i] |= (byte)(0xFF >> Math.Clamp(prefix.PrefixLength - (i * 8), 0, 8));
        }

        octets[15] = (byte)((octets[15] & 0x80) | 0x7E);
        if (prefix.PrefixLength == 64)
        {
            octets[8] = 0xFD;
        }

        return new IPAddress(octets);
    }
}

/// <summary>Home agent address discovery reply (RFC 6275 6.6): home agents, the most preferred first.</summary>
public sealed record HomeAgentAddressDiscoveryReply : Icmpv6Message
{
    /// <exception cref="ArgumentException">More addresses than a reply holds.</exception>
    public HomeAgentAddressDiscoveryReply(ushort identifier, params IReadOnlyList<IPAddress> homeAgents)
    {
        Identifier = identifier;
        HomeAgents = homeAgents.Count <= Icmpv6Limits.HomeAgents ? [.. homeAgents.Select(IPv6Octets.Require)] : throw new ArgumentException("too many home agents for one reply", nameof(homeAgents));
    }

    public ushort Identifier { get; }

    public IReadOnlyList<IPAddress> HomeAgents { get; }

    public bool MobileRouter { get; init; }

    public override Icmpv6MessageType Type => Icmpv6MessageType.HomeAgentAddressDiscoveryReply;

    protected override int BodyLength => 4 + (HomeAgents.Count * IPv6Octets.Size);

    protected override void WriteBody(Span<byte> body)
    {
        BinaryPrimitives.WriteUInt16BigEndian(body, Identifier);
        body[2] = (byte)(MobileRouter ? 0x80 : 0);
        for (var i = 0; i < HomeAgents.Count; i++)
        {
            IPv6Octets.Write(body[(4 + (i * IPv6Octets.Size))..], HomeAgents[i]);
        }
    }

    public bool Equals(HomeAgentAddressDiscoveryReply? other) =>
        other is not null && Code == other.Code && Identifier == other.Identifier && MobileRouter == other.MobileRouter && HomeAgents.SequenceEqual(other.HomeAgents);

    public override int GetHashCode() => HashCode.Combine(Identifier, HomeAgents.Count);
}

/// <summary>Mobile prefix solicitation (RFC 6275 6.7): what prefixes has the home link?</summary>
public sealed record MobilePrefixSolicitation(ushort Identifier) : Icmpv6MessageWithOptions
{
    public override Icmpv6MessageType Type => Icmpv6MessageType.MobilePrefixSolicitation;

    protected override int FixedLength => 4;

    protected override void WriteFixed(Span<byte> body) => BinaryPrimitives.WriteUInt16BigEndian(body, Identifier);
}

[Flags]
public enum MobilePrefixAdvertisementFlags : byte
{
    None = 0,
    Managed = 0x80,
    OtherConfiguration = 0x40,
}

/// <summary>Mobile prefix advertisement (RFC 6275 6.8): prefix information options of the home link.</summary>
/// <param name="Identifier">That of the solicitation; of no meaning in an unsolicited one.</param>
public sealed record MobilePrefixAdvertisement(ushort Identifier, MobilePrefixAdvertisementFlags Flags) : Icmpv6MessageWithOptions
{
    public override Icmpv6MessageType Type => Icmpv6MessageType.MobilePrefixAdvertisement;

    protected override int FixedLength => 4;

    protected override void WriteFixed(Span<byte> body)
    {
        BinaryPrimitives.WriteUInt16BigEndian(body, Identifier);
        body[2] = (byte)Flags;
    }
}
