using System.Buffers.Binary;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.MobileIpv6;
using Sojourn.Wire.Tests.MobileIpv6;

namespace Sojourn.Fuzz;

/// <summary>Mobile IPv6: Mobility Headers, packets with their extension headers, ICMPv6.</summary>
internal static class MobileIpv6FuzzTargets
{
    private static readonly string[] s_names = [.. MobileIpv6Samples.Mobility.Keys];

    public static IEnumerable<FuzzTarget> All { get; } =
    [
        new FuzzTarget("mobility-header", ["MobilityMessage.TryParse"], [.. MobileIpv6Samples.Mobility.Values.Select(m => m.ToArray(MobileIpv6Samples.Home, MobileIpv6Samples.Agent))], input => MobilityMessage.TryParse(input.Span, out _, out _))
        {
            PerOctet = 40,
            Mend = MendHeader,
            Holds = input =>
            {
                MobilityMessage.TryParse(input.Span, out var message, out _);
                var written = message!.ToArray(MobileIpv6Samples.Home, MobileIpv6Samples.Agent);
                FuzzTargets.Require(written.Length % 8 == 0 && MobilityMessage.ChecksumIsRight(written, MobileIpv6Samples.Home, MobileIpv6Samples.Agent), "what was written is no Mobility Header");

                // Alignment may lengthen what a peer packed tightly; only then can the limit be passed.
                if (written.Length <= MobileIpv6Limits.HeaderLength)
                {
                    FuzzTargets.Require(MobilityMessage.TryParse(written, out var again, out _) && again == message, "what was read does not survive being written");
                }
            },
        },
        new FuzzTarget("mobile-ipv6-packet", ["MobileIpv6Packet.TryParse"], [.. s_names.Select(n => MobileIpv6Samples.Packet(n).ToArray())], input => MobileIpv6Packet.TryParse(input.Span, out _, out _))
        {
            PerOctet = 2,
            Mend = MendPacket,
            Holds = input =>
            {
                MobileIpv6Packet.TryParse(input.Span, out var packet, out _);
                FuzzTargets.Require(MobileIpv6Packet.TryParse(packet!.ToArray(), out var again, out _) && again == packet, "what was read does not survive being written");
            },
        },
        new FuzzTarget("icmpv6", ["Icmpv6Message.TryParse"], [.. MobileIpv6Samples.Icmp.Values.Select(m => m.ToArray(MobileIpv6Samples.Home, MobileIpv6Samples.Agent))], input => Icmpv6Message.TryParse(input.Span, out _, out _))
        {
            PerOctet = 40,
            Holds = input =>
            {
                Icmpv6Message.TryParse(input.Span, out var message, out _);
                var written = message!.ToArray(MobileIpv6Samples.Home, MobileIpv6Samples.Agent);
                FuzzTargets.Require(written.Length == input.Length && Icmpv6Message.TryParse(written, out var again, out _) && again.ToArray(MobileIpv6Samples.Home, MobileIpv6Samples.Agent).AsSpan().SequenceEqual(written), "what was read does not survive being written");
            },
        },
    ];

    private static void MendHeader(Memory<byte> header)
    {
        if (header.Length >= 8)
        {
            header.Span[0] = 59;
            header.Span[1] = (byte)((header.Length / 8) - 1);
        }
    }

    private static void MendPacket(Memory<byte> packet)
    {
        if (packet.Length >= 40)
        {
            packet.Span[0] = 0x60;
            BinaryPrimitives.WriteUInt16BigEndian(packet.Span[4..], (ushort)(packet.Length - 40));
        }
    }
}
