using System.Net;
using System.Text;
using Sojourn.Engine.Eap;
using Sojourn.Engine.Radius;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Radius;
using Xunit;

namespace Sojourn.Engine.Tests.Radius;

/// <summary>Peer → authenticator → authentication server, and back.</summary>
public sealed class AccessTests
{
    private static readonly TestCredentials s_ca = new();
    private static readonly LinkAddress s_device = new([2, 0, 0, 0, 0, 1]);

    private static RadiusServerOptions Devices(string certificate = "mn1.home.example", bool allowed = true) => AccessNetwork.ServerOptions(s_ca, users: false) with
    {
        Devices = [new AccessDevice(s_device, certificate, allowed, [])],
    };

    private static EapPeer DevicePeer(string certificate, TestCredentials? ca = null) => new(new EapPeerOptions
    {
        OuterIdentity = certificate,
        Methods = [EapType.Tls],
        Tls = new Tls.TlsContext((ca ?? s_ca).Issue(certificate), [s_ca.Anchor]),
        ServerName = "as.home.example",
        FragmentLength = 250,
    });

    [Fact]
    [Trait("Row", "TA2.142a")]
    [Trait("Row", "TA-G8")]
    public void The_right_password_in_the_tunnel_lets_a_user_in_with_one_key_at_both_ends()
    {
        var net = new AccessNetwork(AccessNetwork.ServerOptions(s_ca));
        var peer = new EapPeer(AccessNetwork.Peer(s_ca, "alice", "correct horse battery"));

        var verdict = net.Run(peer);

        Assert.True(verdict!.Allowed);
        Assert.Equal("mn1.home.example", verdict.Name); // the terminal that alice stands for (G6)
        Assert.Equal(TimeSpan.FromHours(8), verdict.Lifetime);
        Assert.Equal(EapPeerState.Succeeded, peer.State);
        Assert.Equal(64, peer.MasterSessionKey!.Length);
        Assert.Equal(peer.MasterSessionKey, verdict.MasterSessionKey);
        Assert.Equal(["alice"], net.Checked);
        Assert.Equal(0, net.Authenticator.Conversations);
    }

    [Fact]
    [Trait("Row", "TA-M54")]
    public void Neither_name_nor_password_is_on_the_wire_and_bare_MD5_is_refused()
    {
        var net = new AccessNetwork(AccessNetwork.ServerOptions(s_ca));
        using var peer = new EapPeer(AccessNetwork.Peer(s_ca, "alice", "correct horse battery"));
        Assert.True(net.Run(peer)!.Allowed);
        Assert.All(net.Sent, d =>
        {
            Assert.Equal(-1, d.Payload.Span.IndexOf("alice"u8));
            Assert.Equal(-1, d.Payload.Span.IndexOf("horse"u8));
        });

        using var other = new EapPeer(AccessNetwork.Peer(s_ca, "alice", "correct horse battery"));
        var nak = other.Receive(new EapPacket(EapCode.Request, 5, EapType.Md5Challenge, new byte[17]), net.Now)!;
        Assert.Equal((EapType.Nak, (byte)5), (nak.Type, nak.Identifier));
        Assert.Equal([(byte)EapType.Ttls], nak.Data.ToArray());
    }

    [Theory]
    [InlineData("alice", "wrong")]
    [InlineData("nobody", "correct horse battery")]
    public void A_wrong_password_and_an_unknown_user_look_the_same(string user, string password)
    {
        var net = new AccessNetwork(AccessNetwork.ServerOptions(s_ca));
        var peer = new EapPeer(AccessNetwork.Peer(s_ca, user, password));

        Assert.False(net.Run(peer)!.Allowed);

        Assert.Equal(EapPeerState.Failed, peer.State);
        Assert.Null(peer.MasterSessionKey);
        Assert.Equal([user], net.Checked); // asked in both cases
        Assert.Contains(net.Events, e => e.Kind == "access.refused" && e.Text.Contains("the password is wrong or nobody has that name", StringComparison.Ordinal));
    }

