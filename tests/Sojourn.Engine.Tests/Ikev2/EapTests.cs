using System.Net;
using System.Text;
using Sojourn.Engine.Eap;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Tests.Radius;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Ikev2;
using Xunit;

namespace Sojourn.Engine.Tests.Ikev2;

/// <summary>IKE_AUTH with EAP-TTLS: the terminal asks, the gateway relays to an authentication server (RFC 7296 2.16).</summary>
public sealed class EapTests
{
    private static readonly TestCredentials s_ca = new();
    private static readonly Mip6HomePrefix s_prefix = new(IPNetwork.Parse("2001:db8:a:5::/64"), 3600);

    /// <summary>Answers what the gateway's engine asks of the outside.</summary>
    private sealed class Access : IDisposable
    {
        private readonly Dictionary<long, EapServer> _servers = [];
        private int _answered;

        public Access(IkeNetwork network)
        {
            Network = network;
        }

        public IkeNetwork Network { get; }

        public bool Grants { get; set; } = true;

        public bool Answers { get; set; } = true;

        public int Conversations => _servers.Count;

        public void Run(double seconds = 5)
        {
            for (var i = 0; i < seconds * 50; i++)
            {
                Network.Run(0.02);
                while (_answered < Network.B.All.Count)
                {
                    Answer(Network.B.All[_answered++]);
                }
            }
        }

        public void Dispose()
        {
            foreach (var server in _servers.Values)
            {
                server.Dispose();
            }
        }

        private void Answer(Effect effect)
        {
            switch (effect)
            {
                case RelayIkeEap relay when Answers:
                    if (!_servers.TryGetValue(relay.IkeSa, out var server))
                    {
                        _servers[relay.IkeSa] = server = new EapServer(new EapServerOptions { Methods = [EapType.Ttls], Tls = s_ca.Context("as.home.example"), FragmentLength = 300 });
                    }

                    var response = relay.Response is { } octets && EapPacket.TryParse(octets.Span, out var read, out _) ? read : new EapPacket(EapCode.Response, 0, EapType.Identity, Encoding.ASCII.GetBytes(relay.Identity.ToString()));
                    var next = server.Receive(response, Network.Now);
                    if (server.State == EapServerState.ChecksPassword)
                    {
                        next = server.PasswordChecked(server.User == "alice" && server.Password!.Octets.SequenceEqual("correct horse battery"u8));
                    }

                    var progress = server.State switch { EapServerState.Succeeded => EapProgress.Succeeded, EapServerState.Failed => EapProgress.Failed, _ => EapProgress.Continues };
                    Network.Tell(Network.B, new EapRelayAnswered(relay.Request, progress, next?.ToArray(), progress == EapProgress.Succeeded ? "mn1.home.example" : "", server.MasterSessionKey));
                    break;
                case RelayIkeEap silent:
                    Network.Tell(Network.B, new EapRelayAnswered(silent.Request, EapProgress.Failed, null));
                    break;
                case ConfigurePeer configure:
                    Network.Tell(Network.B, new PeerConfigured(configure.Request, Grants ? [s_prefix.ToAttribute()] : null, "the authority refuses"));
                    break;
            }
        }
    }

    private static Access Start(string password = "correct horse battery", Func<IkePeer, IkePeer>? gateway = null, IkeCredential? proof = null)
    {
        var certificate = TestAuthority.Home.Issue(IkePair.AgentName);
        var terminal = IkePair.TerminalPeer with
        {
            PreSharedKey = null,
            LocalIdentity = IkeIdentity.OfMailbox("anonymous@home.example"),
            Trust = TestAuthority.Home.Trust,
            Configuration = [IkeConfigurationAttributeType.Mip6HomePrefix],
            Eap = () => new EapPeer(new EapPeerOptions
            {
                OuterIdentity = "anonymous",
                Methods = [EapType.Ttls],
                Tls = s_ca.Context(),
                ServerName = "as.home.example",
                User = "alice",
                Password = new KeyMaterial(Encoding.UTF8.GetBytes(password)),
                FragmentLength = 300,
            }),
        };
        var agent = IkePair.AgentPeer with { PreSharedKey = null, RemoteIdentity = null, Credential = proof ?? certificate, EapAuthenticator = true, Authorize = true };
        var access = new Access(new IkeNetwork(IkePair.Options(terminal), IkePair.Options(gateway?.Invoke(agent) ?? agent)));
        access.Network.Tell(access.Network.A, new InitiateIke("agent", access.Network.A.Address));
        return access;
    }

