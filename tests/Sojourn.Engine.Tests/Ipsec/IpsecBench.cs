using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>Two gateways A and B, a user's host behind A and a correspondent behind B, in IPv4 or IPv6 inside and outside.</summary>
internal sealed class IpsecBench
{
    public static readonly DateTimeOffset Start = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    private readonly byte[] _outbound = new byte[8192];
    private readonly byte[] _inbound = new byte[8192];

    public IpsecBench(PathTableOptions? options = null, IRandomSource? random = null)
    {
        A = new PathTable(options ?? new PathTableOptions(), random ?? new SeededRandom(1));
        B = new PathTable(options ?? new PathTableOptions(), random ?? new SeededRandom(2));
    }

    public PathTable A { get; }

    public PathTable B { get; }

    public DateTimeOffset Now { get; set; } = Start;

    public static IPAddress Gateway(char name, bool v6) => IPAddress.Parse(v6 ? $"2001:db8:{(name == 'A' ? 1 : 2)}::1" : $"198.51.100.{(name == 'A' ? 1 : 2)}");

    public static IPAddress Host(int number, bool v6) => IPAddress.Parse(v6 ? $"2001:db8:a::{number:x}" : $"192.0.2.{number}");

    public static IPAddress Correspondent(bool v6) => IPAddress.Parse(v6 ? "2001:db8:b::30" : "203.0.113.30");

    public static AssociationKeys Keys(IpsecAlgorithm algorithm, int seed)
    {
        var random = new SeededRandom(seed);
        return new AssociationKeys(
            new KeyMaterial(random.NextBytes(algorithm.EncryptionKeyLength())), new KeyMaterial(random.NextBytes(algorithm.AuthenticationKeyLength())));
    }

    /// <summary>A's path for one host. B's is <see cref="Mirror"/> of it.</summary>
    public static VpnPath Path(
        string owner = "u1", int host = 17, SecurityType type = SecurityType.Esp, IpsecAlgorithm algorithm = IpsecAlgorithm.Aes128Gcm16,
        bool outerV6 = false, bool innerV6 = false, uint spi = 0x1000, int keySeed = 7, bool esn = true, byte? dscp = null,
        UdpEncapsulation? udp = null, PathState state = PathState.Active, bool staticKeys = false, SaLifetime? lifetime = null,
        ulong floor = 0, int window = 1024, string leg = "1/fa-ha")
    {
        SaParameters? Sa(char from, char to, uint number, int seed) => type == SecurityType.EncapsulationOnly ? null : new SaParameters
        {
            Spi = number,
            Source = Gateway(from, outerV6),
            Destination = Gateway(to, outerV6),
            Algorithm = algorithm,
            Keys = Keys(algorithm, seed),
            ExtendedSequence = esn,
            StaticKeys = staticKeys,
            SequenceFloor = floor,
            ReplayWindow = window,
            Lifetime = lifetime ?? SaLifetime.Unlimited,
        };

        return new VpnPath
        {
            Id = new PathId(owner, leg),
            Source = new IPNetwork(Host(host, innerV6), innerV6 ? 128 : 32),
            Destination = new IPNetwork(IPAddress.Parse(innerV6 ? "2001:db8:b::" : "203.0.113.0"), innerV6 ? 64 : 24),
            MarkDscp = dscp,
            SecurityType = type,
            LocalGateway = Gateway('A', outerV6),
            RemoteGateway = Gateway('B', outerV6),
            Udp = udp,
            Outbound = Sa('A', 'B', spi, keySeed),
            Inbound = Sa('B', 'A', spi + 1, keySeed + 1000),
            State = state,
            Origin = new PathOrigin("test", "NV1.12"),
        };
    }

    public void Install(params VpnPath[] paths)
    {
        Assert.Null(A.Change(paths, [], Now).Refusal);
        Assert.Null(B.Change([.. paths.Select(p => p.Mirror())], [], Now).Refusal);
    }

    /// <summary>Every outer packet A makes of one inner packet.</summary>
    public (OutboundResult Result, List<byte[]> Packets) Send(PathTable from, byte[] inner)
    {
        Array.Fill(_outbound, (byte)0xA5);
        var result = from.Outbound(inner, _outbound, Now);
        var packets = new List<byte[]>();
        foreach (var packet in result.Packets(_outbound))
        {
            packets.Add(packet.ToArray());
        }

        Assert.Equal(result.Count, packets.Count);
        return (result, packets);
    }