    [Fact]
    [Trait("Row", "TA-H24")]
    public void Guessing_is_delayed_per_user_and_per_station_and_logged()
    {
        var net = new AccessNetwork(AccessNetwork.ServerOptions(s_ca));
        bool Try(string user, string password, string station)
        {
            using var peer = new EapPeer(AccessNetwork.Peer(s_ca, user, password));
            return net.Run(peer, station)!.Allowed;
        }

        // A user: the right password does not help before the time is over, from wherever.
        for (var i = 0; i < 3; i++)
        {
            Assert.False(Try("alice", $"guess {i}", $"02-00-00-00-01-0{i}"));
        }

        Assert.Equal(3, net.Checked.Count);
        Assert.False(Try("alice", "correct horse battery", "02-00-00-00-01-09"));
        Assert.Equal(3, net.Checked.Count);
        Assert.Contains(net.Events, e => e is { Kind: "access.delayed", Nai: "alice", Rule: "TA-H24" });
        net.Advance(TimeSpan.FromSeconds(1.1));
        Assert.True(Try("alice", "correct horse battery", "02-00-00-00-01-09"));

        // A station: whoever's passwords it guesses.
        for (var i = 0; i < 6; i++)
        {
            Assert.False(Try($"user {i}", "guess", "02-00-00-00-00-66"));
        }

        Assert.False(Try("bob", "staple", "02-00-00-00-00-66"));
        Assert.DoesNotContain("bob", net.Checked);
        Assert.True(Try("bob", "staple", "02-00-00-00-00-67"));
    }

    [Fact]
    public void A_peer_gives_its_password_to_no_server_that_its_anchors_do_not_vouch_for()
    {
        foreach (var (server, name) in new[] { (new TestCredentials("Other CA"), "as.home.example"), (s_ca, "as.evil.example") })
        {
            var net = new AccessNetwork(AccessNetwork.ServerOptions(s_ca) with { Tls = server.Context(name) });
            var peer = new EapPeer(AccessNetwork.Peer(s_ca, "alice", "correct horse battery"));

            Assert.False(net.Run(peer)!.Allowed);

            Assert.Equal(EapPeerState.Failed, peer.State);
            Assert.StartsWith("TLS:", peer.Reason, StringComparison.Ordinal);
            Assert.Empty(net.Checked);
        }
    }

    [Fact]
    public void A_Success_before_its_time_is_nobodys()
    {
        using var peer = new EapPeer(AccessNetwork.Peer(s_ca, "alice", "correct horse battery"));
        peer.Receive(new EapPacket(EapCode.Request, 1, EapType.Identity, default), DateTimeOffset.UtcNow);
        peer.Receive(EapPacket.Success(1), DateTimeOffset.UtcNow);
        peer.Receive(new EapPacket(EapCode.Request, 2, EapType.Ttls, new EapTlsFragment(null, false, true, 0, default).ToArray()), DateTimeOffset.UtcNow);
        peer.Receive(EapPacket.Success(2), DateTimeOffset.UtcNow);
        Assert.Equal(EapPeerState.Running, peer.State);
        Assert.Null(peer.MasterSessionKey);
    }

    [Fact]
    [Trait("Row", "TA1.103a")]
    public void A_registered_device_with_its_certificate_is_let_in()
    {
        var net = new AccessNetwork(Devices());
        var peer = DevicePeer("mn1.home.example");

        var verdict = net.Run(peer);

        Assert.True(verdict!.Allowed, peer.Reason);
        Assert.Equal("mn1.home.example", verdict.Name);
        Assert.Equal(peer.MasterSessionKey, verdict.MasterSessionKey);
    }

    [Fact]
    [Trait("Row", "TA-H23")]
    public void A_cloned_address_without_the_devices_certificate_is_refused()
    {
        // A certificate of the same authority that belongs to another device.
        Assert.False(new AccessNetwork(Devices()).Run(DevicePeer("mn2.home.example"))!.Allowed);

        // The right name by another authority.
        var net = new AccessNetwork(Devices());
        Assert.False(net.Run(DevicePeer("mn1.home.example", new TestCredentials("Other CA")))!.Allowed);
        Assert.Contains(net.Events, e => e.Kind == "access.refused" && e.Text.Contains("TLS:", StringComparison.Ordinal));

        // The right certificate from an address that is not registered, and a device that is shut out.
        Assert.False(new AccessNetwork(Devices()).Run(DevicePeer("mn1.home.example"), "02-00-00-00-00-02")!.Allowed);
        Assert.False(new AccessNetwork(Devices(allowed: false)).Run(DevicePeer("mn1.home.example"))!.Allowed);
    }

    [Fact]
    [Trait("Row", "TA-M50")]
    public void An_address_alone_is_enough_only_where_that_is_switched_on()
    {
        RadiusAttribute[] request = [RadiusAttribute.OfText(RadiusAttributeType.UserName, "020000000001"), RadiusAttribute.OfText(RadiusAttributeType.CallingStationId, "02:00:00:00:00:01")];
        RadiusCode Answer(RadiusServerOptions options)
        {
            var net = new AccessNetwork(options);
            net.Ask(request);
            return net.Outcomes.Single().Response!.Code;
        }

        Assert.Equal(RadiusCode.AccessReject, Answer(Devices()));
        Assert.Equal(RadiusCode.AccessAccept, Answer(Devices() with { AddressOnlyDevices = true }));
        Assert.Equal(RadiusCode.AccessReject, Answer(Devices(allowed: false) with { AddressOnlyDevices = true }));
    }

