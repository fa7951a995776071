using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Xunit;

namespace Sojourn.Engine.Tests.Ikev2;

/// <summary>IKE_SA_INIT and IKE_AUTH between two engines.</summary>
public class EstablishmentTests
{
    // terminal                                          agent
    //   IKE_SA_INIT  SAi1, KEi, Ni, N…            ──►
    //                                             ◄──  SAr1, KEr, Nr, CERTREQ, N…
    //   IKE_AUTH     IDi, CERT, AUTH, SAi2, TS    ──►
    //                                             ◄──  IDr, CERT, AUTH, SAr2, TS
    [Theory]
    [InlineData("psk")]
    [InlineData("p256")]
    [InlineData("p384")]
    [InlineData("rsa")]
    [InlineData("ed25519")]
    [Trait("Row", "TA-M1")]
    [Trait("Row", "TA-M5")]
    [Trait("Row", "TA-M7")]
    [Trait("Row", "TA-M8")]
    [Trait("Row", "TA-M9")]
    public void Two_exchanges_make_an_ike_sa_and_a_child(string kind)
    {
        var network = (kind == "psk" ? IkePair.Network() : IkePair.Certified(kind)).Connect();

        network.AssertAgree(1, 1);
        var messages = network.Sent.Where(d => d.Header.MessageId <= 1).Select(d => (d.Header.Exchange, d.Header.IsResponse)).Distinct();
        Assert.Equal([(IkeExchange.IkeSaInit, false), (IkeExchange.IkeSaInit, true), (IkeExchange.IkeAuth, false), (IkeExchange.IkeAuth, true)], messages);
        Assert.Equal(IkePair.TerminalName, network.B.Sa.RemoteIdentity.ToString());
        Assert.Equal(IkePair.AgentName, network.A.Sa.RemoteIdentity.ToString());
        Assert.Equal(kind == "psk", network.B.Sa.RemoteCertificate is null);
        Assert.Equal(0, network.B.Engine.HalfOpenCount);
    }

    [Fact]
    [Trait("Row", "TA-M2")]
    [Trait("Row", "TA-M3")]
    [Trait("Row", "TA-M4")]
    public void The_first_messages_carry_what_the_table_asks_for()
    {
        var network = IkePair.Certified().Connect();
        IkeMessage Read(bool response) => IkeMessage.TryParse(network.Sent.First(d => d.Is(IkeExchange.IkeSaInit, response)).Ike!.Value.Span, out var m, out var error) ? m : throw new InvalidOperationException(error.ToString());
        foreach (var message in new[] { Read(false), Read(true) })
        {
            Assert.NotNull(message.Find<SecurityAssociationPayload>());
            Assert.NotNull(message.Find<KeyExchangePayload>());
            Assert.NotNull(message.Find<NoncePayload>());
            foreach (var notify in new[] { IkeNotifyType.NatDetectionSourceIp, IkeNotifyType.NatDetectionDestinationIp, IkeNotifyType.SignatureHashAlgorithms, IkeNotifyType.Ikev2FragmentationSupported })
            {
                Assert.NotNull(message.Notify(notify));
            }
        }

        Assert.Single(Read(true).Find<SecurityAssociationPayload>()!.Proposals);
        Assert.Equal(20, Read(true).Find<CertificateRequestPayload>()!.Authorities.Length);
        Assert.Null(Read(false).Find<CertificateRequestPayload>());
    }

