using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Xunit;

namespace Sojourn.Engine.Tests.Ikev2;

/// <summary>A datagram on the scripted wire.</summary>
internal sealed record Datagram(IPEndPoint Source, IPEndPoint Destination, ReadOnlyMemory<byte> Payload)
{
    /// <summary>As it was sent: the sender's own port decides.</summary>
    public bool HasMarker => Source.Port == 4500;

    /// <summary>The IKE message; null for a keep-alive.</summary>
    public ReadOnlyMemory<byte>? Ike => HasMarker ? Payload.Length > 4 ? Payload[4..] : null : Payload;

    public IkeHeader Header => IkeHeader.TryParse(Ike!.Value.Span, out var header, out var error) ? header : throw new InvalidOperationException(error.ToString());

    public bool Is(IkeExchange exchange, bool response) => Ike is not null && Header.Exchange == exchange && Header.IsResponse == response;
}

/// <summary>One engine with what it has said so far.</summary>
internal sealed class IkeNode(string name, IkeOptions options, int seed, IPAddress address)
{
    private readonly EffectSink _sink = new();

    public string Name { get; } = name;

    public IkeEngine Engine { get; } = new(options, new SeededRandom(seed));

    public IPAddress Address { get; set; } = address;

    public HashSet<IPAddress> Addresses { get; } = [address];

    public List<Effect> All { get; } = [];

    public Dictionary<string, long> Counters { get; } = [];

    /// <summary>What the effects say is installed.</summary>
    public Dictionary<long, ChildSa> Installed { get; } = [];

    public HashSet<long> Up { get; } = [];

    public IkeSaView Sa => Assert.Single(Engine.IkeSas);

    public ChildSa Child => Assert.Single(Engine.ChildSas);

    public long Counter(string counter) => Counters.GetValueOrDefault(counter);

    public IEnumerable<T> Of<T>()
        where T : Effect => All.OfType<T>();

    public List<SendDatagram> Tell(EngineInput input, DateTimeOffset now)
    {
        _sink.Clear();
        Engine.Handle(input, now, _sink);
        var sent = new List<SendDatagram>();
        foreach (var effect in _sink.Effects)
        {
            All.Add(effect);
            switch (effect)
            {
                case SendDatagram datagram:
                    sent.Add(datagram);
                    break;
                case CountEvent count:
                    Counters[count.Counter] = Counter(count.Counter) + count.Amount;
                    break;
                case IkeSaUp up:
                    Assert.True(Up.Add(up.Sa.Id), "an IKE SA comes up twice");
                    break;
                case IkeSaDown down:
                    Up.Remove(down.IkeSa);
                    break;
                case ChildSaUp up:
                    Installed.Add(up.Sa.Id, up.Sa);
                    break;
                case ChildSaMoved moved:
                    Assert.True(Installed.ContainsKey(moved.Sa.Id), "a child that is not there moves");
                    Installed[moved.Sa.Id] = moved.Sa;
                    break;
                case ChildSaDown down:
                    Assert.True(Installed.Remove(down.ChildSa), "a child goes that is not there");
                    break;
            }
        }

        return sent;
    }
}

/// <summary>What happens to a datagram: how long it takes for each of its copies; none = lost.</summary>
internal delegate IEnumerable<TimeSpan> Fate(Datagram datagram);

/// <summary>
/// Two engines (more where a test adds them) over a scripted network on virtual time. Each end keeps the other's mirror image:
/// <see cref="AssertAgree"/> holds both against each other and against what their effects have said.
/// </summary>
internal sealed class IkeNetwork
{
    public static readonly IPAddress Terminal = IPAddress.Parse("192.0.2.1"), Agent = IPAddress.Parse("198.51.100.1");
    public static readonly TimeSpan Delay = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan[] s_once = [Delay];

    private readonly PriorityQueue<Datagram, (DateTimeOffset At, long Order)> _inFlight = new();
    private long _order;

    public IkeNetwork(IkeOptions terminal, IkeOptions agent, int seed = 1)
    {
        A = new IkeNode("terminal", terminal, seed, Terminal);
        B = new IkeNode("agent", agent, seed + 1000, Agent);
        Nodes = [A, B];
    }

