using System.Net;
using System.Text;
using Sojourn.Engine.Eap;
using Sojourn.Engine.Radius;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Radius;

namespace Sojourn.Engine.Tests.Radius;

/// <summary>Peers, an authenticator that lets EAP pass, and authentication servers, joined by hand; packets may be lost.</summary>
internal sealed class AccessNetwork
{
    public static readonly KeyMaterial Secret = new("a secret of sixteen octets"u8);
    private static readonly IPEndPoint s_gateway = new(IPAddress.Parse("192.0.2.1"), 40000);

    private readonly Dictionary<IPEndPoint, RadiusServer> _servers = [];
    private readonly Queue<DatagramReceived> _wire = new();
    private readonly EffectSink _effects = new();

    public AccessNetwork(params RadiusServerOptions?[] servers)
    {
        var addresses = new List<RadiusServerAddress>();
        for (var i = 0; i < servers.Length; i++)
        {
            var address = new IPEndPoint(IPAddress.Parse($"192.0.2.{10 + i}"), RadiusLimits.AuthenticationPort);
            addresses.Add(new RadiusServerAddress($"as{i + 1}", address, Secret));
            if (servers[i] is { } options)
            {
                _servers[address] = new RadiusServer(options, SystemRandomSource.Instance);
            }
        }

        Client = new RadiusClient(new RadiusClientOptions { Servers = addresses, Local = s_gateway, Name = "gw" }, SystemRandomSource.Instance);
        Authenticator = new EapPassThrough(Client);
    }

    public static Dictionary<string, string> Passwords { get; } = new() { ["alice"] = "correct horse battery", ["bob"] = "staple" };

    public DateTimeOffset Now { get; set; } = DateTimeOffset.UtcNow;

    public RadiusClient Client { get; }

    public EapPassThrough Authenticator { get; }

    public Dictionary<string, long> Counters { get; } = [];

    public List<EngineEvent> Events { get; } = [];

    /// <summary>Users whose passwords were asked for, in order.</summary>
    public List<string> Checked { get; } = [];

    /// <summary>Every datagram that was sent, lost or not.</summary>
    public List<SendDatagram> Sent { get; } = [];

    /// <summary>Datagrams that the wire loses, by their place in <see cref="Sent"/>.</summary>
    public HashSet<int> Lost { get; } = [];

    public List<RadiusOutcome> Outcomes { get; } = [];

    public static RadiusServerOptions ServerOptions(TestCredentials ca, bool users = true) => new()
    {
        Clients = [new RadiusClientEntry("gw", new IPNetwork(s_gateway.Address, 32), Secret)],
        Tls = ca.Context("as.home.example"),
        Users = users ? [new AccessUser("alice", "mn1.home.example"), new AccessUser("bob")] : null,
        FragmentLength = 300,
    };

    public static EapPeerOptions Peer(TestCredentials ca, string user, string password) => new()
    {
        OuterIdentity = "anonymous",
        Methods = [EapType.Ttls],
        Tls = ca.Context(),
        ServerName = "as.home.example",
        User = user,
        Password = new KeyMaterial(Encoding.UTF8.GetBytes(password)),
        FragmentLength = 200,
    };

    public int Counter(string name) => (int)Counters.GetValueOrDefault(name);

    /// <summary>Carries a whole conversation and gives the verdict; null when it hangs.</summary>
    public AccessVerdict? Run(EapPeer peer, string station = "02-00-00-00-00-01")
    {
        var identity = peer.Receive(new EapPacket(EapCode.Request, 1, EapType.Identity, default), Now)!;
        if (Authenticator.Begin(identity, [RadiusAttribute.OfText(RadiusAttributeType.CallingStationId, station)], Now, _effects) is not { } conversation)
        {
            return null;
        }

        for (var round = 0; round < 100; round++)
        {
            var seen = Outcomes.Count;
            Settle();
            if (Outcomes.Count == seen)
            {
                if (Client.NextDeadline is not { } next)
                {
                    return null;
                }

                Advance(next - Now);
                if (Outcomes.Count == seen)
                {
                    continue;
                }
            }

            var relayed = Authenticator.Take(Outcomes[^1])!;
            Assert(relayed.Conversation == conversation);
            var response = relayed.Packet is { } packet ? peer.Receive(packet, Now) : null;
            if (relayed.Verdict is { } verdict)
            {
                return verdict;
            }

            if (response is null || !Authenticator.Continue(conversation, response, Now, _effects))
            {
                return null;
            }
        }

        return null;
    }

    /// <summary>Hands a datagram to the first server, as if it came from <paramref name="source"/>.</summary>
    public IReadOnlyList<SendDatagram> Inject(byte[] octets, IPEndPoint? source = null)
    {
        var (address, server) = _servers.First();
        var effects = new EffectSink();
        server.Handle(new DatagramReceived(source ?? s_gateway, address, octets), Now, effects);
        Collect(effects, address);
        var answers = effects.Effects.OfType<SendDatagram>().ToList();
        _wire.Clear();
        return answers;
    }

    public long? Ask(IReadOnlyList<RadiusAttribute> attributes, string? password = null)
    {
        var number = Client.Send(attributes, null, Now, _effects, password is null ? null : new KeyMaterial(Encoding.UTF8.GetBytes(password)));
        Settle();
        return number;
    }

    public void Advance(TimeSpan by)
    {
        Now += by;
        Outcomes.AddRange(Client.Advance(Now, _effects));
        foreach (var (address, server) in _servers)
        {
            if (server.NextDeadline <= Now)
            {
                var effects = new EffectSink();
                server.Handle(new DeadlineReached(), Now, effects);
                Collect(effects, address);
            }
        }

        Settle();
    }

    private void Settle()
    {
        do
        {
            var from = _effects.Effects.ToList();
            _effects.Clear();
            Take(from);
            if (_wire.TryDequeue(out var datagram))
            {
                if (_servers.TryGetValue(datagram.Destination, out var server))
                {
                    var effects = new EffectSink();
                    server.Handle(datagram, Now, effects);
                    Collect(effects, datagram.Destination);
                }
                else if (datagram.Destination.Equals(s_gateway) && Client.Receive(datagram, _effects) is { } outcome)
                {
                    Outcomes.Add(outcome);
                }
            }
        }
        while (_wire.Count > 0 || _effects.Effects.Count > 0);
    }

    private void Collect(EffectSink effects, IPEndPoint server)
    {
        Take(effects.Effects);
        foreach (var check in effects.Effects.OfType<CheckPassword>())
        {
            Checked.Add(check.User);
            var more = new EffectSink();
            var right = Passwords.GetValueOrDefault(check.User) == Encoding.UTF8.GetString(check.Password.Octets);
            check.Password.Wipe();
            _servers[server].Handle(new Sojourn.Engine.Radius.PasswordChecked(check.Number, right), Now, more);
            Take(more.Effects);
        }
    }

    private void Take(IEnumerable<Effect> effects)
    {
        foreach (var effect in effects)
        {
            switch (effect)
            {
                case SendDatagram datagram:
                    Sent.Add(datagram);
                    if (!Lost.Contains(Sent.Count - 1))
                    {
                        _wire.Enqueue(new DatagramReceived(datagram.Source, datagram.Destination, datagram.Payload));
                    }

                    break;
                case CountEvent count:
                    Counters[count.Counter] = Counters.GetValueOrDefault(count.Counter) + count.Amount;
                    break;
                case Report report:
                    Events.Add(report.Event);
                    break;
            }
        }
    }

    private static void Assert(bool holds) => Xunit.Assert.True(holds);
}
