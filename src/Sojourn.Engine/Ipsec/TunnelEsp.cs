// Readings:
// - Selectors are those of the user's packet, not of a mobile tunnel's header between ESP and it (spec terminal L7, L8 ); so
//   whoever opens a packet strips that header first and asks then whether the association covers what is left (steps 125, 131, 128, 126).
// - The outer addresses are given with each packet: they follow the care-of address, and the association stays (RFC 4877 4.6, K bit).
// - Of several child SAs that cover a packet, the one with the narrower selectors sends, and of equal ones the youngest: home tests
//   have an association of their own beside the one for all data (spec terminal SP2, SP4), and after a rekeying both stand for a while.
using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Ipsec;

/// <summary>ESP in tunnel mode between a terminal and its home agent (RFC 4303, RFC 4877 4.4): child SAs by association number, as <see cref="TransportEsp"/> has them. For one thread.</summary>
public sealed class TunnelEsp(IRandomSource random, ICipherProvider? ciphers = null) : IDisposable
{
    private const byte OuterHopLimit = 64;

    private readonly ICipherProvider _ciphers = ciphers ?? NativeCiphers.Instance;
    private readonly Dictionary<long, Pair> _byChild = [];
    private readonly Dictionary<uint, Pair> _bySpi = [];

    private sealed record Pair(long Association, ChildSa Child, SecurityAssociation Inbound, SecurityAssociation Outbound)
    {
        public bool IsNarrow => Child.LocalSelectors.All(s => s.Protocol != 0);
    }

    public IEnumerable<ChildSa> Children => _byChild.Values.Select(p => p.Child);

    /// <summary>What went under each.</summary>
    public IEnumerable<ChildSaUse> Uses => _byChild.Values.Select(p => new ChildSaUse(p.Child, p.Inbound.Packets, p.Outbound.Packets));

    public bool Has(long association) => _byChild.Values.Any(p => p.Association == association);

    /// <summary>Installs a child SA; one that is there already stays as it is, whatever its outer addresses are now.</summary>
    /// <returns>False for what this cannot carry: transport mode, or ESP in UDP.</returns>
    public bool Install(ChildSa child, long association)
    {
        if (child.Mode != ChildMode.Tunnel || child.Udp is not null || !child.LocalSelectors.Concat(child.RemoteSelectors).All(s => s.IsIPv6))
        {
            return false;
        }

        if (!_byChild.ContainsKey(child.Id))
        {
            var pair = new Pair(association, child, Make(child.Inbound, outbound: false), Make(child.Outbound, outbound: true));
            _byChild.Add(child.Id, pair);
            _bySpi[child.Inbound.Spi] = pair;
        }

        return true;
    }

    /// <summary>Takes a child SA out. The association number it stood under, null when it was not here.</summary>
    public long? Remove(long childSa)
    {
        if (!_byChild.Remove(childSa, out var pair))
        {
            return null;
        }

        if (_bySpi.GetValueOrDefault(pair.Child.Inbound.Spi) == pair)
        {
            _bySpi.Remove(pair.Child.Inbound.Spi);
        }

        pair.Inbound.Close();
        pair.Outbound.Close();
        return pair.Association;
    }

    public bool Knows(uint spi) => _bySpi.ContainsKey(spi);

    /// <summary>Whether a child SA of the association covers what a user sends.</summary>
    public bool Carries(long association, ReadOnlySpan<byte> user) => _byChild.Count > 0 && Find(association, user) is not null;

    /// <summary>Whether an opened packet's child SA covers what it carried for the user.</summary>
    public bool Covers(long childSa, ReadOnlySpan<byte> user) => _byChild.TryGetValue(childSa, out var pair) && Traffic.TryRead(user, out var traffic) && traffic.Fits(pair.Child.RemoteSelectors, pair.Child.LocalSelectors);

    /// <summary>The longest user's packet whose protected form has no more than <paramref name="mtu"/> octets; null where no child SA covers it.</summary>
    public int? LongestWithin(long association, ReadOnlySpan<byte> user, bool mobileHeader, int mtu) =>
        Find(association, user) is { } pair ? EspEnvelope.PayloadWithin(pair.Outbound.Cipher!, mtu - IPv6Header.Length) - (mobileHeader ? IPv6Header.Length : 0) : null;

    /// <summary>Puts a user's packet into ESP in tunnel mode (L10), with the mobile tunnel's own header inside when asked for (L8).</summary>
    /// <returns><see cref="DropReason.NoPath"/> when no child SA of the association covers it.</returns>
    public DropReason TryProtect(long association, ReadOnlySpan<byte> user, IPAddress source, IPAddress destination, bool mobileHeader, DateTimeOffset now, out byte[] wire)
    {
        wire = [];
        if (Find(association, user) is not { } pair)
        {
            return DropReason.NoPath;
        }

        var payload = mobileHeader ? Ipv6Tunnel.Encapsulate(user, source, destination, OuterHopLimit) : user.ToArray();
        var made = new byte[IPv6Header.Length + EspEnvelope.LengthOf(pair.Outbound.Cipher!, payload.Length)];
        if (made.Length - IPv6Header.Length > ushort.MaxValue)
        {
            return DropReason.TooBig;
        }

        Ipv6Tunnel.WriteHeader(made, user, made.Length - IPv6Header.Length, IpProtocol.Esp, source, destination, OuterHopLimit);
        var refused = EspEnvelope.TrySeal(pair.Outbound, payload, IpProtocol.IPv6, random, now, made.AsSpan(IPv6Header.Length));
        if (refused == DropReason.None)
        {
            wire = made;
        }

        return refused;
    }

