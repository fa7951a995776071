using System.Net;
using System.Text;
using Sojourn.Engine.Access;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Eap;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Radius;
using Sojourn.Engine.TerminalControl;
using Sojourn.Engine.Tests.Dhcpv6;
using Sojourn.Engine.Tests.Ikev2;
using Sojourn.Engine.Tests.Radius;
using Sojourn.Wire.Dhcpv6;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Sojourn.Wire.Radius;
using Xunit;
using AssociationKey = Sojourn.Engine.Dhcpv6.AssociationKey;

namespace Sojourn.Engine.Tests.Access;

/// <summary>
/// Terminals (their key exchange), a gateway, an authentication server and a delegating router with its authority, all engines,
/// on virtual time. <see cref="Log"/> is what crossed the wires, in order.
/// </summary>
internal sealed class GatewayWorld : IDisposable
{
    public const string HomeLink = DelegationHarness.Link;
    public static readonly IPAddress GatewayAddress = IPAddress.Parse("2001:db8:b::1"), Server = IPAddress.Parse("2001:db8:c::2"), Router = IPAddress.Parse("2001:db8:5::2"), Authority = IPAddress.Parse("2001:db8:c::3"), AgentAddress = IPAddress.Parse("2001:db8:a::fffe");
    public static readonly IPAddress First = IPAddress.Parse("2001:db8:f:1::77"), Second = IPAddress.Parse("2001:db8:f:1::88");
    private static readonly IPEndPoint s_radius = new(IPAddress.Parse("2001:db8:c::1"), 40000), s_server = new(Server, RadiusLimits.AuthenticationPort);
    private static readonly TestCredentials s_ca = new();

    private readonly RadiusServer _server;
    private readonly EffectSink _sink = new();
    private readonly Queue<Action> _wire = new();
    private readonly Dictionary<IPAddress, IkeNode> _terminals = [];
    private readonly Dictionary<IPAddress, TransportEsp> _terminalEsp = [];
    private readonly AccessGatewayOptions _options;
    private AccessPacketPath _path;

    public GatewayWorld(Func<AccessGatewayOptions, AccessGatewayOptions>? change = null)
    {
        _server = new RadiusServer(
            new RadiusServerOptions
            {
                Clients = [new RadiusClientEntry("gw", new IPNetwork(s_radius.Address, 128), AccessNetwork.Secret)],
                Tls = s_ca.Context("as.home.example"),
                Users = [new AccessUser("alice", "mn1.home.example"), new AccessUser("bob", "mn2.home.example")],
            },
            new Ikev2.SeededRandom(11));
        Delegation = new DelegationHarness();
        var options = new AccessGatewayOptions
        {
            Address = GatewayAddress,
            Credential = TestAuthority.Home.Issue("gw.visited.example"),
            Identity = IkeIdentity.OfName("gw.visited.example"),
            Radius = new RadiusClientOptions { Servers = [new RadiusServerAddress("as", s_server, AccessNetwork.Secret)], Local = s_radius, Name = "gw" },
            HomeInterface = HomeLink,
            BeforeAccess = [new IPEndPoint(Authority, 80)],
        };
        _options = change?.Invoke(options) ?? options;
        Engine = new AccessGateway(_options, new Ikev2.SeededRandom(12));
        _path = new AccessPacketPath(_options, 1500, new Ikev2.SeededRandom(13));
        ToGateway(new EngineStarted([]));
    }

    public AccessGateway Engine { get; private set; }

    public DelegationHarness Delegation { get; }

    public DateTimeOffset Now => Delegation.Now;

    /// <summary>Whether the delegating router believes the gateway about whose an IAID is, and whether it is there at all.</summary>
    public bool Registers { get; set; } = true;

    public bool RouterAnswers { get; set; } = true;

    public List<string> Log { get; } = [];

    public List<Effect> Effects { get; } = [];

    public AccessSessionView? Session => Engine.Sessions.SingleOrDefault();

    public IkeNode Terminal(IPAddress address) => _terminals[address];

    public int Count(string counter) => (int)Effects.OfType<CountEvent>().Where(c => c.Counter == counter).Sum(c => c.Amount);

