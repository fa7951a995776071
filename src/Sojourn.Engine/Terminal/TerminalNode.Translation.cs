// Readings:
// - The own entry of table 230 lives as long as the binding that was acknowledged; where it has run out, applications are not heard until
//   the next acknowledgement, which gives them the same address.
// - What the translator says to the network (an ICMP error about a packet that came down) leaves like an application's packet.
using System.Net;
using Sojourn.Engine.Translation;
using Sojourn.Wire.Ip;

namespace Sojourn.Engine.Terminal;

/// <summary>IPv4 applications: part 23 translates behind Mobile IPv6 on receive and before it on send (spec terminal 4.6, R90).</summary>
public sealed partial class TerminalNode
{
    private const int ShortestAssumed = 1280;

    private readonly TranslationTable _translations;
    private readonly IpTranslator _translator;
    private readonly NameResolver _resolver;
    private byte[] _translated = [];

    /// <summary>Table 230.</summary>
    public TranslationTable Translations => _translations;

    private IPAddress? BindVirtual(IPAddress home, DateTimeOffset expires, DateTimeOffset now) => _translations.TryBindOwn(home, expires, now, out var address) ? address : null;

    /// <summary>A packet of an IPv4 application (R82, R83).</summary>
    private void TranslateUp(ReadOnlyMemory<byte> packet, int segmentSize)
    {
        if (_tables.HostVirtual is null)
        {
            _out.Count("terminal.host.not_ipv6");
            return;
        }

        var longest = LongestUsersPacket();
        if (segmentSize > 0)
        {
            // One that may be cut on its way, or does not fit anyhow, is a matter of its packets.
            if (!IPv4Header.TryParse(packet.Span, out var ip, out _) || !ip.DontFragment
                || Segmentation.LongestOf(packet.Span, segmentSize) + IPv6Header.Length - IPv4Header.MinimumLength > longest)
            {
                foreach (var segment in Segmentation.Cut(packet, segmentSize))
                {
                    TranslateUp(segment, 0);
                }

                return;
            }

            longest = int.MaxValue;
        }

        var result = _translator.Up(packet.Span, longest, _now, Room(packet.Length));
        Take(result, packet, toHost: result.Verdict == TranslationVerdict.Answer, segmentSize);
    }

    /// <summary>A packet for the home address of a host that has a virtual IPv4 address (R80, R81).</summary>
    private void TranslateDown(ReadOnlyMemory<byte> packet, int segmentSize)
    {
        if (segmentSize > 0 && Segmentation.LongestOf(packet.Span, segmentSize) - IPv6Header.Length + IPv4Header.MinimumLength > _options.HostMtu)
        {
            foreach (var segment in Segmentation.Cut(packet, segmentSize))
            {
                TranslateDown(segment, 0);
            }

            return;
        }

        var result = _translator.Down(packet.Span, segmentSize > 0 ? ushort.MaxValue : _options.HostMtu, _now, Room(packet.Length));
        Take(result, packet, toHost: result.Verdict == TranslationVerdict.Forward, segmentSize);
    }

    private Span<byte> Room(int length)
    {
        var room = IpTranslator.RoomFor(length);
        if (_translated.Length < room)
        {
            _translated = new byte[room];
        }

        return _translated;
    }

    private void Take(TranslationResult result, ReadOnlyMemory<byte> packet, bool toHost, int segmentSize)
    {
        if (result.Counter is { } counter)
        {
            _out.Count(counter);
        }

        if (result.Verdict == TranslationVerdict.Resolver)
        {
            Tell(_resolver, new ResolverPacketReceived(packet));
            return;
        }

        if (result.Verdict is not (TranslationVerdict.Forward or TranslationVerdict.Answer))
        {
            return;
        }

        if (result.Length == 0)
        {
            _out.Count("xlat.fragment");
        }

        var carried = result.Verdict == TranslationVerdict.Forward ? segmentSize : 0;
        for (var rest = _translated.AsSpan(0, result.Length); rest.Length > 0 && IpPacket.LengthOf(rest) is var length and > 0; rest = rest[length..])
        {
            var made = rest[..length].ToArray();
            if (toHost)
            {
                _out.Emit(new DeliverToHost(made) { SegmentSize = carried });
            }
            else
            {
                Route(made, carried);
            }
        }
    }

    /// <summary>The longest packet from the home address that needs no cutting on any way it may take now.</summary>
    private int LongestUsersPacket()
    {
        if (_mobile.AtHome)
        {
            // Whoever has less on the way says so by ICMPv6, as to any host.
            return _active?.Host.MtuTo(IPAddress.IPv6Any, _now) ?? ShortestAssumed;
        }

        if (_tables.TunnelOf(_home?.HomeAddress) is not { } tunnel || LinkWith(tunnel.CareOfAddress) is not { } link)
        {
            return ShortestAssumed;
        }

        var overhead = IPv6Header.Length + (_security.ProtectsData ? Ipsec.TransportEsp.MaximumOverhead + (_options.KeepMobileHeader ? IPv6Header.Length : 0) : 0);
        return Math.Max(ShortestAssumed, PathMtu(link, tunnel.CareOfAddress, tunnel.HomeAgent) - overhead);
    }
}
