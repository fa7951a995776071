using System.Net;
using FsCheck;
using FsCheck.Fluent;
using Sojourn.Wire.Dhcpv6;
using Xunit;

namespace Sojourn.Wire.Tests.Dhcpv6;

public sealed class DhcpMessageTests
{
    [Fact]
    public void A_solicit_of_wide_comes_apart()
    {
        Assert.True(Dhcpv6Message.TryParse(CapturedDhcp.Messages[0], out var solicit, out _));

        Assert.Equal(Dhcpv6MessageType.Solicit, solicit.Type);
        Assert.Equal(0xE88E3Du, solicit.TransactionId);
        Assert.True(Duid.TryParse(solicit.ClientIdentifier, out var client, out _));
        Assert.Equal("00:01:00:01:32:93:b3:66:c2:4a:92:b8:21:09", client.ToString());
        Assert.Equal(DuidType.LinkLayerTime, client.Type);
        Assert.False(client.IsStable);
        Assert.True(solicit.ServerIdentifier.IsEmpty);
        Assert.True(solicit.Options.TryFind(Dhcpv6OptionCode.PrefixDelegation, out var data));
        var association = new PrefixAssociation(data);
        Assert.Equal((0u, 0u, 0u), (association.Iaid, association.T1, association.T2));
        Assert.True(association.Options.Octets.IsEmpty);
    }

    [Fact]
    [Trait("Row", "TA-M23")]
    public void A_reply_of_Kea_comes_apart_down_to_the_prefix()
    {
        Assert.True(Dhcpv6Message.TryParse(CapturedDhcp.Messages[3], out var reply, out _));

        Assert.Equal(Dhcpv6MessageType.Reply, reply.Type);
        Assert.True(reply.Options.TryFind(Dhcpv6OptionCode.PrefixDelegation, out var data));
        var association = new PrefixAssociation(data);
        Assert.Equal((0u, 30u, 48u), (association.Iaid, association.T1, association.T2));
        Assert.True(association.Options.TryFind(Dhcpv6OptionCode.Prefix, out var prefix));
        Assert.Equal(new DelegatedPrefix(60, 90, IPNetwork.Parse("2001:db8::/56")), DelegatedPrefix.Read(prefix));
        Assert.Equal(Dhcpv6Status.Success, association.Options.Status);
    }

    [Fact]
    [Trait("Row", "TA-M20")]
    [Trait("Row", "TA-M21")]
    public void Every_message_of_the_captures_is_read_is_legal_and_survives_being_written()
    {
        Assert.Equal(30, CapturedDhcp.Messages.Count);
        Assert.Equal(
            [Dhcpv6MessageType.Solicit, Dhcpv6MessageType.Advertise, Dhcpv6MessageType.Request, Dhcpv6MessageType.Renew, Dhcpv6MessageType.Rebind, Dhcpv6MessageType.Reply, Dhcpv6MessageType.Release],
            CapturedDhcp.Messages.Select(octets => (Dhcpv6MessageType)octets[0]).Distinct().OrderBy(type => type));
        foreach (var octets in CapturedDhcp.Messages)
        {
            Assert.True(Dhcpv6Message.TryParse(octets, out var message, out var error), error.ToString());
            Assert.True(Dhcpv6MessageRule.Allows(message, Dhcpv6MessageRule.Of(message.Type).FromClient, out error), error.ToString());
            Assert.False(Dhcpv6MessageRule.Allows(message, !Dhcpv6MessageRule.Of(message.Type).FromClient, out _));
            Assert.Equal(octets, Written(message));
        }
    }

    [Fact]
    public void Unknown_options_survive_on_every_level()
    {
        var octets = DhcpSamples.Everything();
        Assert.True(Dhcpv6Message.TryParse(octets, out var message, out _));
        Assert.Equal(octets, Written(message));
        Assert.True(message.Options.TryFind((Dhcpv6OptionCode)4242, out var unknown));
        Assert.Equal([1, 2, 3], unknown.ToArray());
        Assert.True(message.Options.TryFind(Dhcpv6OptionCode.PrefixDelegation, out var data));
        Assert.True(new PrefixAssociation(data).Options.Has((Dhcpv6OptionCode)999));
        Assert.True(message.Options.Asks(Dhcpv6OptionCode.DnsServers));
        Assert.False(message.Options.Asks(Dhcpv6OptionCode.Preference));
    }

