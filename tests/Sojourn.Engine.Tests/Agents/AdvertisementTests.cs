using System.Net;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Wire.MobileIpv4;
using Xunit;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>RFC 5944 2.1-2.3, RFC 4721 2: what an access link hears of its foreign agent.</summary>
public sealed class AdvertisementTests
{
    [Fact]
    [Trait("Row", "NV1.4")]
    public void Advertisements_name_the_care_of_address_what_is_asked_of_nodes_and_a_new_challenge_each()
    {
        var h = new ForeignAgentHarness();
        h.Net.Run(TimeSpan.FromSeconds(10));
        var heard = Heard(h);
        var first = heard[0];
        var mobility = first.Mobility!;
        Assert.Equal([AgentFixture.Fa1], mobility.CareOfAddresses);
        Assert.Equal(600, mobility.RegistrationLifetime);
        Assert.True(mobility.Flags.HasFlag(MobilityAgentFlags.RegistrationRequired | MobilityAgentFlags.ForeignAgent | MobilityAgentFlags.ReverseTunnelling));
        Assert.False(mobility.Flags.HasFlag(MobilityAgentFlags.Busy));
        Assert.False(mobility.Flags.HasFlag(MobilityAgentFlags.HomeAgent));
        Assert.Equal((3, 1), (first.Lifetime, first.Extensions.OfType<PrefixLengthsExtension>().Count()));
        Assert.Equal(heard.Count, heard.Select(a => a.Extensions.Find<AdvertisedChallengeExtension>()!.Challenge).Distinct().Count());
        Assert.Equal(Enumerable.Range(0, heard.Count), heard.Select(a => (int)a.Mobility!.SequenceNumber));
        Assert.All(h.Node.Effects.OfType<SendIcmp>(), i => Assert.Equal((IPAddress.Parse("224.0.0.1"), (byte)1, AgentFixture.AccessInterface), (i.Destination, i.TimeToLive, i.Interface)));
    }

    [Fact]
    [Trait("Row", "M1")]
    public void They_come_within_the_interval_and_never_in_step()
    {
        var h = new ForeignAgentHarness();
        var times = new List<DateTimeOffset>();
        for (var i = 0; i < 1000; i++)
        {
            var before = Heard(h).Count;
            h.Net.Run(TimeSpan.FromMilliseconds(20));
            if (Heard(h).Count > before)
            {
                times.Add(h.Net.Now);
            }
        }

        var gaps = times.Zip(times.Skip(1), (a, b) => (b - a).TotalMilliseconds).ToList();
        Assert.All(gaps, g => Assert.InRange(g, 880, 1020));
        Assert.True(gaps.Distinct().Count() > 2);
    }

    [Fact]
    [Trait("Row", "M1")]
    public void After_65535_the_number_goes_on_with_256_so_that_nobody_takes_it_for_a_restart()
    {
        var h = new ForeignAgentHarness(o => o with { Access = [o.Access[0] with { AdvertisementInterval = TimeSpan.FromMilliseconds(1) }] });
        h.Net.Run(TimeSpan.FromSeconds(63));
        var numbers = Heard(h).Select(a => a.Mobility!.SequenceNumber).ToList();
        var last = numbers.IndexOf(ushort.MaxValue);
        Assert.InRange(last, 65_535, int.MaxValue);
        Assert.Equal(256, numbers[last + 1]);
    }

    [Fact]
    [Trait("Row", "M1")]
    public void A_solicitation_is_answered_to_its_sender_and_a_flood_of_them_is_not()
    {
        var h = new ForeignAgentHarness();
        h.Net.Run(TimeSpan.FromSeconds(1));
        var before = h.Node.Effects.Count;
        Solicit(h, AgentFixture.AliceHome, 100);
        var answers = h.Node.Effects.Skip(before).OfType<SendIcmp>().Where(i => i.LinkDestination is not null).ToList();
        Assert.Equal((AgentFixture.AliceHome, h.Net["alice"].Link), (answers[0].Destination, answers[0].LinkDestination));
        Assert.InRange(answers.Count, 1, 3);
        Assert.True(h.Node.Counters["fa.solicitation.rate_limited"] >= 97);

        h.Net.Run(TimeSpan.FromSeconds(1));
        before = h.Node.Effects.Count;
        Solicit(h, IPAddress.Any, 1);
        Assert.Contains(h.Node.Effects.Skip(before).OfType<SendIcmp>(), i => i.Destination.Equals(IPAddress.Parse("224.0.0.1")) && i.LinkDestination is null);
    }

    /// <summary>A node that asks again may answer the first advertisement while the next is on its way.</summary>
    [Theory]
    [InlineData(0, false)]
    [InlineData(1, true)]
    [InlineData(2, true)]
    [Trait("Row", "M1")]
    public void Of_the_challenges_told_to_a_node_the_last_two_are_good_once(int answered, bool good)
    {
        var h = new ForeignAgentHarness();
        h.LetIn();
        h.Net.Run(TimeSpan.FromSeconds(1));
        var told = new List<OctetString>();
        for (var i = 0; i < 3; i++)
        {
            Solicit(h, AgentFixture.AliceHome, 1);
            told.Add(h.Challenge());
            h.Net.Run(TimeSpan.FromMilliseconds(60));
        }

        h.Send(h.Request(challenge: told[answered]));
        Assert.Equal(good ? RegistrationReplyCode.Accepted : RegistrationReplyCode.ForeignUnknownChallenge, h.Reply().Code);
        foreach (var (earlier, count) in told.Take(answered + 1).Select((c, i) => (c, i + 2)))
        {
            h.Send(h.Request(challenge: earlier));
            Assert.Equal(RegistrationReplyCode.ForeignUnknownChallenge, h.Reply(count).Code);
        }
    }

    [Fact]
    public void Damaged_solicitations_are_counted()
    {
        var h = new ForeignAgentHarness();
        var octets = new AgentSolicitation().ToArray();
        octets[2] ^= 1;
        h.Net.Input("fa1", new IcmpReceived(AgentFixture.AliceHome, IPAddress.Parse("224.0.0.2"), octets, AgentFixture.AccessInterface, h.Net["alice"].Link));
        h.Net.Input("fa1", new IcmpReceived(AgentFixture.AliceHome, IPAddress.Parse("224.0.0.2"), Array.Empty<byte>(), AgentFixture.AccessInterface, h.Net["alice"].Link));
        h.Net.Run(TimeSpan.FromMilliseconds(10));
        Assert.Equal(1, h.Node.Counters["fa.solicitation.malformed"]);
    }

    private static void Solicit(ForeignAgentHarness h, IPAddress source, int times)
    {
        for (var i = 0; i < times; i++)
        {
            h.Net.Input("fa1", new IcmpReceived(source, IPAddress.Parse("224.0.0.2"), new AgentSolicitation().ToArray(), AgentFixture.AccessInterface, h.Net["alice"].Link));
        }

        h.Net.Run(TimeSpan.FromMilliseconds(10));
    }

    private static List<AgentAdvertisement> Heard(ForeignAgentHarness h) =>
        [.. h.Node.Effects.OfType<SendIcmp>().Select(i => AgentAdvertisement.TryParse(i.Message.Span, out var a, out var error) ? a : throw new InvalidOperationException(error.ToString()))];
}
