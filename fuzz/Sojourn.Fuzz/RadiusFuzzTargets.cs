using System.Buffers.Binary;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Radius;
using Sojourn.Wire.Tests.Eap;
using Sojourn.Wire.Tests.Radius;

namespace Sojourn.Fuzz;

/// <summary>Access authentication: RADIUS, EAP, what EAP carries, EAPOL.</summary>
internal static class RadiusFuzzTargets
{
    public static IEnumerable<FuzzTarget> All { get; } =
    [
        new FuzzTarget("radius", ["RadiusPacket.TryParse"], [RadiusSamples.Everything().ToArray()], input =>
        {
            if (!RadiusPacket.TryParse(input.Span, out var packet, out _))
            {
                return false;
            }

            FuzzTargets.Require(packet.Attributes.Count <= RadiusLimits.Attributes && packet.MessageAuthenticatorOffset <= packet.Length, "more than the limit");
            foreach (var attribute in packet.Attributes)
            {
                _ = attribute.TryReadNumber(out _) | attribute.TryReadPrefix(out _) | attribute.TryReadVendor(RadiusLimits.Microsoft, 17, out _);
            }

            return true;
        })
        {
            PerOctet = 64,
            Allowance = 8192,
            Mend = m => MendLength(m, 20, 2),
            Holds = input =>
            {
                RadiusPacket.TryParse(input.Span, out var packet, out _);
                FuzzTargets.Require(packet!.ToArray().AsSpan().SequenceEqual(input.Span[..packet.Length]), "what was read does not survive being written");
            },
        },
        new FuzzTarget("eap", ["EapPacket.TryParse"], [.. EapSamples.Packets.Select(p => p.ToArray())], input => EapPacket.TryParse(input.Span, out _, out _))
        {
            PerOctet = 4,
            Mend = m => MendLength(m, 4, 2),
            Holds = input =>
            {
                EapPacket.TryParse(input.Span, out var packet, out _);
                FuzzTargets.Require(packet!.ToArray().AsSpan().SequenceEqual(input.Span[..packet.Length]), "what was read does not survive being written");
            },
        },
        new FuzzTarget("eap-tls-fragment", ["EapTlsFragment.TryParse"], [.. EapSamples.Fragments.Select(f => f.ToArray())], input => EapTlsFragment.TryParse(input.Span, out _, out _))
        {
            PerOctet = 4,
            Holds = input =>
            {
                EapTlsFragment.TryParse(input.Span, out var fragment, out _);
                FuzzTargets.Require(EapTlsFragment.TryParse(fragment!.ToArray(), out var again, out _) && again == fragment, "what was read does not survive being written");
            },
        },
        new FuzzTarget("ttls-avps", ["TtlsAvp.TryParseAll"], [TtlsAvp.Write(EapSamples.Avps)], input => TtlsAvp.TryParseAll(input.Span, out var avps, out _) && avps.Count <= EapLimits.TunnelAvps)
        {
            PerOctet = 32,
            Holds = input =>
            {
                TtlsAvp.TryParseAll(input.Span, out var avps, out _);
                FuzzTargets.Require(TtlsAvp.TryParseAll(TtlsAvp.Write(avps!), out var again, out _) && again.SequenceEqual(avps!), "what was read does not survive being written");
            },
        },
        new FuzzTarget("eapol", ["EapolFrame.TryParse"], [.. EapSamples.Eapol.Select(f => f.ToArray())], input => EapolFrame.TryParse(input.Span, out _, out _))
        {
            PerOctet = 4,
            Mend = m => MendLength(m, 4, 2, -4),
            Holds = input =>
            {
                EapolFrame.TryParse(input.Span, out var frame, out _);
                FuzzTargets.Require(EapolFrame.TryParse(frame!.ToArray(), out var again, out _) && again == frame, "what was read does not survive being written");
            },
        },
    ];

    private static void MendLength(Memory<byte> message, int least, int at, int less = 0)
    {
        if (message.Length >= least)
        {
            BinaryPrimitives.WriteUInt16BigEndian(message.Span[at..], (ushort)(message.Length + less));
        }
    }
}