    public IkeNode A { get; }

    public IkeNode B { get; }

    public List<IkeNode> Nodes { get; }

    public DateTimeOffset Now { get; private set; } = TestAuthority.Epoch;

    /// <summary>Everything that was sent, before its fate.</summary>
    public List<Datagram> Sent { get; } = [];

    public Fate Fate { get; set; } = _ => s_once;

    /// <summary>A NAT or an attacker on the way.</summary>
    public Func<Datagram, Datagram> Change { get; set; } = d => d;

    public void Tell(IkeNode node, EngineInput input)
    {
        foreach (var datagram in node.Tell(input, Now))
        {
            Post(new Datagram(datagram.Source, datagram.Destination, datagram.Payload));
        }
    }

    public void Post(Datagram datagram)
    {
        Sent.Add(datagram);
        foreach (var delay in Fate(datagram))
        {
            _inFlight.Enqueue(Change(datagram), (Now + delay, _order++));
        }
    }

    /// <summary>Puts a datagram on the wire that nobody has sent.</summary>
    public void Inject(Datagram datagram) => _inFlight.Enqueue(datagram, (Now + Delay, _order++));

    /// <summary>Runs until nothing is left to happen within <paramref name="time"/>.</summary>
    public void Run(TimeSpan time)
    {
        var end = Now + time;
        for (var steps = 0; ; steps++)
        {
            Assert.True(steps < 20_000, "it does not come to rest");
            var due = Nodes.Where(n => n.Engine.NextDeadline <= end).MinBy(n => n.Engine.NextDeadline);
            var arrives = _inFlight.TryPeek(out _, out var next) && next.At <= end ? next.At : (DateTimeOffset?)null;
            if (due is null && arrives is null)
            {
                Now = end;
                return;
            }

            if (arrives is not null && (due is null || arrives <= due.Engine.NextDeadline))
            {
                var datagram = _inFlight.Dequeue();
                Now = arrives.Value > Now ? arrives.Value : Now;
                if (Nodes.FirstOrDefault(n => n.Addresses.Contains(datagram.Destination.Address)) is { } node)
                {
                    Tell(node, new DatagramReceived(datagram.Source, datagram.Destination, datagram.Payload));
                }
            }
            else
            {
                Now = due!.Engine.NextDeadline!.Value > Now ? due.Engine.NextDeadline.Value : Now;
                Tell(due, new DeadlineReached());
            }
        }
    }

    public void Run(double seconds = 1) => Run(TimeSpan.FromSeconds(seconds));

    public IkeNetwork Connect(string peer = "agent")
    {
        Tell(A, new InitiateIke(peer, A.Address));
        Run();
        return this;
    }

    /// <summary>Both ends have the same IKE SAs and child SAs, mirrored, and their effects say so too.</summary>
    public void AssertAgree(int ikeSas, int children)
    {
        Assert.Equal(ikeSas, A.Engine.IkeSas.Count());
        Assert.Equal(A.Engine.IkeSas.Select(s => (s.InitiatorSpi, s.ResponderSpi)).Order(), B.Engine.IkeSas.Select(s => (s.InitiatorSpi, s.ResponderSpi)).Order());
        Assert.Equal(children, A.Engine.ChildSas.Count());
        Assert.Equal(children, B.Engine.ChildSas.Count());
        foreach (var mine in A.Engine.ChildSas)
        {
            var theirs = Assert.Single(B.Engine.ChildSas, c => c.Outbound.Spi == mine.Inbound.Spi);
            Assert.Equal(mine.Outbound.Spi, theirs.Inbound.Spi);
            Assert.Equal(mine.Inbound.Keys, theirs.Outbound.Keys);
            Assert.Equal(mine.Outbound.Keys, theirs.Inbound.Keys);
            Assert.NotEqual(mine.Inbound.Keys, mine.Outbound.Keys);
            Assert.Equal((mine.Inbound.Algorithm, mine.Inbound.ExtendedSequence, mine.Mode), (theirs.Outbound.Algorithm, theirs.Outbound.ExtendedSequence, theirs.Mode));
            Assert.Equal(mine.LocalSelectors, theirs.RemoteSelectors);
            Assert.Equal(mine.RemoteSelectors, theirs.LocalSelectors);
            Assert.Equal((mine.Inbound.Source, mine.Inbound.Destination), (theirs.Outbound.Source, theirs.Outbound.Destination));
            Assert.Equal(mine.Udp is null, theirs.Udp is null);
        }

        foreach (var node in new[] { A, B })
        {
            Assert.Equal(node.Engine.ChildSas.Select(c => c.Id).Order(), node.Installed.Keys.Order());
            Assert.Equal(node.Engine.IkeSas.Select(s => s.Id).Order(), node.Up.Order());
            Assert.All(node.Engine.ChildSas, c => Assert.Contains(c.IkeSa, node.Up));
        }
    }
}

