namespace Sojourn.Engine.Translation;

/// <summary>What is to become of a packet that was given to <see cref="IpTranslator"/>.</summary>
public enum TranslationVerdict : byte
{
    /// <summary>The destination buffer holds what goes on to the other side; nothing, while a fragment waits for others.</summary>
    Forward,

    /// <summary>The destination buffer holds an ICMP error that goes back to where the packet came from.</summary>
    Answer,

    /// <summary>The packet is for the resolver (TM-R85), as it stands.</summary>
    Resolver,

    Drop,
}

/// <summary>Why a packet does not go on.</summary>
public enum TranslationReason : byte
{
    None,

    /// <summary>R80: the IPv6 destination is no home address.</summary>
    DestinationMissDown,

    /// <summary>R83: the host used an IPv4 address that it was not given.</summary>
    SourceMissUp,

    /// <summary>R81: no virtual IPv4 address is left for a new correspondent.</summary>
    Pool4Empty,

    /// <summary>R82: no NAT64 is known, or too many destinations are in use.</summary>
    Pool6Empty,

    /// <summary>An address of the virtual pool that stands for nobody.</summary>
    DestinationUnassigned,

    /// <summary>Lengths or checksums do not fit.</summary>
    Malformed,

    /// <summary>Multicast, broadcast, loopback or link-local; or from outside an address that is ours.</summary>
    IllegalAddress,

    /// <summary>TTL or hop limit is used up.</summary>
    HopLimit,

    /// <summary>It may not be fragmented and does not fit.</summary>
    TooBig,

    /// <summary>An IPv4 source route, or a routing header with segments left.</summary>
    SourceRoute,

    /// <summary>The other version of ICMP, or of IP, has nothing for it (RFC 7915 4.2, 5.1.1, 5.2).</summary>
    NoEquivalent,

    /// <summary>UDP without a checksum, in fragments (RFC 7915 4.5), or over IPv6.</summary>
    NoChecksum,

    /// <summary>A fragment of an ICMP message that nothing came of: overlapping, too long a whole, or no echo.</summary>
    IcmpFragment,
}

/// <summary>What <see cref="IpTranslator"/> did.</summary>
/// <param name="Length">Octets written to the destination buffer.</param>
/// <param name="Count">Packets in them, back to back.</param>
public readonly record struct TranslationResult(TranslationVerdict Verdict, TranslationReason Reason, int Length, int Count)
{
    /// <summary>The counter to add one to (spec terminal 4.9); null when the packet was translated.</summary>
    public string? Counter => Reason switch
    {
        TranslationReason.None => null,
        TranslationReason.DestinationMissDown => "xlat.dst_miss_down",
        TranslationReason.SourceMissUp => "xlat.src_miss_up",
        TranslationReason.Pool4Empty => "xlat.pool4_empty",
        TranslationReason.Pool6Empty => "xlat.pool6_empty",
        TranslationReason.DestinationUnassigned => "xlat.dst_unassigned",
        TranslationReason.Malformed => "xlat.malformed",
        TranslationReason.IllegalAddress => "xlat.illegal_address",
        TranslationReason.HopLimit => "xlat.hop_limit",
        TranslationReason.TooBig => "xlat.too_big",
        TranslationReason.SourceRoute => "xlat.source_route",
        TranslationReason.NoEquivalent => "xlat.no_equivalent",
        TranslationReason.NoChecksum => "xlat.no_checksum",
        _ => "xlat.icmp_fragment",
    };
}