    [Fact]
    public void What_is_cut_off_anywhere_is_refused()
    {
        var whole = DhcpSamples.Everything();
        var ends = 0;
        for (var length = 0; length < whole.Length; length++)
        {
            // A message may end behind any of its options.
            if (Dhcpv6Message.TryParse(whole.AsSpan(0, length), out var message, out var error))
            {
                ends++;
                Assert.Equal(whole.AsSpan(0, length).ToArray(), Written(message));
            }
            else
            {
                Assert.InRange(error.Offset, 0, length);
            }
        }

        Assert.Equal(7, ends);
    }

    [Theory]
    [InlineData("07000001 0001 0002 0003", "option-len", 6)] // a DUID of two octets
    [InlineData("07000001 0001 0003 000301 0001 0003 000301", "option-code", 11)] // two Client Identifiers
    [InlineData("07000001 0019 000b 0000000000000000000000", "option-len", 6)] // IA_PD shorter than its fixed part
    [InlineData("07000001 0019 0010 000000000000000000000000 000d 0001", "option-len", 22)] // an option longer than its IA_PD
    [InlineData("07000001 0006 0003 001700", "option-len", 6)] // half an option code
    [InlineData("07000001 0019 0029 000000000000000000000000 001a 0019 00000001 00000001 81 00000000000000000000000000000000", "prefix-length", 32)]
    [InlineData("07000001 0007 0002 0000", "option-len", 6)] // Preference of two octets
    [InlineData("07000001 0001", "option-len", 4)]
    [InlineData("0c000001", "msg-type", 0)] // relay-forward
    [InlineData("00000001", "msg-type", 0)]
    [InlineData("070000", "msg-type", 0)]
    public void A_malformed_message_is_refused_where_it_is_wrong(string hex, string field, int offset)
    {
        Assert.False(Dhcpv6Message.TryParse(Convert.FromHexString(hex.Replace(" ", "")), out _, out var error));
        Assert.Equal((field, offset), (error.Field, error.Offset));
    }

    [Fact]
    public void Too_many_options_on_a_level_are_refused()
    {
        var octets = new byte[4 + (4 * (Dhcpv6Limits.Options + 1))];
        octets[0] = 7;
        for (var at = 4; at < octets.Length; at += 4)
        {
            octets[at] = 0x7F;
        }

        Assert.True(Dhcpv6Message.TryParse(octets.AsSpan(0, octets.Length - 4), out _, out _));
        Assert.False(Dhcpv6Message.TryParse(octets, out _, out var error));
        Assert.Equal("limit", error.Clause);
    }

    [Theory]
    [InlineData(Dhcpv6MessageType.Solicit, true, false, true, true)]
    [InlineData(Dhcpv6MessageType.Solicit, true, true, true, false)]
    [InlineData(Dhcpv6MessageType.Solicit, false, false, true, false)]
    [InlineData(Dhcpv6MessageType.Request, true, true, true, true)]
    [InlineData(Dhcpv6MessageType.Request, true, false, true, false)]
    [InlineData(Dhcpv6MessageType.Rebind, true, true, true, false)]
    [InlineData(Dhcpv6MessageType.Renew, true, true, true, true)]
    [InlineData(Dhcpv6MessageType.Release, true, false, true, false)]
    [InlineData(Dhcpv6MessageType.InformationRequest, false, false, false, true)]
    [InlineData(Dhcpv6MessageType.InformationRequest, true, false, true, false)]
    [InlineData(Dhcpv6MessageType.Advertise, true, true, true, false)] // from a client
    public void What_a_client_must_and_must_not_send_is_known(Dhcpv6MessageType type, bool client, bool server, bool association, bool legal)
    {
        var writer = new Dhcpv6Writer(new byte[256]);
        writer.Message(type, 1);
        if (client)
        {
            writer.Option(Dhcpv6OptionCode.ClientIdentifier, [0, 3, 0, 1, 1]);
        }

        if (server)
        {
            writer.Option(Dhcpv6OptionCode.ServerIdentifier, [0, 3, 0, 1, 2]);
        }

        if (association)
        {
            writer.End(writer.BeginPrefixAssociation(1, 0, 0));
        }

        Assert.True(Dhcpv6Message.TryParse(writer.Written, out var message, out _));
        Assert.Equal(legal, Dhcpv6MessageRule.Allows(message, fromClient: true, out var error));
        Assert.Equal(legal, error == default);
    }

