using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Net;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>A router in a router advertisement and its preference as default router (RFC 1256 3).</summary>
/// <param name="More">Octets beyond the eight of RFC 1256, when the entry size announces them.</param>
public readonly record struct AdvertisedRouter(IPAddress Address, int Preference, OctetString More = default);

/// <summary>
/// ICMP router advertisement (RFC 1256 3), which with a mobility agent extension is an agent advertisement
/// (RFC 5944 2.1). Reading checks the ICMP checksum, writing fills it in.
/// <code>
/// |    Type 9     |     Code      |           Checksum            |
/// |   Num Addrs   |Addr Entry Size|           Lifetime            |
/// |                       Router Address[i]                       |
/// |                      Preference Level[i]                      |
/// |  Extensions ...
/// </code>
/// </summary>
public sealed record AgentAdvertisement
{
    public const byte IcmpType = 9;

    /// <summary>Code of an agent that does not route common traffic.</summary>
    public const byte NoCommonTraffic = 16;

    private readonly AdvertisedRouter[] _routers = [];

    public byte Code { get; init; }

    /// <summary>Seconds the advertisement holds without another one; not the registration lifetime.</summary>
    public required ushort Lifetime { get; init; }

    public IReadOnlyList<AdvertisedRouter> Routers
    {
        get => _routers;
        init
        {
            _routers = [.. value];
            if (_routers.Length > byte.MaxValue || _routers.Any(r => r.More.Length % 4 != 0 || r.More.Length != _routers[0].More.Length || r.More.Length > 1012))
            {
                throw new ArgumentException("at most 255 routers, entries of one size in whole words", nameof(value));
            }

            foreach (var router in _routers)
            {
                AddressOctets.Require(router.Address);
            }
        }
    }

    public MobileIpExtensions Extensions { get; init; } = MobileIpExtensions.None;

    /// <summary>Null in the advertisement of an ordinary router.</summary>
    public MobilityAgentExtension? Mobility => Extensions.Find<MobilityAgentExtension>();

    /// <summary>Null when the agent asks for no challenge.</summary>
    public OctetString? Challenge => Extensions.Find<AdvertisedChallengeExtension>()?.Challenge;

    /// <summary>Router entry in 32-bit words; kept when there is no router to tell it.</summary>
    private byte EmptyEntrySize { get; init; } = 2;

    private int EntryLength => _routers.Length == 0 ? 0 : 8 + _routers[0].More.Length;

    public int Length => 8 + (EntryLength * _routers.Length) + Extensions.Length;

    /// <summary>The prefix of the link by router <paramref name="index"/>, when the advertisement tells its length.</summary>
    public IPNetwork? PrefixOf(int index)
    {
        if (Extensions.Find<PrefixLengthsExtension>() is not { } prefixes || index >= prefixes.PrefixLengths.Length || index >= _routers.Length)
        {
            return null;
        }

        int length = prefixes.PrefixLengths.Span[index];
        Span<byte> octets = stackalloc byte[4];
        AddressOctets.Write(octets, _routers[index].Address);
        var network = length == 0 ? 0 : BinaryPrimitives.ReadUInt32BigEndian(octets) & (uint.MaxValue << (32 - length));
        BinaryPrimitives.WriteUInt32BigEndian(octets, network);
        return new IPNetwork(new IPAddress(octets), length);
    }

    public int Write(Span<byte> destination)
    {
        var message = destination[..Length];
        message[0] = IcmpType;
        message[1] = Code;
        BinaryPrimitives.WriteUInt16BigEndian(message[2..], 0);
        message[4] = (byte)_routers.Length;
        message[5] = _routers.Length == 0 ? EmptyEntrySize : (byte)(EntryLength / 4);
        BinaryPrimitives.WriteUInt16BigEndian(message[6..], Lifetime);
        var at = 8;
        foreach (var router in _routers)
        {
            AddressOctets.Write(message[at..], router.Address);
            BinaryPrimitives.WriteInt32BigEndian(message[(at + 4)..], router.Preference);
            router.More.Span.CopyTo(message[(at + 8)..]);
            at += EntryLength;
        }

        Extensions.Write(message[at..]);
        BinaryPrimitives.WriteUInt16BigEndian(message[2..], IcmpChecksum.Compute(message));
        return message.Length;
    }

    public byte[] ToArray()
    {
        var octets = new byte[Length];
        Write(octets);
        return octets;
    }

