using System.Collections.Concurrent;
using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.TerminalControl;

public enum HomeTunnelVerdict : byte
{
    /// <summary>The output holds packets to be sent, back to back.</summary>
    Send,

    /// <summary>For the engine: signalling, key exchange, discovery.</summary>
    Control,
    Drop,
}

/// <param name="Offset">Where in the output the first packet begins.</param>
/// <param name="Length">Octets of all of them; 0 with <see cref="HomeTunnelVerdict.Control"/> when the packet came without a tunnel around it.</param>
public readonly record struct HomeTunnelResult(HomeTunnelVerdict Verdict, DropReason Reason, int Offset, int Length)
{
    /// <summary>Tunnels that the packet went through here: headers taken off it and put around it.</summary>
    public int Levels { get; init; }

    /// <summary>The packet for the engine: the one that was given, or what was in the tunnels around it.</summary>
    public ReadOnlySpan<byte> ForEngine(ReadOnlySpan<byte> given, ReadOnlySpan<byte> output) => Length == 0 ? given : output.Slice(Offset, Length);
}

/// <summary>
/// What a home agent does with packets that are not signalling (RFC 6275 10.4, RFC 3963 6.5): those for a home address or a mobile
/// network leave for the care-of address, those a terminal or mobile router has sent home come out, when the outer source is the
/// care-of address of the inner one. Whose care-of address lies in a network that moves itself has one tunnel inside another, up to
/// <see cref="MaximumLevels"/> of them (spec terminal TM-R94, R103): each is looked up, checked and protected by itself. One control
/// thread calls <see cref="Change"/>; packet threads call <see cref="Forward"/> and <see cref="Send"/> at the same time.
/// </summary>
public sealed class HomeTunnel
{
    /// <summary>Headers put around one packet, or taken off it, at most.</summary>
    public const int MaximumLevels = 4;

    public const string ReverseTunnelBad = "ha.reverse_tunnel_bad", ReverseTunnelToAnchorBad = "map.reverse_tunnel_bad", FragmentRefused = "ip6.fragment_refused";

    private const int IcmpUnreachable = 1, AddressUnreachable = 3;

    private readonly PathTable _table;
    private readonly byte[] _address;
    private readonly string _badSource;
    private readonly ConcurrentDictionary<string, long> _refusals = new();
    private readonly Ipv6Reassembler _fragments = new();
    private readonly Lock _fragmentsGate = new();

    /// <param name="badSource">Counter of packets through a tunnel from where its far end is not bound (spec terminal 4.9).</param>
    public HomeTunnel(IPAddress address, int outerMtu, IRandomSource random, string badSource = ReverseTunnelBad)
    {
        _address = address.GetAddressBytes();
        _badSource = badSource;
        _table = new PathTable(new PathTableOptions { OuterMtu = outerMtu, IcmpSourceIPv6 = address }, random);
    }

    /// <summary>Drops by counter name: those of the packet path, and those of spec terminal 4.9.</summary>
    public IReadOnlyDictionary<string, long> Drops
    {
        get
        {
            var drops = new SortedDictionary<string, long>(_table.Drops.ToDictionary(), StringComparer.Ordinal);
            foreach (var (name, count) in _refusals)
            {
                drops[name] = count;
            }

            return drops;
        }
    }

    public PathChangeResult Change(ChangePaths change, DateTimeOffset now) => _table.Change(change.Install, change.Remove, now);

    /// <summary>Tunnels with their counters. Control thread.</summary>
    public IReadOnlyList<PathReport> Report(DateTimeOffset now) => _table.Report(now);

    /// <summary>Octets that the output needs for a packet of this length: what a level makes stands behind what the former one made.</summary>
    public static int OutputFor(int packet) => (MaximumLevels + 1) * ((2 * packet) + (4 * PathTable.MaximumOverhead));