    [Fact]
    [Trait("Row", "TA-M22")]
    public void A_relayed_message_comes_out_as_it_went_in()
    {
        var inner = CapturedDhcp.Messages[0];
        Assert.True(RelayMessage.TryParse(DhcpSamples.Relayed(DhcpSamples.Relayed(inner), hops: 1), out var outer, out _));
        Assert.Equal((Dhcpv6MessageType.RelayForward, 1), (outer.Type, (int)outer.HopCount));
        Assert.True(RelayMessage.TryParse(outer.Relayed, out var relay, out _));
        Assert.Equal(IPAddress.Parse("2001:db8:a::1"), new IPAddress(relay.LinkAddress));
        Assert.Equal(IPAddress.Parse("fe80::1"), new IPAddress(relay.PeerAddress));
        Assert.Equal(inner, relay.Relayed.ToArray());
        Assert.False(RelayMessage.TryParse(DhcpSamples.Relayed(inner, hops: Dhcpv6Limits.HopCount + 1), out _, out var error));
        Assert.Equal("hop-count", error.Field);
        Assert.False(RelayMessage.TryParse(DhcpSamples.Relayed(inner).AsSpan(0, RelayMessage.HeaderLength), out _, out error));
        Assert.Equal("Relay Message", error.Field);
    }

    [Theory]
    [InlineData("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 33, "2001:db8:8000::/33")]
    [InlineData("2001:db8::1", 64, "2001:db8::/64")]
    [InlineData("2001:db8::1", 128, "2001:db8::1/128")]
    [InlineData("2001:db8::1", 0, "::/0")]
    public void Bits_behind_a_prefix_are_not_looked_at(string address, byte length, string prefix)
    {
        byte[] data = [0, 0, 0, 1, 0, 0, 0, 2, length, .. IPAddress.Parse(address).GetAddressBytes()];
        Assert.Equal(IPNetwork.Parse(prefix), DelegatedPrefix.Read(data).Prefix);
        Assert.Equal(length == 0, DelegatedPrefix.Read(data).IsLengthHint);
    }

    [Fact]
    public void Any_prefix_association_survives_being_written_into_a_dirty_buffer()
    {
        Prop.ForAll<uint, uint, byte[]>((iaid, time, seed) =>
        {
            var octets = new byte[16];
            var length = time ^ (uint)seed.Length;
            seed.AsSpan(0, Math.Min(16, seed.Length)).CopyTo(octets);
            var wanted = new DelegatedPrefix(time, time ^ iaid, DelegatedPrefix.Read([.. new byte[8], (byte)(length % 129), .. octets]).Prefix);
            var buffer = new byte[128];
            Array.Fill(buffer, (byte)0xEE);
            var writer = new Dhcpv6Writer(buffer);
            writer.Message(Dhcpv6MessageType.Request, iaid);
            var at = writer.BeginPrefixAssociation(iaid, time, time);
            writer.Prefix(wanted);
            writer.End(at);
            return Dhcpv6Message.TryParse(writer.Written, out var message, out _)
                && message.TransactionId == (iaid & 0xFFFFFF)
                && message.Options.TryFind(Dhcpv6OptionCode.PrefixDelegation, out var data)
                && new PrefixAssociation(data).Iaid == iaid
                && new PrefixAssociation(data).Options.TryFind(Dhcpv6OptionCode.Prefix, out var prefix)
                && DelegatedPrefix.Read(prefix) == wanted;
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    [Trait("Row", "TA-M29")]
    public void DUIDs_are_read_written_and_compared()
    {
        Assert.True(Duid.TryParseText("00:03:00:01:02:00:00:00:00:01", out var duid));
        Assert.Equal(Duid.OfLinkLayer(1, [2, 0, 0, 0, 0, 1]), duid);
        Assert.True(duid.IsStable);
        Assert.True(Duid.TryParseText("0003000102000000000" + "1", out var plain));
        Assert.Equal(duid.GetHashCode(), plain.GetHashCode());
        Assert.Equal(DuidType.Uuid, Duid.OfUuid(new byte[16]).Type);
        Assert.True(Duid.OfUuid(new byte[16]).IsStable);
        Assert.False(Duid.TryParseText("0003", out _));
        Assert.False(Duid.TryParseText("00030", out _));
        Assert.False(Duid.TryParseText("not a duid", out _));
        Assert.False(Duid.TryParse(new byte[131], out _, out _));
        Assert.NotEqual(duid, default);
    }

    private static byte[] Written(in Dhcpv6Message message)
    {
        var buffer = new byte[4096];
        Array.Fill(buffer, (byte)0xEE);
        var writer = new Dhcpv6Writer(buffer);
        writer.Message(message.Type, message.TransactionId);
        foreach (var option in message.Options)
        {
            writer.Option(option);
        }

        return writer.Written.ToArray();
    }
}
