using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Wire.Dhcpv6;
using Xunit;

namespace Sojourn.Engine.Tests.Dhcpv6;

/// <summary>What a client sees of an IA_PD in an answer.</summary>
internal sealed record Answered(Dhcpv6MessageType Type, Dhcpv6Status Status, Dhcpv6Status InAssociation, DelegatedPrefix? Prefix, uint T1, uint T2)
{
    public bool NoPrefix => InAssociation == Dhcpv6Status.NoPrefixAvailable && Prefix is null;
}

/// <summary>
/// A delegating router on virtual time with a scripted authority and clients written as conversations. Every reply is checked
/// against what was stored before it.
/// </summary>
internal sealed class DelegationHarness : IPrefixIdentities, IPrefixLeases
{
    public const string Link = "acc0";
    public static readonly IPAddress Relay = IPAddress.Parse("2001:db8:5::1");
    public static readonly Duid Mn1 = Duid.OfLinkLayer(1, [2, 0, 0, 0, 0, 1]);
    public static readonly Duid Mn2 = Duid.OfLinkLayer(1, [2, 0, 0, 0, 0, 2]);

    private readonly EffectSink _sink = new();
    private readonly DelegatingRouterOptions _options;
    private uint _transaction = 100;

    public DelegationHarness(Func<DelegatingRouterOptions, DelegatingRouterOptions>? change = null)
    {
        var options = new DelegatingRouterOptions
        {
            Pools = [new PrefixPoolOptions(IPNetwork.Parse("2001:db8:8000::/48"), 64)],
            Interfaces = [Link],
            Relays = [Relay],
            PreferredLifetime = TimeSpan.FromSeconds(600),
            ValidLifetime = TimeSpan.FromSeconds(1200),
            Routes = DelegatedRoutes.NextHop,
            PermissionPolling = TimeSpan.Zero,
        };
        _options = change?.Invoke(options) ?? options;
        Know(Mn1, 1, "mn1.home.example");
        Know(Mn2, 1, "mn2.home.example");
        Approved.UnionWith(["mn1.home.example", "mn2.home.example"]);
        Router = Start();
    }

    public DelegatingRouter Router { get; private set; }