    /// <summary>Takes ESP and the outer header off.</summary>
    /// <param name="esp">From the SPI on.</param>
    public DropReason TryOpen(ReadOnlySpan<byte> esp, DateTimeOffset now, out OpenedPacket opened)
    {
        opened = default;
        if (!EspHeader.TryParse(esp, out var named, out _))
        {
            return DropReason.Malformed;
        }

        if (!_bySpi.TryGetValue(named.Spi, out var pair))
        {
            return DropReason.UnknownSpi;
        }

        if (EspEnvelope.TryOpen(pair.Inbound, esp, now, out var packet, out var nextHeader) is var refused and not DropReason.None)
        {
            return refused;
        }

        if (nextHeader != IpProtocol.IPv6 || !IPv6Header.TryParse(packet, out var header, out _))
        {
            return DropReason.InnerMalformed;
        }

        opened = new OpenedPacket(pair.Association, pair.Child.Id, header.Packet.ToArray());
        return DropReason.None;
    }

    public void Dispose()
    {
        foreach (var child in _byChild.Keys.ToList())
        {
            Remove(child);
        }
    }

    private Pair? Find(long association, ReadOnlySpan<byte> user)
    {
        if (!Traffic.TryRead(user, out var traffic))
        {
            return null;
        }

        Pair? found = null;
        foreach (var pair in _byChild.Values)
        {
            if (pair.Association == association && traffic.Fits(pair.Child.LocalSelectors, pair.Child.RemoteSelectors) && (found is null || pair.IsNarrow || !found.IsNarrow))
            {
                found = pair;
            }
        }

        return found;
    }

    private SecurityAssociation Make(SaParameters parameters, bool outbound) => new(
        new AssociationKey(SecurityType.Esp, parameters.Spi, true, AddressNumber.Of(parameters.Source), AddressNumber.Of(parameters.Destination)),
        parameters, outbound, KeyFingerprint.Of(parameters), 0, null, _ciphers);

    /// <summary>What selectors look at (RFC 4301 4.4.1.1).</summary>
    private readonly record struct Traffic(IPAddress Source, IPAddress Destination, byte Protocol, int SourcePort, int DestinationPort)
    {
        private const int Opaque = -1;

        public static bool TryRead(ReadOnlySpan<byte> packet, out Traffic traffic)
        {
            traffic = default;
            if (!IPv6Header.TryParse(packet, out var header, out _) || !IPv6ExtensionWalk.TryFindUpper(header, out var upper))
            {
                return false;
            }

            var payload = header.Packet[upper.UpperOffset..];
            var (source, destination) = upper.IsLaterFragment ? (Opaque, Opaque) : upper.UpperProtocol switch
            {
                IpProtocol.Mobility when payload.Length > 2 => (payload[2] << 8, payload[2] << 8),
                IpProtocol.Icmpv6 when payload.Length > 1 => (BinaryPrimitives.ReadUInt16BigEndian(payload), BinaryPrimitives.ReadUInt16BigEndian(payload)),
                IpProtocol.Tcp or IpProtocol.Udp when payload.Length > 3 => (BinaryPrimitives.ReadUInt16BigEndian(payload), BinaryPrimitives.ReadUInt16BigEndian(payload[2..])),
                _ => (Opaque, Opaque),
            };
            traffic = new Traffic(header.SourceAddress, header.DestinationAddress, upper.UpperProtocol, source, destination);
            return true;
        }

        /// <param name="senders">Selectors of the side the packet comes from. A type of Mobility Header or ICMPv6 is compared there alone (RFC 4877 4.3).</param>
        public bool Fits(IReadOnlyList<TrafficSelector> senders, IReadOnlyList<TrafficSelector> receivers)
        {
            var traffic = this;
            var typed = Protocol is IpProtocol.Mobility or IpProtocol.Icmpv6;
            return senders.Any(s => Holds(s, traffic.Source, traffic.Protocol, traffic.SourcePort)) && receivers.Any(s => Holds(s, traffic.Destination, traffic.Protocol, typed ? null : traffic.DestinationPort));
        }

        private static bool Holds(TrafficSelector selector, IPAddress address, byte protocol, int? port)
        {
            var (number, first, last) = (AddressNumber.Of(address), AddressNumber.Of(selector.StartAddress), AddressNumber.Of(selector.EndAddress));
            return number >= first && number <= last && (selector.Protocol == 0
                || (selector.Protocol == protocol && (port is null || (selector.StartPort == 0 && selector.EndPort == ushort.MaxValue) || (port >= selector.StartPort && port <= selector.EndPort))));
        }
    }
}
