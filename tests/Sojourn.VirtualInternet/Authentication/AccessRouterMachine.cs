using System.Net;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Wire.Dhcpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Sojourn.Wire.Udp;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>A visited network: access router with its advertisements, and relay agent. It never crashes.</summary>
internal sealed class AccessRouterMachine(TerminalNetwork network, string name, byte number) : Machine(network, name)
{
    private const string Link = "link";
    private static readonly IPAddress s_allNodes = IPAddress.Parse("ff02::1");

    private readonly IPNetwork _prefix = IPNetwork.Parse($"2001:db8:f:{number:x}::/64");
    private readonly IPAddress _onLink = IPAddress.Parse($"fe80::a:{number:x}");
    private readonly LinkAddress _linkAddress = new([2, 0, 0, 0, 9, number]);

    /// <summary>Who was heard from which address: the neighbour cache.</summary>
    private readonly Dictionary<IPAddress, (TerminalMachine Station, string Name)> _neighbours = [];

    /// <summary>Towards the core; the relay agent speaks from it.</summary>
    public IPAddress Address { get; } = IPAddress.Parse($"2001:db8:e::{number:x}");

    public IPNetwork Prefix => _prefix;

    public override IEngine Build(IRandomSource random) => new AccessRouterEngine(
        new AdvertisingRouter([new AdvertisedLink { Interface = Link, Prefixes = [_prefix], Interval = TimeSpan.FromSeconds(6) }], random),
        new RelayAgent(new RelayAgentOptions { Links = [new RelayedLink(Link, null)], Servers = [AuthenticationWorld.Router] }));

    public override bool Takes(IPAddress destination) => destination.Equals(Address) || _prefix.Contains(destination);

    public override void Receive(byte[] packet) => Network.ToLink(this, this, packet, _linkAddress);

    public IEnumerable<(TerminalMachine Station, string Name)> Stations() =>
        Network.Nodes.OfType<TerminalMachine>().SelectMany(station => station.Links.Where(link => link.Value == this).Select(link => (station, link.Key)));

    public (TerminalMachine Station, string Name)? Neighbour(IPAddress address) => _neighbours.TryGetValue(address, out var found) ? found : null;

    public void FromLink(TerminalMachine station, string name, byte[] packet)
    {
        if (!IPv6Header.TryParse(packet, out var header, out _) || !IPv6ExtensionWalk.TryFindUpper(header, out var upper))
        {
            throw Network.Violation($"{station} sends what cannot be read");
        }

        var (source, destination) = (header.SourceAddress, header.DestinationAddress);
        if (!source.Equals(IPAddress.IPv6Any))
        {
            _neighbours[source] = (station, name);
        }

        if (upper.UpperProtocol == IpProtocol.Icmpv6 && Icmpv6Message.TryParse(packet.AsSpan(upper.UpperOffset), out var message, out _) && message is RouterSolicitation or NeighborSolicitation)
        {
            OnNeighbourDiscovery(message, source);
        }
        else if (destination.Equals(DelegatingRouter.AllRelayAgentsAndServers))
        {
            var payload = packet[(upper.UpperOffset + UdpHeader.HeaderLength)..];
            Network.Input(this, new DatagramReceived(new IPEndPoint(source, Dhcpv6Limits.ClientPort), new IPEndPoint(destination, Dhcpv6Limits.ServerPort), payload, Link, station.LinkAddress(name)));
        }
        else if (!destination.IsIPv6Multicast && !destination.IsIPv6LinkLocal)
        {
            Network.Route(this, packet);
        }
    }

    public override bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case AdvertiseRouter advertise:
                ToLink(s_allNodes, Icmpv6Message.TryParse(advertise.Message.Span, out var message, out _) ? message : throw Network.Violation($"{this} advertises what cannot be read"));
                return true;
            case SendDatagram { Interface: Link } toClient:
                Network.ToLink(this, this, TerminalNetwork.Udp(_onLink, toClient.Destination.Address, Dhcpv6Limits.ServerPort, (ushort)toClient.Destination.Port, toClient.Payload.Span), _linkAddress);
                return true;
            case SendDatagram toServer:
                Network.SendUdp(this, Address, toServer);
                return true;
            default:
                return false;
        }
    }

    private void OnNeighbourDiscovery(Icmpv6Message message, IPAddress source)
    {
        if (message is RouterSolicitation)
        {
            Network.Input(this, new RouterSolicited(Link));
        }
        else if (message is NeighborSolicitation { Target: var target } && target.Equals(_onLink) && !source.Equals(IPAddress.IPv6Any))
        {
            ToLink(source, new NeighborAdvertisement(NeighborAdvertisementFlags.Solicited | NeighborAdvertisementFlags.Override | NeighborAdvertisementFlags.Router, _onLink)
            {
                Options = NeighborDiscoveryOptions.Of(new LinkLayerAddressOption(true, _linkAddress.ToArray())),
            });
        }
    }

    private void ToLink(IPAddress destination, Icmpv6Message message) => Network.ToLink(
        this, this,
        new MobileIpv6Packet { Source = _onLink, Destination = destination, HopLimit = 255, Protocol = IpProtocol.Icmpv6, Payload = message.ToArray(_onLink, destination) }.ToArray(),
        _linkAddress);

    /// <summary>Datagrams are the relay agent's, the rest the advertising router's.</summary>
    private sealed class AccessRouterEngine(AdvertisingRouter advertising, RelayAgent relay) : IEngine
    {
        public DateTimeOffset? NextDeadline => advertising.NextDeadline;

        public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects) => (input is DatagramReceived ? (IEngine)relay : advertising).Handle(input, now, effects);
    }
}

/// <summary>A host anywhere, which answers.</summary>
internal sealed class CorrespondentMachine(TerminalNetwork network) : Machine(network, "cn")
{
    public override IEngine Build(IRandomSource random) => new IdleEngine();

    public override bool Takes(IPAddress destination) => destination.Equals(AuthenticationWorld.Correspondent);

    public override void Receive(byte[] packet) => Network.Delivered(this, packet, reply => Network.Route(this, reply));
}