    [Fact]
    [Trait("Row", "TA-G1")]
    public void The_two_functions_are_switched_by_themselves()
    {
        Assert.False(new AccessNetwork(AccessNetwork.ServerOptions(s_ca)).Run(DevicePeer("mn1.home.example"))!.Allowed);
        using var user = new EapPeer(AccessNetwork.Peer(s_ca, "alice", "correct horse battery"));
        Assert.False(new AccessNetwork(Devices()).Run(user)!.Allowed);
        var both = AccessNetwork.ServerOptions(s_ca) with { Devices = [new AccessDevice(s_device, "mn1.home.example", true, [])] };
        using var again = new EapPeer(AccessNetwork.Peer(s_ca, "alice", "correct horse battery"));
        Assert.True(new AccessNetwork(both).Run(again)!.Allowed);
        Assert.True(new AccessNetwork(both).Run(DevicePeer("mn1.home.example"))!.Allowed); // by Nak
    }

    [Fact]
    public void A_hidden_password_is_taken_only_where_that_is_switched_on()
    {
        foreach (var allowed in new[] { false, true })
        {
            var net = new AccessNetwork(AccessNetwork.ServerOptions(s_ca) with { HiddenPasswords = allowed });
            net.Ask([RadiusAttribute.OfText(RadiusAttributeType.UserName, "alice")], "correct horse battery");
            Assert.Equal(allowed ? RadiusCode.AccessAccept : RadiusCode.AccessReject, net.Outcomes.Single().Response!.Code);
        }
    }

    [Fact]
    [Trait("Row", "TA-M51")]
    public void What_does_not_prove_itself_is_dropped_without_a_word_on_either_side()
    {
        var net = new AccessNetwork(AccessNetwork.ServerOptions(s_ca));
        var name = RadiusAttribute.OfText(RadiusAttributeType.UserName, "alice");
        var bare = new RadiusPacket(RadiusCode.AccessRequest, 1, new byte[16], [name]).ToArray();
        Assert.Empty(net.Inject(bare));
        Assert.Empty(net.Inject(RadiusProtection.WriteRequest(1, new byte[16], [name], new KeyMaterial("another secret"u8))));
        Assert.Equal(2, net.Counter("radius.server.unauthentic"));
        var good = RadiusProtection.WriteRequest(1, new byte[16], [name], AccessNetwork.Secret);
        Assert.Empty(net.Inject(good, new IPEndPoint(IPAddress.Parse("198.51.100.1"), 1)));
        Assert.Equal(1, net.Counter("radius.server.unknown_client"));
        Assert.Single(net.Inject(good));

        // Answers to the client: a wrong secret, and a right Response Authenticator without Message-Authenticator.
        net.Lost.Add(net.Sent.Count + 1);
        net.Ask([name]);
        var asked = net.Sent[^2];
        Assert.True(RadiusPacket.TryParse(asked.Payload.Span, out var request, out _));
        var effects = new EffectSink();
        RadiusOutcome? Give(byte[] octets) => net.Client.Receive(new DatagramReceived(asked.Destination, asked.Source, octets), effects);
        Assert.Null(Give(RadiusProtection.WriteResponse(RadiusCode.AccessAccept, request, [], new KeyMaterial("another secret"u8))));
        var unsigned = new RadiusPacket(RadiusCode.AccessAccept, request.Identifier, request.Authenticator, []).ToArray();
        System.Security.Cryptography.MD5.HashData((byte[])[.. unsigned, .. AccessNetwork.Secret.Octets], unsigned.AsSpan(4, 16));
        Assert.Null(Give(unsigned));
        Assert.Equal(RadiusCode.AccessReject, Give(RadiusProtection.WriteResponse(RadiusCode.AccessReject, request, [], AccessNetwork.Secret))?.Response?.Code);
        Assert.Null(Give(RadiusProtection.WriteResponse(RadiusCode.AccessReject, request, [], AccessNetwork.Secret))); // twice
    }

    [Fact]
    public void A_repeated_request_gets_the_same_answer_and_is_worked_on_once()
    {
        var net = new AccessNetwork(AccessNetwork.ServerOptions(s_ca) with { HiddenPasswords = true });
        byte[] authenticator = [.. Enumerable.Range(1, 16).Select(i => (byte)i)];
        var request = RadiusProtection.WriteRequest(9, authenticator,
            [RadiusAttribute.OfText(RadiusAttributeType.UserName, "alice"), new(RadiusAttributeType.ProxyState, new byte[] { 7 }), new(RadiusAttributeType.UserPassword, RadiusProtection.HidePassword("correct horse battery"u8, authenticator, AccessNetwork.Secret))],
            AccessNetwork.Secret);
        net.Inject(request);
        var again = net.Inject(request).Single();
        Assert.Equal(["alice"], net.Checked);
        Assert.Equal(1, net.Counter("radius.server.repeated"));
        Assert.True(RadiusPacket.TryParse(again.Payload.Span, out var answer, out _));
        Assert.Equal(RadiusCode.AccessAccept, answer.Code);
        Assert.Equal([7], answer.Find(RadiusAttributeType.ProxyState)!.Value.Value.ToArray());
        net.Advance(TimeSpan.FromSeconds(6));
        net.Inject(request);
        Assert.Equal(2, net.Checked.Count);
    }

