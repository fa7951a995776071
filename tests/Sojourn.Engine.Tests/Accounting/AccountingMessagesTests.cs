using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.Tests.Agents;
using Sojourn.Engine.Tests.Aaa;
using Sojourn.Wire.Diameter;
using Xunit;
using static Sojourn.Engine.Tests.Agents.AgentFixture;

namespace Sojourn.Engine.Tests.Accounting;

/// <summary>ACRs as RFC 4004 section 11.2 wants them, and what a home AAA server takes of those of others.</summary>
public sealed class AccountingMessagesTests
{
    [Fact]
    public void An_ACR_has_everything_RFC_4004_asks_for_under_application_2()
    {
        var f = new AgentFixture(foreignAgent: o => o with { Accounting = new Engine.Accounting.AccountingOptions() }).WithCompany().Register();
        var acr = f.Net.Captured.Select(Read).OfType<DiameterMessage>().First(m => m.CommandCode == 271 && m.IsRequest);
        Assert.Equal(DiameterApplications.MobileIpv4, acr.ApplicationId);
        foreach (var key in new[]
        {
            AvpKeys.AccountingInputOctets, AvpKeys.AccountingOutputOctets, AvpKeys.AccountingInputPackets, AvpKeys.AccountingOutputPackets, AvpKeys.AcctMultiSessionId,
            AvpKeys.AcctSessionTime, AvpKeys.UserName, AvpKeys.AcctApplicationId, AvpKeys.EventTimestamp, AvpKeys.MipMobileNodeAddress, AvpKeys.MipHomeAgentAddress,
        })
        {
            Assert.True(acr.Avps.All(key).Count() == 1, $"{DiameterDictionary.Default.NameOf(key)} stands {acr.Avps.All(key).Count()} times");
        }

        Assert.Null(new DiameterValidator(DiameterDictionary.Default, DiameterLimits.Default).Validate(acr));
        Assert.Equal(DiameterResult.Success, f.Net.Captured.Select(Read).OfType<DiameterMessage>().First(m => m.CommandCode == 271 && !m.IsRequest).ResultCode);
    }

    [Fact]
    public void A_standard_agent_without_VPN_attributes_accounts_for_no_profile()
    {
        var f = new HomeSide();
        var answer = f.Account(f.Record());
        Assert.Equal(DiameterResult.Success, answer.ResultCode);
        Assert.True(answer.Avps.TryGetUnsigned32(AvpKeys.AcctInterimInterval, out var interval) && interval == 300);
        var stored = Assert.Single(f.Network["aaah"].Ledger.Stored);
        Assert.Equal((0u, 300UL, false), (Assert.Single(stored.Record.Profiles).ProfileNumber, stored.Record.Total.OctetsUp, stored.SessionKnown));
        Assert.Equal((IPAddress.Any, 4u), (stored.Record.HomeAddress, stored.Record.Number));
    }

    [Theory]
    [InlineData("type", DiameterResult.InvalidAvpValue)]
    [InlineData("user", DiameterResult.MissingAvp)]
    [InlineData("figures", DiameterResult.MissingAvp)]
    [InlineData("huge", DiameterResult.InvalidAvpValue)]
    [InlineData("sum", DiameterResult.InvalidAvpValue)]
    [InlineData("twice", DiameterResult.InvalidAvpValue)]
    [InlineData("realm", DiameterResult.AuthorizationRejected)]
    public void A_record_that_says_too_little_or_contradicts_itself_is_refused_and_not_stored(string what, uint result)
    {
        var f = new HomeSide();
        Assert.Equal(result, f.Account(f.Record(what)).ResultCode);
        Assert.Empty(f.Network["aaah"].Ledger.Stored);
        Assert.Contains(f.Network["aaah"].Events, e => e.Kind == "accounting.refused" && e.Rule is not null);
    }

    [Fact]
    public void The_visited_server_passes_on_only_its_own_agents_records()
    {
        var f = new HomeSide("aaaf");
        Assert.Equal(DiameterResult.AuthorizationRejected, f.Account(f.Record(), "fa3").ResultCode);
        Assert.Empty(f.Network["aaah"].Ledger.Stored);
        Assert.Equal(DiameterResult.Success, f.Account(f.Record()).ResultCode);
    }

    private static DiameterMessage? Read(byte[] octets) => DiameterMessage.TryParse(octets, DiameterLimits.Default, out var message, out Wire.WireError _) ? message : null;

    /// <summary>A scripted agent fa1 that accounts with the server next to it.</summary>
    private sealed class HomeSide
    {
        private readonly VpnAvpKeys _vpn = VpnAvpKeys.Default;
        private readonly ScriptedAgent _agent;

        public HomeSide(string server = "aaah")
        {
            var f = new AgentFixture(homeAaa: new HomeAaaOptions { HomeAgents = [], AccountingInterval = TimeSpan.FromSeconds(300) });
            Network = f.Net;
            f.Net.Crash("fa1");
            _agent = new ScriptedAgent(AaaFixture.Node("fa1", server) with { Routes = [new DiameterRoute("*", [AaaFixture.Identity(server)])] }, f.Random());
            f.Net.Restart("fa1", _agent);
        }

        public AgentNetwork Network { get; }

        public DiameterMessage Record(string damage = "")
        {
            var acr = DiameterDictionary.Default.Request(DiameterCommands.Accounting, DiameterApplications.MobileIpv4)
                .Add(AvpKeys.SessionId, "fa1;1;2")
                .Add(AvpKeys.OriginHost, AaaFixture.Identity("fa1"))
                .Add(AvpKeys.OriginRealm, "visited.example")
                .Add(AvpKeys.DestinationRealm, "home.example")
                .Add(AvpKeys.AccountingRecordType, damage == "type" ? 1 : 3)
                .Add(AvpKeys.AccountingRecordNumber, 4)
                .Add(AvpKeys.AcctApplicationId, DiameterApplications.MobileIpv4)
                .Add(AvpKeys.AcctMultiSessionId, "aaah;1;1")
                .Add(AvpKeys.AcctSessionTime, 60)
                .Add(AvpKeys.AccountingInputOctets, damage == "huge" ? ulong.MaxValue : 300)
                .Add(AvpKeys.AccountingInputPackets, 3)
                .Add(AvpKeys.AccountingOutputPackets, 0);
            if (damage != "user")
            {
                acr.Add(AvpKeys.UserName, damage == "realm" ? "alice@other.example" : Alice);
            }

            if (damage != "figures")
            {
                acr.Add(AvpKeys.AccountingOutputOctets, 0);
            }

            for (var i = 0; i < (damage switch { "sum" => 1, "twice" => 2, _ => 0 }); i++)
            {
                acr.AddGroup(_vpn.VpnProfileUsage, g => g.Add(_vpn.VpnProfileNumber, 1).Add(AvpKeys.AccountingInputOctets, 150).Add(AvpKeys.AccountingOutputOctets, 0)
                    .Add(AvpKeys.AccountingInputPackets, 1).Add(AvpKeys.AccountingOutputPackets, 0));
            }

            return acr.Build();
        }

        public DiameterMessage Account(DiameterMessage acr, string? origin = null)
        {
            if (origin is not null)
            {
                acr = acr.Without(AvpKeys.OriginHost).Append(Avp.Identity(AvpKeys.OriginHost, AaaFixture.Identity(origin)));
            }

            _agent.Answers.Clear();
            Network.Input("fa1", new SendRequest(acr));
            Network.Run(TimeSpan.FromSeconds(1));
            return Assert.Single(_agent.Answers);
        }
    }
}
