using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Wire.Dhcpv6;
using Xunit;

namespace Sojourn.Engine.Tests.Dhcpv6;

/// <summary>A message the client sent.</summary>
internal sealed record Asked(Dhcpv6MessageType Type, uint Transaction, DateTimeOffset At, byte[] Octets)
{
    public Dhcpv6Message Message => Dhcpv6Message.TryParse(Octets, out var message, out var error) ? message : throw new InvalidOperationException(error.ToString());

    /// <summary>Hundredths of a second.</summary>
    public int Elapsed => Message.Options.TryFind(Dhcpv6OptionCode.ElapsedTime, out var data) ? BinaryPrimitives.ReadUInt16BigEndian(data) : -1;

    public Duid? Server => Duid.TryParse(Message.ServerIdentifier, out var server, out _) ? server : null;

    public IPNetwork? Prefix =>
        Message.Options.TryFind(Dhcpv6OptionCode.PrefixDelegation, out var data) && new PrefixAssociation(data).Options.TryFind(Dhcpv6OptionCode.Prefix, out var prefix) ? DelegatedPrefix.Read(prefix).Prefix : null;
}

/// <summary>What a scripted server says of the association it is asked about.</summary>
internal sealed record Says(Dhcpv6MessageType Type)
{
    public Duid Server { get; init; } = RequestingHarness.Server1;

    public byte? Preference { get; init; }

    public IReadOnlyList<DelegatedPrefix> Leases { get; init; } = [];

    public Dhcpv6Status? Status { get; init; }

    public Dhcpv6Status? Top { get; init; }

    public uint T1 { get; init; }

    public uint T2 { get; init; }

    public uint? SolicitMaximum { get; init; }

    public uint? Iaid { get; init; }

    public uint? Transaction { get; init; }

    public Duid? Client { get; init; }

    public bool Silent { get; init; }
}

/// <summary>A requesting router on virtual time; each datagram is checked as a server would before it counts as sent.</summary>
internal sealed class RequestingHarness
{
    public const string Link = "up0";
    public static readonly Duid Own = Duid.OfLinkLayer(1, [2, 0, 0, 0, 0, 0x77]);
    public static readonly Duid Server1 = Duid.OfLinkLayer(1, [2, 0, 0, 0, 0xAA, 1]);
    public static readonly Duid Server2 = Duid.OfLinkLayer(1, [2, 0, 0, 0, 0xAA, 2]);
    public static readonly DelegatedPrefix P1 = new(600, 1200, IPNetwork.Parse("2001:db8:8000:1::/64"));
    public static readonly DelegatedPrefix P2 = new(600, 1200, IPNetwork.Parse("2001:db8:8000:2::/64"));

    private readonly EffectSink _sink = new();
    private readonly RequestingRouterOptions _options = new() { Duid = Own, Interface = Link, MaximumDelay = TimeSpan.Zero };

    public RequestingHarness(Func<RequestingRouterOptions, RequestingRouterOptions>? change = null, int seed = 3)
    {
        _options = change?.Invoke(_options) ?? _options;
        Seed = seed;
        Router = Start();
    }

    public int Seed { get; }

    public RequestingRouter Router { get; private set; }

    public DateTimeOffset Now { get; set; } = new(2026, 11, 21, 4, 0, 0, TimeSpan.Zero);

    public List<Asked> Sent { get; } = [];

    public List<Effect> News { get; } = [];

    public List<SavedState> State { get; } = [];

    public Dictionary<string, long> Counters { get; } = [];

    /// <summary>Prefixes in use, as whoever hears the effects has them.</summary>
    public Dictionary<IPNetwork, DateTimeOffset> Prefixes { get; } = [];

    public Asked Last => Sent[^1];

    public void Restart() => Router = Start();

    /// <summary>Tells the client something; what it sends by that.</summary>
    public IReadOnlyList<Asked> Tell(EngineInput input)
    {
        _sink.Clear();
        Router.Handle(input, Now, _sink);
        var first = Sent.Count;
        foreach (var effect in _sink.Effects)
        {
            Apply(effect);
        }

        return Sent[first..];
    }

    /// <summary>Lets time pass, waking the client at each of its deadlines.</summary>
    public IReadOnlyList<Asked> Pass(TimeSpan time)
    {
        var first = Sent.Count;
        var end = Now + time;
        while (Router.NextDeadline is { } next && next <= end)
        {
            Assert.True(next >= Now, "a deadline stays behind");
            Now = next;
            Tell(new DeadlineReached());
        }

        Now = end;
        return Sent[first..];
    }

    public IReadOnlyList<Asked> Pass(double seconds) => Pass(TimeSpan.FromSeconds(seconds));

    /// <summary>A server answers a message of the client.</summary>
    public IReadOnlyList<Asked> Answer(Says says, Asked? asked = null) => Tell(Datagram(Message(says, asked ?? Last)));

