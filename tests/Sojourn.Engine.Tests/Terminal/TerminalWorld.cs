using System.Net;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.Tests.Dhcpv6;
using Sojourn.Engine.Tests.Ikev2;
using Sojourn.Engine.Tests.MobileIpv6;
using Sojourn.Wire.Dhcpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Sojourn.Wire.MobileIpv6;
using Sojourn.Wire.Udp;
using Xunit;
using SeededRandom = Sojourn.Engine.Tests.MobileIpv6.SeededRandom;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>
/// A terminal on links of a visited network, and at home the delegating router's engine and the engines of a home agent (mobility,
/// key exchange, ESP), joined by octets on virtual time. Everything between the two is a whole IPv6 packet.
/// </summary>
internal sealed class TerminalWorld
{
    public const string Wlan = "wlan0", Cell = "cell0", Name = "mn1.home.example";

    public static readonly IPAddress Agent = IPAddress.Parse("2001:db8:a::fffe"), Peer = IPAddress.Parse("2001:db8:c::9"), RouterAddress = IPAddress.Parse("fe80::1");
    public static readonly IPNetwork Pool = IPNetwork.Parse("2001:db8:a::/48");
    public static readonly LinkAddress RouterLink = new([2, 0, 0, 0, 0, 0x99]);
    public static readonly Duid Client = Duid.OfLinkLayer(1, [2, 0, 0, 0, 0, 1]);

    private static readonly TimeSpan s_delay = TimeSpan.FromMilliseconds(10);

    private readonly EffectSink _sink = new();
    private readonly PriorityQueue<Action, (DateTimeOffset At, long Order)> _wire = new();
    private readonly DelegationHarness _delegation;
    private readonly HomeAgent _agent;
    private readonly IkeEngine _ike;
    private readonly TransportEsp _esp = new(new SeededRandom(5));
    private readonly TunnelEsp _tunnel = new(new SeededRandom(7));
    private readonly Correspondent _correspondent = new(new CorrespondentOptions { Address = Peer }, new SeededRandom(8));
    private readonly Ipv6Reassembler _reassembler = new();
    private long _order;

    public TerminalWorld(
        Func<TerminalOptions, TerminalOptions>? change = null, IkeCredential? agentCredential = null, int prefixLifetime = 1200, Func<HomeAgentOptions, HomeAgentOptions>? agent = null,
        SignallingTreatment signalling = SignallingTreatment.Protect)
    {
        _delegation = new DelegationHarness(o => o with
        {
            Pools = [new PrefixPoolOptions(Pool, 64)],
            PreferredLifetime = TimeSpan.FromSeconds(prefixLifetime / 2),
            ValidLifetime = TimeSpan.FromSeconds(prefixLifetime),
        });
        var always = DateTimeOffset.MaxValue;
        var home = new HomeAgentOptions
        {
            Address = Agent,
            Prefixes = [.. Enumerable.Range(0, 16).Select(i => new HomePrefix(new IPNetwork(IPAddress.Parse($"2001:db8:a:{i:x}::"), 64), always, always, OnLink: false))],
            Policies = [new SignallingPolicy(Pool, signalling, signalling)],
        };
        _agent = new HomeAgent(agent?.Invoke(home) ?? home, new SeededRandom(3));
        _ike = new IkeEngine(
            new IkeOptions
            {
                Peers =
                [
                    new IkePeer
                    {
                        Name = "terminals",
                        LocalIdentity = IkeIdentity.Of(Agent),
                        Credential = agentCredential ?? TestAuthority.Home.Issue(Agent.ToString()),
                        Trust = TestAuthority.Home.Trust,
                        IdentityInCertificate = false,
                        Authorize = true,
                        Children =
                        [
                            new IkeChildOptions
                            {
                                Name = "signalling",
                                Mode = ChildMode.Transport,
                                OneRemoteAddress = true,
                                LocalSelectors = [TrafficSelectorOf(Agent, 135), TrafficSelectorOf(Agent, 58)],
                                RemoteSelectors = [Wire.Ikev2.TrafficSelector.Of(Pool, 135), Wire.Ikev2.TrafficSelector.Of(Pool, 58)],
                            },
                            new IkeChildOptions
                            {
                                Name = "data",
                                Mode = ChildMode.Tunnel,
                                OneRemoteAddress = true,
                                LocalSelectors = [Wire.Ikev2.TrafficSelector.Of(new IPNetwork(IPAddress.IPv6Any, 0))],
                                RemoteSelectors = [Wire.Ikev2.TrafficSelector.Of(Pool)],
                            },
                        ],
                    },
                ],
            },
            new SeededRandom(4));
        var options = new TerminalOptions
        {
            Links = [new TerminalLink(Wlan, new LinkAddress([2, 0, 0, 0, 0, 0x11])), new TerminalLink(Cell, new LinkAddress([2, 0, 0, 0, 0, 0x12]))],
            PrefixRequest = new PrefixRequestOptions(Client.Octets.ToArray(), 1),
        };
        Terminal = new TerminalNode(change?.Invoke(options) ?? options, new SeededRandom(6));
        TellAgent(_agent, new EngineStarted([]));
        Tell(new EngineStarted([]));
    }

