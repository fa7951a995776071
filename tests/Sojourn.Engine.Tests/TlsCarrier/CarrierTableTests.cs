using System.Net;
using Sojourn.Engine.TlsCarrier;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.Engine.Tests.TlsCarrier;

/// <summary>What a gateway lets out of a session, and which session a packet goes into (TM-R107).</summary>
public sealed class CarrierTableTests
{
    private static readonly string s_home1 = "2001:db8:a:1::71", s_home2 = "2001:db8:a:1::72", s_correspondent = "2001:db8:6::2";

    private readonly CarrierTable<string> _table = new([IPNetwork.Parse("2001:db8:6::/48"), IPNetwork.Parse("2001:db8:a::/48")]);

    public CarrierTableTests()
    {
        _table.Add("first", [IPNetwork.Parse(s_home1 + "/128"), IPNetwork.Parse("2001:db8:a:8000::/64")]);
        _table.Add("second", [IPNetwork.Parse(s_home2 + "/128")]);
    }

    [Fact]
    public void A_terminal_sends_from_its_own_addresses_only()
    {
        Assert.Equal(CarriedVerdict.Forward, _table.FromTerminal("first", Packet(s_home1, s_correspondent)));
        Assert.Equal(CarriedVerdict.Forward, _table.FromTerminal("first", Packet("2001:db8:a:8000::5", s_correspondent)));
        Assert.Equal(CarriedVerdict.ForeignSource, _table.FromTerminal("first", Packet(s_home2, s_correspondent)));
        Assert.Equal(CarriedVerdict.ForeignSource, _table.FromTerminal("first", Packet("2001:db8:f1::5", s_correspondent)));
        Assert.Equal(CarriedVerdict.ForeignSource, _table.FromTerminal("third", Packet("2001:db8:f1::5", s_correspondent)));
        Assert.Equal((2, 3), (_table.Counters["tls.carrier.forwarded"], _table.Counters["tls.carrier.foreign_source"]));
    }

    [Fact]
    public void Nothing_leads_out_of_the_inner_networks()
    {
        Assert.Equal(CarriedVerdict.Forward, _table.FromTerminal("first", Packet(s_home1, s_home2)));
        Assert.Equal(CarriedVerdict.ForeignDestination, _table.FromTerminal("first", Packet(s_home1, "2001:db8:7::1")));
        Assert.Equal(CarriedVerdict.ForeignDestination, _table.FromTerminal("first", Packet(s_home1, "ff02::1")));
    }

    [Fact]
    public void What_is_no_whole_IPv6_packet_is_dropped()
    {
        var packet = Packet(s_home1, s_correspondent);
        Assert.Equal(CarriedVerdict.Malformed, _table.FromTerminal("first", packet.AsSpan(0, 39)));
        Assert.Equal(CarriedVerdict.Malformed, _table.FromTerminal("first", packet.AsSpan(0, packet.Length - 1)));
        Assert.Equal(CarriedVerdict.Malformed, _table.FromTerminal("first", (byte[])[.. packet, 0]));
        packet[0] = 0x45;
        Assert.Equal(CarriedVerdict.Malformed, _table.FromTerminal("first", packet));
        Assert.Equal(4, _table.Counters["tls.carrier.malformed"]);
    }

    [Fact]
    public void A_packet_for_a_terminal_finds_its_session_by_the_longest_prefix_or_goes_nowhere()
    {
        Assert.Equal("second", _table.ToTerminal(Packet(s_correspondent, s_home2)));
        Assert.Equal("first", _table.ToTerminal(Packet(s_correspondent, "2001:db8:a:8000::99")));
        Assert.Null(_table.ToTerminal(Packet(s_correspondent, "2001:db8:a:8001::99")));
        _table.Add("third", [IPNetwork.Parse("2001:db8:a:8000::99/128")]);
        Assert.Equal("third", _table.ToTerminal(Packet(s_correspondent, "2001:db8:a:8000::99")));
        Assert.Equal(CarriedVerdict.ForeignSource, _table.FromTerminal("first", Packet("2001:db8:a:8000::99", s_correspondent)));
        _table.Remove("first");
        Assert.Null(_table.ToTerminal(Packet(s_correspondent, s_home1)));
        Assert.Equal(CarriedVerdict.ForeignSource, _table.FromTerminal("first", Packet(s_home1, s_correspondent)));
    }

    private static byte[] Packet(string source, string destination)
    {
        var packet = new byte[IPv6Header.Length + 8];
        IPv6Header.Write(packet, 0, 0, 8, IpProtocol.Udp, 64, IPAddress.Parse(source).GetAddressBytes(), IPAddress.Parse(destination).GetAddressBytes());
        return packet;
    }
}
