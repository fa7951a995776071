using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Terminal;
using Sojourn.VirtualInternet.Net;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>That the runs of the second system can fail: each thing they watch for, done on purpose, is seen; and intruders get nothing.</summary>
public sealed class AuthenticationInvariantTests
{
    private readonly AuthenticationWorld _world = new(1, new AuthenticationOptions(), ["mn1"], trace: true);

    public AuthenticationInvariantTests()
    {
        _world.StartInfrastructure();
        _world.StartTerminal(Terminal, _world.Routers[0]);
        _world.Network.Run(15);
        Assert.Empty(AuthenticationQuiescence.Check(_world, [Terminal], [Terminal]));
    }

    private TerminalMachine Terminal => _world.Terminals[0];

    private IPAddress Home => Terminal.Terminal!.HomeAddress!;

    [Fact]
    public void A_protected_packet_sent_twice_and_one_under_a_key_that_nobody_made_are_seen()
    {
        var ledger = _world.Network.Ledger;
        var association = Terminal.Terminal!.Associations.Single().Outbound;
        byte[] Esp(uint spi, byte number) => Packet(IpProtocol.Esp, [(byte)(spi >> 24), (byte)(spi >> 16), (byte)(spi >> 8), (byte)spi, 1, 0, 0, number, 1, 1, 1, 1, 1, 1, 1, number, 0, 0, 0, 0]);
        ledger.OnLink(Terminal, Esp(association.Spi, 1));
        ledger.OnLink(Terminal, Esp(association.Spi, 2));
        Assert.Contains("repeats", Seen(() => ledger.OnLink(Terminal, Esp(association.Spi, 1))), StringComparison.Ordinal);
        Assert.Contains("no key exchange has made", Seen(() => ledger.OnLink(Terminal, Esp(association.Spi ^ 1, 1))), StringComparison.Ordinal);
    }

    [Fact]
    public void Signalling_in_clear_and_a_packet_past_the_tunnel_are_seen()
    {
        var update = new BindingUpdate { SequenceNumber = 1, Lifetime = 10, Flags = BindingUpdateFlags.HomeRegistration }.ToArray(Home, AuthenticationWorld.Agent);
        Assert.Contains("in clear", Seen(() => _world.Network.Ledger.OnLink(Terminal, Packet(IpProtocol.Mobility, update))), StringComparison.Ordinal);
        var solicitation = new MobilePrefixSolicitation(1).ToArray(Home, AuthenticationWorld.Agent);
        Assert.Contains("in clear", Seen(() => _world.Network.Ledger.OnCore(_world.HomeAgent, Packet(IpProtocol.Icmpv6, solicitation))), StringComparison.Ordinal);
        Assert.Contains("past its tunnel", Seen(() => _world.Network.Ledger.OnLink(Terminal, TerminalNetwork.Udp(Home, AuthenticationWorld.Correspondent, 1, 1, [1]))), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("lease", "no such prefix is its own")]
    [InlineData("certificate", "no certificate that is good")]
    public void An_association_of_somebody_who_may_have_none_is_seen(string what, string message)
    {
        // The tables that the run judges by change, and those that the machines decide by do not.
        if (what == "lease")
        {
            _world.Network.CrashAfter = (machine, _) =>
            {
                if (machine == _world.HomeAgent)
                {
                    _world.Delegation.Leases.Clear();
                }

                return false;
            };
        }
        else
        {
            foreach (var (serial, certificate) in _world.Authority.Store.Certificates.Where(c => c.Value.Identifier == Terminal.Identifier).ToList())
            {
                _world.Authority.Store.Certificates[serial] = certificate with { Identifier = "another.home.example" };
            }
        }

        _world.Network.Crash(Terminal);
        _world.Network.Start(Terminal);
        Assert.Contains(message, Seen(() => _world.Network.Run(20)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_prefix_kept_twice_is_seen()
    {
        var lease = _world.Delegation.Leases.Values.Single();
        Assert.Contains("twice", Seen(() => _world.Delegation.Keep(new StoreLease(lease with { Key = new AssociationKey(lease.Key.Client, 2) }))), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("binding", "keeps")]
    [InlineData("lease", "disk disagree")]
    [InlineData("certificate", "not good")]
    [InlineData("permission", "no permission")]
    [InlineData("terminal", "is not registered")]
    [InlineData("gone", "nobody wants")]
    public void What_is_missing_or_left_over_at_rest_is_seen(string what, string problem)
    {
        switch (what)
        {
            case "binding":
                _world.HomeAgent.State.Clear();
                break;
            case "lease":
                var lease = _world.Delegation.Leases.Values.Single();
                _world.Delegation.Leases[lease.Key] = lease with { ValidUntil = lease.ValidUntil.AddSeconds(1) };
                break;
            case "certificate":
                var certificate = _world.Authority.Store.Certificates.Values.Single(c => c.Identifier == Terminal.Identifier);
                _world.Authority.Store.Certificates[certificate.Serial] = certificate with { Status = CertificateStatus.Revoked, RevokedAt = DateTimeOffset.MinValue };
                break;
            case "permission":
                _world.Authority.Store.Permissions.Clear();
                break;
            case "terminal":
                _world.Network.Crash(Terminal);
                break;
        }

        IReadOnlyCollection<TerminalMachine> wanted = what == "gone" ? [] : [Terminal];
        Assert.Contains(AuthenticationQuiescence.Check(_world, wanted, [Terminal]), p => p.Contains(problem, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Who_claims_the_address_of_a_terminal_gets_nothing_and_the_terminal_goes_on(bool forges)
    {
        var intruder = forges ? _world.AddForger(Terminal, Home) : _world.AddPretender(Home);
        _world.StartTerminal(intruder, _world.Routers[1]);
        _world.Network.Run(30);

        Assert.True(_world.Network.Counters.GetValueOrDefault("terminal.key_exchanges_failed") > 0);
        Assert.NotEqual(TerminalState.Reg, intruder.Terminal!.State);
        _world.Network.Crash(intruder);
        _world.Network.Run(1);
        Assert.Empty(AuthenticationQuiescence.Check(_world, [Terminal], [Terminal]));
        var ping = _world.Network.PingFromTerminal(Terminal);
        _world.Network.Run(1);
        Assert.True(ping.Returned);
    }

    private byte[] Packet(byte protocol, byte[] payload) => new MobileIpv6Packet
    {
        Source = Terminal.Terminal!.CareOfAddress!,
        Destination = AuthenticationWorld.Agent,
        Protocol = protocol,
        Payload = payload,
    }.ToArray();

    private static string Seen(Action act) => Assert.Throws<InvariantViolation>(act).Message;
}
