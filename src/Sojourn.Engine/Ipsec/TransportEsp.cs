// Readings:
// - ESP goes behind every extension header that is already there (RFC 4303 3.1.1; RFC 6275 11.3.2 and 6.4 want routing header and
//   Home Address option before it), and what an opened packet carries behind ESP is handed on as it is.
// - Selectors are compared after Home Address option and routing header have taken their places (spec R71 before R72), so an
//   association belongs to a home address wherever its owner is. The destination of a packet must be that of the association,
//   before or after the routing header was processed.
// - Types of Mobility Header and ICMPv6 stand on the sender's side of the selectors (RFC 4301 4.4.1.1, RFC 4877 4.3); the other
//   side has to name the protocol only.
// - Of several child SAs whose selectors fit, the youngest sends: after a rekeying both stand for a while (RFC 7296 2.8).
using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Ipsec;

/// <summary>
/// ESP in transport mode for signalling over IPv6 (RFC 4303 3.1.1, RFC 4877): the associations of child SAs, what may go under
/// them, and the packets themselves. An association number, chosen by whoever installs, stands for all child SAs of one home
/// address with one peer; engines name it and never see a key. For one thread.
/// </summary>
public sealed class TransportEsp(IRandomSource random, ICipherProvider? ciphers = null) : IDisposable
{
    /// <summary>Octets a packet grows by at most: header, IV, padding, trailer, ICV.</summary>
    public const int MaximumOverhead = EspHeader.Length + 16 + 15 + EspTrailer.FixedLength + 16;

    private readonly ICipherProvider _ciphers = ciphers ?? NativeCiphers.Instance;
    private readonly Dictionary<long, Pair> _byChild = [];
    private readonly Dictionary<uint, Pair> _bySpi = [];
    private readonly Dictionary<long, List<Pair>> _byAssociation = [];

    /// <summary>The two directions of one child SA.</summary>
    private sealed record Pair(long Association, ChildSa Child, SecurityAssociation Inbound, SecurityAssociation Outbound);

    /// <summary>Child SAs in use.</summary>
    public IEnumerable<ChildSa> Children => _byChild.Values.Select(p => p.Child);

    /// <summary>What went under each.</summary>
    public IEnumerable<ChildSaUse> Uses => _byChild.Values.Select(p => new ChildSaUse(p.Child, p.Inbound.Packets, p.Outbound.Packets));

    /// <summary>Whether anything stands under this number.</summary>
    public bool Has(long association) => _byAssociation.ContainsKey(association);

    /// <summary>Installs a child SA under an association number; one that is there already (<see cref="ChildSaMoved"/>) stays as it is, its addresses being those of the selectors.</summary>
    /// <returns>False for what this cannot carry: tunnel mode, ESP in UDP, or selectors without one address on either side.</returns>
    public bool Install(ChildSa child, long association)
    {
        if (child.Mode != ChildMode.Transport || child.Udp is not null || !IsOneIPv6Address(child.LocalSelectors) || !IsOneIPv6Address(child.RemoteSelectors))
        {
            return false;
        }

        if (_byChild.ContainsKey(child.Id))
        {
            return true;
        }

        var pair = new Pair(association, child, Make(child.Inbound, outbound: false), Make(child.Outbound, outbound: true));
        _byChild.Add(child.Id, pair);
        _bySpi[child.Inbound.Spi] = pair;
        if (!_byAssociation.TryGetValue(association, out var pairs))
        {
            _byAssociation.Add(association, pairs = []);
        }

        pairs.Add(pair);
        return true;
    }

    /// <summary>Takes a child SA out. The association number it stood under, null when it was not here.</summary>
    public long? Remove(long childSa)
    {
        if (!_byChild.Remove(childSa, out var pair))
        {
            return null;
        }

        if (_bySpi.TryGetValue(pair.Child.Inbound.Spi, out var current) && current == pair)
        {
            _bySpi.Remove(pair.Child.Inbound.Spi);
        }

        var pairs = _byAssociation[pair.Association];
        pairs.Remove(pair);
        if (pairs.Count == 0)
        {
            _byAssociation.Remove(pair.Association);
        }

        pair.Inbound.Close();
        pair.Outbound.Close();
        return pair.Association;
    }

    /// <summary>Takes out all child SAs of an association number.</summary>
    public void RemoveAll(long association)
    {
        foreach (var pair in _byAssociation.TryGetValue(association, out var pairs) ? pairs.ToList() : [])
        {
            Remove(pair.Child.Id);
        }
    }

    /// <summary>Puts ESP into a packet that is complete and in clear (spec R75, R76).</summary>
    /// <returns><see cref="DropReason.NoPath"/> when no child SA of the association lets such a packet out.</returns>
    public DropReason TryProtect(long association, ReadOnlySpan<byte> packet, DateTimeOffset now, out byte[] wire)
    {
        wire = [];
        if (!TryRead(packet, out var layout, out var mobile))
        {
            return DropReason.Malformed;
        }

        if (!_byAssociation.TryGetValue(association, out var pairs) || pairs.FindLast(p => Fits(p.Child.LocalSelectors, p.Child.RemoteSelectors, mobile)) is not { } pair)
        {
            return DropReason.NoPath;
        }

        var payload = packet[layout.Upper..layout.Length];
        var at = layout.Upper;
        var length = at + EspEnvelope.LengthOf(pair.Outbound.Cipher!, payload.Length);
        if (length - IPv6Header.Length > ushort.MaxValue)
        {
            return DropReason.TooBig;
        }

        var made = new byte[length];
        packet[..at].CopyTo(made);
        BinaryPrimitives.WriteUInt16BigEndian(made.AsSpan(4), (ushort)(length - IPv6Header.Length));
        made[layout.NextHeaderField] = IpProtocol.Esp;
        var refused = EspEnvelope.TrySeal(pair.Outbound, payload, layout.Protocol, random, now, made.AsSpan(at));
        if (refused == DropReason.None)
        {
            wire = made;
        }

        return refused;
    }