    [Fact]
    public void Lost_packets_are_repeated_and_every_one_of_them_may_be_lost_once()
    {
        var whole = new AccessNetwork(AccessNetwork.ServerOptions(s_ca));
        using var first = new EapPeer(AccessNetwork.Peer(s_ca, "alice", "correct horse battery"));
        Assert.True(whole.Run(first)!.Allowed);
        for (var lost = 0; lost < whole.Sent.Count; lost++)
        {
            var net = new AccessNetwork(AccessNetwork.ServerOptions(s_ca));
            net.Lost.Add(lost);
            var peer = new EapPeer(AccessNetwork.Peer(s_ca, "alice", "correct horse battery"));
            var verdict = net.Run(peer)!;
            Assert.True(verdict.Allowed, $"packet {lost}");
            Assert.Equal(peer.MasterSessionKey, verdict.MasterSessionKey);
            Assert.Equal(["alice"], net.Checked);
        }
    }

    [Fact]
    public void A_silent_server_is_followed_by_the_next_and_comes_last_for_a_while()
    {
        var net = new AccessNetwork(null, AccessNetwork.ServerOptions(s_ca));
        using var peer = new EapPeer(AccessNetwork.Peer(s_ca, "alice", "correct horse battery"));
        var began = net.Now;
        Assert.True(net.Run(peer)!.Allowed);
        Assert.InRange((net.Now - began).TotalSeconds, 10, 20); // 2, 4 and 8 s
        Assert.Equal(3, net.Sent.Count(d => d.Destination.Address.Equals(IPAddress.Parse("192.0.2.10"))));
        Assert.Contains(net.Events, e => e is { Kind: "radius.server.silent", Peer: "as1" });

        using var next = new EapPeer(AccessNetwork.Peer(s_ca, "bob", "staple"));
        began = net.Now;
        Assert.True(net.Run(next)!.Allowed);
        Assert.Equal(began, net.Now);
    }

    [Fact]
    public void Nobody_answers_means_nobody_is_let_in()
    {
        var net = new AccessNetwork(null, null);
        using var peer = new EapPeer(AccessNetwork.Peer(s_ca, "alice", "correct horse battery"));
        Assert.False(net.Run(peer)!.Allowed);
        Assert.Equal(0, net.Client.InFlight);
    }

    [Fact]
    public void Conversations_are_bounded_forgotten_and_belong_to_their_client()
    {
        var options = AccessNetwork.ServerOptions(s_ca) with { MaximumConversations = 2 };
        var net = new AccessNetwork(options with { Clients = [.. options.Clients, new RadiusClientEntry("other", IPNetwork.Parse("192.0.2.99/32"), AccessNetwork.Secret)] });
        byte[] Begin(byte number, byte[]? state = null, string user = "anonymous") => RadiusProtection.WriteRequest(
            number,
            [.. Enumerable.Repeat(number, 16)],
            [.. state is null ? [] : new[] { new RadiusAttribute(RadiusAttributeType.State, state) }, .. RadiusAttribute.OfEap(new EapPacket(EapCode.Response, 1, EapType.Identity, Encoding.UTF8.GetBytes(user)).ToArray())],
            AccessNetwork.Secret);
        RadiusPacket Answer(byte[] request, IPEndPoint? source = null)
        {
            Assert.True(RadiusPacket.TryParse(net.Inject(request, source).Single().Payload.Span, out var answer, out _));
            return answer;
        }

        var challenge = Answer(Begin(1));
        Assert.Equal(RadiusCode.AccessChallenge, challenge.Code);
        Assert.Equal(RadiusCode.AccessChallenge, Answer(Begin(2)).Code);
        Assert.Equal(RadiusCode.AccessReject, Answer(Begin(3)).Code);
        Assert.Equal(RadiusCode.AccessReject, Answer(Begin(4, challenge.Find(RadiusAttributeType.State)!.Value.Value.ToArray()), new IPEndPoint(IPAddress.Parse("192.0.2.99"), 7)).Code);
        net.Advance(TimeSpan.FromSeconds(31));
        Assert.Equal(2, net.Counter("radius.server.abandoned"));
        Assert.Equal(RadiusCode.AccessChallenge, Answer(Begin(5)).Code);
    }
}
