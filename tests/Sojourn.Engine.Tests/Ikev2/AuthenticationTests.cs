using System.Net;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Xunit;

namespace Sojourn.Engine.Tests.Ikev2;

/// <summary>Who is let in and who is not.</summary>
public class AuthenticationTests
{
    public static TheoryData<string> Impostors => ["expired", "not yet valid", "other authority", "other name", "other key", "key not for signatures", "self-signed", "unknown identity", "wrong secret", "secret instead of certificate", "certificate instead of secret"];

    [Theory, MemberData(nameof(Impostors))]
    [Trait("Row", "TA-M11")]
    [Trait("Row", "TA-N14")]
    [Trait("Row", "TA-H3")]
    [Trait("Row", "TA-H5")]
    [Trait("Row", "TA-H28")]
    [Trait("Row", "TA-N17")]
    public void An_impostor_gets_one_error_for_every_cause_and_nothing_else(string how)
    {
        var genuine = TestAuthority.Home.Issue(IkePair.TerminalName);
        var agent = IkePair.AgentPeer.WithCertificate(TestAuthority.Home.Issue(IkePair.AgentName));
        var terminal = IkePair.TerminalPeer.WithCertificate(genuine);
        (terminal, agent) = how switch
        {
            "expired" => (terminal with { Credential = TestAuthority.Home.Issue(IkePair.TerminalName, fromDays: -10, days: 9) }, agent),
            "not yet valid" => (terminal with { Credential = TestAuthority.Home.Issue(IkePair.TerminalName, fromDays: 1) }, agent),
            "other authority" => (terminal with { Credential = TestAuthority.Other.Issue(IkePair.TerminalName) }, agent),
            "other name" => (terminal with { Credential = TestAuthority.Home.Issue("mn2.home.example") }, agent),
            "other key" => (terminal with { Credential = genuine with { PrivateKey = TestAuthority.Home.Issue(IkePair.TerminalName).PrivateKey } }, agent),
            "key not for signatures" => (terminal with { Credential = TestAuthority.Home.Issue(IkePair.TerminalName, usage: X509KeyUsageFlags.KeyEncipherment) }, agent),
            "self-signed" => (terminal with { Credential = new TestAuthority("home").Issue(IkePair.TerminalName) }, agent),
            "unknown identity" => (terminal with { LocalIdentity = IkeIdentity.OfName("mn9.home.example"), Credential = TestAuthority.Home.Issue("mn9.home.example") }, agent),
            "wrong secret" => (IkePair.TerminalPeer with { PreSharedKey = new KeyMaterial("another secret"u8) }, IkePair.AgentPeer),
            "secret instead of certificate" => (IkePair.TerminalPeer, agent with { PreSharedKey = IkePair.Secret }),
            _ => (terminal, IkePair.AgentPeer),
        };
        var network = new IkeNetwork(IkePair.Options(terminal), IkePair.Options(agent)).Connect();

        network.AssertAgree(0, 0);
        Assert.Empty(network.B.Of<ChildSaUp>());
        Assert.Empty(network.B.Of<IkeSaUp>());
        Assert.Equal([IkeNotifyType.AuthenticationFailed], Inside(network, response: true).OfType<NotifyPayload>().Select(n => n.NotifyType));
        Assert.Single(Inside(network, response: true));
        Assert.Equal(1, network.B.Counter("ike.auth.refused"));
        Assert.Equal(0, network.B.Engine.HalfOpenCount);
        network.Run(40);
        Assert.Empty(network.B.Engine.IkeSas);
        Assert.Null(network.B.Engine.NextDeadline);
    }

    [Fact]
    [Trait("Row", "TA-N28")]
    public void A_key_whose_store_is_taken_away_fails_the_next_run_and_leaves_the_present_one()
    {
        var present = true;
        var genuine = TestAuthority.Home.Issue(IkePair.TerminalName);
        var removable = genuine with { PrivateKey = SigningKey.FromPkcs8(genuine.PrivateKey.Ecdsa!.ExportPkcs8PrivateKey(), () => present) };
        var agent = IkePair.AgentPeer.WithCertificate(TestAuthority.Home.Issue(IkePair.AgentName));
        var network = new IkeNetwork(IkePair.Options(IkePair.TerminalPeer.WithCertificate(removable)), IkePair.Options(agent)).Connect();
        network.AssertAgree(1, 1);
        present = false;
        network.Run(100);
        network.AssertAgree(1, 1);
        network.Connect();
        var down = Assert.Single(network.A.Of<IkeSaDown>());
        Assert.Equal((IkeEnd.Refused, "the private key has been taken out of its store"), (down.End, down.Reason));
        network.Run(60);
        network.AssertAgree(1, 1);
        present = true;
        network.Connect();
        Assert.Single(network.A.Of<IkeSaDown>());
    }

