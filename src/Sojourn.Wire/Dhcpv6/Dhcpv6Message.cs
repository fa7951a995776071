using System.Buffers.Binary;

namespace Sojourn.Wire.Dhcpv6;

/// <summary>
/// View of a message between client and server (RFC 8415 8).
/// <code>
/// |    msg-type   |               transaction-id                  |
/// | options ...
/// </code>
/// </summary>
public readonly ref struct Dhcpv6Message
{
    public const int HeaderLength = 4;

    private Dhcpv6Message(ReadOnlySpan<byte> octets) => Octets = octets;

    public ReadOnlySpan<byte> Octets { get; }

    public Dhcpv6MessageType Type => (Dhcpv6MessageType)Octets[0];

    /// <summary>24 bits.</summary>
    public uint TransactionId => BinaryPrimitives.ReadUInt32BigEndian(Octets) & 0xFF_FFFF;

    public Dhcpv6Options Options => Dhcpv6Options.Checked(Octets[HeaderLength..]);

    /// <summary>Octets of the Client Identifier; empty when absent.</summary>
    public ReadOnlySpan<byte> ClientIdentifier => Options.TryFind(Dhcpv6OptionCode.ClientIdentifier, out var duid) ? duid : default;

    /// <summary>Octets of the Server Identifier; empty when absent.</summary>
    public ReadOnlySpan<byte> ServerIdentifier => Options.TryFind(Dhcpv6OptionCode.ServerIdentifier, out var duid) ? duid : default;

    /// <summary>Reads a message of types 1 to 11; relay messages have <see cref="RelayMessage"/>.</summary>
    public static bool TryParse(ReadOnlySpan<byte> octets, out Dhcpv6Message message, out WireError error)
    {
        message = default;
        if (octets.Length < HeaderLength)
        {
            error = new WireError("msg-type", 0, "shorter than the header", "RFC 8415 8");
            return false;
        }

        if (octets[0] is 0 or > (byte)Dhcpv6MessageType.InformationRequest)
        {
            error = new WireError("msg-type", 0, "no message between client and server", "RFC 8415 7.3");
            return false;
        }

        if (!Dhcpv6Options.Check(octets[HeaderLength..], HeaderLength, OptionPlaces.Message, 1, out error))
        {
            return false;
        }

        message = new Dhcpv6Message(octets);
        return true;
    }
}

/// <summary>Whether something must, may or must not stand in a message.</summary>
public enum Presence : byte
{
    Optional,
    Required,
    Forbidden,
}

/// <summary>Who sends a message type and what it must and must not carry (RFC 8415 16).</summary>
/// <param name="Client">Client Identifier.</param>
/// <param name="Server">Server Identifier.</param>
/// <param name="Associations">IA_NA and IA_PD.</param>
public sealed record Dhcpv6MessageRule(Dhcpv6MessageType Type, bool FromClient, Presence Client, Presence Server, Presence Associations)
{
    /// <summary>By type; index 0 is unused.</summary>
    private static readonly Dhcpv6MessageRule[] Rules =
    [
        new(default, false, Presence.Forbidden, Presence.Forbidden, Presence.Forbidden),
        new(Dhcpv6MessageType.Solicit, true, Presence.Required, Presence.Forbidden, Presence.Optional),
        new(Dhcpv6MessageType.Advertise, false, Presence.Required, Presence.Required, Presence.Optional),
        new(Dhcpv6MessageType.Request, true, Presence.Required, Presence.Required, Presence.Optional),
        new(Dhcpv6MessageType.Confirm, true, Presence.Required, Presence.Forbidden, Presence.Optional),
        new(Dhcpv6MessageType.Renew, true, Presence.Required, Presence.Required, Presence.Optional),
        new(Dhcpv6MessageType.Rebind, true, Presence.Required, Presence.Forbidden, Presence.Optional),
        new(Dhcpv6MessageType.Reply, false, Presence.Optional, Presence.Required, Presence.Optional),
        new(Dhcpv6MessageType.Release, true, Presence.Required, Presence.Required, Presence.Optional),
        new(Dhcpv6MessageType.Decline, true, Presence.Required, Presence.Required, Presence.Optional),
        new(Dhcpv6MessageType.Reconfigure, false, Presence.Required, Presence.Required, Presence.Optional),
        new(Dhcpv6MessageType.InformationRequest, true, Presence.Optional, Presence.Optional, Presence.Forbidden),
    ];

    public static Dhcpv6MessageRule Of(Dhcpv6MessageType type) => Rules[(int)type];

    /// <summary>Whether a message that was read may be acted on by a server (<paramref name="fromClient"/>) or a client.</summary>
    public static bool Allows(in Dhcpv6Message message, bool fromClient, out WireError error)
    {
        var rule = Of(message.Type);
        if (rule.FromClient != fromClient)
        {
            error = new WireError("msg-type", 0, "comes from the wrong side", "RFC 8415 16");
            return false;
        }

        var options = message.Options;
        var associations = options.Has(Dhcpv6OptionCode.NonTemporaryAddresses) || options.Has(Dhcpv6OptionCode.PrefixDelegation);
        string? reason = null;
        if (!Holds(rule.Client, !message.ClientIdentifier.IsEmpty))
        {
            reason = "the Client Identifier must stand here and does not, or must not and does";
        }
        else if (!Holds(rule.Server, !message.ServerIdentifier.IsEmpty))
        {
            reason = "the Server Identifier must stand here and does not, or must not and does";
        }
        else if (!Holds(rule.Associations, associations))
        {
            reason = "an identity association must not stand here";
        }

        error = reason is null ? default : new WireError("options", Dhcpv6Message.HeaderLength, reason, "RFC 8415 16");
        return reason is null;
    }

    private static bool Holds(Presence presence, bool there) => presence == Presence.Optional || (presence == Presence.Required) == there;
}