    /// <summary>
    /// Puts fragments to this home agent together (RFC 2473 7.3: whoever cut a tunnel packet sent them here). A packet that is none
    /// comes back as it is; nothing while others are missing. Any thread.
    /// </summary>
    public ReadOnlySpan<byte> Assemble(ReadOnlySpan<byte> packet, DateTimeOffset now)
    {
        if (packet.Length < IPv6Header.Length || packet[6] is not (IpProtocol.Fragment or IpProtocol.HopByHop or IpProtocol.DestinationOptions or IpProtocol.Routing) || !packet[24..40].SequenceEqual(_address))
        {
            return packet;
        }

        byte[] whole;
        ReassemblyOutcome outcome;
        lock (_fragmentsGate)
        {
            outcome = _fragments.Add(packet, now, out whole);
        }

        if (outcome == ReassemblyOutcome.Refused)
        {
            Count(FragmentRefused);
        }

        return outcome == ReassemblyOutcome.NotFragment ? packet : whole;
    }

    private void Count(string counter) => _refusals.AddOrUpdate(counter, 1, static (_, count) => count + 1);

    /// <summary>Takes a packet that was routed to this home agent, whole.</summary>
    public HomeTunnelResult Forward(ReadOnlySpan<byte> packet, Span<byte> output, DateTimeOffset now)
    {
        if (!IPv6Header.TryParse(packet, out var header, out _))
        {
            Count("ip6.malformed");
            return Dropped(DropReason.Malformed);
        }

        if (!header.Destination.SequenceEqual(_address))
        {
            return IsAnycast(header.Destination) ? Control(0, 0) : Encapsulate(header.Packet, output, 0, now);
        }

        var (from, length) = (0, 0);
        for (var level = 0; ; level++)
        {
            var current = header.Packet;
            if (header.NextHeader == IpProtocol.Icmpv6 && current.Length > IPv6Header.Length && current[IPv6Header.Length] == (byte)Icmpv6MessageType.PacketTooBig)
            {
                Count("ip6.too_big_heard");
                _table.OnIcmp(current, now);
                return Dropped(DropReason.None);
            }

            if (!IPv6ExtensionWalk.TryFindUpper(header, out var upper) || !(upper.UpperProtocol is IpProtocol.IPv6 or IpProtocol.IPv4 || (header.NextHeader == IpProtocol.Esp && _table.Knows(current))))
            {
                return Control(from, length) with { Levels = level };
            }

            if (level == MaximumLevels)
            {
                return TooDeep();
            }

            from += length;
            var inbound = _table.Inbound(current, output[from..], now);
            if (inbound.Verdict != InboundVerdict.Deliver)
            {
                if (inbound.Reason.InboundCounter(upper.UpperProtocol == IpProtocol.Esp, _badSource) is { } counter)
                {
                    Count(counter);
                }

                return Dropped(inbound.Reason);
            }

            length = inbound.Length;
            var inner = output.Slice(from, length);
            if (!IPv6Header.TryParse(inner, out header, out _) || !header.Destination.SequenceEqual(_address))
            {
                // From one terminal to another; anything else goes where routing leads.
                var on = _table.HasPath(inner) ? Encapsulate(inner, output, from + length, now) : new HomeTunnelResult(HomeTunnelVerdict.Send, DropReason.None, from, length);
                return on with { Levels = on.Levels + level + 1 };
            }
        }
    }

    /// <summary>Takes a packet of this home agent's own: into the tunnels that lead to its destination, if there are any.</summary>
    public HomeTunnelResult Send(ReadOnlySpan<byte> packet, Span<byte> output, DateTimeOffset now)
    {
        if (_table.HasPath(packet))
        {
            return Encapsulate(packet, output, 0, now);
        }

        packet.CopyTo(output);
        return new HomeTunnelResult(HomeTunnelVerdict.Send, DropReason.None, 0, packet.Length);
    }

    private static HomeTunnelResult Control(int offset, int length) => new(HomeTunnelVerdict.Control, DropReason.None, offset, length);