    public DateTimeOffset Now { get; private set; } = TestAuthority.Epoch;

    public TerminalNode Terminal { get; }

    public DelegationHarness Delegation => _delegation;

    public List<Effect> Effects { get; } = [];

    /// <summary>The store; null = it is not there.</summary>
    public IkeCredential? Credential { get; set; } = TestAuthority.Home.Issue(Name);

    public bool StoreThere { get; set; } = true;

    /// <summary>Answer of the authority to an enrolment; null = it grants.</summary>
    public string? EnrolmentRefusal { get; set; }

    /// <summary>What the home agent's query Q2 is answered.</summary>
    public Func<AuthorizePeer, bool> Authorises { get; set; } = _ => true;

    public List<AuthorizePeer> Asked { get; } = [];

    /// <summary>Packets between terminal and the network, as on the wire.</summary>
    public List<(DateTimeOffset At, bool Up, byte[] Packet)> Crossed { get; } = [];

    /// <summary>Packets an application of the terminal got.</summary>
    public List<byte[]> ToApplications { get; } = [];

    public List<byte[]> ToPeer { get; } = [];

    /// <summary>What the terminal says to the DHCPv6 servers of a visited link, with its source; they see only IA_NA.</summary>
    public Action<string, IPAddress, byte[]>? VisitedServer { get; set; }

    public Func<byte[], bool> Loses { get; set; } = _ => false;

    /// <summary>Between the links and home; null = nothing is.</summary>
    public TerminalGateway? Gateway { get; set; }

    /// <summary>Anchor points by themselves, between the links and home.</summary>
    public List<TerminalAnchor> Anchors { get; } = [];

    /// <summary>What routers advertise beside their prefix.</summary>
    public List<NeighborDiscoveryOption> Advertised { get; } = [];

    /// <summary>What reached home from the terminal, whole and in clear but for ESP.</summary>
    public List<byte[]> ReachedHome { get; } = [];

    /// <summary>What the home agent sends through the tunnel goes under ESP, the mobile tunnel's header inside it or not; null = plain.</summary>
    public bool? KeepsMobileHeader { get; set; }

    /// <summary>Where the correspondent sends packets for the home address; null = by way of home.</summary>
    public IPAddress? RouteOfPeer => _correspondent.CareOf(Terminal.HomeAddress!);

    public BindingCacheEntry? Binding => _agent.Bindings.SingleOrDefault();

    public IEnumerable<BindingCacheEntry> Bindings => _agent.Bindings;

    public IEnumerable<IkeSaView> AgentSas => _ike.IkeSas;

    public void TellHomeAgent(EngineCommand command) => TellAgent(_agent, command);

    public IReadOnlyList<string> Steps => [.. Effects.OfType<Report>().Where(r => r.Event.Kind == "terminal.state").Select(r => r.Event.Text)];

    public IEnumerable<EngineEvent> Events(string kind) => Effects.OfType<Report>().Select(r => r.Event).Where(e => e.Kind == kind);

