using System.Buffers.Binary;
using System.Net;
using System.Text.Json;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Ipsec;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>Packets of the Linux kernel: opened to the inner packet, and made again octet for octet.</summary>
public class LinuxVectorTests
{
    public static TheoryData<string> Tunnels => Named(name => name.Contains("-tunnel-", StringComparison.Ordinal));

    public static TheoryData<string> EspOfAnyMode => Named(name => name.Contains("esp", StringComparison.Ordinal));

    public static TheoryData<string> WholeAgain => Named(name => name.StartsWith("ah-", StringComparison.Ordinal)
        || name.Contains("null", StringComparison.Ordinal) || name.Contains("cbc", StringComparison.Ordinal));

    public static TheoryData<string> Plain => Named(name => name.StartsWith("tun-", StringComparison.Ordinal));

    [Theory]
    [MemberData(nameof(Tunnels))]
    [Trait("Row", "NV9.3")]
    public void A_tunnel_packet_of_the_kernel_opens_to_its_inner_packet(string name)
    {
        var vector = Vector.Load(name);
        var b = new PathTable(new PathTableOptions { ClampTcpMss = false }, new SeededRandom(1));
        Assert.Null(b.Change([vector.PathAt("b->a")], [], IpsecBench.Start).Refusal);
        var a = new PathTable(new PathTableOptions { ClampTcpMss = false }, new SeededRandom(1));
        Assert.Null(a.Change([vector.PathAt("a->b")], [], IpsecBench.Start).Refusal);
        var output = new byte[4096];
        foreach (var packet in vector.Packets)
        {
            var receiver = packet.Direction == "a->b" ? b : a;
            var result = receiver.Inbound(packet.Wire, output, IpsecBench.Start);
            Assert.Equal((InboundVerdict.Deliver, DropReason.None), (result.Verdict, result.Reason));
            Assert.Equal(Convert.ToHexString(packet.Inner), Convert.ToHexString(output.AsSpan(0, result.Length)));

            Assert.Equal(DropReason.Replay, receiver.Inbound(packet.Wire, output, IpsecBench.Start).Reason);
        }
    }

    [Theory]
    [MemberData(nameof(EspOfAnyMode))]
    public void An_esp_packet_of_the_kernel_opens_and_seals_again_to_the_same_octets(string name)
    {
        var vector = Vector.Load(name);
        foreach (var packet in vector.Packets)
        {
            var sa = vector.Sa(packet.Direction);
            using var cipher = PlatformCiphers.Instance.CreateCipher(sa.Algorithm, sa.Keys, sa.ExtendedSequence);
            var esp = EspOf(packet.Wire);
            var plaintext = new byte[esp.Length - EspHeader.Length - cipher.IvLength - cipher.IcvLength];
            Assert.True(cipher.Open(esp, packet.SequenceHigh, plaintext));
            Assert.True(EspTrailer.TryParse(plaintext, out var length, out var nextHeader, out _));
            Assert.Equal(packet.NextHeader, nextHeader);
            var expected = nextHeader is IpProtocol.IPv4 or IpProtocol.IPv6 ? packet.Inner : packet.Inner[IPv6Header.Length..];
            Assert.Equal(Convert.ToHexString(expected), Convert.ToHexString(plaintext.AsSpan(0, length)));

            var again = new byte[esp.Length];
            EspHeader.Write(again, sa.Spi, packet.Sequence);
            esp.AsSpan(EspHeader.Length, cipher.IvLength).CopyTo(again.AsSpan(EspHeader.Length));
            var at = EspHeader.Length + cipher.IvLength;
            expected.CopyTo(again.AsSpan(at));
            EspTrailer.Write(again.AsSpan(at + length), EspTrailer.PaddingFor(length, cipher.Alignment), nextHeader);
            cipher.Seal(again, packet.SequenceHigh);
            Assert.Equal(Convert.ToHexString(esp), Convert.ToHexString(again));
        }
    }

