namespace Sojourn.Wire.Dns;

/// <summary>Bounds of what the DNS codec accepts, and the protocol's fixed numbers.</summary>
public static class DnsLimits
{
    /// <summary>UDP and TCP port servers listen on.</summary>
    public const ushort Port = 53;

    /// <summary>Octets of the header (RFC 1035 4.1.1).</summary>
    public const int Header = 12;

    /// <summary>Octets of a label (RFC 1035 2.3.4).</summary>
    public const int Label = 63;

    /// <summary>Octets of a name with its length octets and the root (RFC 1035 2.3.4).</summary>
    public const int Name = 255;

    /// <summary>Octets of a message: what the length before it on TCP can say, and a UDP datagram can hold.</summary>
    public const int Message = ushort.MaxValue;

    /// <summary>Octets a UDP message may have when nothing else was agreed on (RFC 1035 4.2.1).</summary>
    public const int PlainUdpMessage = 512;

    /// <summary>Questions and records of one message together. Ours; a message of 64 KiB could name almost six thousand.</summary>
    public const int Records = 4096;
}
