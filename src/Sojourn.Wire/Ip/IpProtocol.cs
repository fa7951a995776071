namespace Sojourn.Wire.Ip;

/// <summary>Protocol and next-header numbers (IANA protocol-numbers).</summary>
public static class IpProtocol
{
    public const byte HopByHop = 0;
    public const byte Icmp = 1;
    public const byte IPv4 = 4;
    public const byte Tcp = 6;
    public const byte Udp = 17;
    public const byte IPv6 = 41;
    public const byte Routing = 43;
    public const byte Fragment = 44;
    public const byte Esp = 50;
    public const byte Ah = 51;
    public const byte Icmpv6 = 58;
    public const byte NoNextHeader = 59;
    public const byte DestinationOptions = 60;
    public const byte Mobility = 135;
}

/// <summary>Explicit congestion notification codepoints, the low two bits of TOS and traffic class (RFC 3168 5).</summary>
public static class Ecn
{
    public const byte NotCapable = 0;
    public const byte Capable1 = 1;
    public const byte Capable0 = 2;
    public const byte CongestionExperienced = 3;
    public const byte Mask = 3;
}
