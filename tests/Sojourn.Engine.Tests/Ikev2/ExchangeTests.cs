using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Xunit;

namespace Sojourn.Engine.Tests.Ikev2;

/// <summary>Exchanges of an established IKE SA: rekeying, deletion, liveness; with loss, repetition, reordering and both ends at once.</summary>
public class ExchangeTests
{
    /// <summary>What an end can ask for.</summary>
    public static readonly string[] Operations = ["rekey child", "rekey child with key exchange", "rekey ike", "create child", "delete child", "liveness"];

    private const string Pfs = "with key exchange";

    public static TheoryData<string, bool> ByEitherEnd
    {
        get
        {
            var data = new TheoryData<string, bool>();
            foreach (var operation in Operations)
            {
                data.Add(operation, true);
                data.Add(operation, false);
            }

            return data;
        }
    }

    public static TheoryData<string, string> Crossings
    {
        get
        {
            var data = new TheoryData<string, string>();
            string[] all = ["rekey child", "rekey ike", "create child", "delete child", "delete ike", "liveness"];
            foreach (var a in all)
            {
                foreach (var b in all)
                {
                    data.Add(a, b);
                }
            }

            return data;
        }
    }

    // asks                                  answers
    //   CREATE_CHILD_SA / INFORMATIONAL ──►
    //                                   ◄──  response
    [Theory, MemberData(nameof(ByEitherEnd))]
    public void Either_end_may_ask(string operation, bool initiator)
    {
        var network = Network(operation);
        Check(network, operation, initiator ? network.A : network.B);
    }

    [Theory, MemberData(nameof(ByEitherEnd))]
    public void A_lost_request_is_sent_again(string operation, bool initiator)
    {
        var network = Network(operation);
        var lost = 0;
        Check(network, operation, initiator ? network.A : network.B, d => !d.Header.IsResponse && lost++ < 2 ? [] : [IkeNetwork.Delay]);
        Assert.True(lost > 2);
    }

    [Theory, MemberData(nameof(ByEitherEnd))]
    public void A_lost_response_is_repeated_from_memory(string operation, bool initiator)
    {
        var network = Network(operation);
        var lost = 0;
        Check(network, operation, initiator ? network.A : network.B, d => d.Header.IsResponse && lost++ % 2 == 0 ? [] : [IkeNetwork.Delay]);
        Assert.True((initiator ? network.B : network.A).Counter("ike.response.repeated") > 0);
        foreach (var responses in network.Sent.Where(d => d.Header.IsResponse).GroupBy(d => (d.Header.InitiatorSpi, d.Header.FromInitiator, d.Header.MessageId)))
        {
            Assert.Single(responses.Select(d => Convert.ToHexString(d.Payload.Span)).Distinct());
        }
    }

    [Theory, MemberData(nameof(ByEitherEnd))]
    public void Repetition_and_delay_change_nothing(string operation, bool initiator)
    {
        var network = Network(operation);
        Check(network, operation, initiator ? network.A : network.B, _ => [IkeNetwork.Delay, TimeSpan.FromMilliseconds(40), TimeSpan.FromMilliseconds(900)]);
    }

    // a  ──► x ──►          (both on their way before either has arrived)
    //          ◄── y ◄──  b
    [Theory, MemberData(nameof(Crossings))]
    public void Requests_that_cross_leave_both_ends_of_one_mind(string atTerminal, string atAgent)
    {
        for (var seed = 1; seed <= 4; seed++)
        {
            var network = Network("", seed);
            Begin(network, network.A, atTerminal);
            Begin(network, network.B, atAgent);
            network.Run(40);
            var gone = atTerminal == "delete ike" || atAgent == "delete ike";
            Assert.Equal(gone ? 0 : 1, network.A.Engine.IkeSas.Count());
            var survivors = network.A.Engine.ChildSas.Count();
            network.AssertAgree(gone ? 0 : 1, survivors);
            if (!gone)
            {
                Assert.InRange(survivors, Least(atTerminal, atAgent), Most(atTerminal, atAgent));

                // And they still understand each other.
                network.Tell(network.A, new RekeyIke(network.A.Sa.Id));
                network.Run(10);
                network.AssertAgree(1, survivors);
            }
        }
    }

