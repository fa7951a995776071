// Readings:
// - AH stands directly before ESP, behind the routing header (spec terminal L4), and covers the packet as its final receiver has it: a type 2
//   routing header has been processed, so home and care-of address have changed places and no segment is left (RFC 6275 6.4, RFC 4302
//   3.3.3.1.2). Packets with a Home Address option do not come here; it would change places with the source (RFC 6275 11.3.2).
// - Keys are typed in and neither end remembers numbers over a restart (decision 0005), so there is no window against replay: the ESP
//   inside has one.
using System.Buffers.Binary;
using System.Net;
using System.Security.Cryptography;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Ipsec;

/// <summary>AH in transport mode (RFC 4302 3.1.1) around ESP, with preset pairs of associations, one for each peer (spec terminal S2, TM-S3). For one thread.</summary>
public sealed class TransportAh : IDisposable
{
    private readonly Dictionary<IPAddress, SecurityAssociation> _outbound = [];
    private readonly Dictionary<uint, SecurityAssociation> _inbound = [];

    /// <param name="presets">Pairs whose suites authenticate only.</param>
    public TransportAh(IEnumerable<ChildSa> presets, ICipherProvider? ciphers = null)
    {
        foreach (var preset in presets)
        {
            _outbound.Add(preset.Outbound.Destination, Make(preset.Outbound, outbound: true));
            _inbound.Add(preset.Inbound.Spi, Make(preset.Inbound, outbound: false));
        }

        SecurityAssociation Make(SaParameters parameters, bool outbound) => new(
            new AssociationKey(SecurityType.Ah, parameters.Spi, true, AddressNumber.Of(parameters.Source), AddressNumber.Of(parameters.Destination)),
            parameters, outbound, KeyFingerprint.Of(parameters), 0, null, ciphers ?? PlatformCiphers.Instance);
    }

    /// <summary>Whether what goes to a peer, or comes from it, has to have this header.</summary>
    public bool Covers(IPAddress peer) => _outbound.ContainsKey(peer);

    /// <summary>Puts AH before the ESP of a packet that is complete otherwise.</summary>
    /// <param name="peer">Whom <see cref="Covers"/> names.</param>
    public DropReason TryProtect(IPAddress peer, ReadOnlySpan<byte> packet, DateTimeOffset now, out byte[] wire)
    {
        wire = [];
        if (!_outbound.TryGetValue(peer, out var association))
        {
            return DropReason.NoPath;
        }

        if (!IPv6Header.TryParse(packet, out var header, out _) || !IPv6ExtensionWalk.TryFindUpper(header, out var upper))
        {
            return DropReason.Malformed;
        }

        if (association.TryNext(now, out var sequence) is var refused and not DropReason.None)
        {
            return refused;
        }

        var authenticator = association.Authenticator!;
        var length = AhFormat.HeaderLength(authenticator, isIPv6: true, roundTo8: true);
        var (at, made) = (upper.UpperOffset, new byte[packet.Length + length]);
        packet[..at].CopyTo(made);
        packet[at..].CopyTo(made.AsSpan(at + length));
        made[upper.NextHeaderField] = IpProtocol.Ah;
        BinaryPrimitives.WriteUInt16BigEndian(made.AsSpan(4), (ushort)(made.Length - IPv6Header.Length));
        AhHeader.Write(made.AsSpan(at), upper.UpperProtocol, length, association.Parameters.Spi, (uint)sequence);
        Span<byte> icv = stackalloc byte[authenticator.IvLength + authenticator.TagLength];
        if (authenticator.IvLength > 0)
        {
            BinaryPrimitives.WriteUInt64BigEndian(icv, sequence);
        }

        if (!TryCompute(authenticator, made, at, icv[..authenticator.IvLength], icv[authenticator.IvLength..]))
        {
            return DropReason.Malformed;
        }

        icv.CopyTo(made.AsSpan(at + AhHeader.FixedLength));
        association.Use(packet.Length, now);
        wire = made;
        return DropReason.None;
    }

    /// <summary>Checks AH and takes it off.</summary>
    /// <param name="packet">As it was without it.</param>
    public DropReason TryOpen(ReadOnlySpan<byte> wire, DateTimeOffset now, out byte[] packet)
    {
        packet = [];
        if (!IPv6Header.TryParse(wire, out var header, out _) || !IPv6ExtensionWalk.TryFindUpper(header, out var upper) || upper.UpperProtocol != IpProtocol.Ah
            || !MobileIpv6Packet.TryParse(wire, out var read, out _) || !AhHeader.TryParse(header.Packet[upper.UpperOffset..], out var ah, out _))
        {
            return DropReason.Malformed;
        }

        if (!_inbound.TryGetValue(ah.Spi, out var association) || !association.Parameters.Destination.Equals(read.EffectiveDestination) || !association.Parameters.Source.Equals(read.EffectiveSource))
        {
            return DropReason.UnknownSpi;
        }

        var authenticator = association.Authenticator!;
        if (ah.HeaderLength != AhFormat.HeaderLength(authenticator, isIPv6: true, roundTo8: true))
        {
            return DropReason.Malformed;
        }

        Span<byte> tag = stackalloc byte[authenticator.TagLength];
        if (!TryCompute(authenticator, header.Packet, upper.UpperOffset, ah.IcvAndPadding[..authenticator.IvLength], tag)
            || !CryptographicOperations.FixedTimeEquals(tag, ah.IcvAndPadding.Slice(authenticator.IvLength, authenticator.TagLength)))
        {
            return DropReason.BadIcv;
        }

        association.Use(ah.Payload.Length, now);
        packet = new byte[header.Packet.Length - ah.HeaderLength];
        header.Packet[..upper.UpperOffset].CopyTo(packet);
        ah.Payload.CopyTo(packet.AsSpan(upper.UpperOffset));
        packet[upper.NextHeaderField] = ah.NextHeader;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(4), (ushort)(packet.Length - IPv6Header.Length));
        return DropReason.None;
    }

    public void Dispose()
    {
        foreach (var association in _outbound.Values.Concat(_inbound.Values))
        {
            association.Dispose();
        }
    }

    /// <param name="at">Where AH stands.</param>
    private static bool TryCompute(IPacketAuthenticator authenticator, ReadOnlySpan<byte> packet, int at, ReadOnlySpan<byte> iv, Span<byte> tag)
    {
        var covered = packet.ToArray();
        covered.AsSpan(at + AhHeader.FixedLength, authenticator.IvLength + authenticator.TagLength).Clear();
        if (!IPv6Header.TryParse(packet, out var header, out _))
        {
            return false;
        }

        var walk = new IPv6ExtensionWalk(header);
        while (walk.MoveNext())
        {
            var extension = covered.AsSpan(walk.Offset, walk.HeaderLength);
            if (walk.Type == IpProtocol.Routing && extension is [_, _, 2, 1, ..] && extension.Length == MobileIpv6Packet.HomeAddressHeaderLength)
            {
                extension[3] = 0;
                Swap(covered.AsSpan(24, IPv6Octets.Size), extension[8..]);
            }
        }

        if (!MutableFields.ClearIPv6(covered, at))
        {
            return false;
        }

        authenticator.Compute(covered, iv, tag);
        return true;
    }

    private static void Swap(Span<byte> one, Span<byte> other)
    {
        Span<byte> kept = stackalloc byte[IPv6Octets.Size];
        one[..IPv6Octets.Size].CopyTo(kept);
        other[..IPv6Octets.Size].CopyTo(one);
        kept.CopyTo(other);
    }
}