    /// <summary>Without an IV, or with one that randomness gives, the whole outer packet has to come out the same.</summary>
    [Theory]
    [MemberData(nameof(WholeAgain))]
    public void The_path_table_makes_the_kernels_packet_again(string name)
    {
        var vector = Vector.Load(name);
        foreach (var packet in vector.Packets)
        {
            var ivLength = name.Contains("cbc", StringComparison.Ordinal) ? 16 : 0;
            var identification = new byte[4];
            BinaryPrimitives.WriteUInt32BigEndian(identification, (uint)BinaryPrimitives.ReadUInt16BigEndian(packet.Wire.AsSpan(4)) - 1);
            var table = new PathTable(
                new PathTableOptions { RoundAhTo8 = !name.Contains("align4", StringComparison.Ordinal), ClampTcpMss = false },
                new ScriptedRandom(identification, packet.Wire.AsSpan(28, ivLength).ToArray()));
            var path = vector.PathAt(packet.Direction);
            Assert.Null(table.Change([path with { Outbound = path.Outbound! with { SequenceFloor = packet.Sequence - 1 } }], [], IpsecBench.Start).Refusal);

            var output = new byte[4096];
            var result = table.Outbound(packet.Inner, output, IpsecBench.Start);
            Assert.Equal(OutboundVerdict.Send, result.Verdict);
            Assert.Equal(Convert.ToHexString(packet.Wire), Convert.ToHexString(output.AsSpan(result.Offset, result.Length)));
        }
    }

    [Theory]
    [MemberData(nameof(Plain))]
    [Trait("Row", "NV9.3")]
    public void A_plain_tunnel_packet_of_the_kernel_is_taken_from_the_right_gateway_only(string name)
    {
        var vector = Vector.Load(name);
        var a = new PathTable(new PathTableOptions { ClampTcpMss = false }, new SeededRandom(1));
        var b = new PathTable(new PathTableOptions { ClampTcpMss = false }, new SeededRandom(1));
        Assert.Null(a.Change([vector.PathAt("a->b")], [], IpsecBench.Start).Refusal);
        Assert.Null(b.Change([vector.PathAt("b->a")], [], IpsecBench.Start).Refusal);
        var output = new byte[4096];
        foreach (var packet in vector.Packets)
        {
            var result = (packet.Direction == "a->b" ? b : a).Inbound(packet.Wire, output, IpsecBench.Start);
            Assert.Equal(InboundVerdict.Deliver, result.Verdict);
            Assert.Equal(Convert.ToHexString(packet.Inner), Convert.ToHexString(output.AsSpan(0, result.Length)));
            Assert.Equal(DropReason.UnknownGateway, (packet.Direction == "a->b" ? a : b).Inbound(packet.Wire, output, IpsecBench.Start).Reason);
        }
    }

    [Theory]
    [InlineData("mip6-ro-plain", "a->b", IpProtocol.DestinationOptions)]
    [InlineData("mip6-ro-plain", "b->a", IpProtocol.Routing)]
    public void Extension_headers_of_the_kernel_are_walked_to_the_upper_layer(string name, string direction, byte extension)
    {
        foreach (var packet in Vector.Load(name).Packets.Where(packet => packet.Direction == direction))
        {
            Assert.True(IPv6Header.TryParse(packet.Wire, out var header, out _));
            var walk = new IPv6ExtensionWalk(header);
            Assert.True(walk.MoveNext());
            Assert.Equal(extension, walk.Type);
            Assert.False(walk.MoveNext());
            Assert.Null(walk.Error);
            Assert.Equal(packet.Inner[6], walk.UpperProtocol);
            Assert.Equal(packet.Inner[IPv6Header.Length..], packet.Wire[walk.UpperOffset..]);
        }
    }

    private static byte[] EspOf(byte[] wire)
    {
        if (wire[0] >> 4 == 4)
        {
            return wire[9] == IpProtocol.Udp ? wire[28..] : wire[20..];
        }

        Assert.True(IPv6Header.TryParse(wire, out var header, out _));
        Assert.True(IPv6ExtensionWalk.TryFindUpper(header, out var upper));
        Assert.Equal(IpProtocol.Esp, upper.UpperProtocol);
        return wire[upper.UpperOffset..];
    }

    private static TheoryData<string> Named(Func<string, bool> wanted)
    {
        var data = new TheoryData<string>();
        foreach (var file in Directory.EnumerateFiles(Vector.Folder, "*.json").Order(StringComparer.Ordinal))
        {
            var name = Path.GetFileNameWithoutExtension(file);
            if (wanted(name))
            {
                data.Add(name);
            }
        }

        return data;
    }

    private sealed record VectorPacket(string Direction, byte[] Wire, byte[] Inner, uint Sequence, uint SequenceHigh, byte NextHeader);