    [Fact]
    [Trait("Row", "TA-M52")]
    [Trait("Row", "TA2.141")]
    [Trait("Row", "TA2.142")]
    [Trait("Row", "TA2.150")]
    public void User_and_password_inside_EAP_TTLS_make_an_association_and_the_last_answer_brings_the_prefix()
    {
        using var access = Start();
        access.Run();
        var network = access.Network;

        network.AssertAgree(1, 1);
        Assert.Equal("mn1.home.example", network.B.Sa.RemoteIdentity.ToString()); // whom EAP proved, not IDi
        var configure = Assert.Single(network.B.Of<ConfigurePeer>());
        Assert.Equal([IkeConfigurationAttributeType.Mip6HomePrefix], configure.Asked);
        Assert.Equal("mn1.home.example", configure.Identity.ToString());
        var received = Assert.Single(network.A.Of<ConfigurationReceived>());
        Assert.True(Mip6HomePrefix.TryRead(Assert.Single(received.Attributes), out var prefix));
        Assert.Equal(s_prefix, prefix);

        // One exchange for the beginning, several for EAP, one for AUTH; the gateway proves itself in the first answer.
        var exchanges = network.Sent.Count(d => d.Is(IkeExchange.IkeAuth, response: true));
        Assert.True(exchanges >= 6, $"{exchanges}");
        Assert.Null(network.B.Of<RelayIkeEap>().First().Response);
    }

    [Fact]
    public void No_EAP_message_goes_to_a_gateway_that_cannot_prove_itself()
    {
        using var access = Start(proof: TestAuthority.Other.Issue(IkePair.AgentName));
        access.Run();

        // The impostor gets the first request, which names nobody, and no EAP message at all.
        access.Network.AssertAgree(0, 0);
        Assert.Single(access.Network.B.Of<RelayIkeEap>());
        Assert.Null(access.Network.B.Of<RelayIkeEap>().Single().Response);
    }

    [Fact]
    [Trait("Row", "TA2.142x")]
    [Trait("Row", "TA-N24")]
    public void A_wrong_password_ends_in_EAP_Failure_and_nothing_is_configured()
    {
        using var access = Start("wrong");
        access.Run();
        var network = access.Network;

        network.AssertAgree(0, 0);
        Assert.Empty(network.B.Of<ConfigurePeer>());
        Assert.Empty(network.B.Of<IkeSaUp>());
        Assert.Equal(1, network.B.Counter("ike.auth.refused"));
        Assert.Equal(0, network.B.Engine.HalfOpenCount);
        access.Run(40);
        Assert.Null(network.B.Engine.NextDeadline);
    }

    [Fact]
    [Trait("Row", "TA2.150x")]
    [Trait("Row", "TA-N25")]
    public void The_right_password_without_permission_ends_in_a_refusal()
    {
        using var access = Start();
        access.Grants = false;
        access.Run();

        access.Network.AssertAgree(0, 0);
        Assert.Empty(access.Network.B.Of<IkeSaUp>());
        Assert.Empty(access.Network.A.Of<ConfigurationReceived>());
        Assert.Equal(IkeEnd.Refused, Assert.Single(access.Network.A.Of<IkeSaDown>()).End);
    }

    [Fact]
    public void No_server_means_no_access_and_a_peer_with_EAP_gets_in_with_nothing_else()
    {
        using var access = Start();
        access.Answers = false;
        access.Run();
        access.Network.AssertAgree(0, 0);

        // AUTH of a certificate towards a gateway that wants EAP.
        var terminal = IkePair.TerminalPeer.WithCertificate(TestAuthority.Home.Issue(IkePair.TerminalName));
        var agent = IkePair.AgentPeer.WithCertificate(TestAuthority.Home.Issue(IkePair.AgentName)) with { EapAuthenticator = true };
        new IkeNetwork(IkePair.Options(terminal), IkePair.Options(agent)).Connect().AssertAgree(0, 0);

        // And EAP towards a gateway that does not speak it.
        using var none = Start(gateway: peer => peer with { EapAuthenticator = false, Trust = TestAuthority.Home.Trust });
        none.Run();
        none.Network.AssertAgree(0, 0);
        Assert.Equal(0, none.Conversations);
    }

    [Fact]
    public void Lost_and_repeated_messages_change_nothing()
    {
        using var access = Start();
        var count = 0;
        access.Network.Fate = _ => ++count % 5 == 0 ? [] : count % 7 == 0 ? [IkeNetwork.Delay, IkeNetwork.Delay * 3] : [IkeNetwork.Delay];
        access.Run(60);
        access.Network.AssertAgree(1, 1);
        Assert.Equal(1, access.Conversations);
        Assert.Single(access.Network.B.Of<ConfigurePeer>());
    }
}