    public long Count(string counter) => Effects.OfType<CountEvent>().Where(c => c.Counter == counter).Sum(c => c.Amount);

    public IEnumerable<(DateTimeOffset At, bool Up, byte[] Packet)> Of(byte protocol) => Crossed.Where(c => UpperOf(c.Packet).Protocol == protocol);

    public static (byte Protocol, int Offset) UpperOf(byte[] packet)
    {
        Assert.True(IPv6Header.TryParse(packet, out var header, out _) && IPv6ExtensionWalk.TryFindUpper(header, out _));
        IPv6ExtensionWalk.TryFindUpper(header, out var upper);
        return (upper.UpperProtocol, upper.UpperOffset);
    }

    /// <summary>IKE messages that crossed, by exchange type.</summary>
    public IEnumerable<Wire.Ikev2.IkeHeader> Ike => Of(IpProtocol.Udp).Select(c => c.Packet[48..]).Where(p => p.Length > 28)
        .Select(p => Wire.Ikev2.IkeHeader.TryParse(p, out var header, out _) ? header : (Wire.Ikev2.IkeHeader?)null).OfType<Wire.Ikev2.IkeHeader>();

    public void Tell(EngineInput input)
    {
        _sink.Clear();
        Terminal.Handle(input, Now, _sink);
        foreach (var effect in _sink.Effects.ToArray())
        {
            Effects.Add(effect);
            switch (effect)
            {
                case SendIpv6Packet { LinkDestination: not null } sent:
                    foreach (var packet in Segmentation.Cut(sent.Packet, sent.SegmentSize))
                    {
                        FromTerminal(packet.ToArray(), sent.Interface!);
                    }

                    break;
                case OpenCredentials:
                    At(TimeSpan.Zero, () => Tell(StoreThere ? new CredentialsOpened(Name, Credential, Credential is null ? null : TestAuthority.Home.Trust) : new CredentialsMissing("the credential store is not there")));
                    break;
                case Enrol:
                    At(s_delay, () =>
                    {
                        Credential = EnrolmentRefusal is null ? TestAuthority.Home.Issue(Name) : null;
                        Tell(new EnrolmentEnded(EnrolmentRefusal));
                    });
                    break;
                case RenewCertificate:
                    At(s_delay, () =>
                    {
                        Credential = EnrolmentRefusal is null ? TestAuthority.Home.Issue(Name, fromDays: 0, days: 60) : Credential;
                        Tell(new EnrolmentEnded(EnrolmentRefusal));
                    });
                    break;
                case DeliverToHost delivered:
                    ToApplications.Add(delivered.Packet.ToArray());
                    break;
            }
        }
    }

    /// <summary>The carrier comes, and the link's router speaks up.</summary>
    public void Attach(string link, string prefix)
    {
        Tell(new LinkChanged(link, true));
        Advertise(link, prefix);
        Run(TimeSpan.Zero);
    }

    public void Advertise(string link, string prefix, bool managed = false, bool autonomous = true)
    {
        var destination = IPAddress.Parse("ff02::1");
        var message = new RouterAdvertisement
        {
            RouterLifetime = 1800,
            Flags = managed ? RouterAdvertisementFlags.Managed : RouterAdvertisementFlags.None,
            Options = NeighborDiscoveryOptions.Of(
            [
                new LinkLayerAddressOption(false, RouterLink.ToArray()),
                new PrefixInformationOption(IPNetwork.Parse(prefix).BaseAddress, 64, PrefixInformationFlags.OnLink | (autonomous ? PrefixInformationFlags.Autonomous : 0), 86400, 86400),
                .. Advertised,
            ]),
        };
        ToTerminal(link, new MobileIpv6Packet { Source = RouterAddress, Destination = destination, HopLimit = 255, Protocol = IpProtocol.Icmpv6, Payload = message.ToArray(RouterAddress, destination) }.ToArray());
    }

    /// <summary>A datagram of an application, from an address of its own.</summary>
    public void Send(IPAddress source, IPAddress destination, int length = 64) => Tell(new HostPacketSent(Udp(source, destination, 5000, 5000, new byte[length])));

