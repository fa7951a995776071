using System.Net;
using System.Net.Sockets;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>IPv4 addresses as four octets.</summary>
internal static class AddressOctets
{
    public const int Size = 4;

    public static IPAddress Read(ReadOnlySpan<byte> octets) => new(octets[..Size]);

    public static void Write(Span<byte> destination, IPAddress address) => address.TryWriteBytes(destination, out _);

    /// <summary>Refuses a value that Mobile IPv4 cannot carry; a mistake of the caller, never of a peer.</summary>
    public static IPAddress Require(IPAddress address) => address.AddressFamily == AddressFamily.InterNetwork
        ? address
        : throw new ArgumentException("Mobile IPv4 carries IPv4 addresses only", nameof(address));
}
