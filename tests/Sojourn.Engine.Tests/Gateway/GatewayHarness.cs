using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;
using Xunit;

namespace Sojourn.Engine.Tests.Gateway;

/// <summary>A correspondent gateway on virtual time and a home agent that speaks to it.</summary>
internal sealed class GatewayHarness
{
    public const string Nai = "alice@home.example";

    public static readonly IPAddress Gateway = IPAddress.Parse("203.0.113.1");
    public static readonly IPAddress Correspondent = IPAddress.Parse("10.40.0.5");
    public static readonly IPAddress HomeAgent = IPAddress.Parse("192.0.2.1");
    public static readonly IPAddress Home = IPAddress.Parse("10.1.0.7");
    public static readonly IPAddress OldAgent = IPAddress.Parse("198.51.100.1");
    public static readonly IPAddress NewAgent = IPAddress.Parse("198.51.100.2");
    public static readonly KeyMaterial Secret = new(Enumerable.Range(1, 32).Select(i => (byte)i).ToArray());
    public static readonly KeyMaterial Root = new(Enumerable.Range(100, 32).Select(i => (byte)i).ToArray());
    public static readonly IVpnProfileEncoding Encoding = new VpnProfileAvps(DiameterDictionary.Default);

    private readonly EffectSink _sink = new();
    private readonly SeededRandom _random = new(8);

    public GatewayHarness(Func<CorrespondentGatewayOptions, CorrespondentGatewayOptions>? change = null, IReadOnlyList<SavedState>? state = null, DateTimeOffset? now = null)
    {
        Now = now ?? Now;
        Options = new CorrespondentGatewayOptions
        {
            Gateway = Gateway,
            Correspondents = [IPNetwork.Parse("10.40.0.0/16")],
            Contracts = [new HomeAgentContract("home", HomeAgent, [IPNetwork.Parse("10.1.0.0/16")], 500, Secret)],
        };
        Options = change?.Invoke(Options) ?? Options;
        Engine = new CorrespondentGateway(Options, Encoding, _random);
        Tell(new EngineStarted(state ?? []));
    }

    public CorrespondentGatewayOptions Options { get; }

    public CorrespondentGateway Engine { get; }

    public DateTimeOffset Now { get; set; } = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);

    public List<Effect> All { get; } = [];

    public BindingAssociation Association { get; } = new(AuthenticationKind.HomeCorrespondent, 500, Secret);

    public IReadOnlyList<Effect> Tell(EngineInput input)
    {
        _sink.Clear();
        Engine.Handle(input, Now, _sink);
        var effects = _sink.Effects.ToArray();
        All.AddRange(effects);
        return effects;
    }

    public IReadOnlyList<Effect> Pass(TimeSpan time)
    {
        var until = Now + time;
        var effects = new List<Effect>();
        while (Engine.NextDeadline is { } next && next <= until)
        {
            Now = next > Now ? next : Now;
            effects.AddRange(Tell(new DeadlineReached()));
        }

        Now = until;
        return effects;
    }

    /// <summary>A profile as the home agent passes it on: the gateway's view (docs/wire-extensions.md section 5).</summary>
    public static VpnProfile Profile(IPAddress? agent = null, uint number = 7, ulong freshness = 1, IPNetwork? source = null, uint spi = 0x1000, KeyMaterial? root = null) => new()
    {
        ProfileNumber = number,
        View = ProfileView.Down,
        Source = source ?? new IPNetwork(Correspondent, 32),
        Destination = new IPNetwork(Home, 32),
        UpTos = 0xB8,
        DownTos = 0x28,
        SecurityType = SecurityType.Esp,
        SourceGateway = Gateway,
        DestinationGateway = agent ?? OldAgent,
        GatewayType = GatewayType.Dynamic,
        UpSpi = spi,
        DownSpi = spi + 0x100,
        Algorithm = IpsecAlgorithm.Aes128Gcm16,
        Keying = new ProfileKeying.Derived(root ?? Root, freshness),
    };

    public BindingUpdate Update(VpnProfile? profile, ushort lifetime = 600, BindingUpdateFlags flags = BindingUpdateFlags.AcknowledgementWanted, IPAddress? home = null, IPAddress? careOf = null, TimeSpan clock = default, BindingAssociation? seal = null, IPAddress? supplier = null)
    {
        var update = new BindingUpdate
        {
            Flags = flags,
            Lifetime = lifetime,
            HomeAddress = home ?? Home,
            CareOfAddress = careOf ?? profile?.DestinationGateway ?? OldAgent,
            Supplier = supplier ?? HomeAgent,
            Identification = Identification.FromTime(Now + clock),
        }.With(new NaiExtension(Nai));
        var key = seal ?? Association;
        return profile is null ? update : update.With(ProjectExtensions.SealedVpnProfile(32473, key.Seal(update.Header(), Encoding.Encode(profile, key.WrappingKey), _random)));
    }

    public IReadOnlyList<Effect> Send(BindingUpdate update, BindingAssociation? association = null, IPAddress? source = null, IPAddress? destination = null) =>
        Send((association ?? Association).Sign(update).ToArray(), source, destination);

    public IReadOnlyList<Effect> Send(byte[] octets, IPAddress? source = null, IPAddress? destination = null) =>
        Tell(new DatagramReceived(new IPEndPoint(source ?? HomeAgent, 434), new IPEndPoint(destination ?? Correspondent, 434), octets));

    /// <summary>The one BA among the effects, checked as a home agent checks it.</summary>
    public BindingAcknowledgement Answer(IEnumerable<Effect> effects)
    {
        var sent = Assert.Single(effects.OfType<SendDatagram>());
        Assert.Equal((new IPEndPoint(Gateway, 434), new IPEndPoint(HomeAgent, 434)), (sent.Source, sent.Destination));
        Assert.True(MobileIpMessage.TryParse(sent.Payload.Span, out BindingAcknowledgement? answer, out var error), error.ToString());
        Assert.Equal(AuthenticationResult.Valid, Association.Check(answer, sent.Payload.Span));
        return answer;
    }

    public long Count(string counter) => All.OfType<CountEvent>().Where(c => c.Counter == counter).Sum(c => c.Amount);

    /// <summary>Bindings in the store.</summary>
    public IReadOnlyList<SavedState> Saved() => [.. Disk().Where(s => s.Key.Table == "gateway.binding")];

    /// <summary>All that a store holds after all effects so far.</summary>
    public IReadOnlyList<SavedState> Disk()
    {
        var state = new Dictionary<StateKey, ReadOnlyMemory<byte>>();
        foreach (var effect in All)
        {
            if (effect is SaveState save)
            {
                state[save.Key] = save.Value;
            }
            else if (effect is DropState drop)
            {
                state.Remove(drop.Key);
            }
        }

        return [.. state.Select(s => new SavedState(s.Key, s.Value))];
    }

    /// <summary>Everything a forged message must leave as it is.</summary>
    public string Picture() => string.Join('\n', Engine.Vpn.Paths.OrderBy(p => p.Id.ToString()).Select(p => p.ToString())
        .Concat(Engine.Nodes.SelectMany(n => n.Bindings.Values).Select(b => b.ToString()))
        .Concat(Saved().Select(s => s.Key + Convert.ToHexString(s.Value.Span))));
}

internal sealed class SeededRandom(int seed) : IRandomSource
{
    private readonly Random _random = new(seed);

    public void Fill(Span<byte> destination) => _random.NextBytes(destination);
}