    /// <summary>A terminal runs the key exchange with the gateway.</summary>
    public IkeNode Connect(IPAddress address, string user = "alice", string password = "correct horse battery", IPAddress? regional = null)
    {
        var peer = new IkePeer
        {
            Name = "gw",
            Address = GatewayAddress,
            LocalIdentity = IkeIdentity.OfMailbox("anonymous@home.example"),
            RemoteIdentity = IkeIdentity.OfName("gw.visited.example"),
            Trust = TestAuthority.Home.Trust,
            Configuration = [IkeConfigurationAttributeType.Mip6HomePrefix],
            Children = regional is null ? [] : [Signalling(regional, GatewayAddress)],
            Eap = () => new EapPeer(new EapPeerOptions
            {
                OuterIdentity = "anonymous",
                Methods = [EapType.Ttls],
                Tls = s_ca.Context(),
                ServerName = "as.home.example",
                User = user,
                Password = new KeyMaterial(Encoding.UTF8.GetBytes(password)),
            }),
        };
        var node = new IkeNode(user, new IkeOptions { Peers = [peer] }, 20 + _terminals.Count, address);
        _terminals[address] = node;
        _terminalEsp[address] = new TransportEsp(new Ikev2.SeededRandom(40));
        ToTerminal(node, new InitiateIke("gw", address));
        return node;
    }

    /// <summary>The gateway dies and comes back with what it saved.</summary>
    public void Restart()
    {
        var saved = new Dictionary<StateKey, ReadOnlyMemory<byte>>();
        foreach (var effect in Effects)
        {
            switch (effect)
            {
                case SaveState save:
                    saved[save.Key] = save.Value;
                    break;
                case DropState drop:
                    saved.Remove(drop.Key);
                    break;
            }
        }

        Engine.Dispose();
        Engine = new AccessGateway(_options, new Ikev2.SeededRandom(14));
        _path = new AccessPacketPath(_options, 1500, new Ikev2.SeededRandom(15));
        ToGateway(new EngineStarted([.. saved.Select(s => new SavedState(s.Key, s.Value))]));
    }

    public static IkeChildOptions Signalling(IPAddress local, IPAddress remote) => new()
    {
        Name = "signalling",
        Mode = ChildMode.Transport,
        LocalSelectors = [SelectorNarrowing.Mobility(local, 5), SelectorNarrowing.Mobility(local, 6)],
        RemoteSelectors = [SelectorNarrowing.Mobility(remote, 5), SelectorNarrowing.Mobility(remote, 6)],
    };

    /// <summary>The prefix the terminal was told; null when it was told none.</summary>
    public static IPNetwork? PrefixOf(IkeNode terminal) =>
        terminal.Of<ConfigurationReceived>().SelectMany(c => c.Attributes).Select(a => Mip6HomePrefix.TryRead(a, out var prefix) ? prefix.Prefix : (IPNetwork?)null).FirstOrDefault(p => p is not null);

    /// <summary>Sends a terminal's packet and says what becomes of it: <c>forwarded</c>, <c>prohibited</c> (ICMPv6 1/1) or <c>dropped</c>.</summary>
    public string Packet(IPAddress source, IPAddress destination, byte protocol = IpProtocol.Tcp, ushort port = 443) =>
        Fate(source, source, destination, Segment(source, destination, protocol, port));

    /// <summary>The same through the tunnel from an on-link address to the anchor point.</summary>
    public string Tunnelled(IPAddress onLink, IPAddress source, IPAddress destination)
    {
        var inner = Segment(source, destination, IpProtocol.Tcp, 443);
        return Fate(onLink, source, destination, new MobileIpv6Packet { Source = onLink, Destination = GatewayAddress, Protocol = IpProtocol.IPv6, Payload = inner }.ToArray());
    }

    public long CountOnPath(string counter) => _path.Counters.GetValueOrDefault(counter);

    private static byte[] Segment(IPAddress source, IPAddress destination, byte protocol, ushort port)
    {
        var body = new byte[20];
        (body[0], body[1], body[2], body[3], body[12]) = (0x80, 0, (byte)(port >> 8), (byte)port, 0x50);
        return new MobileIpv6Packet { Source = source, Destination = destination, Protocol = protocol, Payload = body, HopLimit = 63 }.ToArray();
    }