    public byte[] SendOne(PathTable from, byte[] inner)
    {
        var (result, packets) = Send(from, inner);
        Assert.Equal((OutboundVerdict.Send, 1), (result.Verdict, result.Count));
        return packets[0];
    }

    public (InboundResult Result, byte[] Inner) Receive(PathTable at, byte[] outer)
    {
        Array.Fill(_inbound, (byte)0x5A);
        var result = at.Inbound(outer, _inbound, Now);
        return (result, _inbound.AsSpan(0, result.Length).ToArray());
    }

    public byte[] ReceiveOne(PathTable at, byte[] outer)
    {
        var (result, inner) = Receive(at, outer);
        Assert.Equal((InboundVerdict.Deliver, DropReason.None), (result.Verdict, result.Reason));
        return inner;
    }

    public static byte[] UdpPacket(IPAddress source, IPAddress destination, int payload, byte tos = 0, bool dontFragment = false, int seed = 3)
    {
        var v6 = source.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6;
        var header = v6 ? IPv6Header.Length : IPv4Header.MinimumLength;
        var packet = new byte[header + UdpHeader.HeaderLength + payload];
        new SeededRandom(seed).Fill(packet.AsSpan(header + UdpHeader.HeaderLength));
        UdpHeader.Write(packet.AsSpan(header), 4000, 5000);
        UdpHeader.WriteChecksum(packet.AsSpan(header), source.GetAddressBytes(), destination.GetAddressBytes());
        Wrap(packet, source, destination, IpProtocol.Udp, tos, dontFragment);
        return packet;
    }

    public static byte[] TcpSyn(IPAddress source, IPAddress destination, ushort mss)
    {
        var v6 = source.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6;
        var header = v6 ? IPv6Header.Length : IPv4Header.MinimumLength;
        var packet = new byte[header + 24];
        var segment = packet.AsSpan(header);
        segment[12] = 0x60;
        segment[13] = (byte)TcpFlags.Syn;
        segment[20] = 2;
        segment[21] = 4;
        BinaryPrimitives.WriteUInt16BigEndian(segment[22..], mss);
        var sum = InternetChecksum.PseudoHeader(source.GetAddressBytes(), destination.GetAddressBytes(), IpProtocol.Tcp, segment.Length);
        BinaryPrimitives.WriteUInt16BigEndian(segment[16..], InternetChecksum.Finish(InternetChecksum.Add(sum, segment)));
        Wrap(packet, source, destination, IpProtocol.Tcp, 0, true);
        return packet;
    }

    public byte[] FromHost(int payload = 64, bool v6 = false, int host = 17, byte tos = 0, bool dontFragment = false) =>
        UdpPacket(Host(host, v6), Correspondent(v6), payload, tos, dontFragment);

    public byte[] ToHost(int payload = 64, bool v6 = false, int host = 17, byte tos = 0) =>
        UdpPacket(Correspondent(v6), Host(host, v6), payload, tos);

    public static List<PathSignalled> Signals(PathTable table)
    {
        var signals = new List<PathSignalled>();
        while (table.TryTakeSignal(out var signal))
        {
            signals.Add(signal);
        }

        return signals;
    }

    private static void Wrap(byte[] packet, IPAddress source, IPAddress destination, byte protocol, byte tos, bool dontFragment)
    {
        if (source.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6)
        {
            IPv6Header.Write(packet, tos, 0x12345, packet.Length - IPv6Header.Length, protocol, 60, source.GetAddressBytes(), destination.GetAddressBytes());
        }
        else
        {
            IPv4Header.Write(
                packet, tos, packet.Length, 0x4242, dontFragment ? IPv4Header.DontFragmentFlag : (ushort)0, 60, protocol, source.GetAddressBytes(), destination.GetAddressBytes());
        }
    }
}

/// <summary>Randomness that is the same in every run.</summary>
internal sealed class SeededRandom(int seed) : IRandomSource
{
    private readonly Random _random = new(seed);

    public void Fill(Span<byte> destination) => _random.NextBytes(destination);
}

/// <summary>Randomness that says exactly what the test wants, in order.</summary>
internal sealed class ScriptedRandom(params byte[][] script) : IRandomSource
{
    private readonly Queue<byte[]> _script = new(script);

    public void Fill(Span<byte> destination) => _script.Dequeue().CopyTo(destination);
}