    /// <summary>Solicit, Advertise, Request, Reply; T1 300, T2 480.</summary>
    public void Bind(uint iaid = 1)
    {
        Tell(new AcquirePrefix(iaid));
        Answer(new Says(Dhcpv6MessageType.Advertise) { Leases = [P1], Preference = 255 });
        Assert.Equal(Dhcpv6MessageType.Request, Last.Type);
        Answer(new Says(Dhcpv6MessageType.Reply) { Leases = [P1] });
        Assert.Contains(P1.Prefix, Prefixes.Keys);
    }

    public static DatagramReceived Datagram(byte[] payload, string? link = Link) =>
        new(new IPEndPoint(IPAddress.Parse("fe80::1"), Dhcpv6Limits.ServerPort), new IPEndPoint(IPAddress.Parse("fe80::77"), Dhcpv6Limits.ClientPort), payload, link);

    public static byte[] Message(Says says, Asked asked)
    {
        var isPrefix = asked.Message.Options.TryFind(Dhcpv6OptionCode.PrefixDelegation, out var association);
        if (!isPrefix)
        {
            asked.Message.Options.TryFind(Dhcpv6OptionCode.NonTemporaryAddresses, out association);
        }

        var writer = new Dhcpv6Writer(new byte[2048]);
        writer.Message(says.Type, says.Transaction ?? asked.Transaction);
        writer.Option(Dhcpv6OptionCode.ClientIdentifier, (says.Client ?? Own).Octets);
        writer.Option(Dhcpv6OptionCode.ServerIdentifier, says.Server.Octets);
        if (says.Preference is { } preference)
        {
            writer.Option(Dhcpv6OptionCode.Preference, [preference]);
        }

        if (says.Top is { } top)
        {
            writer.Status(top, "so it is");
        }

        if (says.SolicitMaximum is { } maximum)
        {
            var option = writer.Begin(Dhcpv6OptionCode.SolicitMaximumTime);
            writer.UInt32(maximum);
            writer.End(option);
        }

        if (!says.Silent)
        {
            var at = writer.Begin(isPrefix ? Dhcpv6OptionCode.PrefixDelegation : Dhcpv6OptionCode.NonTemporaryAddresses);
            writer.UInt32(says.Iaid ?? BinaryPrimitives.ReadUInt32BigEndian(association));
            writer.UInt32(says.T1);
            writer.UInt32(says.T2);
            foreach (var lease in says.Leases)
            {
                if (isPrefix)
                {
                    writer.Prefix(lease);
                    continue;
                }

                var address = writer.Begin(Dhcpv6OptionCode.Address);
                writer.Bytes(lease.Prefix.BaseAddress.GetAddressBytes());
                writer.UInt32(lease.Preferred);
                writer.UInt32(lease.Valid);
                writer.End(address);
            }

            if (says.Status is { } status)
            {
                writer.Status(status, "no\nmore");
            }

            writer.End(at);
        }

        return writer.Written.ToArray();
    }

    private RequestingRouter Start()
    {
        Prefixes.Clear();
        Router = new RequestingRouter(_options, new SeededRandom(Seed));
        Tell(new EngineStarted([.. State]));
        return Router;
    }

    private void Apply(Effect effect)
    {
        switch (effect)
        {
            case SendDatagram datagram:
                Assert.Equal(new IPEndPoint(DelegatingRouter.AllRelayAgentsAndServers, 547), datagram.Destination);
                Assert.Equal((546, Link), (datagram.Source.Port, datagram.Interface));
                Assert.True(Dhcpv6Message.TryParse(datagram.Payload.Span, out var message, out var error), error.ToString());
                Assert.True(Dhcpv6MessageRule.Allows(message, fromClient: true, out error), error.ToString());
                Assert.Equal(_options.Duid?.ToString() ?? Router.Duid.ToString(), Duid.TryParse(message.ClientIdentifier, out var client, out _) ? client.ToString() : "");
                Sent.Add(new Asked(message.Type, message.TransactionId, Now, datagram.Payload.ToArray()));
                break;
            case PrefixDelegated delegated:
                Assert.Equal(!delegated.IsNew, Prefixes.ContainsKey(delegated.Prefix));
                Assert.Contains(State, state => System.Text.Encoding.UTF8.GetString(state.Value.Span).Contains(delegated.Prefix.ToString(), StringComparison.Ordinal));
                Prefixes[delegated.Prefix] = delegated.ValidUntil;
                News.Add(effect);
                break;
            case PrefixLost lost:
                Assert.True(Prefixes.Remove(lost.Prefix));
                News.Add(effect);
                break;
            case AddressLeased or AddressLost or LeaseUnavailable:
                News.Add(effect);
                break;
            case SaveState save:
                State.RemoveAll(state => state.Key == save.Key);
                State.Add(new SavedState(save.Key, save.Value));
                break;
            case DropState drop:
                State.RemoveAll(state => state.Key == drop.Key);
                break;
            case CountEvent count:
                Counters[count.Counter] = Counters.GetValueOrDefault(count.Counter) + count.Amount;
                break;
        }
    }
}
