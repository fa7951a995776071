using System.Net;

namespace Sojourn.Lab.Capture;

/// <summary>How a packet seen on a link was protected there.</summary>
public enum SeenProtection
{
    /// <summary>As a host sent it.</summary>
    None,
    Encapsulation,
    Ah,
    Esp,
}

/// <summary>One packet on one link, opened as far as the keys go.</summary>
/// <param name="Frame">The frame.</param>
/// <param name="SenderNode">Node at the end that sent it onto this link.</param>
/// <param name="ReceiverNode">Node at the other end.</param>
/// <param name="Packet">Outermost IP packet.</param>
public sealed record Sighting(CapturedFrame Frame, string SenderNode, string ReceiverNode, Ipv4Packet Packet)
{
    public SeenProtection Protection { get; init; }

    /// <summary>SPI of ESP or AH.</summary>
    public uint? Spi { get; init; }

    /// <summary>Sequence number of ESP or AH.</summary>
    public uint? Sequence { get; init; }

    /// <summary>The packet inside a tunnel, when it could be read; for ESP that means its ICV was right.</summary>
    public Ipv4Packet? Inner { get; init; }

    /// <summary>The packet a host sent: what is inside, or the packet itself when nothing is around it.</summary>
    public Ipv4Packet? Host => Protection == SeenProtection.None ? Packet : Inner;

    public string Link => Frame.Link;

    public long Time => Frame.Time;

    public bool Between(IPAddress source, IPAddress destination) => Packet.Source.Equals(source) && Packet.Destination.Equals(destination);
}
