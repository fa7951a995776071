using System.Net;
using FsCheck;
using FsCheck.Fluent;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Radius;
using Xunit;

namespace Sojourn.Wire.Tests.Radius;

public sealed class RadiusPacketTests
{
    /// <summary>FreeRADIUS with radclient and eapol_test.</summary>
    private static readonly byte[][] s_captured =
        [.. File.ReadLines(Path.Combine(AppContext.BaseDirectory, "Radius", "Vectors", "freeradius.txt")).Where(line => !line.StartsWith('#')).Select(Convert.FromHexString)];

    [Fact]
    public void A_request_of_radclient_comes_apart()
    {
        Assert.True(RadiusPacket.TryParse(s_captured[0], out var request, out _));

        Assert.Equal((RadiusCode.AccessRequest, 173), (request.Code, (int)request.Identifier));
        Assert.Equal("alice", request.Find(RadiusAttributeType.UserName)?.Text);
        Assert.Equal("02-00-00-00-00-01", request.Find(RadiusAttributeType.CallingStationId)?.Text);
        Assert.Equal(32, request.Find(RadiusAttributeType.UserPassword)?.Value.Length);
        Assert.NotEqual(-1, request.MessageAuthenticatorOffset);
        Assert.Equal(16, s_captured[0][request.MessageAuthenticatorOffset - 1] - 2);
    }

    [Fact]
    public void Every_captured_packet_and_the_EAP_in_it_survive_being_written()
    {
        Assert.Equal(34, s_captured.Length);
        var types = new HashSet<EapType>();
        foreach (var octets in s_captured)
        {
            Assert.True(RadiusPacket.TryParse(octets, out var packet, out var error), error.ToString());
            Assert.Equal(octets, packet.ToArray());
            if (packet.EapMessage is { Length: > 0 } message)
            {
                Assert.True(EapPacket.TryParse(message, out var eap, out error), error.ToString());
                Assert.Equal(message, eap.ToArray());
                types.Add(eap.Type);
                if (eap.Type is EapType.Tls or EapType.Ttls)
                {
                    Assert.True(EapTlsFragment.TryParse(eap.Data.Span, out var fragment, out error), error.ToString());
                    Assert.Equal(eap.Data.ToArray(), fragment.ToArray());
                }
            }
        }

        Assert.Superset(new HashSet<EapType> { EapType.Identity, EapType.Tls, EapType.Ttls, EapType.None }, types);
    }

    [Fact]
    public void Attributes_of_every_shape_survive_and_are_read_back()
    {
        var octets = RadiusSamples.Everything().ToArray();
        Assert.True(RadiusPacket.TryParse([.. octets, 0xEE, 0xEE], out var packet, out _)); // padding of the link

        Assert.Equal(octets, packet.ToArray());
        Assert.Equal(Enumerable.Range(0, 600).Select(i => (byte)i), packet.EapMessage);
        Assert.True(packet.Find(RadiusAttributeType.DelegatedIpv6Prefix)!.Value.TryReadPrefix(out var delegated));
        Assert.Equal(IPNetwork.Parse("2001:db8:a:1::/64"), delegated);
        Assert.True(packet.Find(RadiusAttributeType.Mip6HomeLinkPrefix)!.Value.TryReadPrefix(out var home));
        Assert.Equal(IPNetwork.Parse("2001:db8:a:2::/64"), home);
        Assert.True(packet.Find(RadiusAttributeType.VendorSpecific)!.Value.TryReadVendor(RadiusLimits.Microsoft, 17, out var value));
        Assert.Equal([1, 2, 3], value.ToArray());
        Assert.False(packet.Find(RadiusAttributeType.VendorSpecific)!.Value.TryReadVendor(RadiusLimits.Microsoft, 16, out _));
        Assert.True(packet.Find(RadiusAttributeType.FramedMtu)!.Value.TryReadNumber(out var mtu));
        Assert.Equal(1200u, mtu);
    }

    [Fact]
    public void What_is_cut_off_anywhere_is_refused()
    {
        var whole = RadiusSamples.Everything().ToArray();
        for (var length = 0; length < whole.Length; length++)
        {
            Assert.False(RadiusPacket.TryParse(whole.AsSpan(0, length), out _, out var error));
            Assert.InRange(error.Offset, 0, length);
        }
    }

    [Theory]
    [InlineData("0101", "Length", 21)] // an attribute of one octet
    [InlineData("0105", "Length", 21)] // longer than the packet
    [InlineData("010361010361", "UserName", 23)] // two User-Names
    [InlineData("500361", "MessageAuthenticator", 20)]
    [InlineData("4f0361 010361 4f0361", "EapMessage", 26)] // EAP-Messages apart
    [InlineData("020361", "UserPassword", 20)]
    public void A_malformed_attribute_is_refused_where_it_is_wrong(string attributes, string field, int offset)
    {
        var tail = Convert.FromHexString(attributes.Replace(" ", ""));
        byte[] octets = [1, 1, 0, (byte)(20 + tail.Length), .. new byte[16], .. tail];
        Assert.False(RadiusPacket.TryParse(octets, out _, out var error));
        Assert.Equal((field, offset), (error.Field, error.Offset));
    }

    [Theory]
    [InlineData("00 81 20010db8000000000000000000000000")] // longer than an address
    [InlineData("00 40 20010db8")] // fewer octets than bits
    [InlineData("00")]
    public void A_prefix_that_is_none_is_not_read(string hex) =>
        Assert.False(new RadiusAttribute(RadiusAttributeType.DelegatedIpv6Prefix, Convert.FromHexString(hex.Replace(" ", ""))).TryReadPrefix(out _));

    [Fact]
    public void Any_prefix_survives_in_either_attribute()
    {
        Prop.ForAll<ulong, ulong, byte>((high, low, size) =>
        {
            var octets = new byte[16];
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(octets, high);
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(octets.AsSpan(8), low);
            var length = size % 129;
            for (var bit = length; bit < 128; bit++)
            {
                octets[bit / 8] &= (byte)~(0x80 >> (bit % 8));
            }

            var prefix = new IPNetwork(new IPAddress(octets), length);
            return RadiusAttribute.OfDelegatedPrefix(prefix).TryReadPrefix(out var one) && one.Equals(prefix)
                && RadiusAttribute.OfHomeLinkPrefix(prefix).TryReadPrefix(out var other) && other.Equals(prefix);
        }).QuickCheckThrowOnFailure();
    }
}