    public DateTimeOffset Now { get; set; } = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);

    public Dictionary<AssociationKey, PrefixIdentity> Identities { get; } = [];

    /// <summary>Identifiers whose flag is set.</summary>
    public HashSet<string> Approved { get; } = [];

    public DateTimeOffset? NotAfter { get; set; }

    /// <summary>False: queries stay open until <see cref="AnswerQueries"/>, or for ever.</summary>
    public bool AuthorityAnswers { get; set; } = true;

    public List<AskPermission> Queries { get; } = [];

    public List<AskPermission> Open { get; } = [];

    public Dictionary<AssociationKey, PrefixLease> Stored { get; } = [];

    public List<Effect> All { get; } = [];

    public Dictionary<string, long> Counters { get; } = [];

    /// <summary>Routes as they stand.</summary>
    public Dictionary<IPNetwork, DelegatedRoute> Routes { get; } = [];

    public List<AllocationEnded> Ended { get; } = [];

    public List<SavedState> State { get; } = [];

    public void Know(Duid client, uint iaid, string identifier, params string[] relays)
    {
        var key = new AssociationKey(client, iaid);
        Identities[key] = new PrefixIdentity(key, identifier, IdentityOrigin.Provisioned, relays);
    }

    PrefixIdentity? IPrefixIdentities.Find(AssociationKey key) => Identities.GetValueOrDefault(key);

    IReadOnlyList<PrefixLease> IPrefixLeases.LoadAll() => [.. Stored.Values];

    /// <summary>The router dies and comes back with what it stored.</summary>
    public void Restart() => Router = Start();

    public IReadOnlyList<Effect> Tell(EngineInput input)
    {
        _sink.Clear();
        Router.Handle(input, Now, _sink);
        var effects = _sink.Effects.ToArray();
        foreach (var effect in effects)
        {
            Apply(effect);
        }

        if (AuthorityAnswers)
        {
            return [.. effects, .. AnswerQueries()];
        }

        return effects;
    }

    /// <summary>The authority answers what it was asked.</summary>
    public IReadOnlyList<Effect> AnswerQueries()
    {
        var effects = new List<Effect>();
        while (Open.Count > 0)
        {
            var query = Open[0];
            Open.RemoveAt(0);
            effects.AddRange(Tell(new PermissionAnswered(query.Number, Approved.Contains(query.Identifier)
                ? new PermissionDecision(true, PermissionReason.Ok, "01ab", NotAfter)
                : PermissionDecision.Refused(PermissionReason.FlagClear))));
        }

        return effects;
    }

    /// <summary>Lets time pass, waking the router at each of its deadlines.</summary>
    public IReadOnlyList<Effect> Pass(TimeSpan time)
    {
        var effects = new List<Effect>();
        var end = Now + time;
        while (Router.NextDeadline is { } next && next <= end)
        {
            Now = next > Now ? next : Now;
            effects.AddRange(Tell(new DeadlineReached()));
        }

        Now = end;
        return effects;
    }

    public Answered? Solicit(Duid client, uint iaid = 1, string? at = null) => Answer(Send(Dhcpv6MessageType.Solicit, client, iaid, at: at));

    public Answered? Request(Duid client, uint iaid = 1, DelegatedPrefix? named = null, string? at = null) => Answer(Send(Dhcpv6MessageType.Request, client, iaid, named, at));

    /// <summary>Solicit, Advertise, Request, Reply.</summary>
    public Answered Delegate(Duid client, uint iaid = 1, string? at = null)
    {
        var advertise = Solicit(client, iaid, at);
        Assert.NotNull(advertise?.Prefix);
        var reply = Request(client, iaid, advertise.Prefix, at);
        Assert.NotNull(reply?.Prefix);
        Assert.Equal(advertise.Prefix.Value.Prefix, reply.Prefix.Value.Prefix);
        return reply;
    }

    /// <param name="at">Null = on the link; else the relay agent's Interface-Id.</param>
    public IReadOnlyList<Effect> Send(Dhcpv6MessageType type, Duid client, uint iaid = 1, DelegatedPrefix? named = null, string? at = null, uint? transaction = null, Duid? server = null) =>
        Tell(Carry(Message(type, client, iaid, named, transaction, server), client, at));

    public byte[] Message(Dhcpv6MessageType type, Duid client, uint iaid = 1, DelegatedPrefix? named = null, uint? transaction = null, Duid? server = null)
    {
        var writer = new Dhcpv6Writer(new byte[1024]);
        writer.Message(type, transaction ?? ++_transaction);
        writer.Option(Dhcpv6OptionCode.ClientIdentifier, client.Octets);
        if (Dhcpv6MessageRule.Of(type).Server == Presence.Required)
        {
            writer.Option(Dhcpv6OptionCode.ServerIdentifier, (server ?? Router.Duid).Octets);
        }

        var association = writer.BeginPrefixAssociation(iaid, 0, 0);
        if (named is { } prefix)
        {
            writer.Prefix(prefix);
        }

        writer.End(association);
        writer.Option(Dhcpv6OptionCode.ElapsedTime, [0, 0]);
        return writer.Written.ToArray();
    }

    public static DatagramReceived Carry(byte[] message, Duid client, string? at)
    {
        var source = new IPAddress([0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, .. client.Octets[^4..]]);
        if (at is null)
        {
            return new DatagramReceived(
                new IPEndPoint(source, Dhcpv6Limits.ClientPort), new IPEndPoint(DelegatingRouter.AllRelayAgentsAndServers, Dhcpv6Limits.ServerPort), message, Link);
        }

        var writer = new Dhcpv6Writer(new byte[2048]);
        writer.Relay(Dhcpv6MessageType.RelayForward, 0, IPAddress.Parse("2001:db8:a::1").GetAddressBytes(), source.GetAddressBytes());
        writer.Option(Dhcpv6OptionCode.InterfaceId, System.Text.Encoding.ASCII.GetBytes(at));
        writer.Option(Dhcpv6OptionCode.RelayMessage, message);
        return new DatagramReceived(
            new IPEndPoint(Relay, Dhcpv6Limits.ServerPort), new IPEndPoint(IPAddress.Parse("2001:db8:5::2"), Dhcpv6Limits.ServerPort), writer.Written.ToArray(), "core0");
    }

    /// <summary>The one message among effects, out of its relay headers; null = none was sent.</summary>
    public static Answered? Answer(IEnumerable<Effect> effects)
    {
        var sent = effects.OfType<SendDatagram>().ToList();
        if (sent.Count == 0)
        {
            return null;
        }

        ReadOnlySpan<byte> octets = Assert.Single(sent).Payload.Span;
        while (RelayMessage.Is(octets))
        {
            Assert.True(RelayMessage.TryParse(octets, out var relay, out _));
            Assert.Equal(Dhcpv6MessageType.RelayReply, relay.Type);
            octets = relay.Relayed;
        }

        Assert.True(Dhcpv6Message.TryParse(octets, out var message, out var error), error.ToString());
        Assert.True(Dhcpv6MessageRule.Allows(message, fromClient: false, out error), error.ToString());
        if (!message.Options.TryFind(Dhcpv6OptionCode.PrefixDelegation, out var data))
        {
            return new Answered(message.Type, message.Options.Status, Dhcpv6Status.Success, null, 0, 0);
        }

        var association = new PrefixAssociation(data);
        return new Answered(
            message.Type, message.Options.Status, association.Options.Status, association.Options.TryFind(Dhcpv6OptionCode.Prefix, out var prefix) ? DelegatedPrefix.Read(prefix) : null,
            association.T1, association.T2);
    }

    private DelegatingRouter Start()
    {
        Open.Clear();
        Router = new DelegatingRouter(_options, this, this, new SeededRandom(7));
        Tell(new EngineStarted([.. State]));
        return Router;
    }

    private void Apply(Effect effect)
    {
        All.Add(effect);
        switch (effect)
        {
            case AskPermission ask:
                Queries.Add(ask);
                Open.Add(ask);
                break;
            case StoreLease store:
                Stored[store.Lease.Key] = store.Lease;
                break;
            case RemoveLease remove:
                Stored.Remove(remove.Key);
                break;
            case SetDelegatedRoutes all:
                Routes.Clear();
                all.Routes.ToList().ForEach(route => Routes.Add(route.Prefix, route));
                break;
            case AddDelegatedRoute add:
                Routes[add.Route.Prefix] = add.Route;
                break;
            case RemoveDelegatedRoute remove:
                Assert.True(Routes.Remove(remove.Prefix));
                break;
            case AllocationEnded ended:
                Ended.Add(ended);
                break;
            case SaveState save:
                State.RemoveAll(state => state.Key == save.Key);
                State.Add(new SavedState(save.Key, save.Value));
                break;
            case CountEvent count:
                Counters[count.Counter] = Counters.GetValueOrDefault(count.Counter) + count.Amount;
                break;
            case SendDatagram when Answer([effect]) is { Type: Dhcpv6MessageType.Reply, Prefix: { Valid: > 0 } promised }:
                // What a Reply promises is stored before it, and the route stands.
                Assert.Contains(Stored.Values, lease => lease.IsAllocated && lease.Prefix.Equals(promised.Prefix) && lease.ValidUntil - Now >= TimeSpan.FromSeconds(promised.Valid));
                Assert.True(_options.Routes == DelegatedRoutes.None || Routes.ContainsKey(promised.Prefix));
                break;
        }
    }
}

internal sealed class SeededRandom(int seed) : IRandomSource
{
    private readonly Random _random = new(seed);

    public void Fill(Span<byte> destination) => _random.NextBytes(destination);
}