    private sealed class Vector
    {
        public static readonly string Folder = Path.Combine(AppContext.BaseDirectory, "Ipsec", "Data");
        private readonly JsonElement _root;

        private Vector(JsonElement root)
        {
            _root = root;
            Packets = [.. root.GetProperty("packets").EnumerateArray().Select(Read)];
        }

        public IReadOnlyList<VectorPacket> Packets { get; }

        public static Vector Load(string name) => new(JsonDocument.Parse(File.ReadAllText(Path.Combine(Folder, name + ".json"))).RootElement);

        public SaParameters Sa(string direction)
        {
            var sa = _root.GetProperty("sas").EnumerateArray().First(s => s.GetProperty("direction").GetString() == direction);
            var (algorithm, encryption, authentication) = sa.TryGetProperty("aead", out var aead)
                ? (aead.GetProperty("name").GetString()!, aead.GetProperty("key").GetString()!, "")
                : sa.TryGetProperty("enc", out var enc)
                    ? (enc.GetProperty("name").GetString()!, enc.GetProperty("key").GetString()!, sa.GetProperty("auth").GetProperty("key").GetString()!)
                    : ("ah", "", sa.GetProperty("auth").GetProperty("key").GetString()!);
            return new SaParameters
            {
                Spi = Convert.ToUInt32(sa.GetProperty("spi").GetString(), 16),
                Source = IPAddress.Parse(sa.GetProperty("src").GetString()!),
                Destination = IPAddress.Parse(sa.GetProperty("dst").GetString()!),
                Algorithm = (algorithm, encryption.Length / 2) switch
                {
                    ("rfc4106(gcm(aes))", 20) => IpsecAlgorithm.Aes128Gcm16,
                    ("rfc4106(gcm(aes))", 36) => IpsecAlgorithm.Aes256Gcm16,
                    ("rfc7539esp(chacha20,poly1305)", _) => IpsecAlgorithm.ChaCha20Poly1305,
                    ("cbc(aes)", 16) => IpsecAlgorithm.Aes128CbcHmacSha256,
                    _ => IpsecAlgorithm.HmacSha256,
                },
                Keys = new AssociationKeys(new KeyMaterial(Convert.FromHexString(encryption)), new KeyMaterial(Convert.FromHexString(authentication))),
                ExtendedSequence = sa.GetProperty("esn").GetBoolean(),
            };
        }

        /// <summary>The path of the gateway that sends in <paramref name="direction"/>.</summary>
        public VpnPath PathAt(string direction)
        {
            var outer = _root.GetProperty("addresses").GetProperty("outer");
            var inner = _root.GetProperty("addresses").GetProperty("inner");
            var (local, remote) = direction == "a->b" ? (0, 1) : (1, 0);
            var plain = !_root.TryGetProperty("sas", out _);
            var source = IPAddress.Parse(inner[local].GetString()!);
            var destination = IPAddress.Parse(inner[remote].GetString()!);
            var bits = source.GetAddressBytes().Length * 8;
            return new VpnPath
            {
                Id = new PathId("vector", direction),
                Source = new IPNetwork(source, bits),
                Destination = new IPNetwork(destination, bits),
                SecurityType = plain ? SecurityType.EncapsulationOnly
                    : _root.GetProperty("proto").GetString() == "ah" ? SecurityType.Ah : SecurityType.Esp,
                LocalGateway = IPAddress.Parse(outer[local].GetString()!),
                RemoteGateway = IPAddress.Parse(outer[remote].GetString()!),
                Outbound = plain ? null : Sa(direction),
                Inbound = plain ? null : Sa(direction == "a->b" ? "b->a" : "a->b"),
                Origin = new PathOrigin("test", "NV9.3"),
            };
        }

        private static VectorPacket Read(JsonElement packet)
        {
            var layer = packet.TryGetProperty("layers", out var layers) ? layers[0] : default;
            var secured = layer.ValueKind == JsonValueKind.Object;
            return new VectorPacket(
                packet.GetProperty("direction").GetString()!,
                Convert.FromHexString(packet.GetProperty("wire_hex").GetString()!),
                Convert.FromHexString(packet.GetProperty("inner_hex").GetString()!),
                secured ? layer.GetProperty("seq").GetUInt32() : 0,
                secured ? layer.GetProperty("seq_hi").GetUInt32() : 0,
                secured ? layer.GetProperty("next_header").GetByte() : (byte)0);
        }
    }
}
