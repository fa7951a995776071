using System.Diagnostics.CodeAnalysis;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>Message types on UDP port 434 (IANA Mobile IPv4 numbers).</summary>
public enum MobileIpMessageType : byte
{
    RegistrationRequest = 1,
    RegistrationReply = 3,
    TunnelData = 4,
    RegistrationRevocation = 7,
    RegistrationRevocationAcknowledgement = 15,
    GenericNotification = 22,
    GenericNotificationAcknowledgement = 23,
    Experimental = 255,
}

/// <summary>
/// One Mobile IPv4 message: the payload of a UDP datagram on port 434. Writing a parsed message gives the received
/// octets back, reserved bits and unknown extensions included.
/// </summary>
public abstract record MobileIpMessage
{
    public abstract MobileIpMessageType Type { get; }

    /// <summary>Octets before the extensions.</summary>
    public abstract int FixedLength { get; }

    public MobileIpExtensions Extensions { get; init; } = MobileIpExtensions.None;

    public int Length => FixedLength + Extensions.Length;

    /// <summary>Octets from the start of the message to extension <paramref name="index"/>.</summary>
    public int OffsetOfExtension(int index) => FixedLength + Extensions.LengthBefore(index);

    protected abstract void WriteFixed(Span<byte> destination);

    /// <summary>Writes the message and returns <see cref="Length"/>.</summary>
    /// <exception cref="ArgumentException">The destination is too short.</exception>
    public int Write(Span<byte> destination)
    {
        if (destination.Length < Length)
        {
            throw new ArgumentException("destination is shorter than the message", nameof(destination));
        }

        destination[0] = (byte)Type;
        WriteFixed(destination[..FixedLength]);
        Extensions.Write(destination[FixedLength..]);
        return Length;
    }

    public byte[] ToArray()
    {
        var octets = new byte[Length];
        Write(octets);
        return octets;
    }

    /// <summary>Reads any message. A type without a reading here gives an <see cref="OpaqueMessage"/>.</summary>
    public static bool TryParse(ReadOnlySpan<byte> datagram, [NotNullWhen(true)] out MobileIpMessage? message, out WireError error)
    {
        message = null;
        if (datagram.IsEmpty)
        {
            error = new WireError("Type", 0, "the datagram is empty", "RFC 5944 3.3");
            return false;
        }

        var type = (MobileIpMessageType)datagram[0];
        if (type != MobileIpMessageType.TunnelData && datagram.Length > MobileIpv4Limits.MessageLength)
        {
            error = new WireError("Extensions", MobileIpv4Limits.MessageLength, "message is longer than the limit", "MobileIpv4Limits.MessageLength");
            return false;
        }

        var fixedLength = type switch
        {
            MobileIpMessageType.RegistrationRequest => RegistrationRequest.WireLength,
            MobileIpMessageType.RegistrationReply => RegistrationReply.WireLength,
            MobileIpMessageType.TunnelData => TunnelData.HeaderLength,
            MobileIpMessageType.RegistrationRevocation => RegistrationRevocation.WireLength,
            MobileIpMessageType.RegistrationRevocationAcknowledgement => RegistrationRevocationAcknowledgement.WireLength,
            MobileIpMessageType.GenericNotification or MobileIpMessageType.GenericNotificationAcknowledgement => GenericNotification.WireLength,
            MobileIpMessageType.Experimental when BindingMessage.Claims(datagram) => BindingMessage.WireLength,
            _ => 1,
        };
        if (datagram.Length < fixedLength)
        {
            error = new WireError("Length", datagram.Length, "message is shorter than its fixed part", Clause(type));
            return false;
        }

        MobileIpMessage? parsed = type switch
        {
            MobileIpMessageType.RegistrationRequest => RegistrationRequest.Read(datagram),
            MobileIpMessageType.RegistrationReply => RegistrationReply.Read(datagram),
            MobileIpMessageType.RegistrationRevocation => RegistrationRevocation.Read(datagram),
            MobileIpMessageType.RegistrationRevocationAcknowledgement => RegistrationRevocationAcknowledgement.Read(datagram),
            MobileIpMessageType.GenericNotification => GenericNotification.Read(datagram),
            MobileIpMessageType.GenericNotificationAcknowledgement => GenericNotificationAcknowledgement.Read(datagram),
            MobileIpMessageType.Experimental when fixedLength > 1 => BindingMessage.Read(datagram),
            _ => null,
        };
        if (parsed is null)
        {
            message = type == MobileIpMessageType.TunnelData
                ? new TunnelData(datagram[1], datagram[TunnelData.HeaderLength..]) { Reserved = (ushort)((datagram[2] << 8) | datagram[3]) }
                : new OpaqueMessage(datagram[0], datagram[1..]);
            error = default;
            return true;
        }

        if (!MobileIpExtensions.TryParse(datagram[fixedLength..], fixedLength, ExtensionSpace.Control, out var extensions, out error))
        {
            return false;
        }

        message = parsed with { Extensions = extensions };
        return true;
    }

    /// <summary>Reads a message of one kind.</summary>
    public static bool TryParse<T>(ReadOnlySpan<byte> datagram, [NotNullWhen(true)] out T? message, out WireError error)
        where T : MobileIpMessage
    {
        message = null;
        if (!TryParse(datagram, out MobileIpMessage? any, out error))
        {
            return false;
        }

        message = any as T;
        if (message is null)
        {
            error = new WireError("Type", 0, "a message of another type", "IANA Mobile IPv4 numbers");
        }

        return message is not null;
    }

    private static string Clause(MobileIpMessageType type) => type switch
    {
        MobileIpMessageType.RegistrationRequest => "RFC 5944 3.3",
        MobileIpMessageType.RegistrationReply => "RFC 5944 3.4",
        MobileIpMessageType.TunnelData => "RFC 3519 3.3",
        MobileIpMessageType.RegistrationRevocation => "RFC 3543 3.3",
        MobileIpMessageType.RegistrationRevocationAcknowledgement => "RFC 3543 3.4",
        MobileIpMessageType.GenericNotification => "RFC 6098 4.1",
        MobileIpMessageType.GenericNotificationAcknowledgement => "RFC 6098 4.2",
        _ => "docs/wire-extensions.md 3",
    };
}

/// <summary>A message without a reading here: an unknown type, or somebody else's experiment (RFC 4064 3).</summary>
public sealed record OpaqueMessage(byte MessageType, OctetString Body) : MobileIpMessage
{
    public override MobileIpMessageType Type => (MobileIpMessageType)MessageType;

    public override int FixedLength => 1 + Body.Length;

    protected override void WriteFixed(Span<byte> destination) => Body.Span.CopyTo(destination[1..]);
}
