using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Engine.Tests.Aaa;

/// <summary>Nothing a peer sends reaches an exception, and servers go on afterwards. A failing seed is printed.</summary>
public class HostilePeerTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Damaged_requests_are_refused_and_the_servers_go_on(int seed)
    {
        var random = new Random(seed);
        var f = new AaaFixture();
        f.Directory.Vpns.AddRange([f.Static(), AaaFixture.Dynamic()]);
        for (var i = 0; i < 400; i++)
        {
            var agent = random.Next(2) == 0 ? "fa1" : "fa2";
            var amr = f.Amr(
                agent, f.Request(agent, keys: true), random.Next(2) == 0 ? AaaFixture.Address(agent == "fa1" ? "fa2" : "fa1") : null, random.Next(4) == 0, features: 16 | 32 | 64);
            if (Damaged(amr, random) is { } damaged)
            {
                f.Net.Input(agent, new SendRequest(damaged));
                f.Net.Run(TimeSpan.FromMilliseconds(1));
            }
        }

        f.Net.Run(TimeSpan.FromSeconds(30));
        Assert.Equal(DiameterResult.Success, f.Register("fa1").ResultCode);
        Assert.Equal(f.Home.Sessions[0].Profiles.Where(p => p.Keying == "derived"), f.Visited.Sessions[0].Profiles);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Damaged_answers_of_the_home_agent_and_the_home_server_are_refused_and_the_servers_go_on(int seed)
    {
        var random = new Random(seed);
        var f = new AaaFixture();
        f.Directory.Vpns.AddRange([f.Static(), AaaFixture.Dynamic()]);
        f.HomeAgent.Script = (request, answer) => f.AcceptRegistration(request, answer) is { } good ? Damaged(good, random) ?? good : null;
        for (var i = 0; i < 300; i++)
        {
            f.Net.Input("fa1", new SendRequest(f.Amr("fa1", f.Request("fa1", keys: true), features: 16 | 32 | 64)));
            f.Net.Run(TimeSpan.FromMilliseconds(1));
        }

        f.Net.Run(TimeSpan.FromSeconds(30));
        var accepted = f.Fa1.Answers.Count(a => a.ResultCode == DiameterResult.Success);
        Assert.InRange(accepted, 1, 299);
        f.HomeAgent.Script = f.AcceptRegistration;
        Assert.Equal(DiameterResult.Success, f.Register("fa1").ResultCode);
    }

    [Fact]
    public void Any_damage_to_what_the_home_server_grants_is_refused_by_the_visited_server_or_harmless()
    {
        var random = new Random(5);
        var f = new AaaFixture();
        f.Directory.Vpns.AddRange([AaaFixture.Dynamic()]);
        var kek = AaaFixture.Kek("fa1", "aaaf");
        f.Net.Alter = (from, to, message) => from == "aaah" && to == "aaaf" && !message.IsRequest && Damaged(message, random) is { } damaged ? damaged : message;
        for (var i = 0; i < 300; i++)
        {
            f.Net.Input("fa1", new SendRequest(f.Amr("fa1", f.Request("fa1", keys: true), features: 32 | 64)));
            f.Net.Run(TimeSpan.FromMilliseconds(1));
        }

        foreach (var answer in f.Fa1.Answers.Where(a => a.ResultCode == DiameterResult.Success))
        {
            // Whatever passes, passes whole: readable with the foreign agent's own wrapping key.
            Assert.True(AaaFixture.ProfileAvps.TryReadAll(answer.Avps, kek, out _, out var refusal), refusal?.Text);
        }

        Assert.Contains(f.Fa1.Answers, a => a.ResultCode is not DiameterResult.Success);
        Assert.Contains(f.Net.Events, e => e is { Node: "aaaf", Event.Kind: "registration.refused" });
    }

    /// <summary>The message with octets of its AVPs changed, an AVP left out, or one doubled; null when nothing parseable is left.</summary>
    private static DiameterMessage? Damaged(DiameterMessage message, Random random)
    {
        switch (random.Next(3))
        {
            case 0:
                var left = message.Avps.ToList();
                left.RemoveAt(random.Next(left.Count));
                return message with { Avps = new AvpList(left) };
            case 1:
                var doubled = message.Avps.ToList();
                doubled.Insert(random.Next(doubled.Count), doubled[random.Next(doubled.Count)]);
                return message with { Avps = new AvpList(doubled) };
            default:
                var octets = message.ToArray();
                for (var n = random.Next(1, 5); n > 0; n--)
                {
                    octets[random.Next(DiameterHeader.Length, octets.Length)] = (byte)random.Next(256);
                }

                return DiameterMessage.TryParse(octets, DiameterLimits.Default, out var damaged, out Wire.WireError _) ? damaged : null;
        }
    }
}
