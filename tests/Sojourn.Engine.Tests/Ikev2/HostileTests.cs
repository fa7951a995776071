using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv4;
using Sojourn.Wire.Udp;
using Xunit;

namespace Sojourn.Engine.Tests.Ikev2;

/// <summary>Floods, forgeries and peers that break the rules.</summary>
public class HostileTests
{
    // attacker ──► IKE_SA_INIT ×n        terminal ──► IKE_SA_INIT   ◄── COOKIE   ──► IKE_SA_INIT with it   ◄── …
    [Fact]
    [Trait("Row", "TA-H17")]
    [Trait("Row", "TA-M4")]
    public void A_flood_meets_cookies_and_a_genuine_terminal_gets_through()
    {
        var network = IkePair.Network();
        for (var i = 0; i < 5000; i++)
        {
            network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], (ulong)i + 1, Hostile.At(new IPAddress(new byte[] { 203, 0, (byte)(i >> 8), (byte)i }), 1000 + i)));
        }

        network.Run(0.1);
        Assert.Equal(100, network.B.Engine.HalfOpenCount);
        Assert.Equal(4900, network.B.Counter("ike.init.cookie_demanded"));
        network.Connect();
        network.AssertAgree(1, 1);
        Assert.Equal(2, network.Sent.Count(d => d.Is(IkeExchange.IkeSaInit, false)));
        network.Run(60);
        Assert.Equal(0, network.B.Engine.HalfOpenCount);
        network.AssertAgree(1, 1);
    }

    [Fact]
    [Trait("Row", "TA-H17")]
    public void A_cookie_is_good_for_its_sender_only()
    {
        var network = IkePair.Network(options: o => o with { CookieThreshold = 0 });
        var from = Hostile.At(Hostile.Attacker);
        network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], 7, from));
        network.Run();
        Assert.True(IkeMessage.TryParse(network.Sent.Single().Ike!.Value.Span, out var demand, out _));
        var cookie = demand.Notify(IkeNotifyType.Cookie)!;
        foreach (var (spi, source, good) in new[] { (7UL, Hostile.At(IPAddress.Parse("203.0.113.67")), false), (8UL, from, false), (7UL, Hostile.At(Hostile.Attacker, 501), false), (7UL, from, true) })
        {
            network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], spi, source, cookie));
            network.Run(0.1);
            Assert.Equal(good ? 1 : 0, network.B.Engine.HalfOpenCount);
        }

        // Secrets turn: after more than two of their lives the cookie is old.
        network.Run(150);
        network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], 7, from, cookie));
        network.Run(0.1);
        Assert.Equal(0, network.B.Engine.HalfOpenCount);
    }

    [Fact]
    [Trait("Row", "TA-H17")]
    public void One_source_and_all_together_have_limits()
    {
        var network = IkePair.Network(options: o => o with { CookieThreshold = 1000, CookieThresholdPerSource = 1000, MaximumHalfOpenPerSource = 10, MaximumHalfOpen = 25 });
        for (var i = 0; i < 100; i++)
        {
            network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], (ulong)i + 1, Hostile.At(new IPAddress(new byte[] { 203, 0, 113, (byte)(i % 2) }), 1000 + i)));
        }

        network.Run(0.1);
        Assert.Equal(20, network.B.Engine.HalfOpenCount);
        for (var i = 0; i < 20; i++)
        {
            network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], (ulong)i + 1000, Hostile.At(new IPAddress(new byte[] { 203, 0, 114, (byte)i }))));
        }

        network.Run(0.1);
        Assert.Equal(25, network.B.Engine.HalfOpenCount);
        Assert.Equal(95, network.B.Counter("ike.init.half_open_limit"));
        network.Run(40);
        Assert.Equal(0, network.B.Engine.HalfOpenCount);
    }

    // attacker ──► IKE_SA_INIT ×n in the terminal's name        terminal ──► IKE_SA_INIT   ◄── COOKIE   ──► IKE_SA_INIT with it   ◄── …
    [Fact]
    [Trait("Row", "TA-H17")]
    public void Requests_in_a_terminals_name_do_not_use_up_what_it_may_have()
    {
        var network = IkePair.Network(agent: p => p with { Address = IkeNetwork.Terminal });
        for (var i = 0; i < 500; i++)
        {
            network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], (ulong)i + 1, Hostile.At(IkeNetwork.Terminal, 1000 + i)));
            network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], (ulong)i + 1, Hostile.At(Hostile.Attacker, 1000 + i)));
        }

        network.Run(0.1);
        Assert.Equal(10, network.B.Engine.HalfOpenCount);
        Assert.Equal(490, network.B.Counter("ike.init.cookie_demanded"));
        Assert.Equal(500, network.B.Counter("ike.init.no_peer"));
        Assert.DoesNotContain(network.Sent, d => d.Destination.Address.Equals(Hostile.Attacker));
        network.Connect();
        network.AssertAgree(1, 1);
    }

    // While the gate is closed nothing of a flood comes to the engine. It answers with what the engine itself would say, and lets through what shows a good cookie.
    [Theory]
    [InlineData(500)]
    [InlineData(4500)]
    [Trait("Row", "TA-H17")]
    public void The_gate_answers_first_requests_in_the_engines_place(int port)
    {
        var network = IkePair.Network(options: o => o with { CookieThreshold = 3 });
        var gate = network.B.Engine.Cookies;
        Span<byte> answer = stackalloc byte[CookieGate.AnswerLength];
        byte[] Request(int number, params IkePayload[] more)
        {
            var message = Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], (ulong)number, more: more).Payload.ToArray();
            return port == 4500 ? [0, 0, 0, 0, .. message] : message;
        }

        Assert.False(gate.Stops(Request(1), (ushort)port, [203, 0, 113, 66], 500, answer, out _));
        for (var i = 0; i < 3; i++)
        {
            network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], (ulong)i + 1, Hostile.At(new IPAddress(new byte[] { 203, 0, 113, (byte)i }))));
        }

        network.Run(0.1);
        Assert.True(gate.IsClosed);
        Assert.True(gate.Stops(Request(7), (ushort)port, [203, 0, 113, 66], 500, answer, out var length));
        var demand = answer[..length].ToArray();
        Assert.True(IkeMessage.TryParse(port == 4500 ? demand.AsSpan(4) : demand, out var message, out _));
        Assert.Equal((7UL, 0UL, IkeExchange.IkeSaInit, IkeFlags.Response, 0U), (message.Header.InitiatorSpi, message.Header.ResponderSpi, message.Header.Exchange, message.Header.Flags, message.Header.MessageId));
        var cookie = message.Notify(IkeNotifyType.Cookie)!;

        // Another SPI, another port, another address: the cookie is nobody else's.
        Assert.True(gate.Stops(Request(8, cookie), (ushort)port, [203, 0, 113, 66], 500, answer, out length) && length > 0);
        Assert.True(gate.Stops(Request(7, cookie), (ushort)port, [203, 0, 113, 66], 501, answer, out length) && length > 0);
        Assert.True(gate.Stops(Request(7, cookie), (ushort)port, [203, 0, 113, 67], 500, answer, out length) && length > 0);
        Assert.False(gate.Stops(Request(7, cookie), (ushort)port, [203, 0, 113, 66], 500, answer, out _));
        network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], 7, Hostile.At(Hostile.Attacker), cookie));
        network.Run(0.1);
        Assert.Equal(4, network.B.Engine.HalfOpenCount);

        // What is no first request is the engine's; what can never be one is nobody's.
        Assert.False(gate.Stops(new byte[] { 0xFF }, (ushort)port, [203, 0, 113, 66], 500, answer, out _));
        var broken = Request(7);
        broken[^1] ^= 1;
        broken[port == 4500 ? 4 + 8 : 8] = 1;
        Assert.True(gate.Stops(broken, (ushort)port, [203, 0, 113, 66], 500, answer, out length) && length == 0);

        // The secret turns though no request comes to the engine, and the gate opens when the half-open SAs have gone.
        network.Run(40);
        Assert.False(gate.IsClosed);
        Assert.Null(network.B.Engine.NextDeadline);
    }

    [Fact]
    [Trait("Row", "TA-H17")]
    public void The_gate_answers_with_whole_packets_where_a_node_has_a_stack_of_its_own()
    {
        var network = IkePair.Network(options: o => o with { CookieThreshold = 1 });
        network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]]));
        network.Run(0.1);
        var gate = network.B.Engine.Cookies;
        var (own, terminal) = (IPAddress.Parse("2001:db8:a::1"), IPAddress.Parse("2001:db8:b::1"));
        byte[] Packet(IPAddress to, params IkePayload[] more)
        {
            var octets = Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], 7, more: more).Payload.ToArray();
            var packet = new byte[IPv6Header.Length + UdpHeader.HeaderLength + octets.Length];
            octets.CopyTo(packet, IPv6Header.Length + UdpHeader.HeaderLength);
            UdpHeader.Write(packet.AsSpan(IPv6Header.Length), 1500, 500);
            UdpHeader.WriteChecksum(packet.AsSpan(IPv6Header.Length), terminal.GetAddressBytes(), to.GetAddressBytes());
            IPv6Header.Write(packet, 0, 0, packet.Length - IPv6Header.Length, IpProtocol.Udp, 64, terminal.GetAddressBytes(), to.GetAddressBytes());
            return packet;
        }

        var answer = new byte[CookieGate.AnswerPacketLength];
        Assert.False(gate.StopsPacket(Packet(IPAddress.Parse("2001:db8:a::2")), own.GetAddressBytes(), answer, out _));
        Assert.True(gate.StopsPacket(Packet(own), own.GetAddressBytes(), answer, out var length));
        Assert.True(IPv6Header.TryParse(answer.AsSpan(0, length), out var ip, out _));
        Assert.True(UdpHeader.TryParse(ip.Payload, out var udp, out _));
        Assert.Equal((own, terminal, length), (ip.SourceAddress, ip.DestinationAddress, ip.Packet.Length));
        Assert.Equal(((ushort)500, (ushort)1500), (udp.SourcePort, udp.DestinationPort));
        Assert.True(udp.Checksum != 0 && udp.ChecksumIsRight(ip.Source, ip.Destination));
        Assert.True(IkeMessage.TryParse(udp.Payload, out var demand, out _));
        Assert.False(gate.StopsPacket(Packet(own, demand.Notify(IkeNotifyType.Cookie)!), own.GetAddressBytes(), answer, out _));

        // A checksum that is wrong is left to the engine, whose stack drops it.
        var broken = Packet(own);
        broken[^1] ^= 1;
        Assert.False(gate.StopsPacket(broken, own.GetAddressBytes(), answer, out _));
    }

    [Fact]
    [Trait("Row", "TA-H17")]
    public void Under_a_flood_the_secret_turns_by_itself()
    {
        var network = IkePair.Network(options: o => o with { CookieThreshold = 1, HalfOpenLifetime = TimeSpan.FromMinutes(10) });
        network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]]));
        network.Run(0.1);
        var gate = network.B.Engine.Cookies;
        Span<byte> answer = stackalloc byte[CookieGate.AnswerLength];
        var request = Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], 7);
        Assert.True(gate.Stops(request.Payload.Span, 500, [203, 0, 113, 66], 500, answer, out var length));
        Assert.True(IkeMessage.TryParse(answer[..length], out var message, out _));
        var shown = Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], 7, more: message.Notify(IkeNotifyType.Cookie)!);
        network.Run(61);
        Assert.False(gate.Stops(shown.Payload.Span, 500, [203, 0, 113, 66], 500, answer, out _));
        network.Run(61);
        Assert.True(gate.Stops(shown.Payload.Span, 500, [203, 0, 113, 66], 500, answer, out _));
    }

    // terminal ──► IKE_SA_INIT   ◄─✗ answer lost   (flood begins)   ──► the same   ◄── COOKIE   ──► with it   ◄── …
    [Fact]
    [Trait("Row", "TA-H17")]
    public void A_peer_whose_answer_was_lost_before_the_flood_may_begin_anew_with_a_cookie()
    {
        var network = IkePair.Network(options: o => o with { CookieThreshold = 3 });
        var gate = network.B.Engine.Cookies;
        var first = true;
        network.Fate = d =>
        {
            if (d.Is(IkeExchange.IkeSaInit, response: true) && d.Destination.Address.Equals(network.A.Address) && first)
            {
                first = false;
                return [];
            }

            return [IkeNetwork.Delay];
        };
        network.Tell(network.A, new InitiateIke("agent", network.A.Address));
        network.Run(0.1);
        Assert.Equal(1, network.B.Engine.HalfOpenCount);
        for (var i = 0; i < 3; i++)
        {
            network.Inject(Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, [9, .. new byte[31]], (ulong)i + 1, Hostile.At(new IPAddress(new byte[] { 203, 0, 113, (byte)i }))));
        }

        // As a port does: what the gate stops does not come to the engine.
        network.Run(0.1);
        network.Fate = d =>
        {
            Span<byte> answer = stackalloc byte[CookieGate.AnswerLength];
            if (!d.Destination.Address.Equals(network.B.Address) || !gate.Stops(d.Payload.Span, (ushort)d.Destination.Port, d.Source.Address.GetAddressBytes(), (ushort)d.Source.Port, answer, out var length))
            {
                return [IkeNetwork.Delay];
            }

            network.Inject(new Datagram(d.Destination, d.Source, answer[..length].ToArray()));
            return [];
        };
        network.Run(5);
        network.AssertAgree(1, 1);
        Assert.Equal(2, network.B.Engine.HalfOpenCount);
    }

    [Fact]
    public void Cookies_and_another_group_may_both_be_asked_for()
    {
        var network = IkePair.Network(p => p with { Proposals = EstablishmentTests.Groups(IkeGroup.P384, IkeGroup.P256) }, p => p with { Proposals = EstablishmentTests.Groups(IkeGroup.P256) }, o => o with { CookieThreshold = 0 }).Connect();
        network.AssertAgree(1, 1);
        Assert.Equal(3, network.Sent.Count(d => d.Is(IkeExchange.IkeSaInit, false)));
    }

    [Theory]
    [InlineData(IkeNotifyType.Cookie)]
    [InlineData(IkeNotifyType.InvalidKePayload)]
    public void An_initiator_is_not_kept_busy_for_ever(IkeNotifyType notify)
    {
        var network = IkePair.Network();
        network.Nodes.Remove(network.B);
        var group = new ushort[] { IkeGroup.P256, IkeGroup.Curve25519 };
        var round = 0;
        network.Fate = d =>
        {
            if (d.Source.Address.Equals(network.A.Address) && d.Is(IkeExchange.IkeSaInit, false) && round < 50)
            {
                OctetString data = notify == IkeNotifyType.Cookie ? new byte[] { 1, (byte)round } : [0, (byte)group[round % 2]];
                round++;
                network.Inject(new Datagram(d.Destination, d.Source, new IkeMessage(new IkeHeader(d.Header.InitiatorSpi, 0, IkeExchange.IkeSaInit, IkeFlags.Response, 0), [new NotifyPayload(notify, data)]).ToArray()));
            }

            return [];
        };
        network.Tell(network.A, new InitiateIke("agent", network.A.Address));
        network.Run(60);
        Assert.InRange(round, 2, 8);
        Assert.Single(network.A.Of<IkeSaDown>());
    }

    [Fact]
    public void An_answer_from_another_address_is_not_the_agents()
    {
        var network = IkePair.Network();
        network.Nodes.Remove(network.B);
        network.Fate = d =>
        {
            network.Inject(new Datagram(Hostile.At(Hostile.Attacker), d.Source, new IkeMessage(new IkeHeader(d.Header.InitiatorSpi, 0, IkeExchange.IkeSaInit, IkeFlags.Response, 0), [new NotifyPayload(IkeNotifyType.NoProposalChosen)]).ToArray()));
            return [];
        };
        network.Tell(network.A, new InitiateIke("agent", network.A.Address));
        network.Run(2);
        Assert.Empty(network.A.Of<IkeSaDown>());
    }

    [Fact]
    public void A_forged_message_changes_nothing()
    {
        var network = IkePair.Network().Connect();
        var genuine = Hostile.Sealed(network.B, IkeExchange.Informational, false, 2, [DeletePayload.OfIkeSa]);
        for (var at = 16; at < genuine.Payload.Length; at++)
        {
            var changed = genuine.Payload.ToArray();
            changed[at] ^= 0x40;
            network.Inject(genuine with { Payload = changed });
        }

        network.Run();
        network.AssertAgree(1, 1);
        Assert.Empty(network.B.Of<IkeSaDown>());
        network.Inject(genuine);
        network.Run();
        Assert.Empty(network.B.Engine.IkeSas);
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(1u)]
    [InlineData(3u)]
    [InlineData(77u)]
    [InlineData(uint.MaxValue)]
    public void A_request_outside_the_window_is_dropped(uint id)
    {
        var network = IkePair.Network().Connect();
        network.Inject(Hostile.Sealed(network.B, IkeExchange.Informational, false, id, [DeletePayload.OfIkeSa]));
        network.Run();
        network.AssertAgree(1, 1);
    }

    [Fact]
    public void A_response_nobody_waits_for_is_dropped()
    {
        var network = IkePair.Network().Connect();
        for (uint id = 0; id < 5; id++)
        {
            network.Inject(Hostile.Sealed(network.A, IkeExchange.Informational, true, id, []));
        }

        network.Run();
        Assert.Equal(5, network.A.Counter("ike.response.stale"));
        network.AssertAgree(1, 1);
    }

    [Fact]
    public void A_reflected_message_is_dropped()
    {
        var network = IkePair.Network().Connect();
        network.Tell(network.A, new CheckLiveness(network.A.Sa.Id));
        var sent = network.Sent.Last();
        network.Inject(new Datagram(sent.Destination, sent.Source, sent.Payload));

        // With the SPIs exchanged it finds the SA, and is known by its flag.
        var turned = sent.Payload.ToArray();
        sent.Payload.Span[..8].CopyTo(turned.AsSpan(8));
        network.Inject(new Datagram(sent.Destination, sent.Source, turned));
        network.Run();
        Assert.Equal(1, network.A.Counter("ike.message.unknown_spi"));
        Assert.Equal(1, network.A.Counter("ike.message.reflected"));
        network.AssertAgree(1, 1);
    }

    [Fact]
    [Trait("Row", "TA-H20")]
    public void A_critical_payload_nobody_knows_is_refused_by_name_and_others_are_ignored()
    {
        var network = IkePair.Network().Connect();
        network.Inject(Hostile.Sealed(network.B, IkeExchange.Informational, false, 2, [new UnknownPayload((IkePayloadType)200, new byte[4]) { Critical = true }]));
        network.Run();
        Assert.Equal(1, network.B.Counter("ike.request.critical"));
        network.Inject(Hostile.Sealed(network.B, IkeExchange.Informational, false, 3, [new UnknownPayload((IkePayloadType)200, new byte[4])]));
        network.Run();
        Assert.Single(network.B.Engine.IkeSas);
        Assert.Equal(2, network.Sent.Count(d => d.Source.Address.Equals(network.B.Address) && d.Is(IkeExchange.Informational, true)));
    }

    [Theory]
    [InlineData("cut")]
    [InlineData("longer")]
    [InlineData("wrong place")]
    [InlineData("missing")]
    [Trait("Row", "TA-H20")]
    public void An_authentic_message_that_is_malformed_ends_the_ike_sa(string how)
    {
        var network = IkePair.Network().Connect();
        network.Inject(how switch
        {
            "cut" => Hostile.Sealed(network.B, IkeExchange.Informational, false, 2, [new NotifyPayload(IkeNotifyType.Cookie2, new byte[16])], p => p[..^1]),
            "longer" => Hostile.Sealed(network.B, IkeExchange.Informational, false, 2, [new NotifyPayload(IkeNotifyType.Cookie2, new byte[16])], p => [.. p, 0]),
            "wrong place" => Hostile.Sealed(network.B, IkeExchange.Informational, false, 2, [new NoncePayload(new byte[32])]),
            _ => Hostile.Sealed(network.B, IkeExchange.CreateChildSa, false, 2, [new NoncePayload(new byte[32])]),
        });
        network.Run();
        Assert.Empty(network.B.Engine.IkeSas);
        Assert.Empty(network.B.Installed);
        Assert.Equal(1, network.B.Counter("ike.request.malformed"));
    }

    [Theory]
    [InlineData(0x10, false)]
    [InlineData(0x30, true)]
    public void Another_major_version_is_refused(byte version, bool answered)
    {
        var network = IkePair.Network();
        var request = Hostile.InitRequest(network, IkeProposals.Ike, IkeGroup.Curve25519, new byte[32]);
        var octets = request.Payload.ToArray();
        octets[17] = version;
        network.Inject(request with { Payload = octets });
        network.Run();
        Assert.Equal(answered ? 1 : 0, network.Sent.Count);
        Assert.Equal(0, network.B.Engine.HalfOpenCount);
    }

    [Theory]
    [InlineData(IkeGroup.Curve25519, 31)]
    [InlineData(IkeGroup.Curve25519, 32)]
    [InlineData(IkeGroup.P256, 64)]
    [InlineData(IkeGroup.P384, 96)]
    [InlineData(IkeGroup.Modp2048, 256)]
    [Trait("Row", "TA-H20")]
    public void A_public_value_that_is_none_gets_no_state(ushort group, int length)
    {
        var network = IkePair.Network(agent: p => p with { Proposals = EstablishmentTests.Groups(group) });
        network.Inject(Hostile.InitRequest(network, EstablishmentTests.Groups(group), group, new byte[length]));
        network.Run();
        Assert.Equal(0, network.B.Engine.HalfOpenCount);
        Assert.Equal(1, network.B.Counter("ike.init.bad_key_exchange"));
    }

    [Fact]
    [Trait("Row", "TA-H20")]
    public void Garbage_is_counted_and_forgotten()
    {
        var network = IkePair.Network();
        var random = new Random(11);
        for (var i = 0; i < 2000; i++)
        {
            var octets = new byte[random.Next(0, 200)];
            random.NextBytes(octets);
            network.Inject(new Datagram(Hostile.At(Hostile.Attacker), Hostile.At(network.B.Address, i % 2 == 0 ? 500 : 4500), octets));
        }

        network.Run();
        Assert.Equal(0, network.B.Engine.HalfOpenCount);
        Assert.Empty(network.Sent);
    }

    [Theory]
    [InlineData(IkeExchange.CreateChildSa)]
    [InlineData(IkeExchange.Informational)]
    [InlineData(IkeExchange.IkeFollowupKe)]
    public void Nothing_is_done_for_a_peer_that_has_not_proved_itself(IkeExchange exchange)
    {
        // Only IKE_SA_INIT has run: the keys are agreed with somebody, nobody knows with whom.
        var network = IkePair.Network();
        network.Fate = d => d.Is(IkeExchange.IkeAuth, false) ? [] : [IkeNetwork.Delay];
        network.Tell(network.A, new InitiateIke("agent", network.A.Address));
        network.Run(0.2);
        var keys = network.A.Of<IkeKeysDerived>().Single();
        using var cipher = new IkeCipher(keys.Suite, keys.Keys.EncryptionInitiator, keys.Keys.IntegrityInitiator);
        IkePayload[] payloads = exchange switch
        {
            IkeExchange.CreateChildSa => [IkeProposals.Offer(IkeProposals.Esp, new byte[4]), new NoncePayload(new byte[32]), new SelectorsPayload(true, IkePair.TerminalChild.LocalSelectors), new SelectorsPayload(false, IkePair.TerminalChild.RemoteSelectors)],
            IkeExchange.IkeFollowupKe => [new KeyExchangePayload(IkeGroup.P256, new byte[64])],
            _ => [],
        };
        var octets = MessageProtection.Seal(new IkeHeader(keys.InitiatorSpi, keys.ResponderSpi, exchange, IkeFlags.Initiator, 1), payloads, cipher, new SeededRandom(1), null)[0];
        var before = network.Sent.Count;
        network.Inject(new Datagram(Hostile.At(network.A.Address), Hostile.At(network.B.Address), octets));
        network.Run(0.2);
        Assert.Equal(1, network.B.Counter("ike.request.untimely"));
        Assert.Equal(before, network.Sent.Count);
        Assert.Empty(network.B.Installed);
    }

    [Fact]
    public void A_responder_that_widens_the_selectors_gets_no_child()
    {
        var network = IkePair.Network();
        network.Connect();
        network.Tell(network.A, new CreateChild(network.A.Sa.Id, IkePair.TerminalChild));
        var wide = new SelectorsPayload(false, [TrafficSelector.Of(IPNetwork.Parse("0.0.0.0/0"))]);
        network.Fate = d => d.Is(IkeExchange.CreateChildSa, true) ? [] : [IkeNetwork.Delay];
        network.Inject(Hostile.Sealed(network.A, IkeExchange.CreateChildSa, true, 2,
        [
            new SecurityAssociationPayload([new IkeProposal(1, IkeProtocol.Esp, (byte[])[1, 2, 3, 4], [new(IkeTransformType.Encryption, IkeEncryption.AesGcm16, 256), new(IkeTransformType.ExtendedSequenceNumbers, 1)])]),
            new NoncePayload(new byte[32]), new SelectorsPayload(true, IkePair.TerminalChild.LocalSelectors), wide,
        ]));
        network.Run(0.5);
        Assert.Equal(IkeNotifyType.TsUnacceptable, Assert.Single(network.A.Of<ChildSaRefused>()).Error);
        Assert.Single(network.A.Installed);
    }
}