    /// <summary>A datagram of the correspondent for the home address, which the home agent attracts.</summary>
    public void Answer(int length = 64)
    {
        TellPeer(new SendFromHost(Udp(Peer, Terminal.HomeAddress!, 5000, 5000, new byte[length])));
    }

    /// <summary>What the home agent makes of a packet for the home address.</summary>
    public void Forward(byte[] packet)
    {
        if (Binding is not { } binding)
        {
            return;
        }

        if (KeepsMobileHeader is { } keeps && _tunnel.TryProtect(0, packet, Agent, binding.CareOfAddress, keeps, Now, out var wire) == DropReason.None)
        {
            ToTerminal(wire);
        }
        else
        {
            ToTerminal(Ipv6Tunnel.Encapsulate(packet, Agent, binding.CareOfAddress, 64));
        }
    }

    /// <summary>The home agent ends the associations in tunnel mode.</summary>
    public void EndDataAssociations()
    {
        foreach (var child in _ike.ChildSas.Where(c => c.Mode == ChildMode.Tunnel).ToList())
        {
            _tunnel.Remove(child.Id);
            TellAgent(_ike, new CloseChild(child.Id));
        }
    }

    /// <summary>Under the signalling association of the home agent, whatever it is; null when that does not cover it.</summary>
    public byte[]? Signalled(ReadOnlySpan<byte> clear) => _esp.Children.FirstOrDefault() is { } child && _esp.TryProtect(child.Id, clear, Now, out var wire) == DropReason.None ? wire : null;

    /// <summary>Under the home agent's ESP in tunnel mode, whatever it is; null when that does not cover it, or the terminal is nowhere.</summary>
    public byte[]? Tunnelled(ReadOnlySpan<byte> user) =>
        Terminal.CareOfAddress is { } careOf && _tunnel.TryProtect(0, user, Agent, careOf, mobileHeader: false, Now, out var wire) == DropReason.None ? wire : null;

    /// <summary>Under the home agent's ESP, with a mobile tunnel's header from somebody.</summary>
    public byte[] Protected(byte[] user, IPAddress mobileSource)
    {
        Assert.Equal(DropReason.None, _tunnel.TryProtect(0, user, mobileSource, Terminal.CareOfAddress!, mobileHeader: true, Now, out var wire));
        return wire;
    }

    public void Run(TimeSpan time)
    {
        var until = Now + time;
        for (var steps = 0; ; steps++)
        {
            Assert.True(steps < 200_000, "time does not pass");
            var packet = _wire.TryPeek(out _, out var key) ? key.At : DateTimeOffset.MaxValue;
            var next = new[] { packet, Terminal.NextDeadline ?? DateTimeOffset.MaxValue, _agent.NextDeadline ?? DateTimeOffset.MaxValue, _ike.NextDeadline ?? DateTimeOffset.MaxValue, _delegation.Router.NextDeadline ?? DateTimeOffset.MaxValue, Gateway?.NextDeadline ?? DateTimeOffset.MaxValue }.Min();
            if (next > until)
            {
                break;
            }

            Now = next > Now ? next : Now;
            _delegation.Now = Now;
            if (packet <= Now)
            {
                _wire.Dequeue()();
                continue;
            }

            if (Terminal.NextDeadline <= Now)
            {
                Tell(new DeadlineReached());
            }

            foreach (var engine in new IEngine[] { _agent, _ike }.Where(e => e.NextDeadline <= Now))
            {
                TellAgent(engine, new DeadlineReached());
            }

            if (_delegation.Router.NextDeadline <= Now)
            {
                _delegation.Tell(new DeadlineReached());
            }

            if (Gateway?.NextDeadline <= Now)
            {
                Gateway!.Wake();
            }
        }

        Now = until;
        _delegation.Now = Now;
    }

    public void At(TimeSpan delay, Action what) => _wire.Enqueue(what, (Now + delay, _order++));

