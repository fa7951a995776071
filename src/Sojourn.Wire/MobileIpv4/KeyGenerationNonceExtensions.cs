using System.Buffers.Binary;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>Algorithm identifiers in nonce replies (RFC 3957 4 and the IANA registry it cites).</summary>
public enum AuthenticationAlgorithm : ushort
{
    /// <summary>Keyed MD5 in prefix and suffix mode. Never used here.</summary>
    PrefixSuffixMd5 = 1,

    HmacMd5 = 2,

    HmacSha1 = 3,

    /// <summary>Project value (docs/wire-extensions.md section 2); the registry has none for SHA-256.</summary>
    HmacSha256 = 0x8001,
}

/// <summary>Replay methods in nonce replies (RFC 3957 4).</summary>
public enum ReplayMethod : ushort
{
    Timestamps = 1,
    Nonces = 2,
}

/// <summary>Which mobility association a nonce is for.</summary>
public enum NoncePeer : byte
{
    ForeignAgent,
    HomeAgent,
}

/// <summary>
/// Generalized MN-FA (40) and MN-HA (42) key generation nonce requests, subtype 1 = from AAA (RFC 3957 6.1, 6.3).
/// <code>
/// |     Type      |    Subtype    |            Length             |
/// |                       Mobile Node SPI                         |
/// </code>
/// </summary>
/// <param name="MobileNodeSpi">SPI the mobile node wants the association to have on messages towards itself.</param>
public sealed record KeyGenerationNonceRequestExtension(NoncePeer Peer, uint MobileNodeSpi) : MobileIpExtension
{
    internal const byte FromAaa = 1;

    public override byte Type => Peer == NoncePeer.ForeignAgent ? (byte)40 : (byte)42;

    public override ExtensionFormat Format => ExtensionFormat.Long;

    public override int DataLength => 4;

    protected override byte LongSubtype => FromAaa;

    protected override void WriteData(Span<byte> data) => BinaryPrimitives.WriteUInt32BigEndian(data, MobileNodeSpi);

    internal static bool TryRead(NoncePeer peer, ReadOnlySpan<byte> data, int origin, out MobileIpExtension? extension, out WireError error)
    {
        extension = null;
        if (data.Length != 4)
        {
            error = new WireError("Mobile Node SPI", origin, "a nonce request of subtype 1 has four octets of data", "RFC 3957 6.1");
            return false;
        }

        extension = new KeyGenerationNonceRequestExtension(peer, BinaryPrimitives.ReadUInt32BigEndian(data));
        error = default;
        return true;
    }
}

/// <summary>
/// Generalized MN-FA (41) and MN-HA (43) key generation nonce replies, subtype 1 = from AAA (RFC 3957 6.2, 6.4).
/// <code>
///   41                                            43
/// |  Type   | Subtype |      Length      |      |  Type   | Subtype |      Length      |
/// |              Lifetime                |      |              Lifetime                |
/// |              AAA SPI                 |      |              AAA SPI                 |
/// |              FA SPI                  |      |              HA SPI                  |
/// | Algorithm Id.     | Nonce ...               |   Algorithm Id.   |  Replay Method   |
///                                               |   Nonce ...
/// </code>
/// </summary>
public sealed record KeyGenerationNonceReplyExtension : MobileIpExtension
{
    private readonly OctetString _nonce;

    public required NoncePeer Peer { get; init; }

    /// <summary>Seconds the derived key is good for.</summary>
    public required uint Lifetime { get; init; }

    /// <summary>Association of mobile node and AAAH whose key goes into the derivation.</summary>
    public required uint AaaSpi { get; init; }

    /// <summary>SPI of the new association towards the agent (FA SPI or HA SPI).</summary>
    public required uint AgentSpi { get; init; }

    public required AuthenticationAlgorithm Algorithm { get; init; }

    /// <summary>On the wire for the home agent's association only.</summary>
    public ReplayMethod ReplayMethod { get; init; } = ReplayMethod.Timestamps;

    /// <summary>Random, 16 octets or more (RFC 3957 5).</summary>
    public required OctetString Nonce
    {
        get => _nonce;
        init => _nonce = AtMost(MobileIpv4Limits.ShortExtensionData, value);
    }

    public override byte Type => Peer == NoncePeer.ForeignAgent ? (byte)41 : (byte)43;

    public override ExtensionFormat Format => ExtensionFormat.Long;

    public override int DataLength => FixedLength(Peer) + Nonce.Length;

    protected override byte LongSubtype => KeyGenerationNonceRequestExtension.FromAaa;

    private static int FixedLength(NoncePeer peer) => peer == NoncePeer.ForeignAgent ? 14 : 16;

    protected override void WriteData(Span<byte> data)
    {
        BinaryPrimitives.WriteUInt32BigEndian(data, Lifetime);
        BinaryPrimitives.WriteUInt32BigEndian(data[4..], AaaSpi);
        BinaryPrimitives.WriteUInt32BigEndian(data[8..], AgentSpi);
        BinaryPrimitives.WriteUInt16BigEndian(data[12..], (ushort)Algorithm);
        if (Peer == NoncePeer.HomeAgent)
        {
            BinaryPrimitives.WriteUInt16BigEndian(data[14..], (ushort)ReplayMethod);
        }

        Nonce.Span.CopyTo(data[FixedLength(Peer)..]);
    }

    internal static bool TryRead(NoncePeer peer, ReadOnlySpan<byte> data, int origin, out MobileIpExtension? extension, out WireError error)
    {
        extension = null;
        var fixedLength = FixedLength(peer);
        if (data.Length < fixedLength + 16)
        {
            error = new WireError("Key Generation Nonce", origin, "shorter than its fixed fields and a nonce of 128 bits", "RFC 3957 6.2");
            return false;
        }

        if (data.Length - fixedLength > MobileIpv4Limits.ShortExtensionData)
        {
            error = new WireError("Key Generation Nonce", origin, "longer than the limit for a nonce", "MobileIpv4Limits.ShortExtensionData");
            return false;
        }

        extension = new KeyGenerationNonceReplyExtension
        {
            Peer = peer,
            Lifetime = BinaryPrimitives.ReadUInt32BigEndian(data),
            AaaSpi = BinaryPrimitives.ReadUInt32BigEndian(data[4..]),
            AgentSpi = BinaryPrimitives.ReadUInt32BigEndian(data[8..]),
            Algorithm = (AuthenticationAlgorithm)BinaryPrimitives.ReadUInt16BigEndian(data[12..]),
            ReplayMethod = peer == NoncePeer.HomeAgent ? (ReplayMethod)BinaryPrimitives.ReadUInt16BigEndian(data[14..]) : ReplayMethod.Timestamps,
            Nonce = data[fixedLength..],
        };
        error = default;
        return true;
    }
}