    // The agent's proof is wrong: the terminal says so, and the agent's side goes too.
    [Theory]
    [InlineData("other authority")]
    [InlineData("other name")]
    [InlineData("another agent")]
    [Trait("Row", "TA-N18")]
    [Trait("Row", "TA-H13")]
    public void A_rogue_agent_is_left(string how)
    {
        var network = IkePair.Certified(agent: p => how switch
        {
            "other authority" => p with { Credential = TestAuthority.Other.Issue(IkePair.AgentName) },
            "other name" => p with { Credential = TestAuthority.Home.Issue("rogue.home.example") },
            _ => p with { LocalIdentity = IkeIdentity.OfName("ha2.home.example"), Credential = TestAuthority.Home.Issue("ha2.home.example") },
        }, terminal: p => how == "another agent" ? p with { RemoteIdentity = IkeIdentity.OfName(IkePair.AgentName) } : p).Connect();
        network.AssertAgree(0, 0);
        Assert.Empty(network.A.Of<ChildSaUp>());
        Assert.Equal(IkeEnd.Refused, Assert.Single(network.A.Of<IkeSaDown>()).End);
        Assert.Empty(network.B.Installed);
    }

    [Theory]
    [InlineData("ha.home.example", true)]
    [InlineData("2001:db8:a::fffe", true)]
    [InlineData("198.51.100.1", true)]
    [InlineData("ops@home.example", true)]
    [InlineData("CN=ha.home.example", true)]
    [InlineData("CN=other", false)]
    [Trait("Row", "TA-M7")]
    public void An_identity_of_any_type_must_be_in_the_certificate(string identity, bool accepted)
    {
        var network = IkePair.Certified(
            terminal: p => p with { RemoteIdentity = IkeIdentity.Parse(identity) },
            agent: p => p with { LocalIdentity = IkeIdentity.Parse(identity), Credential = TestAuthority.Home.Issue(identity.Replace("CN=", "", StringComparison.Ordinal).Replace("other", "ha.home.example", StringComparison.Ordinal)) }).Connect();
        Assert.Equal(accepted ? 1 : 0, network.A.Engine.IkeSas.Count());
    }

    [Fact]
    public void A_peer_that_names_no_hashes_gets_the_older_ecdsa_method()
    {
        // The notification is taken out on its way to the agent, and put back nowhere: both then sign as RFC 4754 has it,
        // and AUTH fails, because it covers the first message. So an attacker cannot bring that method about.
        var network = IkePair.Certified();
        network.Change = d => d.Is(IkeExchange.IkeSaInit, false) ? d with { Payload = Without(d.Payload, IkeNotifyType.SignatureHashAlgorithms) } : d;
        network.Connect();
        network.AssertAgree(0, 0);
        Assert.Equal(1, network.B.Counter("ike.auth.refused"));
    }

    // ──► IKE_AUTH   (agent asks)   ──► the same again, and again   (answer comes)   ◄── one answer
    [Fact]
    [Trait("Row", "TA-M6")]
    [Trait("Row", "TA-M11")]
    public void A_slow_decision_is_asked_for_once_and_answered_once()
    {
        var network = IkePair.Certified(agent: p => p with { Authorize = true });
        network.Tell(network.A, new InitiateIke("agent", network.A.Address));
        network.Run(6);
        var question = Assert.Single(network.B.Of<AuthorizePeer>());
        Assert.Equal(IkePair.TerminalName, question.Identity.ToString());
        Assert.NotNull(question.Certificate);
        Assert.Equal(IkePair.TerminalChild.LocalSelectors, question.RemoteSelectors);
        Assert.True(network.Sent.Count(d => d.Is(IkeExchange.IkeAuth, false)) > 2);
        Assert.DoesNotContain(network.Sent, d => d.Is(IkeExchange.IkeAuth, true));

        network.Tell(network.B, new PeerAuthorized(question.Request, true, ""));
        network.Run();
        network.AssertAgree(1, 1);
        var retransmission = network.Sent.First(d => d.Is(IkeExchange.IkeAuth, false));
        var answer = network.Sent.Last(d => d.Is(IkeExchange.IkeAuth, true));
        network.Inject(retransmission);
        network.Run();
        Assert.Equal(answer.Payload.ToArray(), network.Sent.Last(d => d.Is(IkeExchange.IkeAuth, true)).Payload.ToArray());
        Assert.Single(network.B.Of<AuthorizePeer>());
    }