    /// <summary>A packet for the terminal, through whichever router has its care-of address on its link.</summary>
    public void ToTerminal(byte[] packet)
    {
        packet = Gateway?.TowardsTerminal(packet) ?? packet;
        packet = Anchors.Aggregate(packet, (towards, anchor) => anchor.TowardsTerminal(towards));
        Crossed.Add((Now, false, packet));
        if (!Loses(packet))
        {
            // Every router tries: the host stack takes what is for an address it has on that link.
            At(s_delay, () => _ = new[] { Wlan, Cell }.Select(l => { ToTerminal(l, packet); return l; }).ToList());
        }
    }

    public void ToTerminal(string link, byte[] packet) => Tell(new Ipv6PacketReceived(packet, link, RouterLink));

    private static Wire.Ikev2.TrafficSelector TrafficSelectorOf(IPAddress address, byte protocol) => Wire.Ikev2.TrafficSelector.Of(address, protocol);

    public static byte[] Udp(IPAddress source, IPAddress destination, ushort from, ushort to, ReadOnlySpan<byte> payload)
    {
        var datagram = new byte[UdpHeader.HeaderLength + payload.Length];
        payload.CopyTo(datagram.AsSpan(UdpHeader.HeaderLength));
        UdpHeader.Write(datagram, from, to);
        UdpHeader.WriteChecksum(datagram, source.GetAddressBytes(), destination.GetAddressBytes());
        return new MobileIpv6Packet { Source = source, Destination = destination, Protocol = IpProtocol.Udp, Payload = datagram }.ToArray();
    }

    private void FromTerminal(byte[] packet, string link)
    {
        var (protocol, offset) = UpperOf(packet);
        var (source, destination) = (new IPAddress(packet.AsSpan(8, 16)), new IPAddress(packet.AsSpan(24, 16)));
        if (protocol == IpProtocol.Icmpv6 && packet[offset] == (byte)Icmpv6MessageType.NeighborSolicitation)
        {
            if (Icmpv6Message.TryParse(packet.AsSpan(offset), out var asked, out _) && asked is NeighborSolicitation solicitation && solicitation.Target.Equals(RouterAddress) && !source.Equals(IPAddress.IPv6Any))
            {
                var answer = new NeighborAdvertisement(NeighborAdvertisementFlags.Solicited | NeighborAdvertisementFlags.Override | NeighborAdvertisementFlags.Router, RouterAddress) { Options = NeighborDiscoveryOptions.Of(new LinkLayerAddressOption(true, RouterLink.ToArray())) };
                At(TimeSpan.FromMilliseconds(1), () => ToTerminal(link, new MobileIpv6Packet { Source = RouterAddress, Destination = source, HopLimit = 255, Protocol = IpProtocol.Icmpv6, Payload = answer.ToArray(RouterAddress, source) }.ToArray()));
            }

            return;
        }

        if (destination.IsIPv6Multicast && !destination.Equals(DelegatingRouter.AllRelayAgentsAndServers))
        {
            return;
        }

        Crossed.Add((Now, true, packet));
        if (Loses(packet))
        {
            return;
        }

        At(s_delay, () =>
        {
            if (destination.Equals(DelegatingRouter.AllRelayAgentsAndServers))
            {
                VisitedServer?.Invoke(link, source, packet[(offset + 8)..]);
                foreach (var answer in _delegation.Tell(new DatagramReceived(new IPEndPoint(source, 546), new IPEndPoint(destination, 547), packet[(offset + 8)..], DelegationHarness.Link)).OfType<SendDatagram>())
                {
                    At(s_delay, () => ToTerminal(link, Udp(RouterAddress, source, 547, 546, answer.Payload.Span)));
                }
            }
            else if (Gateway is not null)
            {
                Gateway.FromTerminal(packet);
            }
            else if (Anchors.Find(a => a.Address.Equals(destination)) is { } anchor)
            {
                anchor.FromTerminal(packet);
            }
            else
            {
                AtHome(packet);
            }
        });
    }

