using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Sojourn.Roles.Diameter;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;
using Xunit;

namespace Sojourn.Lab.Tests;

[Collection(Alone.Name)]
public sealed class CaptureTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("lab-test").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("esp-tunnel-4in4-aes128gcm16")]
    [InlineData("esp-tunnel-4in4-esn-aes128gcm16")]
    [InlineData("esp-tunnel-4in4-aes128cbc-sha256")]
    [InlineData("esp-tunnel-4in4-null-sha256")]
    [InlineData("esp-tunnel-4in4-chacha20poly1305")]
    [InlineData("esp-udp-tunnel-4in4-aes128gcm16")]
    public void The_judge_opens_what_the_linux_kernel_sealed(string name)
    {
        using var vector = JsonDocument.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Data", name + ".json")));
        var keys = Path.Combine(_folder, "esp_sa");
        File.WriteAllLines(keys, vector.RootElement.GetProperty("sas").EnumerateArray().Select(Line));
        var open = EspKeys.Read([keys]);
        var wrongKeys = new EspKeys(open.All.Select(k => k with { CipherKey = Flip(k.CipherKey), AuthenticationKey = Flip(k.AuthenticationKey) }));
        var opened = 0;
        foreach (var packet in vector.RootElement.GetProperty("packets").EnumerateArray())
        {
            var outer = Ipv4Packet.Parse(Convert.FromHexString(packet.GetProperty("wire_hex").GetString()!))!;
            var inner = open.Open(outer);
            Assert.NotNull(inner);
            Assert.Equal(packet.GetProperty("inner_hex").GetString(), Convert.ToHexStringLower(inner.Octets));
            Assert.Null(wrongKeys.Open(outer));
            var damaged = outer.Octets.ToArray();
            damaged[^20] ^= 1;
            Assert.Null(open.Open(Ipv4Packet.Parse(damaged)!));
            opened++;
        }

        Assert.True(opened >= 10);
    }

    [Fact]
    public async Task Diameter_inside_tls_is_read_from_the_capture_with_the_exported_secrets()
    {
        var scenario = ScenarioDefinition.Read("test", Tree.Parse(
            """
            title: two
            demonstrates: nothing
            nodes: { a: { role: host }, b: { role: host } }
            links: { wire: { kind: core, ends: [ a eth0 10.0.1.1/24, b eth0 10.0.1.2/24 ], delay: 1ms } }
            """, "test"), new ScenarioOptions());
        using var authority = new LabCertificateAuthority("test", TimeSpan.FromHours(1));
        authority.Write(_folder, "a", "a.example");
        authority.Write(_folder, "b", "b.example");
        var request = DiameterDictionary.Default.Request(DiameterCommands.AaMobileNode).Add(AvpKeys.SessionId, "a.example;1;2").Add(AvpKeys.UserName, "alice@home.example").Build();
        var answer = DiameterDictionary.Default.Answer(request, DiameterResult.Success).Build();
        using (var network = new LabNetwork(scenario.Topology, string.Create(CultureInfo.InvariantCulture, $"sjtls-{Environment.ProcessId}"), Path.Combine(_folder)))
        {
            using var listener = network.Namespace("b").Run(() => Listen());
            using var client = network.Namespace("a").Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
            var serving = Task.Run(async () =>
            {
                using var accepted = await listener.AcceptAsync();
                await using var tls = new SslStream(new NetworkStream(accepted));
                await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions { ServerCertificate = Load("b"), ClientCertificateRequired = true, RemoteCertificateValidationCallback = (_, _, _, _) => true });
                await tls.ReadExactlyAsync(new byte[request.Length]);
                await tls.WriteAsync(answer.ToArray());
                await tls.ReadExactlyAsync(new byte[request.Length * 40]);
            });
            await client.ConnectAsync(IPAddress.Parse("10.0.1.2"), 5658);
            await using (var tls = new SslStream(new NetworkStream(client)))
            {
                await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = "b.example", ClientCertificates = [Load("a")], RemoteCertificateValidationCallback = (_, _, _, _) => true });
                await tls.WriteAsync(request.ToArray());
                await tls.ReadExactlyAsync(new byte[answer.Length]);
                await tls.WriteAsync(Enumerable.Repeat(request.ToArray(), 40).SelectMany(o => o).ToArray());
                await serving;
            }

            network.StopRecording();
        }

        var captures = CaptureSet.Read(scenario.Topology, _folder, EspKeys.None, TlsKeys.Read([TlsKeyLog.File]));
        Assert.Equal(["a > b AMR", "b > a AMA"], captures.Signals.Take(2).Select(s => s.ToString()));
        Assert.Equal(42, captures.Signals.Count);
        Assert.Equal("alice@home.example", captures.Signals[0].Diameter!.UserName);
        Assert.Equal(2001u, captures.Signals[1].Diameter!.ResultCode);
        Assert.True(captures.Signals[1].Time > captures.Signals[0].Time + 1_000_000);
        Assert.Empty(CaptureSet.Read(scenario.Topology, _folder, EspKeys.None, new TlsKeys([])).Signals);
    }

    [Fact]
    public void A_ladder_tells_who_sent_what_to_whom_and_who_took_an_intercepted_binding_update()
    {
        var scenario = ScenarioDefinition.Load("network-vpn/4");
        var update = new BindingUpdate
        {
            HomeAddress = IPAddress.Parse("10.99.0.10"),
            CareOfAddress = IPAddress.Parse("10.0.1.2"),
            Supplier = IPAddress.Parse("10.0.3.2"),
            Identification = 1,
            Lifetime = 600,
            Flags = BindingUpdateFlags.AcknowledgementWanted,
        };
        var datagram = Frames.Udp("10.0.3.2", "192.168.60.10", 434, 434, update.ToArray());
        var request = new RegistrationRequest
        {
            HomeAddress = IPAddress.Parse("10.99.0.10"),
            HomeAgent = IPAddress.Parse("10.0.3.2"),
            CareOfAddress = IPAddress.Parse("10.0.1.2"),
            Identification = 5,
            Lifetime = 600,
            Extensions = MobileIpExtensions.Of(new NaiExtension("alice@home.example")),
        };
        CapturedFrame[] frames =
        [
            new("access-alice", 0, 1_000_000, Frames.Udp("10.99.0.10", "10.1.0.1", 434, 434, request.ToArray())),
            new("core-ha", 0, 3_000_000, datagram),
            new("core-pcn", 1, 5_000_000, datagram),
        ];
        var captures = new CaptureSet(scenario.Topology, frames, EspKeys.None, new TlsKeys([]));
        Assert.Equal(["alice > fa1 RRQ", "ha > pcn BU"], captures.Signals.Select(s => s.ToString()));
        Assert.Equal("alice@home.example", captures.Signals[0].MobileIp!.Nai);

        var ladder = Ladder.Of(captures, 0, long.MaxValue, IPAddress.Parse("10.99.0.10"));
        Assert.Equal(["alice", "fa1", "ha", "pcn"], ladder.Nodes);
        Assert.Equal((2.0, "BU", LadderKind.Binding), (ladder.Steps[1].Milliseconds, ladder.Steps[1].Name, ladder.Steps[1].Kind));
        Assert.Contains("192.168.60.10", ladder.Steps[1].Detail, StringComparison.Ordinal);

        var svg = LadderSvg.Draw(ladder, scenario.Topology);
        Assert.Equal(2, svg.Split("marker-end").Length - 1);
        System.Xml.Linq.XDocument.Parse(svg);
        System.Xml.Linq.XDocument.Parse(TopologySvg.Draw(scenario.Topology, [new DrawnTunnel("fa1", "pcn", "ESP")]));
    }

    [Fact]
    public async Task Tshark_as_judge_finds_a_wrong_checksum()
    {
        if (!StrictJudge.IsAvailable)
        {
            return;
        }

        Directory.CreateDirectory(Path.Combine(_folder, "keys"));
        File.WriteAllText(Path.Combine(_folder, "keys", "tls_keys.log"), "");
        var good = Frames.Udp("10.0.3.2", "10.0.1.2", 1000, 2000, [1, 2, 3, 4]);
        var bad = good.ToArray();
        bad[^1] ^= 1;
        foreach (var (name, data) in ((string, byte[])[])[("good", good), ("bad", bad)])
        {
            using var writer = new PcapngWriter(File.Create(Path.Combine(_folder, name + ".pcapng")), ["a", "b"]);
            writer.Write(0, 1_700_000_000_000_000_000, data, PacketDirection.Outbound);
        }

        Assert.Empty(await StrictJudge.FaultsAsync(Path.Combine(_folder, "good.pcapng"), _folder, openEsp: true, null, default));
        Assert.Single(await StrictJudge.FaultsAsync(Path.Combine(_folder, "bad.pcapng"), _folder, openEsp: true, null, default));
        Assert.Empty(await StrictJudge.FaultsAsync(Path.Combine(_folder, "bad.pcapng"), _folder, openEsp: true, "udp.port == 2000", default));
    }

    private static string Line(JsonElement sa)
    {
        var (cipher, key, authentication, authenticationKey) = ("NULL", "", "NULL", "");
        if (sa.TryGetProperty("aead", out var aead))
        {
            cipher = aead.GetProperty("name").GetString()!.Contains("chacha", StringComparison.Ordinal) ? "ChaCha20-Poly1305" : "AES-GCM with 16 octet ICV [RFC4106]";
            key = aead.GetProperty("key").GetString()!;
        }
        else
        {
            (cipher, key) = sa.GetProperty("enc").GetProperty("key").GetString() is { Length: > 0 } aes ? ("AES-CBC [RFC3602]", aes) : ("NULL", "");
            (authentication, authenticationKey) = ("HMAC-SHA-256-128 [RFC4868]", sa.GetProperty("auth").GetProperty("key").GetString()!);
        }

        return $"\"IPv4\",\"{sa.GetProperty("src").GetString()}\",\"{sa.GetProperty("dst").GetString()}\",\"{sa.GetProperty("spi").GetString()}\",\"{cipher}\",\"{(key.Length > 0 ? "0x" + key : "")}\",\"{authentication}\",\"{(authenticationKey.Length > 0 ? "0x" + authenticationKey : "")}\"";
    }

    private static byte[] Flip(byte[] key) => key.Length == 0 ? key : [(byte)(key[0] ^ 1), .. key[1..]];

    private static Socket Listen()
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Parse("10.0.1.2"), 5658));
        socket.Listen();
        return socket;
    }

    private X509Certificate2 Load(string name) => X509Certificate2.CreateFromPemFile(Path.Combine(_folder, name + ".crt"), Path.Combine(_folder, name + ".key"));
}