    /// <summary>Takes ESP off a packet that was reassembled (spec R71 to R73): the packet as it was before, and what it came under.</summary>
    public DropReason TryOpen(ReadOnlySpan<byte> wire, DateTimeOffset now, out OpenedPacket opened)
    {
        opened = default;
        if (!TryRead(wire, out var layout, out var outer) || layout.Protocol != IpProtocol.Esp)
        {
            return DropReason.Malformed;
        }

        var at = layout.Upper;
        var esp = wire[at..layout.Length];
        if (!EspHeader.TryParse(esp, out var named, out _))
        {
            return DropReason.Malformed;
        }

        // R72: by protocol, SPI and destination address.
        if (!_bySpi.TryGetValue(named.Spi, out var pair) || !(pair.Child.Inbound.Destination.Equals(outer.EffectiveDestination) || pair.Child.Inbound.Destination.Equals(outer.Destination)))
        {
            return DropReason.UnknownSpi;
        }

        if (EspEnvelope.TryOpen(pair.Inbound, esp, now, out var payload, out var nextHeader) is var refused and not DropReason.None)
        {
            return refused;
        }

        var packet = new byte[at + payload.Length];
        wire[..at].CopyTo(packet);
        payload.CopyTo(packet.AsSpan(at));
        packet[layout.NextHeaderField] = nextHeader;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(4), (ushort)(packet.Length - IPv6Header.Length));
        if (!TryRead(packet, out _, out var clear))
        {
            return DropReason.InnerMalformed;
        }

        if (!Fits(pair.Child.RemoteSelectors, pair.Child.LocalSelectors, clear))
        {
            return DropReason.SelectorMismatch;
        }

        opened = new OpenedPacket(pair.Association, pair.Child.Id, packet);
        return DropReason.None;
    }

    public void Dispose()
    {
        foreach (var child in _byChild.Keys.ToList())
        {
            Remove(child);
        }
    }

    private SecurityAssociation Make(SaParameters parameters, bool outbound) => new(
        new AssociationKey(SecurityType.Esp, parameters.Spi, true, AddressNumber.Of(parameters.Source), AddressNumber.Of(parameters.Destination)),
        parameters, outbound, KeyFingerprint.Of(parameters), 0, null, _ciphers);

    private static bool IsOneIPv6Address(IReadOnlyList<TrafficSelector> selectors) =>
        selectors.Count > 0 && selectors.All(s => s.IsIPv6 && s.StartAddress.Equals(s.EndAddress) && s.StartAddress.Equals(selectors[0].StartAddress));

    /// <summary>Where the upper layer of a packet begins, and how long the packet is.</summary>
    private readonly record struct Layout(int Upper, int NextHeaderField, byte Protocol, int Length);

    private static bool TryRead(ReadOnlySpan<byte> octets, out Layout layout, out MobileIpv6Packet packet)
    {
        (layout, packet) = (default, null!);
        if (!IPv6Header.TryParse(octets, out var header, out _) || !IPv6ExtensionWalk.TryFindUpper(header, out var upper) || !MobileIpv6Packet.TryParse(octets, out var read, out _))
        {
            return false;
        }

        (layout, packet) = (new Layout(upper.UpperOffset, upper.NextHeaderField, upper.UpperProtocol, header.Packet.Length), read);
        return true;
    }

    /// <param name="senders">Selectors of the side the packet comes from.</param>
    private static bool Fits(IReadOnlyList<TrafficSelector> senders, IReadOnlyList<TrafficSelector> receivers, MobileIpv6Packet packet)
    {
        var (source, destination) = Ports(packet);
        return senders.Any(s => Holds(s, packet.EffectiveSource, packet.Protocol, source)) && receivers.Any(s => Holds(s, packet.EffectiveDestination, packet.Protocol, destination));
    }

    /// <summary>What stands for ports on the sender's and on the receiver's side; null = nothing to compare.</summary>
    private static (int? Sender, int? Receiver) Ports(MobileIpv6Packet packet)
    {
        var payload = packet.Payload.Span;
        return packet.Protocol switch
        {
            IpProtocol.Mobility => (payload.Length > 2 ? payload[2] << 8 : -1, null),
            IpProtocol.Icmpv6 => (payload.Length > 1 ? BinaryPrimitives.ReadUInt16BigEndian(payload) : -1, null),
            IpProtocol.Tcp or IpProtocol.Udp => payload.Length > 3 ? (BinaryPrimitives.ReadUInt16BigEndian(payload), BinaryPrimitives.ReadUInt16BigEndian(payload[2..])) : (-1, -1),
            _ => (-1, -1),
        };
    }

    private static bool Holds(TrafficSelector selector, IPAddress address, byte protocol, int? port)
    {
        if (!selector.StartAddress.Equals(address) || (selector.Protocol != 0 && selector.Protocol != protocol))
        {
            return false;
        }

        return port is null || selector.Protocol == 0 || (selector.StartPort == 0 && selector.EndPort == ushort.MaxValue) || (port >= selector.StartPort && port <= selector.EndPort);
    }
}

/// <summary>A child SA and how many packets went under it.</summary>
public readonly record struct ChildSaUse(ChildSa Child, ulong PacketsIn, ulong PacketsOut);

/// <summary>A packet without its ESP.</summary>
/// <param name="Association">Number its child SA was installed under.</param>
public readonly record struct OpenedPacket(long Association, long ChildSa, byte[] Packet);
