using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Xunit;

namespace Sojourn.Engine.Tests.Ikev2;

/// <summary>Quick crash detection (RFC 6290): a home agent that has lost its IKE SAs says so, and only it can.</summary>
public class CrashDetectionTests
{
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(1);

    // terminal ── liveness ──► agent without memory ── INVALID_IKE_SPI, token in clear ──► the SA is gone at once
    [Fact]
    public void A_restarted_agent_proves_its_loss_and_the_terminal_begins_anew_at_once()
    {
        var network = WithTokens(out var saved);
        var lost = network.A.Sa;
        var restarted = Restart(network, saved);
        Ask(network);
        Assert.Equal(IkeEnd.Timeout, Assert.Single(network.A.Of<IkeSaDown>()).End);
        Assert.Empty(network.A.Engine.IkeSas);
        Assert.Empty(network.A.Installed);
        Assert.Equal((1, 1), (restarted.Counter("ike.crash_token.shown"), network.A.Counter("ike.crash_token.taken")));

        network.Tell(network.A, new InitiateIke("agent", network.A.Address));
        network.Run();
        Assert.NotEqual(lost.ResponderSpi, network.A.Sa.ResponderSpi);
        Assert.Equal(network.A.Sa.ResponderSpi, restarted.Sa.ResponderSpi);
    }

    [Fact]
    public void An_agent_that_lost_its_secret_too_is_not_believed()
    {
        var network = WithTokens(out _);
        Restart(network, []);
        Ask(network);
        Assert.Single(network.A.Engine.IkeSas);
        Assert.True(network.A.Counter("ike.crash_token.bad") > 0);
        network.Run(120);
        Assert.Equal("the peer does not answer", Assert.Single(network.A.Of<IkeSaDown>()).Reason);
    }

    [Fact]
    public void Nobody_is_shown_the_token_of_an_association_that_stands()
    {
        var network = WithTokens(out _);
        var sa = network.A.Sa;
        var forged = new IkeMessage(new IkeHeader(sa.InitiatorSpi, sa.ResponderSpi, IkeExchange.Informational, IkeFlags.Initiator, 7), []).ToArray();
        network.Inject(new Datagram(sa.Local, sa.Remote, forged));
        network.Run();
        Assert.Equal(0, network.B.Counter("ike.crash_token.shown"));
        network.AssertAgree(1, 1);
    }

    [Fact]
    public void The_token_travels_protected_and_a_guess_changes_nothing()
    {
        var network = WithTokens(out _);
        Assert.All(network.Sent.Where(d => d.Header.Exchange == IkeExchange.IkeAuth), d =>
        {
            Assert.True(IkeMessage.TryParse(d.Ike!.Value.Span, out var message, out _));
            Assert.IsType<EncryptedPayload>(Assert.Single(message.Payloads));
        });
        var sa = network.A.Sa;
        var guess = new NotifyPayload(IkeNotifyType.QuickCrashDetection, new byte[32]) { Protocol = IkeProtocol.Ike };
        network.Inject(new Datagram(sa.Remote, sa.Local, new IkeMessage(
            new IkeHeader(sa.InitiatorSpi, sa.ResponderSpi, IkeExchange.Informational, IkeFlags.Response, 2), [new NotifyPayload(IkeNotifyType.InvalidIkeSpi), guess]).ToArray()));
        network.Run();
        Assert.Equal(1, network.A.Counter("ike.crash_token.bad"));
        network.AssertAgree(1, 1);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_rekeyed_association_has_a_token_of_its_own_whoever_rekeys(bool terminal)
    {
        var network = WithTokens(out var saved);
        var node = terminal ? network.A : network.B;
        network.Tell(node, new RekeyIke(node.Sa.Id));
        network.Run(2);
        network.AssertAgree(1, 1);
        Restart(network, saved);
        Ask(network);
        Assert.Empty(network.A.Engine.IkeSas);
        Assert.Equal(1, network.A.Counter("ike.crash_token.taken"));
    }

    [Fact]
    public void Requests_with_invented_numbers_get_few_answers()
    {
        var network = WithTokens(out _);
        for (ulong i = 1; i <= 500; i++)
        {
            var invented = new IkeMessage(new IkeHeader(i, i + 1000, IkeExchange.Informational, IkeFlags.Initiator, 0), []).ToArray();
            network.Inject(new Datagram(network.A.Sa.Local, network.A.Sa.Remote, invented));
        }

        network.Run(s_soon);
        Assert.InRange(network.B.Counter("ike.crash_token.shown"), 1, 60);
        Assert.Equal(500, network.B.Counter("ike.crash_token.shown") + network.B.Counter("ike.crash_token.limited"));
    }

    [Fact]
    public void An_end_that_makes_no_tokens_is_silent()
    {
        var network = IkePair.Network().Connect();
        var agent = Replace(network, network.B, IkePair.Options(IkePair.AgentPeer));
        Ask(network);
        Assert.Single(network.A.Engine.IkeSas);
        Assert.Empty(agent.Of<SendDatagram>());
        Assert.True(agent.Counter("ike.message.unknown_spi") > 0);
    }

    private static IkeOptions Agent() => IkePair.Options(IkePair.AgentPeer) with { CrashTokens = true };

    /// <summary>Connected; the agent makes tokens, and this is what it has saved.</summary>
    private static IkeNetwork WithTokens(out IReadOnlyList<SavedState> saved)
    {
        var network = new IkeNetwork(IkePair.Options(IkePair.TerminalPeer), Agent());
        network.Tell(network.B, new EngineStarted([]));
        saved = [.. network.B.Of<SaveState>().Select(s => new SavedState(s.Key, s.Value))];
        Assert.Single(saved);
        return network.Connect();
    }

    private static IkeNode Restart(IkeNetwork network, IReadOnlyList<SavedState> saved)
    {
        var node = Replace(network, network.B, Agent());
        network.Tell(node, new EngineStarted(saved));
        Assert.Equal(saved.Count == 0, node.Of<SaveState>().Any());
        return node;
    }

    private static IkeNode Replace(IkeNetwork network, IkeNode former, IkeOptions options)
    {
        var node = new IkeNode("restarted", options, 77, former.Address);
        network.Nodes.Remove(former);
        network.Nodes.Add(node);
        return node;
    }

    private static void Ask(IkeNetwork network)
    {
        network.Tell(network.A, new CheckLiveness(network.A.Sa.Id));
        network.Run(s_soon);
    }
}