    [Fact]
    [Trait("Row", "TA-M6")]
    [Trait("Row", "TA-M11")]
    [Trait("Row", "TA-N12")]
    public void A_refusal_leaves_no_sa()
    {
        var network = IkePair.Certified(agent: p => p with { Authorize = true });
        network.Tell(network.A, new InitiateIke("agent", network.A.Address));
        network.Run(0.5);
        network.Tell(network.B, new PeerAuthorized(network.B.Of<AuthorizePeer>().Single().Request, false, "the prefix is not allocated"));
        network.Run();
        network.AssertAgree(0, 0);
        Assert.Equal([IkeNotifyType.AuthenticationFailed], Inside(network, response: true).OfType<NotifyPayload>().Select(n => n.NotifyType));
        Assert.Contains(network.B.Of<Report>(), r => r.Event.Text.Contains("the prefix is not allocated", StringComparison.Ordinal));
    }

    [Fact]
    [Trait("Row", "TA-H18")]
    [Trait("Row", "TA-H16")]
    public void Nobody_is_asked_before_the_signature_is_right()
    {
        var genuine = TestAuthority.Home.Issue(IkePair.TerminalName);
        var network = IkePair.Certified(terminal: p => p with { Credential = genuine with { PrivateKey = TestAuthority.Other.Issue("x").PrivateKey } }, agent: p => p with { Authorize = true }).Connect();
        Assert.Empty(network.B.Of<AuthorizePeer>());
        network.AssertAgree(0, 0);
    }

    // Name mode: the name is in the certificate, the home address in TSi. Home-address mode: IDi is the home address.
    [Theory]
    [InlineData("name", true)]
    [InlineData("name, two addresses", false)]
    [InlineData("name, range", false)]
    [InlineData("home address", true)]
    [InlineData("home address, other selector", false)]
    [Trait("Row", "TA-N17")]
    public void A_terminal_names_exactly_one_address(string how, bool accepted)
    {
        var inAddressMode = how.StartsWith("home address", StringComparison.Ordinal);
        var identity = inAddressMode ? IkeIdentity.Of(IkePair.HomeAddress) : IkeIdentity.OfName(IkePair.TerminalName);
        var child = EstablishmentTests.MobileChild;
        var other = IPAddress.Parse("2001:db8:a::2");
        child = how switch
        {
            "name, two addresses" => child with { LocalSelectors = [.. child.LocalSelectors, SelectorNarrowing.Mobility(other, 5)] },
            "name, range" => child with { LocalSelectors = [child.LocalSelectors[0] with { EndAddress = other }] },
            "home address, other selector" => child with { LocalSelectors = [SelectorNarrowing.Mobility(other, 5)] },
            _ => child,
        };
        var network = IkePair.Certified(
            terminal: p => p with { LocalIdentity = identity, Children = [child] },
            agent: p => p with { RemoteIdentity = null, IdentityInCertificate = !inAddressMode, Children = [EstablishmentTests.AgentMobileChild] }).Connect();
        network.AssertAgree(accepted ? 1 : 0, accepted ? 1 : 0);
    }