internal sealed class SeededRandom(int seed) : IRandomSource
{
    private readonly Random _random = new(seed);

    public void Fill(Span<byte> destination) => _random.NextBytes(destination);
}

/// <summary>Configurations of a terminal and a home agent that fit each other.</summary>
internal static class IkePair
{
    public const string TerminalName = "mn1.home.example", AgentName = "ha.home.example";
    public static readonly KeyMaterial Secret = new("a shared secret of some length"u8);
    public static readonly IPAddress HomeAddress = IPAddress.Parse("2001:db8:a::1"), HomeAgentAddress = IPAddress.Parse("2001:db8:a::fffe");

    public static readonly IkeChildOptions TerminalChild = new()
    {
        Name = "net",
        LocalSelectors = [TrafficSelector.Of(IPNetwork.Parse("10.1.0.0/24"))],
        RemoteSelectors = [TrafficSelector.Of(IPNetwork.Parse("192.168.50.0/24"))],
    };

    public static readonly IkeChildOptions AgentChild = TerminalChild with { LocalSelectors = TerminalChild.RemoteSelectors, RemoteSelectors = TerminalChild.LocalSelectors };

    public static IkePeer TerminalPeer { get; } = new()
    {
        Name = "agent",
        Address = IkeNetwork.Agent,
        LocalIdentity = IkeIdentity.OfName(TerminalName),
        RemoteIdentity = IkeIdentity.OfName(AgentName),
        PreSharedKey = Secret,
        Children = [TerminalChild],
    };

    public static IkePeer AgentPeer { get; } = new()
    {
        Name = "terminal",
        LocalIdentity = IkeIdentity.OfName(AgentName),
        RemoteIdentity = IkeIdentity.OfName(TerminalName),
        PreSharedKey = Secret,
        Children = [AgentChild],
    };

    public static IkePeer WithCertificate(this IkePeer peer, IkeCredential credential, TrustAnchors? trust = null) =>
        peer with { PreSharedKey = null, Credential = credential, Trust = trust ?? TestAuthority.Home.Trust };

    public static IkeOptions Options(params IkePeer[] peers) => new() { Peers = peers, ExportKeys = true };

    /// <summary>A network of two, each with one peer, changed as the test wants.</summary>
    public static IkeNetwork Network(Func<IkePeer, IkePeer>? terminal = null, Func<IkePeer, IkePeer>? agent = null, Func<IkeOptions, IkeOptions>? options = null, int seed = 1)
    {
        var (a, b) = (Options(terminal?.Invoke(TerminalPeer) ?? TerminalPeer), Options(agent?.Invoke(AgentPeer) ?? AgentPeer));
        return new IkeNetwork(options?.Invoke(a) ?? a, options?.Invoke(b) ?? b, seed);
    }

    /// <summary>The same with certificates of one kind of key.</summary>
    public static IkeNetwork Certified(string kind = "p256", Func<IkePeer, IkePeer>? terminal = null, Func<IkePeer, IkePeer>? agent = null, Func<IkeOptions, IkeOptions>? options = null)
    {
        IkePeer Same(IkePeer peer) => peer;
        return Network(
            p => (terminal ?? Same)(p.WithCertificate(TestAuthority.Home.Issue(TerminalName, kind))),
            p => (agent ?? Same)(p.WithCertificate(TestAuthority.Home.Issue(AgentName, kind))), options);
    }
}