    [Fact]
    public void Of_two_rekeyed_children_the_one_with_the_lowest_nonce_goes()
    {
        var outcomes = new HashSet<(long, long)>();
        for (var seed = 1; seed <= 12; seed++)
        {
            var network = Network("", seed);
            Begin(network, network.A, "rekey child");
            Begin(network, network.B, "rekey child");
            network.Run(20);
            network.AssertAgree(1, 1);
            var lost = (network.A.Counter("ike.child.collision_lost"), network.B.Counter("ike.child.collision_lost"));
            Assert.Equal(1, lost.Item1 + lost.Item2);
            outcomes.Add(lost);
        }

        Assert.Equal(2, outcomes.Count);
    }

    [Fact]
    public void Of_two_rekeyed_ike_sas_the_one_with_the_lowest_nonce_goes_and_nobody_is_told()
    {
        var outcomes = new HashSet<(long, long)>();
        for (var seed = 1; seed <= 12; seed++)
        {
            var network = Network("", seed);
            Begin(network, network.A, "rekey ike");
            Begin(network, network.B, "rekey ike");
            network.Run(60);
            network.AssertAgree(1, 1);
            var lost = (network.A.Counter("ike.sa.collision_lost"), network.B.Counter("ike.sa.collision_lost"));
            Assert.Equal(1, lost.Item1 + lost.Item2);
            outcomes.Add(lost);
            Assert.Equal(IkeEnd.Rekeyed, Assert.Single(network.A.Of<IkeSaDown>()).End);
            Assert.Equal(IkeEnd.Rekeyed, Assert.Single(network.B.Of<IkeSaDown>()).End);
        }

        Assert.Equal(2, outcomes.Count);
    }

