using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Sojourn.Lab.Capture;

namespace Sojourn.Lab.Scenarios;

/// <summary>
/// Somebody on the core who sends every node what means nothing: noise on the Mobile IP port and as IP-in-IP, ESP, AH and
/// ICMP, and noise instead of a TLS handshake at the Diameter port. Nothing may change; every node must have counted it.
/// </summary>
internal sealed class Stranger(int seed)
{
    private static readonly IPAddress Address = IPAddress.Parse("203.0.113.66");
    private readonly Random _random = new(seed);

    /// <summary>Puts frames of noise on the link to a node, as if the core had forwarded them.</summary>
    /// <param name="run">The lab.</param>
    /// <param name="link">Link whose end 1 is the core.</param>
    /// <param name="count">Packets of each protocol.</param>
    /// <returns>How many frames.</returns>
    public int Send(LabRun run, string link, int count)
    {
        var wire = run.Network.Wire(link);
        var model = wire.Recording.Frames().Last(f => f.Sender == 1 && f.Comment is null && Ipv4Packet.Of(f) is not null);
        var node = Ipv4Packet.Of(model)!.Destination;
        var sent = 0;
        foreach (var protocol in (byte[])[17, 50, 51, 4, 1])
        {
            for (var i = 0; i < count; i++)
            {
                wire.Inject(1, [.. model.Data.AsSpan(0, 14), .. Packet(protocol, node)], "noise sent by the scenario");
                sent++;
            }
        }

        return sent;
    }

    /// <summary>Opens TCP connections to a Diameter server and writes noise.</summary>
    public async Task DialAsync(LabRun run, string from, IPEndPoint server, int count, CancellationToken cancellation)
    {
        for (var i = 0; i < count; i++)
        {
            using var socket = run.Network.Namespace(from).Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
            await socket.ConnectAsync(server, cancellation);
            var noise = new byte[_random.Next(1, 400)];
            _random.NextBytes(noise);
            try
            {
                await socket.SendAsync(noise, cancellation);
                socket.Shutdown(SocketShutdown.Send);
                while (await socket.ReceiveAsync(noise, cancellation) > 0)
                {
                    // Whatever it says before it hangs up.
                }
            }
            catch (SocketException)
            {
                // It hung up at once, which is its right.
            }
        }
    }

    private byte[] Packet(byte protocol, IPAddress node)
    {
        var noise = new byte[_random.Next(0, 200)];
        _random.NextBytes(noise);
        var udp = protocol == 17;
        var packet = new byte[20 + (udp ? 8 : 0) + noise.Length];
        packet[0] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(2), (ushort)packet.Length);
        packet[8] = 60;
        packet[9] = protocol;
        Address.TryWriteBytes(packet.AsSpan(12), out _);
        node.TryWriteBytes(packet.AsSpan(16), out _);
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(10), Ipv4Packet.Sum(packet.AsSpan(0, 20)));
        noise.CopyTo(packet, packet.Length - noise.Length);
        if (udp)
        {
            // Without a checksum (RFC 768), as noise has none.
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(20), 4000);
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(22), 434);
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(24), (ushort)(8 + noise.Length));
        }

        return packet;
    }
}
