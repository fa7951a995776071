// Reading: the acknowledgement is the anchor point's and not the home agent's, so the host part takes it for the word that it has a
// regional address now, and never for an answer to an update of its own.
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>The acknowledgement of an anchor point on its way from the guest to the host part, with the registration type among its mobility options (step 97 ). It never leaves the terminal.</summary>
internal static class HostTrigger
{
    private const byte RegistrationType = 1;

    /// <summary>Adds the type to an acknowledgement; its checksum is made anew.</summary>
    public static byte[] Write(ReadOnlySpan<byte> acknowledgement, AnchorMode mode)
    {
        if (!MobileIpv6Packet.TryParse(acknowledgement, out var packet, out _) || !MobilityMessage.TryParse(packet.Payload.Span, out var message, out _) || message is not BindingAcknowledgement answer)
        {
            throw new ArgumentException("this is no binding acknowledgement", nameof(acknowledgement));
        }

        var marked = answer with { Options = answer.Options.With(new UnknownMobilityOption(MobilityOptionType.Experimental, new byte[] { RegistrationType, (byte)mode })) };
        return (packet with { Payload = marked.ToArray(packet.EffectiveSource, packet.EffectiveDestination) }).ToArray();
    }

    /// <summary>Reads what <see cref="Write"/> has made: on-link address 41b, regional address of the routing header, anchor point 41a, type.</summary>
    public static AnchorRegistration? Read(ReadOnlySpan<byte> octets) =>
        MobileIpv6Packet.TryParse(octets, out var packet, out _) && packet is { Protocol: IpProtocol.Mobility, RoutingHomeAddress: { } regional }
        && MobilityMessage.ChecksumIsRight(packet.Payload.Span, packet.EffectiveSource, packet.EffectiveDestination)
        && MobilityMessage.TryParse(packet.Payload.Span, out var message, out _) && message is BindingAcknowledgement answer
        && answer.Options.OfType<UnknownMobilityOption>().FirstOrDefault(o => o.Type == MobilityOptionType.Experimental) is { } option
        && option.Data.Span is [RegistrationType, >= (byte)AnchorMode.Tunnelled and <= (byte)AnchorMode.Direct and var mode]
            ? new AnchorRegistration((AnchorMode)mode, packet.Source, packet.Destination, regional)
            : null;
}
