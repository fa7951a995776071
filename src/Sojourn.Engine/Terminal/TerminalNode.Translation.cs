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
    private void TranslateUp(ReadOnlyMemory<byte> packet)
    {
        if (_tables.HostVirtual is null)
        {
            _out.Count("terminal.host.not_ipv6");
            return;
        }

        var result = _translator.Up(packet.Span, LongestUsersPacket(), _now, Room(packet.Length));
        Take(result, packet, toHost: result.Verdict == TranslationVerdict.Answer);
    }

    /// <summary>A packet for the home address of a host that has a virtual IPv4 address (R80, R81).</summary>
    private void TranslateDown(ReadOnlyMemory<byte> packet)
    {
        var result = _translator.Down(packet.Span, _options.HostMtu, _now, Room(packet.Length));
        Take(result, packet, toHost: result.Verdict == TranslationVerdict.Forward);
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

    private void Take(TranslationResult result, ReadOnlyMemory<byte> packet, bool toHost)
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

        for (var rest = _translated.AsSpan(0, result.Length); rest.Length > 0 && IpPacket.LengthOf(rest) is var length and > 0; rest = rest[length..])
        {
            var made = rest[..length].ToArray();
            if (toHost)
            {
                _out.Emit(new DeliverToHost(made));
            }
            else
            {
                Route(made);
            }
        }
    }

    /// <summary>The longest packet from the home address that needs no cutting on any way it may take now.</summary>
    private int LongestUsersPacket()
    {
        if (_mobile.AtHome || _tables.TunnelOf(_home?.HomeAddress) is not { } tunnel || LinkWith(tunnel.CareOfAddress) is not { } link)
        {
            return ShortestAssumed;
        }

        var overhead = IPv6Header.Length + (_security.ProtectsData ? Ipsec.TransportEsp.MaximumOverhead + (_options.KeepMobileHeader ? IPv6Header.Length : 0) : 0);
        return Math.Max(ShortestAssumed, PathMtu(link, tunnel.CareOfAddress, tunnel.HomeAgent) - overhead);
    }
}