    private string Fate(IPAddress outer, IPAddress source, IPAddress destination, byte[] packet)
    {
        var output = new byte[AccessPacketPath.OutputFor(packet.Length)];
        var result = _path.FromTerminal(packet, output, Now);
        if (result.Verdict != HomeTunnelVerdict.Send || !MobileIpv6Packet.TryParse(output.AsSpan(result.Offset, result.Length), out var sent, out _))
        {
            return "dropped";
        }

        // Through the gateway without a tunnel it is one hop, which the kernel has counted already and will count again.
        return sent.Source.Equals(source) && sent.Destination.Equals(destination) ? outer.Equals(source) && sent.HopLimit != 64 ? $"hop limit {sent.HopLimit}" : "forwarded"
            : sent.Protocol == IpProtocol.Icmpv6 && sent.Destination.Equals(outer) && sent.Payload.Span[..2].SequenceEqual((byte[])[1, 1]) ? "prohibited"
            : $"{sent.Source} > {sent.Destination}";
    }

    /// <summary>A local binding update of a terminal at the anchor point.</summary>
    public void BindLocally(IPAddress onLink, IPAddress regional, ushort sequence)
    {
        var update = new BindingUpdate { SequenceNumber = sequence, Flags = BindingUpdateFlags.Acknowledge | BindingUpdateFlags.MobilityAnchorPoint, Lifetime = 100 };
        Log.Add("local update");
        ToGateway(new Ipv6PacketReceived(new MobileIpv6Packet { Source = onLink, Destination = GatewayAddress, HomeAddress = regional, Protocol = IpProtocol.Mobility, Payload = update.ToArray(regional, GatewayAddress) }.ToArray()));
    }

    public void Run(double seconds)
    {
        var end = Now + TimeSpan.FromSeconds(seconds);
        Settle();
        while (true)
        {
            DateTimeOffset?[] due = [Engine.NextDeadline, _server.NextDeadline, Delegation.Router.NextDeadline, .. _terminals.Values.Select(t => t.Engine.NextDeadline)];
            if (due.Min() is not { } next || next > end)
            {
                Delegation.Now = end;
                return;
            }

            Delegation.Now = next > Now ? next : Now;
            ToGateway(new DeadlineReached());
            ToServer(new DeadlineReached());
            Delegation.Tell(new DeadlineReached());
            foreach (var terminal in _terminals.Values)
            {
                ToTerminal(terminal, new DeadlineReached());
            }

            Settle();
        }
    }

    public Effect[] ToGateway(EngineInput input)
    {
        _sink.Clear();
        Engine.Handle(input, Now, _sink);
        Effect[] effects = [.. _sink.Effects];
        Effects.AddRange(effects);
        foreach (var effect in effects)
        {
            switch (effect)
            {
                case SendDatagram datagram when datagram.Destination.Equals(s_server):
                    Note("RADIUS");
                    _wire.Enqueue(() => ToServer(new DatagramReceived(datagram.Source, datagram.Destination, datagram.Payload)));
                    break;
                case SendDatagram { Destination.Port: Dhcpv6Limits.ServerPort } datagram:
                    Note(((Dhcpv6MessageType)datagram.Payload.Span[0]).ToString());
                    _wire.Enqueue(() => ToRouter(datagram));
                    break;
                case RegisterIdentity register:
                    Note("whose IAID");
                    if (Registers)
                    {
                        var key = new AssociationKey(register.Client, register.Iaid);
                        Delegation.Identities[key] = new PrefixIdentity(key, register.Identifier, IdentityOrigin.Gateway, []);
                    }

                    _wire.Enqueue(() => ToGateway(new IdentityRegistered(register.Number, Registers)));
                    break;
                case SendIpv6Packet packet when MobileIpv6Packet.TryParse(packet.Packet.Span, out var read, out _):
                    OnPacket(packet, read);
                    break;
                case PermitSource permit:
                    _path.Permit(permit.Source);
                    break;
                case ForbidSource forbid:
                    _path.Forbid(forbid.Source);
                    break;
                case ChangePaths change:
                    Assert.Null(_path.Change(change, Now).Refusal);
                    break;
            }
        }

        return effects;
    }

