using FsCheck;
using FsCheck.Fluent;
using Sojourn.Wire.Eap;
using Xunit;

namespace Sojourn.Wire.Tests.Eap;

public sealed class EapPacketTests
{
    [Fact]
    public void Packets_survive_and_the_padding_of_the_link_is_ignored()
    {
        foreach (var packet in EapSamples.Packets)
        {
            Assert.True(EapPacket.TryParse([.. packet.ToArray(), 0, 0, 0], out var read, out _));
            Assert.Equal(packet, read);
        }
    }

    [Theory]
    [InlineData("010100", "Code")]
    [InlineData("0001000501", "Code")]
    [InlineData("0501000501", "Code")]
    [InlineData("01010004", "Length")] // a Request without type
    [InlineData("0101000601", "Length")] // more than there is
    [InlineData("0301000501", "Length")] // a Success with data
    [InlineData("02010003 01", "Length")]
    public void A_malformed_packet_is_refused(string hex, string field)
    {
        Assert.False(EapPacket.TryParse(Convert.FromHexString(hex.Replace(" ", "")), out _, out var error));
        Assert.Equal(field, error.Field);
    }

    [Fact]
    public void Fragments_survive_and_one_that_says_it_is_longer_than_its_flight_does_not_pass()
    {
        foreach (var fragment in EapSamples.Fragments)
        {
            Assert.True(EapTlsFragment.TryParse(fragment.ToArray(), out var read, out _));
            Assert.Equal(fragment, read);
        }

        Assert.True(EapTlsFragment.Acknowledgement.IsAcknowledgement);
        Assert.False(EapTlsFragment.TryParse([0x80, 0, 0, 0, 1, 1, 2], out _, out _)); // two octets of one
        Assert.False(EapTlsFragment.TryParse([0x80, 0, 0, 0], out _, out _));
        Assert.False(EapTlsFragment.TryParse([0x80, 0xFF, 0, 0, 0, 1], out _, out var error));
        Assert.Equal("TLS Message Length", error.Field);
        Assert.False(EapTlsFragment.TryParse([], out _, out _));
    }

    [Fact]
    public void AVPs_are_padded_and_the_last_one_may_come_without()
    {
        var octets = TtlsAvp.Write(EapSamples.Avps);
        Assert.Equal(0, octets.Length % 4);
        Assert.True(TtlsAvp.TryParseAll(octets, out var avps, out _));
        Assert.Equal(EapSamples.Avps, avps);
        Assert.True(TtlsAvp.TryParseAll(octets.AsSpan(0, octets.Length - 3), out avps, out _));
        Assert.Equal(EapSamples.Avps, avps);
        Assert.False(TtlsAvp.TryParseAll(octets.AsSpan(0, octets.Length - 4), out _, out _));
        Assert.False(TtlsAvp.TryParseAll([0, 0, 0, 1, 0x80, 0, 0, 8, 0, 0, 0, 0], out _, out var error)); // V, and no room for a vendor
        Assert.Equal("AVP Length", error.Field);
    }

    [Fact]
    public void Any_AVP_survives()
    {
        Prop.ForAll<uint, bool, byte[]>((code, mandatory, data) =>
        {
            var avp = new TtlsAvp(code, mandatory ? code ^ 7 : null, mandatory, data);
            return TtlsAvp.TryParseAll(TtlsAvp.Write([avp, avp]), out var read, out _) && read.SequenceEqual([avp, avp]);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void EAPOL_frames_survive_and_the_padding_of_Ethernet_is_ignored()
    {
        foreach (var frame in EapSamples.Eapol)
        {
            Assert.True(EapolFrame.TryParse([.. frame.ToArray(), .. new byte[40]], out var read, out _));
            Assert.Equal(frame, read);
        }

        Assert.False(EapolFrame.TryParse([2, 0, 0, 1], out _, out _));
        Assert.False(EapolFrame.TryParse([2, 0, 0], out _, out _));
    }
}
