// Readings:
// - Signalling of Mobile IPv6 is never under the association between home address and correspondent: return routability proves it
//   (spec terminal L15, L16), and it has to pass when the association is gone.
// - What is agreed to be protected with a home address is protected by whichever way it goes (L13, L14, or by way of home), and is
//   not taken otherwise, the far end being the home address and not a place (RFC 6275 11.3.2, RFC 4301 5).
// - ESP of a home address that this node holds no association for is the applications' own (embodiment 5) and passes untouched, with
//   Home Address option and routing header taken off.
using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>Settings of a <see cref="CorrespondentNode"/>.</summary>
public sealed record CorrespondentNodeOptions
{
    public required string Interface { get; init; }

    public required LinkAddress LinkAddress { get; init; }

    /// <summary>Octets.</summary>
    public int LinkMtu { get; init; } = 1500;

    public required CorrespondentOptions Correspondent { get; init; }

    /// <summary>Associations in transport mode with home addresses, agreed beforehand.</summary>
    public IReadOnlyList<ChildSa> Associations { get; init; } = [];
}

/// <summary>
/// A correspondent node (RFC 6275 9, spec terminal CN): an IPv6 host on one link whose applications know nothing of mobility, with
/// the correspondent's part of route optimisation and ESP between it and home addresses. Frames are <see cref="Ipv6PacketReceived"/> and
/// <see cref="SendIpv6Packet"/> with a link-layer address; applications are <see cref="HostPacketSent"/> and <see cref="DeliverToHost"/>.
/// Commands: <see cref="ClearBinding"/>.
/// </summary>
public sealed class CorrespondentNode : IEngine, IDisposable
{
    private readonly CorrespondentNodeOptions _options;
    private readonly Ipv6Host.Ipv6Host _host;
    private readonly Correspondent _correspondent;
    private readonly TransportEsp _esp;
    private readonly Ipv6Reassembler _fragments = new();

    /// <summary>Numbers of associations by home address.</summary>
    private readonly Dictionary<IPAddress, long> _protected = [];
    private DateTimeOffset _now;
    private EffectSink _out = new();

    /// <summary>Somebody else on the link has the address; it is tried again when the link comes up anew.</summary>
    private bool _taken;

    /// <exception cref="ArgumentException">An association that ESP in transport mode cannot be.</exception>
    public CorrespondentNode(CorrespondentNodeOptions options, IRandomSource random)
    {
        _options = options;
        _host = new Ipv6Host.Ipv6Host(new Ipv6HostOptions { Interface = options.Interface, LinkAddress = options.LinkAddress, Mtu = options.LinkMtu, Optimistic = false });
        _correspondent = new Correspondent(options.Correspondent, random);
        _esp = new TransportEsp(random);
        foreach (var association in options.Associations)
        {
            if (!_esp.Install(association, association.Id) || !association.LocalSelectors[0].StartAddress.Equals(Address))
            {
                throw new ArgumentException($"no association in transport mode between {Address} and a home address: {association.Name}", nameof(options));
            }

            _protected[association.RemoteSelectors[0].StartAddress] = association.Id;
        }
    }

    public IPAddress Address => _options.Correspondent.Address;

    /// <summary>Bindings in force.</summary>
    public IEnumerable<CorrespondentBinding> Bindings => _correspondent.Bindings;

    public IEnumerable<ChildSa> Associations => _esp.Children;