    /// <summary>What a level would not put its header around.</summary>
    private HomeTunnelResult Unsent(DropReason reason)
    {
        if (reason is DropReason.PathBlocked or DropReason.LifetimeExpired or DropReason.SequenceExhausted)
        {
            Count("ipsec.sa_not_found_out");
        }

        return Dropped(reason);
    }

    private static HomeTunnelResult Dropped(DropReason reason) => new(HomeTunnelVerdict.Drop, reason, 0, 0);

    private HomeTunnelResult TooDeep()
    {
        Count("rx.nest_limit");
        return Dropped(DropReason.None);
    }

    /// <summary>The Home-Agents anycast identifier of a /64 (RFC 2526); the engine knows which prefixes are served.</summary>
    private static bool IsAnycast(ReadOnlySpan<byte> address) => address[8] == 0xFD && address[9..15].IndexOfAnyExcept((byte)0xFF) < 0 && address[15] == 0xFE;

    /// <summary>
    /// Begins anew when a level has found the packets of the one inside it too long: the inner tunnel then knows its path MTU, as from a
    /// router on the way, and can say so to the packet's source or fragment (RFC 2473 7.1).
    /// </summary>
    private HomeTunnelResult Encapsulate(ReadOnlySpan<byte> packet, Span<byte> output, int at, DateTimeOffset now)
    {
        HomeTunnelResult result;
        for (var attempt = 1; !TryEncapsulate(packet, output, at, now, out result) && attempt < MaximumLevels; attempt++)
        {
        }

        return result;
    }

    /// <param name="at">Where the output is free from.</param>
    /// <returns>False: a path MTU was learned, and the packet is to be taken once more.</returns>
    private bool TryEncapsulate(ReadOnlySpan<byte> packet, Span<byte> output, int at, DateTimeOffset now, out HomeTunnelResult result)
    {
        var first = _table.Outbound(packet, output[at..], now);
        if (first.Verdict is not (OutboundVerdict.Send or OutboundVerdict.ReplyIcmp))
        {
            result = first.Verdict == OutboundVerdict.NoPath ? Unreachable(packet, output, at, now) : Unsent(first.Reason);
            return true;
        }

        // An answer to the packet's source may have to go into a tunnel too.
        var (from, length, level) = (at + first.Offset, first.Length, 1);
        for (; _table.HasPath(output.Slice(from, length)); level++)
        {
            if (level == MaximumLevels)
            {
                result = TooDeep();
                return true;
            }

            var (next, end) = (from + length, from + length);
            foreach (var one in new PacketSequence(output.Slice(from, length)))
            {
                var outer = _table.Outbound(one, output[end..], now);
                if (outer.Verdict != OutboundVerdict.Send)
                {
                    result = Unsent(outer.Reason);
                    return outer.Verdict != OutboundVerdict.ReplyIcmp || _table.OnIcmp(output.Slice(end + outer.Offset, outer.Length), now) != IcmpOutcome.Learned;
                }

                output.Slice(end + outer.Offset, outer.Length).CopyTo(output[end..]);
                end += outer.Length;
            }

            (from, length) = (next, end - next);
        }

        result = new HomeTunnelResult(HomeTunnelVerdict.Send, first.Reason, from, length) { Levels = first.Verdict == OutboundVerdict.Send ? level : level - 1 };
        return true;
    }

    /// <summary>A home address nobody has registered: its owner is away, or there is none (RFC 4443 3.1).</summary>
    private HomeTunnelResult Unreachable(ReadOnlySpan<byte> packet, Span<byte> output, int at, DateTimeOffset now)
    {
        var length = IpPacket.TryParse(packet, out var offending, out _) && IcmpError.MayAnswer(offending) && _table.MayAnswer(now)
            ? IcmpError.Write(offending, _address, IcmpUnreachable, AddressUnreachable, 0, output[at..])
            : 0;
        return length > 0 ? new HomeTunnelResult(HomeTunnelVerdict.Send, DropReason.NoPath, at, length) : Dropped(DropReason.NoPath);
    }
}
