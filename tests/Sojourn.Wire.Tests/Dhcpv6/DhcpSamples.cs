using System.Net;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Wire.Tests.Dhcpv6;

/// <summary>Messages made by our writer.</summary>
public static class DhcpSamples
{
    /// <summary>A message with known and unknown options on every level.</summary>
    public static byte[] Everything()
    {
        var writer = new Dhcpv6Writer(new byte[1024]);
        writer.Message(Dhcpv6MessageType.Reply, 0xABCDEF);
        writer.Option(Dhcpv6OptionCode.ClientIdentifier, [0, 3, 0, 1, 2, 0, 0, 0, 0, 1]);
        writer.Option((Dhcpv6OptionCode)4242, [1, 2, 3]);
        writer.Option(Dhcpv6OptionCode.ServerIdentifier, [0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        var association = writer.BeginPrefixAssociation(7, 100, 160);
        writer.Prefix(new DelegatedPrefix(200, 300, IPNetwork.Parse("2001:db8:1::/56")));
        writer.Option((Dhcpv6OptionCode)999, []);
        writer.Status(Dhcpv6Status.Success, "well");
        writer.End(association);
        writer.Option(Dhcpv6OptionCode.OptionRequest, [0, 23, 0, 82]);
        writer.Option(Dhcpv6OptionCode.VendorClass, [0, 0, 1, 2]);
        writer.Option(Dhcpv6OptionCode.VendorClass, [0, 0, 1, 3]);
        return writer.Written.ToArray();
    }

    public static byte[] Relayed(ReadOnlySpan<byte> message, Dhcpv6MessageType type = Dhcpv6MessageType.RelayForward, byte hops = 0)
    {
        var writer = new Dhcpv6Writer(new byte[2048]);
        writer.Relay(type, hops, IPAddress.Parse("2001:db8:a::1").GetAddressBytes(), IPAddress.Parse("fe80::1").GetAddressBytes());
        writer.Option(Dhcpv6OptionCode.InterfaceId, "acc0"u8);
        writer.Option(Dhcpv6OptionCode.RemoteId, [0, 0, 0x7E, 0xD9, (byte)'a']);
        writer.Option(Dhcpv6OptionCode.RelayMessage, message);
        return writer.Written.ToArray();
    }
}