    public void Dispose()
    {
        _server.Dispose();
        Engine.Dispose();
        foreach (var esp in _terminalEsp.Values)
        {
            esp.Dispose();
        }
    }

    /// <summary>What the gateway's own address sends: key exchange, and acknowledgements in clear or under the terminal's association.</summary>
    private void OnPacket(SendIpv6Packet packet, MobileIpv6Packet read)
    {
        if (VirtualAddress.ReadDatagram(read) is { } datagram)
        {
            if (IkeHeader.TryParse(datagram.Payload.Span, out var header, out _))
            {
                Note($"{header.Exchange} answer");
            }

            _wire.Enqueue(() =>
            {
                if (_terminals.TryGetValue(datagram.Destination.Address, out var terminal))
                {
                    ToTerminal(terminal, datagram);
                }
            });
            return;
        }

        _wire.Enqueue(() => OnAcknowledgement(packet, read));
    }

    private void OnAcknowledgement(SendIpv6Packet packet, MobileIpv6Packet read)
    {
        var clear = read.Protocol != IpProtocol.Esp;
        if (!clear)
        {
            Assert.Equal(DropReason.None, _terminalEsp[read.Destination].TryOpen(packet.Packet.Span, Now, out var opened));
            read = MobileIpv6Packet.TryParse(opened.Packet, out var inside, out _) ? inside : throw new InvalidDataException("what was protected cannot be read");
        }

        Note(MobilityMessage.TryParse(read.Payload.Span, out var message, out _) && message is BindingAcknowledgement ack ? $"local acknowledgement {(byte)ack.Status}{(clear ? " in clear" : "")}" : "mobility");
    }

    private void Note(string what)
    {
        if (Log.Count == 0 || Log[^1] != what)
        {
            Log.Add(what);
        }
    }

    private void Settle()
    {
        while (_wire.TryDequeue(out var next))
        {
            next();
        }
    }

    public void ToTerminal(IkeNode terminal, EngineInput input)
    {
        foreach (var datagram in terminal.Tell(input, Now))
        {
            _wire.Enqueue(() => ToGateway(new Ipv6PacketReceived(VirtualAddress.Send(datagram).Packet)));
        }

        foreach (var child in terminal.Installed.Values)
        {
            _terminalEsp[terminal.Address].Install(child, 1);
        }
    }

    private void ToServer(EngineInput input)
    {
        var effects = new EffectSink();
        _server.Handle(input, Now, effects);
        foreach (var effect in effects.Effects)
        {
            switch (effect)
            {
                case SendDatagram datagram:
                    _wire.Enqueue(() => ToGateway(new DatagramReceived(datagram.Source, datagram.Destination, datagram.Payload)));
                    break;
                case CheckPassword check:
                    var right = Encoding.UTF8.GetString(check.Password.Octets) == (check.User == "alice" ? "correct horse battery" : "staple");
                    _wire.Enqueue(() => ToServer(new Sojourn.Engine.Radius.PasswordChecked(check.Number, right)));
                    break;
            }
        }
    }

    private void ToRouter(SendDatagram datagram)
    {
        if (!RouterAnswers)
        {
            return;
        }

        // Its relay agent sends from the server port, from another link.
        var relays = datagram.Source.Port == Dhcpv6Limits.ServerPort;
        var source = relays ? new IPEndPoint(DelegationHarness.Relay, Dhcpv6Limits.ServerPort) : new IPEndPoint(IPAddress.Parse("fe80::1"), Dhcpv6Limits.ClientPort);
        var link = relays ? null : HomeLink;
        foreach (var answer in Delegation.Tell(new DatagramReceived(source, datagram.Destination, datagram.Payload, link)).OfType<SendDatagram>())
        {
            _wire.Enqueue(() => ToGateway(new DatagramReceived(new IPEndPoint(relays ? Router : IPAddress.Parse("fe80::2"), Dhcpv6Limits.ServerPort), source, answer.Payload, link)));
        }
    }
}