    [Fact]
    [Trait("Row", "TA-H4")]
    public void A_recorded_ike_auth_is_worth_nothing_in_another_negotiation()
    {
        var network = IkePair.Certified().Connect();
        var recorded = network.Sent.First(d => d.Is(IkeExchange.IkeAuth, false));
        var sa = network.B.Sa;

        // The attacker begins anew with the same SPI and sends the recorded request under the new responder SPI.
        network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], sa.InitiatorSpi));
        network.Run();
        var answer = network.Sent.Last(d => d.Is(IkeExchange.IkeSaInit, true));
        var forged = recorded.Ike!.Value.ToArray();
        System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(forged.AsSpan(8), answer.Header.ResponderSpi);
        network.Inject(new Datagram(Hostile.At(Hostile.Attacker), Hostile.At(network.B.Address), forged));
        network.Run();
        Assert.Equal(1, network.B.Counter("ike.message.bad_integrity"));
        network.AssertAgree(1, 1);
    }

    [Fact]
    [Trait("Row", "TA-M16")]
    public void A_certificate_can_be_fetched_from_an_allowed_host()
    {
        var url = new Uri("http://ca.home.example/ha.cer");
        var credential = TestAuthority.Home.Issue(IkePair.AgentName, url: url);
        var network = IkePair.Certified(agent: p => p with { Credential = credential }, options: o => o with { CertificateHosts = ["ca.home.example"] });
        network.Tell(network.A, new InitiateIke("agent", network.A.Address));
        network.Run(0.5);
        var fetch = Assert.Single(network.A.Of<FetchCertificate>());
        Assert.Equal(url, fetch.Url);
        network.Tell(network.A, new CertificateFetched(fetch.Request, credential.Certificate.RawData));
        network.Run();
        network.AssertAgree(1, 1);
    }

    [Theory]
    [InlineData("host")]
    [InlineData("hash")]
    [InlineData("nothing")]
    [Trait("Row", "TA-M16")]
    public void A_certificate_from_elsewhere_or_another_one_is_not_taken(string how)
    {
        var credential = TestAuthority.Home.Issue(IkePair.AgentName, url: new Uri(how == "host" ? "http://evil.example/ha.cer" : "http://ca.home.example/ha.cer"));
        var network = IkePair.Certified(agent: p => p with { Credential = credential }, options: o => o with { CertificateHosts = ["ca.home.example"] });
        network.Tell(network.A, new InitiateIke("agent", network.A.Address));
        network.Run(0.5);
        if (how == "host")
        {
            Assert.Empty(network.A.Of<FetchCertificate>());
        }
        else
        {
            network.Tell(network.A, new CertificateFetched(network.A.Of<FetchCertificate>().Single().Request, how == "hash" ? TestAuthority.Home.Issue(IkePair.AgentName).Certificate.RawData : null));
        }

        network.Run();
        network.AssertAgree(0, 0);
    }

    // The agent takes weaker algorithms from others, and only P-384 from this one.
    [Theory]
    [InlineData(IkeGroup.P384, true)]
    [InlineData(IkeGroup.Curve25519, false)]
    [Trait("Row", "TA-H28")]
    public void A_peer_with_strict_algorithms_is_not_let_in_with_those_of_others(ushort group, bool accepted)
    {
        var other = IkePair.AgentPeer with { Name = "other", RemoteIdentity = IkeIdentity.OfName("mn2.home.example") };
        var network = new IkeNetwork(
            IkePair.Options(IkePair.TerminalPeer with { Proposals = EstablishmentTests.Groups(group) }),
            IkePair.Options(IkePair.AgentPeer with { Proposals = EstablishmentTests.Groups(IkeGroup.P384) }, other)).Connect();
        network.AssertAgree(accepted ? 1 : 0, accepted ? 1 : 0);
        Assert.Equal(accepted ? 0 : 1, network.B.Counter("ike.auth.refused"));
    }

    [Fact]
    public void An_initiator_does_not_wait_for_ever_for_an_answer_from_outside()
    {
        var network = IkePair.Certified(terminal: p => p with { Authorize = true });
        network.Tell(network.A, new InitiateIke("agent", network.A.Address));
        network.Run(30);
        Assert.Single(network.A.Of<AuthorizePeer>());
        Assert.Empty(network.A.Of<IkeSaDown>());
        network.Run(60);
        Assert.Equal(IkeEnd.Timeout, Assert.Single(network.A.Of<IkeSaDown>()).End);
    }

    [Fact]
    public void Initial_contact_ends_what_the_same_peer_had_before()
    {
        var network = IkePair.Network().Connect();
        network.AssertAgree(1, 1);
        var reborn = new IkeNode("terminal again", IkePair.Options(IkePair.TerminalPeer), 77, network.A.Address);
        network.Nodes.Remove(network.A);
        network.Nodes.Add(reborn);
        network.Tell(reborn, new InitiateIke("agent", reborn.Address));
        network.Run();
        Assert.Single(network.B.Engine.IkeSas);
        Assert.Single(network.B.Engine.ChildSas);
        Assert.Equal(IkeEnd.Superseded, Assert.Single(network.B.Of<IkeSaDown>()).End);
        Assert.Equal(reborn.Sa.ResponderSpi, network.B.Sa.ResponderSpi);
    }

    /// <summary>The payloads inside the last IKE_AUTH message of a direction.</summary>
    private static IReadOnlyList<IkePayload> Inside(IkeNetwork network, bool response)
    {
        var datagram = network.Sent.Last(d => d.Is(IkeExchange.IkeAuth, response));
        var keys = network.B.Of<IkeKeysDerived>().First(k => k.ResponderSpi == datagram.Header.ResponderSpi);
        using var cipher = response ? new IkeCipher(keys.Suite, keys.Keys.EncryptionResponder, keys.Keys.IntegrityResponder) : new IkeCipher(keys.Suite, keys.Keys.EncryptionInitiator, keys.Keys.IntegrityInitiator);
        Assert.True(IkeMessage.TryParse(datagram.Ike!.Value.Span, out var message, out _));
        var payload = Assert.IsType<EncryptedPayload>(Assert.Single(message.Payloads));
        Assert.True(IkeMessage.TryParsePayloads(cipher.Open(datagram.Ike.Value.Span, 32), payload.FirstInside, 0, out var payloads, out _));
        return payloads;
    }

    private static byte[] Without(ReadOnlyMemory<byte> octets, IkeNotifyType type)
    {
        Assert.True(IkeMessage.TryParse(octets.Span, out var message, out _));
        return (message with { Payloads = [.. message.Payloads.Where(p => p is not NotifyPayload n || n.NotifyType != type)] }).ToArray();
    }
}