    public static bool TryParse(ReadOnlySpan<byte> octets, [NotNullWhen(true)] out AgentAdvertisement? advertisement, out WireError error)
    {
        advertisement = null;
        if (!IcmpChecksum.TryCheck(octets, IcmpType, "RFC 1256 3", out error))
        {
            return false;
        }

        int count = octets[4];
        var entry = octets[5] * 4;
        if (count > 0 && entry < 8)
        {
            error = new WireError("Addr Entry Size", 5, "is less than two words", "RFC 1256 6");
            return false;
        }

        if (octets.Length - 8 < count * entry)
        {
            error = new WireError("Num Addrs", 4, "more routers than the message holds", "RFC 1256 6");
            return false;
        }

        if (octets.Length > MobileIpv4Limits.MessageLength)
        {
            error = new WireError("Extensions", MobileIpv4Limits.MessageLength, "message is longer than the limit", "MobileIpv4Limits.MessageLength");
            return false;
        }

        var routers = new AdvertisedRouter[count];
        for (var i = 0; i < count; i++)
        {
            var at = octets.Slice(8 + (i * entry), entry);
            routers[i] = new AdvertisedRouter(AddressOctets.Read(at), BinaryPrimitives.ReadInt32BigEndian(at[4..]), at[8..]);
        }

        var origin = 8 + (count * entry);
        if (!MobileIpExtensions.TryParse(octets[origin..], origin, ExtensionSpace.RouterDiscovery, out var extensions, out error))
        {
            return false;
        }

        advertisement = new AgentAdvertisement
        {
            Code = octets[1],
            Lifetime = BinaryPrimitives.ReadUInt16BigEndian(octets[6..]),
            Routers = routers,
            EmptyEntrySize = octets[5],
            Extensions = extensions,
        };
        return true;
    }

    public bool Equals(AgentAdvertisement? other) => other is not null && Code == other.Code && Lifetime == other.Lifetime
        && _routers.AsSpan().SequenceEqual(other._routers) && Extensions.Equals(other.Extensions);

    public override int GetHashCode() => HashCode.Combine(Code, Lifetime, _routers.Length, Extensions);
}

/// <summary>
/// ICMP router solicitation (RFC 1256 3), sent with time to live 1 as agent solicitation (RFC 5944 2.2).
/// <code>
/// |    Type 10    |    Code 0     |           Checksum            |
/// |                           Reserved                            |
/// </code>
/// </summary>
public sealed record AgentSolicitation
{
    public const byte IcmpType = 10;

    public const int WireLength = 8;

    /// <summary>Sent as zero, ignored on reception.</summary>
    public uint Reserved { get; init; }

    public int Length => WireLength;

    public int Write(Span<byte> destination)
    {
        var message = destination[..WireLength];
        message.Clear();
        message[0] = IcmpType;
        BinaryPrimitives.WriteUInt32BigEndian(message[4..], Reserved);
        BinaryPrimitives.WriteUInt16BigEndian(message[2..], IcmpChecksum.Compute(message));
        return WireLength;
    }

    public byte[] ToArray()
    {
        var octets = new byte[WireLength];
        Write(octets);
        return octets;
    }

    public static bool TryParse(ReadOnlySpan<byte> octets, [NotNullWhen(true)] out AgentSolicitation? solicitation, out WireError error)
    {
        solicitation = null;
        if (!IcmpChecksum.TryCheck(octets, IcmpType, "RFC 1256 3", out error))
        {
            return false;
        }

        if (octets[1] != 0)
        {
            error = new WireError("Code", 1, "is not 0", "RFC 1256 5.1");
            return false;
        }

        solicitation = new AgentSolicitation { Reserved = BinaryPrimitives.ReadUInt32BigEndian(octets[4..]) };
        return true;
    }
}

/// <summary>The checks that both router discovery messages share.</summary>
internal static class IcmpChecksum
{
    /// <summary>One's complement of the one's complement sum of 16-bit words (RFC 792, RFC 1071).</summary>
    public static ushort Compute(ReadOnlySpan<byte> message)
    {
        uint sum = 0;
        while (message.Length >= 2)
        {
            sum += BinaryPrimitives.ReadUInt16BigEndian(message);
            message = message[2..];
        }

        if (message.Length == 1)
        {
            sum += (uint)message[0] << 8;
        }

        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)~sum;
    }

    public static bool TryCheck(ReadOnlySpan<byte> octets, byte type, string clause, out WireError error)
    {
        error = octets.Length < 8 ? new WireError("ICMP", octets.Length, "shorter than eight octets", clause)
            : octets[0] != type ? new WireError("Type", 0, "another ICMP type", clause)
            : Compute(octets) != 0 ? new WireError("Checksum", 2, "is wrong", "RFC 792")
            : default;
        return error == default;
    }
}