    // The terminal's request is lost until the agent has rekeyed and deleted the old child.
    [Fact]
    public void A_rekeying_that_comes_late_finds_the_child_gone()
    {
        var network = Network("");
        var old = network.A.Child.Id;
        network.Fate = d => d.Source.Address.Equals(network.A.Address) && d.Is(IkeExchange.CreateChildSa, false) ? [TimeSpan.FromSeconds(0.5)] : [IkeNetwork.Delay];
        Begin(network, network.A, "rekey child");
        Begin(network, network.B, "rekey child");
        network.Run(20);
        network.AssertAgree(1, 1);
        Assert.NotEqual(old, network.A.Child.Id);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    [InlineData(8)]
    public void Whatever_the_network_does_the_ends_agree_in_the_end(int seed)
    {
        var random = new Random(seed);
        var network = Network("", seed);
        network.Fate = _ => random.Next(10) switch
        {
            < 3 => [],
            < 6 => [Milliseconds(), Milliseconds()],
            _ => [Milliseconds()],
        };
        string[] all = ["rekey child", "rekey ike", "create child", "delete child", "liveness"];
        for (var step = 0; step < 30; step++)
        {
            foreach (var node in new[] { network.A, network.B }.Where(n => n.Engine.IkeSas.Any()))
            {
                Begin(network, node, all[random.Next(all.Length)]);
            }

            network.Run(random.Next(1, 8));
        }

        network.Fate = _ => [IkeNetwork.Delay];
        network.Run(120);
        network.AssertAgree(network.A.Engine.IkeSas.Count(), network.A.Engine.ChildSas.Count());
        TimeSpan Milliseconds() => TimeSpan.FromMilliseconds(random.Next(5, 1500));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Row", "TA-M13")]
    public void Deleting_the_ike_sa_ends_everything_under_it_on_both_sides(bool initiator)
    {
        var network = Network("");
        var node = initiator ? network.A : network.B;
        network.Tell(node, new CloseIke(node.Sa.Id));
        network.Run();
        network.AssertAgree(0, 0);
        Assert.Equal(IkeEnd.Deleted, Assert.Single(network.A.Of<IkeSaDown>()).End);
        Assert.Equal(IkeEnd.Deleted, Assert.Single(network.B.Of<IkeSaDown>()).End);
        network.Run(60);
        Assert.Null(network.A.Engine.NextDeadline);
        Assert.Null(network.B.Engine.NextDeadline);
    }

    [Fact]
    public void Both_may_delete_the_ike_sa_at_once()
    {
        var network = Network("");
        network.Tell(network.A, new CloseIke(network.A.Sa.Id));
        network.Tell(network.B, new CloseIke(network.B.Sa.Id));
        network.Run(20);
        network.AssertAgree(0, 0);
        Assert.Single(network.A.Of<IkeSaDown>());
        Assert.Single(network.B.Of<IkeSaDown>());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Any_one_message_of_the_set_up_may_be_lost(int which)
    {
        var network = IkePair.Network();
        var count = 0;
        network.Fate = _ => count++ == which ? [] : [IkeNetwork.Delay];
        network.Connect().Run(5);
        network.AssertAgree(1, 1);
        Assert.Single(network.B.Of<IkeSaUp>());
    }

    [Fact]
    [Trait("Row", "TA-M13")]
    public void A_silent_peer_is_asked_and_given_up()
    {
        var network = Network("");
        network.Run(100);
        network.AssertAgree(1, 1);
        Assert.Contains(network.Sent, d => d.Is(IkeExchange.Informational, false));

        network.Fate = _ => [];
        network.Run(100);
        Assert.Equal(IkeEnd.Timeout, Assert.Single(network.A.Of<IkeSaDown>()).End);
        Assert.Empty(network.A.Installed);
        Assert.Empty(network.B.Installed);
        Assert.Null(network.A.Engine.NextDeadline);
    }

    [Fact]
    public void Waits_grow_and_the_number_of_transmissions_is_bounded()
    {
        var network = IkePair.Network();
        var times = new List<DateTimeOffset>();
        network.Fate = _ =>
        {
            times.Add(network.Now);
            return [];
        };
        network.Tell(network.A, new InitiateIke("agent", network.A.Address));
        network.Run(120);
        Assert.Equal(6, times.Count);
        var waits = times.Zip(times.Skip(1), (a, b) => (b - a).TotalSeconds).ToList();
        Assert.Equal([1, 1.8, 3.24, 5.832, 10.4976], waits.Select(w => Math.Round(w, 4)));
        Assert.Equal(IkeEnd.Timeout, Assert.Single(network.A.Of<IkeSaDown>()).End);
    }

    [Fact]
    public void Everything_is_rekeyed_by_age()
    {
        var network = IkePair.Network(
            p => p with { RekeyAfter = TimeSpan.FromMinutes(10), Children = [IkePair.TerminalChild with { RekeyAfter = TimeSpan.FromMinutes(3) }] },
            p => p with { RekeyAfter = TimeSpan.FromMinutes(10), Children = [IkePair.AgentChild with { RekeyAfter = TimeSpan.FromMinutes(3) }] }).Connect();
        network.Run(3600);
        network.AssertAgree(1, 1);
        Assert.InRange(network.A.Of<IkeSaUp>().Count(), 5, 8);
        Assert.InRange(network.A.Of<ChildSaUp>().Count(), 18, 30);
        Assert.Equal(network.A.Of<ChildSaUp>().Count(), network.A.Of<ChildSaUp>().Select(c => c.Sa.Outbound.Keys.Encryption).Distinct().Count());
    }

    [Theory]
    [InlineData("rsa", false)]
    [InlineData("rsa", true)]
    [InlineData("p256", true)]
    public void Long_messages_go_in_fragments_and_lost_ones_come_again(string kind, bool lossy)
    {
        var network = IkePair.Certified(kind, options: o => o with { FragmentLength = 300 });
        var random = new Random(3);
        if (lossy)
        {
            network.Fate = d => random.Next(5) == 0 ? [] : [TimeSpan.FromMilliseconds(random.Next(1, 60)), TimeSpan.FromMilliseconds(random.Next(1, 60))];
        }

        network.Connect().Run(60);
        network.AssertAgree(1, 1);
        Assert.All(network.Sent.Where(d => d.Header.Exchange == IkeExchange.IkeAuth), d => Assert.InRange(d.Payload.Length, 29, 300));
        Assert.True(network.Sent.Count(d => d.Is(IkeExchange.IkeAuth, false)) > 3);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void An_end_that_does_not_fragment_gets_whole_messages(bool terminalFragments)
    {
        var network = IkePair.Certified("rsa", p => p with { Fragmentation = terminalFragments }, p => p with { Fragmentation = !terminalFragments }, o => o with { FragmentLength = 300 }).Connect();
        network.AssertAgree(1, 1);
        Assert.Single(network.Sent, d => d.Is(IkeExchange.IkeAuth, false));
    }

    [Fact]
    public void A_child_with_a_group_of_its_own_finds_it_by_invalid_ke_payload()
    {
        var network = IkePair.Network(
            p => p with { Children = [IkePair.TerminalChild with { Proposals = IkeProposals.WithGroups(IkeProposals.Esp, IkeGroup.P521, IkeGroup.P256) }] },
            p => p with { Children = [IkePair.AgentChild with { Proposals = IkeProposals.WithGroups(IkeProposals.Esp, IkeGroup.P256) }] }).Connect();
        Check(network, "rekey child", network.A);
        Assert.Equal(2, network.Sent.Count(d => d.Is(IkeExchange.CreateChildSa, false)));
    }

    internal static IkeNetwork Network(string operation, int seed = 1)
    {
        var proposals = operation.EndsWith(Pfs, StringComparison.Ordinal) ? IkeProposals.WithGroups(IkeProposals.Esp, IkeGroup.Curve25519) : IkeProposals.Esp;
        return IkePair.Network(
            p => p with { Children = [IkePair.TerminalChild with { Proposals = proposals }] }, p => p with { Children = [IkePair.AgentChild with { Proposals = proposals }] }, seed: seed).Connect();
    }

    /// <summary>Lets one end ask for something.</summary>
    internal static void Begin(IkeNetwork network, IkeNode node, string operation)
    {
        var sa = node.Engine.IkeSas.First();
        var child = node.Engine.ChildSas.FirstOrDefault();
        EngineInput? command = operation switch
        {
            "rekey ike" => new RekeyIke(sa.Id),
            "create child" => new CreateChild(sa.Id, node == network.A ? IkePair.TerminalChild : IkePair.AgentChild),
            "delete child" => child is null ? null : new CloseChild(child.Id),
            "delete ike" => new CloseIke(sa.Id),
            "liveness" => new CheckLiveness(sa.Id),
            _ => child is null ? null : new RekeyChild(child.Id),
        };
        if (command is not null)
        {
            network.Tell(node, command);
        }
    }

    private static void Check(IkeNetwork network, string operation, IkeNode node, Fate? fate = null)
    {
        network.AssertAgree(1, 1);
        var (ike, child) = (node.Sa.Id, node.Child);
        network.Fate = fate ?? network.Fate;
        Begin(network, node, operation);
        network.Run(20);
        network.AssertAgree(1, operation switch { "create child" => 2, "delete child" => 0, _ => 1 });
        Assert.Equal(operation == "rekey ike", node.Sa.Id != ike);
        if (operation.StartsWith("rekey child", StringComparison.Ordinal))
        {
            Assert.NotEqual(child.Id, node.Child.Id);
            Assert.NotEqual(child.Inbound.Keys, node.Child.Inbound.Keys);
            Assert.Equal(child.LocalSelectors, node.Child.LocalSelectors);
            Assert.Equal(child.Id, node.Of<ChildSaUp>().Last().Replaces);
        }
        else if (operation == "rekey ike")
        {
            Assert.Equal(child.Id, node.Child.Id);
            Assert.Equal(ike, node.Of<IkeSaUp>().Last().Replaces);
            Assert.Equal(IkeEnd.Rekeyed, node.Of<IkeSaDown>().Last().End);
        }
    }

    /// <summary>How many children may be left: a deletion takes one unless it came too late, a creation brings one unless it was refused.</summary>
    private static int Least(string a, string b) => a == "delete child" || b == "delete child" ? 0 : 1;

    private static int Most(string a, string b) => 1 + (a == "create child" ? 1 : 0) + (b == "create child" ? 1 : 0);
}
