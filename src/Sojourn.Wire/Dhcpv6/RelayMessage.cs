namespace Sojourn.Wire.Dhcpv6;

/// <summary>
/// View of a message between relay agent and server, or between relay agents (RFC 8415 9). The message inside is octets: it
/// is the next reader's.
/// <code>
/// |    msg-type   |   hop-count   |
/// | link-address (16 octets)
/// | peer-address (16 octets)
/// | options ...
/// </code>
/// </summary>
public readonly ref struct RelayMessage
{
    public const int HeaderLength = 34;

    private RelayMessage(ReadOnlySpan<byte> octets) => Octets = octets;

    public ReadOnlySpan<byte> Octets { get; }

    public Dhcpv6MessageType Type => (Dhcpv6MessageType)Octets[0];

    public byte HopCount => Octets[1];

    /// <summary>16 octets.</summary>
    public ReadOnlySpan<byte> LinkAddress => Octets.Slice(2, 16);

    /// <summary>16 octets.</summary>
    public ReadOnlySpan<byte> PeerAddress => Octets.Slice(18, 16);

    public Dhcpv6Options Options => Dhcpv6Options.Checked(Octets[HeaderLength..]);

    /// <summary>What is relayed.</summary>
    public ReadOnlySpan<byte> Relayed => Options.TryFind(Dhcpv6OptionCode.RelayMessage, out var message) ? message : default;

    /// <summary>Whether octets are a relay message, by their first one.</summary>
    public static bool Is(ReadOnlySpan<byte> octets) => octets.Length > 0 && octets[0] is (byte)Dhcpv6MessageType.RelayForward or (byte)Dhcpv6MessageType.RelayReply;

    /// <summary>Reads relay-forward or relay-reply. The Relay Message option must be there (RFC 8415 9).</summary>
    public static bool TryParse(ReadOnlySpan<byte> octets, out RelayMessage message, out WireError error)
    {
        message = default;
        if (octets.Length < HeaderLength)
        {
            error = new WireError("msg-type", 0, "shorter than the header", "RFC 8415 9");
            return false;
        }

        if (!Is(octets))
        {
            error = new WireError("msg-type", 0, "no relay message", "RFC 8415 7.3");
            return false;
        }

        if (octets[1] > Dhcpv6Limits.HopCount)
        {
            error = new WireError("hop-count", 1, "more relay agents than a message may pass", "RFC 8415 19.1.2");
            return false;
        }

        if (!Dhcpv6Options.Check(octets[HeaderLength..], HeaderLength, OptionPlaces.Relay, 1, out error))
        {
            return false;
        }

        var read = new RelayMessage(octets);
        if (read.Relayed.IsEmpty)
        {
            error = new WireError("Relay Message", HeaderLength, "nothing is relayed", "RFC 8415 9");
            return false;
        }

        message = read;
        return true;
    }
}