    public void AtHome(byte[] packet)
    {
        switch (_reassembler.Add(packet, Now, out var whole))
        {
            case ReassemblyOutcome.Complete:
                packet = whole;
                break;
            case ReassemblyOutcome.Waiting or ReassemblyOutcome.Refused:
                return;
        }

        ReachedHome.Add(packet);
        var (protocol, offset) = UpperOf(packet);
        var (source, destination) = (new IPAddress(packet.AsSpan(8, 16)), new IPAddress(packet.AsSpan(24, 16)));
        switch (protocol)
        {
            case IpProtocol.Udp when destination.Equals(Agent):
                TellAgent(_ike, new DatagramReceived(new IPEndPoint(source, 500), new IPEndPoint(Agent, 500), packet[(offset + 8)..]));
                break;
            case var _ when destination.Equals(Peer):
                TellPeer(new Ipv6PacketReceived(packet));
                break;
            case IpProtocol.Esp:
                if (_esp.TryOpen(packet, Now, out var opened) == DropReason.None)
                {
                    TellAgent(_agent, new Ipv6PacketReceived(opened.Packet, null, null, opened.Association));
                }
                else if (_tunnel.TryOpen(packet.AsSpan(offset), Now, out var inner) == DropReason.None)
                {
                    AtHome(inner.Packet);
                }

                break;
            case IpProtocol.IPv6 when Binding is { } binding && binding.CareOfAddress.Equals(source):
                AtHome(packet[offset..]);
                break;
            case IpProtocol.Icmpv6 or IpProtocol.Mobility:
                TellAgent(_agent, new Ipv6PacketReceived(packet));
                break;
        }
    }

    private void TellPeer(EngineInput input)
    {
        var sink = new EffectSink();
        _correspondent.Handle(input, Now, sink);
        foreach (var effect in sink.Effects.ToArray())
        {
            switch (effect)
            {
                case DeliverIpv6Packet delivered:
                    ToPeer.Add(delivered.Packet.ToArray());
                    break;
                case SendIpv6Packet sent when new IPAddress(sent.Packet.Span.Slice(24, 16)).Equals(Terminal.HomeAddress):
                    Forward(sent.Packet.ToArray());
                    break;
                case SendIpv6Packet sent:
                    ToTerminal(sent.Packet.ToArray());
                    break;
            }
        }
    }

    private void TellAgent(IEngine engine, EngineInput input)
    {
        var sink = new EffectSink();
        engine.Handle(input, Now, sink);
        foreach (var effect in sink.Effects.ToArray())
        {
            switch (effect)
            {
                case SendDatagram datagram:
                    ToTerminal(Udp(datagram.Source.Address, datagram.Destination.Address, 500, 500, datagram.Payload.Span));
                    break;
                case SendIpv6Packet sent when sent.Under is { } association:
                    if (_esp.TryProtect(association, sent.Packet.Span, Now, out var wire) == DropReason.None)
                    {
                        ToTerminal(wire);
                    }

                    break;
                case SendIpv6Packet sent:
                    ToTerminal(sent.Packet.ToArray());
                    break;
                case AuthorizePeer ask:
                    Asked.Add(ask);
                    At(s_delay, () => TellAgent(_ike, new PeerAuthorized(ask.Request, Authorises(ask), "no allocation")));
                    break;
                case ChildSaUp { Sa.Mode: ChildMode.Tunnel } up:
                    Assert.True(_tunnel.Install(up.Sa, 0));
                    break;
                case ChildSaUp up:
                    Assert.True(_esp.Install(up.Sa, up.Sa.Id));
                    var sa = _ike.IkeSas.First(s => s.Id == up.Sa.IkeSa);
                    TellAgent(_agent, new AssociationEstablished(new SignallingAssociation(up.Sa.Id, up.Sa.RemoteSelectors[0].StartAddress, sa.Remote.Address, sa.RemoteIdentity.ToString(), Moves: true)));
                    break;
                case ChildSaDown down when _esp.Remove(down.ChildSa) is { } number:
                    TellAgent(_agent, new AssociationEnded(number, false));
                    break;
                case MoveAssociation move when _ike.ChildSas.FirstOrDefault(c => c.Id == move.Number) is { } child:
                    TellAgent(_ike, new MoveIkeEnd(child.IkeSa, null, move.CareOfAddress));
                    break;
            }
        }
    }
}