    public DateTimeOffset? NextDeadline => _host.NextDeadline is { } host && _correspondent.NextDeadline is { } bindings ? (host < bindings ? host : bindings) : _host.NextDeadline ?? _correspondent.NextDeadline;

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        (_now, _out) = (now, effects);
        switch (input)
        {
            case EngineStarted:
                _out.Emit(new ConfigureHostSide(Address, null));
                break;
            case LinkChanged { Up: true } link:
                _taken = false;
                Tell(_host, link);
                Tell(_host, new AddHostAddress(Address, DateTimeOffset.MaxValue, DateTimeOffset.MaxValue));
                break;
            case LinkChanged or Ipv6PacketReceived:
                Tell(_host, input);
                break;
            case HostPacketSent sent:
                OnHostPacket(sent.Packet);
                break;
            case ClearBinding:
                Tell(_correspondent, input);
                break;
            case DeadlineReached:
                if (_host.NextDeadline <= now)
                {
                    Tell(_host, input);
                }

                if (_correspondent.NextDeadline <= now)
                {
                    Tell(_correspondent, input);
                }

                break;
        }
    }

    public void Dispose() => _esp.Dispose();

    private void Tell(IEngine part, EngineInput input)
    {
        var sink = new EffectSink();
        part.Handle(input, _now, sink);
        foreach (var effect in sink.Effects)
        {
            switch (effect)
            {
                case DeliverIpv6Packet delivered when part == _host:
                    OnPacket(delivered.Packet);
                    break;
                case DeliverIpv6Packet delivered:
                    _out.Emit(new DeliverToHost(delivered.Packet));
                    break;
                case SendIpv6Packet { LinkDestination: null } sent:
                    Send(sent.Packet);
                    break;
                case LinkConfigured configured:
                    if (configured.Addresses.FirstOrDefault(a => a.Address.Equals(Address)) is null && configured.Up && !_taken)
                    {
                        // A renumbered link, or one the host has left, takes no configured address with it.
                        Tell(_host, new AddHostAddress(Address, DateTimeOffset.MaxValue, DateTimeOffset.MaxValue));
                    }

                    break;
                case DuplicateAddressFound duplicate when duplicate.Address.Equals(Address):
                    _taken = true;
                    _out.Emit(new Report(new EngineEvent("address.duplicate", EventSeverity.Error, $"somebody else on {_options.Interface} has {Address}") { Rule = "RFC 4862 5.4.5" }));
                    break;
                case RouteOptimised route:
                    Say("route.optimised", $"{route.HomeAddress} is reached at {route.CareOfAddress}", route.HomeAddress, route.CareOfAddress);
                    break;
                case RouteEnded route:
                    Say("route.ended", $"{route.HomeAddress} is reached by way of home", route.HomeAddress, null);
                    break;
                default:
                    _out.Emit(effect);
                    break;
            }
        }
    }

    private void Say(string kind, string text, IPAddress home, IPAddress? careOf) =>
        _out.Emit(new Report(new EngineEvent(kind, EventSeverity.Information, text) { HomeAddress = home, CareOfAddress = careOf, Rule = "TM-R104" }));

    private void OnPacket(ReadOnlyMemory<byte> packet)
    {
        switch (_fragments.Add(packet.Span, _now, out var whole))
        {
            case ReassemblyOutcome.Complete:
                packet = whole;
                break;
            case ReassemblyOutcome.Waiting:
                _out.Count("ip6.fragment");
                return;
            case ReassemblyOutcome.Refused:
                _out.Count("ip6.fragment_refused");
                return;
        }

        if (!IPv6Header.TryParse(packet.Span, out var header, out _) || header.DestinationAddress.IsIPv6Multicast || !header.DestinationAddress.Equals(Address))
        {
            // For the host's other addresses there are no applications.
            _out.Count("correspondent.not_for_applications");
            return;
        }

        if (!MobileIpv6Packet.TryParse(packet.Span, out var read, out _))
        {
            _out.Count("mip6.cn.ignored.malformed");
            return;
        }

        long? under = null;
        if (_protected.TryGetValue(read.EffectiveSource, out var association) && read.Protocol != IpProtocol.Mobility)
        {
            if (read.Protocol != IpProtocol.Esp)
            {
                _out.Count("spd.mismatch_in");
                return;
            }

            var reason = _esp.TryOpen(packet.Span, _now, out var opened);
            if (reason != DropReason.None)
            {
                _out.Count(reason.CounterName());
                if (reason.InboundCounter(underEsp: true) is { } counter)
                {
                    _out.Count(counter);
                }

                return;
            }

            (packet, under) = (opened.Packet, association);
        }

        Tell(_correspondent, new Ipv6PacketReceived(packet, _options.Interface, Under: under));
    }

    private void OnHostPacket(ReadOnlyMemory<byte> packet)
    {
        if (!IPv6Header.TryParse(packet.Span, out var header, out _) || !header.SourceAddress.Equals(Address))
        {
            _out.Count("correspondent.host.foreign_source");
            return;
        }

        // What the headers to come take of the path is told to the application, not found out by the path.
        var home = header.DestinationAddress;
        var room = _host.MtuTo(_correspondent.CareOf(home) ?? home, _now) - Growth(home);
        if (header.Packet.Length > room)
        {
            if (header.Packet.Length <= TunnelMtu.FloorIPv6 && _correspondent.CareOf(home) is not null)
            {
                // The least that every path has to carry: by way of home, where the tunnel's entry fragments (RFC 2473 7.1).
                Send(packet);
                return;
            }

            var inner = IpPacket.OfChecked(header.Packet);
            if (IcmpError.MayAnswer(inner, packetTooBig: true))
            {
                var answer = new byte[IcmpError.MaximumIPv6];
                _out.Emit(new DeliverToHost(answer.AsMemory(0, IcmpError.WriteTooBig(inner, Address.GetAddressBytes(), Math.Max(room, TunnelMtu.FloorIPv6), answer))));
            }

            _out.Count("correspondent.too_big");
            return;
        }

        Tell(_correspondent, new SendFromHost(packet));
    }

    private int Growth(IPAddress home) => (_correspondent.CareOf(home) is null ? 0 : MobileIpv6Packet.HomeAddressHeaderLength) + (_protected.ContainsKey(home) ? TransportEsp.MaximumOverhead : 0);

    /// <summary>Out of the correspondent's hands: under the association with the home address, or, being nobody's, as it is.</summary>
    private void Send(ReadOnlyMemory<byte> packet)
    {
        if (MobileIpv6Packet.TryParse(packet.Span, out var read, out _) && read.Protocol != IpProtocol.Mobility && _protected.TryGetValue(read.EffectiveDestination, out var association))
        {
            var reason = _esp.TryProtect(association, packet.Span, _now, out var wire);
            if (reason != DropReason.None)
            {
                _out.Count("ipsec.sa_not_found_out");
                return;
            }

            packet = wire;
        }

        Tell(_host, new SendFromHost(packet));
    }
}