    public static TheoryData<ushort, int, ushort, ushort, ushort> Suites
    {
        get
        {
            var data = new TheoryData<ushort, int, ushort, ushort, ushort>();
            foreach (var group in new[] { IkeGroup.Curve25519, IkeGroup.P256, IkeGroup.P384, IkeGroup.P521, IkeGroup.Modp2048, IkeGroup.Modp3072, IkeGroup.Modp4096 })
            {
                data.Add(IkeEncryption.AesGcm16, 128, IkeIntegrity.None, IkePrf.HmacSha256, group);
            }

            foreach (var prf in new[] { IkePrf.HmacSha256, IkePrf.HmacSha384, IkePrf.HmacSha512 })
            {
                data.Add(IkeEncryption.AesGcm16, 256, IkeIntegrity.None, prf, IkeGroup.P256);
                data.Add(IkeEncryption.ChaCha20Poly1305, 0, IkeIntegrity.None, prf, IkeGroup.Curve25519);
            }

            foreach (var integrity in new[] { IkeIntegrity.HmacSha256, IkeIntegrity.HmacSha384, IkeIntegrity.HmacSha512 })
            {
                data.Add(IkeEncryption.AesCbc, 128, integrity, IkePrf.HmacSha256, IkeGroup.Curve25519);
                data.Add(IkeEncryption.AesCbc, 256, integrity, IkePrf.HmacSha384, IkeGroup.Modp2048);
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(Suites))]
    public void Every_suite_works(ushort encryption, int bits, ushort integrity, ushort prf, ushort group)
    {
        IkeTransform[] transforms =
        [
            new(IkeTransformType.Encryption, encryption, bits == 0 ? null : (ushort)bits), new(IkeTransformType.PseudoRandomFunction, prf), new(IkeTransformType.KeyExchange, group),
            .. integrity == IkeIntegrity.None ? Array.Empty<IkeTransform>() : [new IkeTransform(IkeTransformType.Integrity, integrity)],
        ];
        var network = IkePair.Network(p => p with { Proposals = [new IkeProposal(1, IkeProtocol.Ike, default, transforms)] }, p => p with { Proposals = [.. IkeProposals.Ike, new IkeProposal(3, IkeProtocol.Ike, default, transforms)] }).Connect();

        network.AssertAgree(1, 1);
        Assert.Equal((encryption, integrity, prf, group), (network.A.Sa.Suite.Encryption, network.A.Sa.Suite.Integrity, network.A.Sa.Suite.Prf, network.A.Sa.Suite.Group));
        network.Tell(network.B, new RekeyIke(network.B.Sa.Id));
        network.Run();
        network.AssertAgree(1, 1);
    }

    [Theory]
    [InlineData(IkeEncryption.AesGcm16, 128, IpsecAlgorithm.Aes128Gcm16)]
    [InlineData(IkeEncryption.AesGcm16, 256, IpsecAlgorithm.Aes256Gcm16)]
    [InlineData(IkeEncryption.ChaCha20Poly1305, 0, IpsecAlgorithm.ChaCha20Poly1305)]
    [InlineData(IkeEncryption.AesCbc, 128, IpsecAlgorithm.Aes128CbcHmacSha256)]
    [InlineData(IkeEncryption.AesCbc, 256, IpsecAlgorithm.Aes256CbcHmacSha256)]
    public void Every_esp_suite_works(ushort encryption, int bits, IpsecAlgorithm algorithm)
    {
        IkeTransform[] transforms = [new(IkeTransformType.Encryption, encryption, bits == 0 ? null : (ushort)bits), .. encryption == IkeEncryption.AesCbc ? [new IkeTransform(IkeTransformType.Integrity, IkeIntegrity.HmacSha256)] : Array.Empty<IkeTransform>()];
        var network = IkePair.Network(p => p with { Children = [IkePair.TerminalChild with { Proposals = [new IkeProposal(1, IkeProtocol.Esp, default, transforms)] }] }).Connect();
        network.AssertAgree(1, 1);
        Assert.Equal(algorithm, network.A.Child.Inbound.Algorithm);
        Assert.Equal(algorithm.EncryptionKeyLength(), network.A.Child.Inbound.Keys.Encryption.Length);
        Assert.Equal(algorithm.AuthenticationKeyLength(), network.A.Child.Inbound.Keys.Authentication.Length);
        Assert.False(network.A.Child.Inbound.ExtendedSequence);
    }

    // ──► KE of P-384   ◄── INVALID_KE_PAYLOAD(31)   ──► KE of 31   ◄── …
    [Fact]
    [Trait("Row", "TA-M2")]
    public void A_wrong_guess_of_the_group_costs_one_round()
    {
        var network = IkePair.Network(p => p with { Proposals = Groups(IkeGroup.P384, IkeGroup.Curve25519) }, p => p with { Proposals = Groups(IkeGroup.Curve25519) }).Connect();
        network.AssertAgree(1, 1);
        Assert.Equal(2, network.Sent.Count(d => d.Is(IkeExchange.IkeSaInit, false)));
        Assert.Equal(IkeGroup.Curve25519, network.A.Sa.Suite.Group);
    }

    [Theory]
    [InlineData(IkeEncryption.TripleDes, IkePrf.HmacSha256, IkeGroup.Modp2048)]
    [InlineData(IkeEncryption.AesCbc, IkePrf.HmacSha1, IkeGroup.Modp2048)]
    [InlineData(IkeEncryption.AesCbc, IkePrf.HmacSha256, IkeGroup.Modp1024)]
    [Trait("Row", "TA-H28")]
    [Trait("Row", "TA-M3")]
    public void Weak_algorithms_are_answered_with_no_proposal_chosen(ushort encryption, ushort prf, ushort group)
    {
        var network = IkePair.Network();
        var weak = new IkeProposal(1, IkeProtocol.Ike, default,
            [new(IkeTransformType.Encryption, encryption, encryption == IkeEncryption.AesCbc ? (ushort)128 : null), new(IkeTransformType.Integrity, IkeIntegrity.HmacSha256), new(IkeTransformType.PseudoRandomFunction, prf), new(IkeTransformType.KeyExchange, group)]);
        network.Inject(Hostile.InitRequest(network, [weak], group, new byte[group == IkeGroup.Modp1024 ? 128 : 256]));
        network.Run();
        Assert.True(IkeMessage.TryParse(Assert.Single(network.Sent).Ike!.Value.Span, out var answer, out _));
        Assert.NotNull(answer.Notify(IkeNotifyType.NoProposalChosen));
        Assert.Equal(0, network.B.Engine.HalfOpenCount);
    }

    [Fact]
    public void Nothing_in_common_ends_the_attempt()
    {
        var network = IkePair.Network(p => p with { Proposals = Groups(IkeGroup.P521) }).Connect();
        network.AssertAgree(0, 0);
        Assert.Equal(IkeEnd.Refused, Assert.Single(network.A.Of<IkeSaDown>()).End);
    }

    [Fact]
    [Trait("Row", "TA-M8")]
    [Trait("Row", "TA-M9")]
    [Trait("Row", "TA-M15")]
    public void Mobile_ipv6_selectors_make_a_transport_mode_child_between_home_address_and_home_agent()
    {
        var network = IkePair.Network(p => p with { Children = [MobileChild] }, p => p with { Children = [AgentMobileChild] }).Connect();
        network.AssertAgree(1, 1);
        var child = network.B.Child;
        Assert.Equal(ChildMode.Transport, child.Mode);
        Assert.Equal((IkePair.HomeAddress, IkePair.HomeAgentAddress), (child.Inbound.Source, child.Inbound.Destination));
        Assert.Equal([SelectorNarrowing.Mobility(IkePair.HomeAddress, 5), SelectorNarrowing.Icmp(IkePair.HomeAddress, 146)], child.RemoteSelectors);
        Assert.Equal([SelectorNarrowing.Mobility(IkePair.HomeAgentAddress, 6), SelectorNarrowing.Icmp(IkePair.HomeAgentAddress, 147)], child.LocalSelectors);
    }

    [Fact]
    [Trait("Row", "TA-M15")]
    public void A_peer_that_cannot_name_types_gets_the_types_there_are()
    {
        var any = MobileChild with
        {
            LocalSelectors = [TrafficSelector.Of(IkePair.HomeAddress, SelectorNarrowing.MobilityHeader)],
            RemoteSelectors = [TrafficSelector.Of(IkePair.HomeAgentAddress, SelectorNarrowing.MobilityHeader)],
        };
        var network = IkePair.Network(p => p with { Children = [any] }, p => p with { Children = [AgentMobileChild] }).Connect();
        network.AssertAgree(1, 1);
        Assert.Equal([SelectorNarrowing.Mobility(IkePair.HomeAddress, 5)], network.A.Child.LocalSelectors);
        var both = IkePair.Network(
            p => p with { Children = [MobileChild with { Name = "mh", LocalSelectors = [MobileChild.LocalSelectors[0]], RemoteSelectors = [MobileChild.RemoteSelectors[0]] }, MobileChild with { Name = "mps", LocalSelectors = [MobileChild.LocalSelectors[1]], RemoteSelectors = [MobileChild.RemoteSelectors[1]] }] },
            p => p with { Children = [AgentMobileChild] }).Connect();
        both.AssertAgree(1, 2);
    }

    [Theory]
    [InlineData("10.1.0.0/25", "192.168.0.0/16", "10.1.0.0-10.1.0.127", "192.168.50.0-192.168.50.255")]
    [InlineData("0.0.0.0/0", "0.0.0.0/0", "10.1.0.0-10.1.0.255", "192.168.50.0-192.168.50.255")]
    [InlineData("10.1.0.7/32", "192.168.50.9/32", "10.1.0.7-10.1.0.7", "192.168.50.9-192.168.50.9")]
    public void The_responder_narrows_what_is_asked_for(string local, string remote, string agreedLocal, string agreedRemote)
    {
        var network = IkePair.Network(p => p with { Children = [IkePair.TerminalChild with { LocalSelectors = [TrafficSelector.Of(IPNetwork.Parse(local))], RemoteSelectors = [TrafficSelector.Of(IPNetwork.Parse(remote))] }] }).Connect();
        network.AssertAgree(1, 1);
        Assert.StartsWith(agreedLocal, Assert.Single(network.A.Child.LocalSelectors).ToString(), StringComparison.Ordinal);
        Assert.StartsWith(agreedRemote, Assert.Single(network.A.Child.RemoteSelectors).ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("selectors", IkeNotifyType.TsUnacceptable)]
    [InlineData("algorithms", IkeNotifyType.NoProposalChosen)]
    [InlineData("mode", IkeNotifyType.TsUnacceptable)]
    public void The_ike_sa_stands_without_a_child_that_is_refused(string what, IkeNotifyType error)
    {
        var child = IkePair.AgentChild;
        var network = IkePair.Network(agent: p => p with
        {
            Children =
            [
                what switch
                {
                    "selectors" => child with { LocalSelectors = [TrafficSelector.Of(IPNetwork.Parse("172.16.0.0/12"))] },
                    "algorithms" => child with { Proposals = [new IkeProposal(1, IkeProtocol.Esp, default, [new(IkeTransformType.Encryption, IkeEncryption.NullAesGmac, 128)])] },
                    _ => child with { Mode = ChildMode.Transport },
                },
            ],
        }).Connect();
        network.AssertAgree(1, 0);
        Assert.Equal(error, Assert.Single(network.A.Of<ChildSaRefused>()).Error);
    }

    [Fact]
    public void An_ike_sa_needs_no_child()
    {
        var network = IkePair.Network(p => p with { Children = [] }).Connect();
        network.AssertAgree(1, 0);
        network.Tell(network.A, new CreateChild(network.A.Sa.Id, IkePair.TerminalChild));
        network.Run();
        network.AssertAgree(1, 1);
    }

    [Theory]
    [InlineData(new ushort[] { IkeGroup.P256 }, new ushort[0])]
    [InlineData(new ushort[] { IkeGroup.P384 }, new ushort[] { IkeGroup.Modp2048 })]
    [InlineData(new ushort[] { IkeGroup.MlKem768, IkeGroup.P256 }, new ushort[0])]
    public void Additional_key_exchanges_make_the_keys_before_auth(ushort[] first, ushort[] second)
    {
        ushort[][] rounds = second.Length == 0 ? [first] : [first, second];
        IkePeer More(IkePeer peer) => peer with { Proposals = IkeProposals.WithAdditionalGroups(IkeProposals.Ike, rounds) };
        var network = IkePair.Network(More, More).Connect();
        network.AssertAgree(1, 1);
        Assert.Equal(rounds.Length, network.A.Sa.Suite.AdditionalGroups.Count);
        Assert.Equal(PlatformKeyExchanges.Instance.Supports(first[0]) ? first[0] : first[1], network.A.Sa.Suite.AdditionalGroups[0]);
        Assert.Equal(rounds.Length, network.Sent.Count(d => d.Is(IkeExchange.IkeIntermediate, true)));

        network.Tell(network.A, new RekeyIke(network.A.Sa.Id));
        network.Run();
        network.AssertAgree(1, 1);
        Assert.Empty(network.A.Sa.Suite.AdditionalGroups);
    }

    [Fact]
    public void A_lost_or_repeated_intermediate_message_changes_nothing()
    {
        IkePeer More(IkePeer peer) => peer with { Proposals = IkeProposals.WithAdditionalGroups(IkeProposals.Ike, [IkeGroup.P256], [IkeGroup.P384]) };
        var network = IkePair.Network(More, More);
        var seen = 0;
        network.Fate = d => d.Header.Exchange == IkeExchange.IkeIntermediate ? ++seen % 3 == 1 ? [] : [IkeNetwork.Delay, 3 * IkeNetwork.Delay] : [IkeNetwork.Delay];
        network.Connect().Run(20);
        network.AssertAgree(1, 1);
    }

    [Fact]
    public void Keys_are_told_only_on_request_and_open_what_was_sent()
    {
        var quiet = IkePair.Network(options: o => o with { ExportKeys = false }).Connect();
        Assert.Empty(quiet.A.Of<IkeKeysDerived>());

        var network = IkePair.Network().Connect();
        var keys = Assert.Single(network.A.Of<IkeKeysDerived>());
        Assert.StartsWith($"{network.A.Sa.InitiatorSpi:x16},{network.A.Sa.ResponderSpi:x16},", keys.WiresharkLine(), StringComparison.Ordinal);
        using var cipher = new IkeCipher(keys.Suite, keys.Keys.EncryptionInitiator, keys.Keys.IntegrityInitiator);
        var request = network.Sent.First(d => d.Is(IkeExchange.IkeAuth, false)).Ike!.Value;
        Assert.NotNull(cipher.Open(request.Span, 32));
    }

    internal static IkeChildOptions MobileChild { get; } = new()
    {
        Name = "mobility",
        Mode = ChildMode.Transport,
        LocalSelectors = [SelectorNarrowing.Mobility(IkePair.HomeAddress, 5), SelectorNarrowing.Icmp(IkePair.HomeAddress, 146)],
        RemoteSelectors = [SelectorNarrowing.Mobility(IkePair.HomeAgentAddress, 6), SelectorNarrowing.Icmp(IkePair.HomeAgentAddress, 147)],
    };

    /// <summary>The agent takes any one address; who may have which is decided elsewhere.</summary>
    internal static IkeChildOptions AgentMobileChild { get; } = new()
    {
        Name = "mobility",
        Mode = ChildMode.Transport,
        OneRemoteAddress = true,
        LocalSelectors = MobileChild.RemoteSelectors,
        RemoteSelectors = [.. MobileChild.LocalSelectors.Select(s => s with { StartAddress = IPAddress.IPv6Any, EndAddress = IPAddress.Parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") })],
    };

    internal static IReadOnlyList<IkeProposal> Groups(params ushort[] groups) => IkeProposals.WithGroups(IkeProposals.Ike, groups);
}
