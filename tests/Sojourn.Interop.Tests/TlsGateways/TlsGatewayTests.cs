using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Host.Configuration;
using Sojourn.Roles.Diameter;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Ip;
using Xunit;
using RunningNode = Sojourn.Roles.Hosting.RunningNode;

namespace Sojourn.Interop.Tests.TlsGateways;

/// <summary>
/// openssl s_client at a tls-gateway node, and a kernel that knows nothing behind it. Outside, gateway and inner network are network
/// namespaces; needs root.
/// </summary>
public sealed class TlsGatewayTests : IDisposable
{
    private const string Gateway = "2001:db8:9::1", Home1 = "2001:db8:a:1::71", Home2 = "2001:db8:a:1::72", Correspondent = "2001:db8:6::2", Elsewhere = "2001:db8:9::5";
    private const byte EchoRequest = 128, EchoReply = 129;

    private static int s_next;

    private readonly string _folder = Directory.CreateTempSubdirectory("sojourn-tlsgw-").FullName;
    private readonly NetworkNamespace _gateway, _outside, _inside;
    private readonly ConcurrentQueue<EngineEvent> _events = new();
    private readonly ConcurrentDictionary<string, long> _counters = new();
    private readonly List<Process> _processes = [];
    private RunningNode _node;

    public TlsGatewayTests()
    {
        var number = Interlocked.Increment(ref s_next);
        _gateway = NetworkNamespace.Create($"sjtg{Environment.ProcessId}-{number}-gw");
        _outside = NetworkNamespace.Create($"sjtg{Environment.ProcessId}-{number}-mn");
        _inside = NetworkNamespace.Create($"sjtg{Environment.ProcessId}-{number}-cn");
        using (var route = Rtnetlink.Open(_gateway))
        {
            route.CreateVeth("up0", "eth0", null, _outside);
            route.CreateVeth("in0", "eth0", null, _inside);
            Address(route, "up0", Gateway);
            Address(route, "in0", "2001:db8:6::1");
        }

        using (var route = Rtnetlink.Open(_outside))
        {
            Address(route, "eth0", Elsewhere);
        }

        using (var route = Rtnetlink.Open(_inside))
        {
            Address(route, "eth0", Correspondent);
            route.AddRoute(new Route { Destination = new IPNetwork(IPAddress.IPv6Any, 0), Gateway = IPAddress.Parse("2001:db8:6::1"), Interface = "eth0" });
        }

        using (var authority = new LabCertificateAuthority("Home CA", TimeSpan.FromDays(1)))
        {
            authority.WriteAuthority(_folder);
            foreach (var name in new[] { "gw", "mn1", "mn2", "mn9" })
            {
                authority.Write(_folder, name, name + ".home.example");
            }
        }

        using (var other = new LabCertificateAuthority("Another CA", TimeSpan.FromDays(1)))
        {
            other.Write(_folder, "false", "mn1.home.example");
        }

        File.WriteAllText(At("gw.yaml"), $$"""
            node: gw
            role: tls-gateway
            state-directory: state
            tls-gateway:
              listen: [ "[{{Gateway}}]:4433" ]
              tls: { certificate-file: gw.crt, key-file: gw.key, ca-file: ca.crt }
              inner-networks: [ "2001:db8:6::/48" ]
              inner-links: [ in0 ]
              terminals:
                - { name: mn1.home.example, addresses: [ "{{Home1}}/128" ] }
                - { name: mn2.home.example, addresses: [ "{{Home2}}/128" ] }
            """);
        _node = Start();
    }

    public void Dispose()
    {
        foreach (var process in _processes)
        {
            if (!process.HasExited)
            {
                process.Kill();
                process.WaitForExit();
            }

            process.Dispose();
        }

        _node.Dispose();
        foreach (var space in new[] { _gateway, _outside, _inside })
        {
            space.Dispose();
            NetworkNamespace.Delete(space.Name);
        }

        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    [Trait("Row", "TM-P24")]
    [Trait("Row", "TM-R107")]
    public async Task What_s_client_sends_in_its_session_reaches_the_inner_network_and_the_answer_comes_back_in_it()
    {
        var client = Client("mn1");
        var session = await SessionAsync("mn1.home.example");
        Assert.Equal((Home1, Elsewhere, "established"), ($"{session.HomeAddress}", $"{session.CareOfAddress}", session.State));

        await SendAsync(client, Echo(Home1, Correspondent, 1));
        var answer = await ReceiveAsync(client);
        Assert.True(IPv6Header.TryParse(answer, out var header, out _));
        Assert.Equal((Correspondent, Home1, EchoReply), ($"{header.SourceAddress}", $"{header.DestinationAddress}", header.Payload[0]));
        Assert.Equal(1, BinaryPrimitives.ReadUInt16BigEndian(header.Payload[6..]));

        // One packet in pieces, two in one.
        var frame = Frame(Echo(Home1, Correspondent, 2));
        await client.StandardInput.BaseStream.WriteAsync(frame.AsMemory(0, 33));
        await client.StandardInput.BaseStream.FlushAsync();
        await Task.Delay(50);
        await SendAsync(client, [.. frame[33..], .. Frame(Echo(Home1, Correspondent, 3)), .. Frame(Echo(Home1, Correspondent, 4))], framed: true);
        Assert.Equal((2, 3, 4), (Number(await ReceiveAsync(client)), Number(await ReceiveAsync(client)), Number(await ReceiveAsync(client))));

        client.Kill();
        await UntilAsync(async () => (await Sessions()).Count == 0);
        Assert.False(await PingAsync(_inside, Home1));
    }

    [Fact]
    [Trait("Row", "TM-R107")]
    public async Task Nobody_sends_from_the_address_of_another_or_out_of_the_inner_network()
    {
        var (first, second) = (Client("mn1"), Client("mn2"));
        await SessionAsync("mn1.home.example");
        await SessionAsync("mn2.home.example");
        await SendAsync(first, Echo(Home2, Correspondent, 1));
        await SendAsync(first, Echo(Home1, Elsewhere, 2));
        await SendAsync(first, Echo(Home1, Correspondent, 3));
        Assert.Equal(3, Number(await ReceiveAsync(first)));
        var counters = _node.Role.PacketCounters;
        Assert.Equal((1, 1, 1), (counters["tls.carrier.foreign_source"], counters["tls.carrier.foreign_destination"], counters["tls.carrier.forwarded"]));

        // The answer to nobody's request went to nobody: what comes to the second terminal first is its own.
        await SendAsync(second, Echo(Home2, Correspondent, 9));
        Assert.Equal(9, Number(await ReceiveAsync(second)));

        // What is no stream of packets ends that session alone.
        await SendAsync(first, [0, 3, 1, 2, 3], framed: true);
        await UntilAsync(async () => (await Sessions()).Count == 1);
        Assert.Contains(_events, e => e.Kind == "tls.session.down" && e.Nai == "mn1.home.example" && e.Text.Contains("no stream of packets", StringComparison.Ordinal));
    }

    /// <summary>The client's certificate comes last in TLS 1.3: the platform's server closes behind the handshake without an alert where it is not taken.</summary>
    [Theory]
    [Trait("Row", "TM-S9")]
    [InlineData("TLS 1.2", "mn1", "protocol version", "-tls1_2")]
    [InlineData("no certificate", null, "certificate required|unexpected eof")]
    [InlineData("certificate of another authority", "false", "unknown ca|bad certificate|unexpected eof")]
    public async Task Without_TLS_1_3_and_a_certificate_of_the_authorities_nobody_gets_past_the_handshake(string what, string? certificate, string alert, params string[] options)
    {
        var client = Client(certificate, options);
        var error = client.StandardError.ReadToEndAsync();
        await SendAsync(client, Echo(Home1, Correspondent, 1), mayFail: true);
        await client.WaitForExitAsync(new CancellationTokenSource(TimeSpan.FromSeconds(20)).Token);
        Assert.True(alert.Split('|').Any((await error).Contains), $"{what}: {await error}");
        await UntilAsync(() => Task.FromResult(_counters.ContainsKey("tls.handshake.failed")));
        Assert.Contains(_events, e => e.Kind == "tls.handshake.failed");
        Assert.Empty(await Sessions());
        Assert.Equal(0, _node.Role.PacketCounters["tls.carrier.forwarded"]);
    }

    [Fact]
    public async Task A_genuine_certificate_that_is_not_listed_is_let_go_behind_the_handshake()
    {
        var client = Client("mn9");
        await SendAsync(client, Echo(Home1, Correspondent, 1), mayFail: true);
        await client.WaitForExitAsync(new CancellationTokenSource(TimeSpan.FromSeconds(20)).Token);
        Assert.Contains(_events, e => e.Kind == "tls.session.refused" && e.Nai == "mn9.home.example");
        Assert.Equal(0, _node.Role.PacketCounters["tls.carrier.forwarded"]);
    }

    [Fact]
    public async Task A_session_is_resumed_by_its_ticket_and_takes_the_place_of_the_former()
    {
        var former = Client("mn1");
        await SessionAsync("mn1.home.example");
        Assert.Contains("New, TLSv1.3", await TalkAsync("mn1", "-sess_out", At("ticket")));
        Assert.Contains("Reused, TLSv1.3", await TalkAsync("mn1", "-sess_in", At("ticket")));
        Assert.Equal(3, _events.Count(e => e.Kind == "tls.session.up" && e.Nai == "mn1.home.example"));
        await former.WaitForExitAsync(new CancellationTokenSource(TimeSpan.FromSeconds(20)).Token);
    }

    [Fact]
    [Trait("Row", "TM-R107")]
    public async Task While_a_terminal_has_no_session_its_packets_take_no_other_way()
    {
        using var far = Rtnetlink.Open(_outside);
        far.AddAddress("eth0", IPAddress.Parse(Home1), 128, detectDuplicates: false);
        using var route = Rtnetlink.Open(_gateway);
        route.AddRoute(new Route { Destination = IPNetwork.Parse(Home1 + "/128"), Interface = "up0" });

        // The gateway itself reaches the address, as it would by the home agent; what comes from the inner network does not.
        Assert.True(await PingAsync(_gateway, Home1));
        Assert.False(await PingAsync(_inside, Home1));
        Assert.True(_node.Role.PacketCounters["tls.carrier.no_session"] > 0);

        // Nor when the gateway has gone.
        _node.Dispose();
        route.LookUp(IPAddress.Parse(Home1));
        using (_ = _gateway.Run(() => Process.Start("sysctl", ["-q", "-w", "net.ipv6.conf.all.forwarding=1"])))
        {
        }

        await Task.Delay(300);
        Assert.True(await PingAsync(_gateway, Home1));
        Assert.False(await PingAsync(_inside, Home1));
        _node = Start();
    }

    private static void Address(Rtnetlink route, string link, string address)
    {
        route.AddAddress(link, IPAddress.Parse(address), 64, detectDuplicates: false);
        route.SetUp(link);
    }

    private static byte[] Echo(string source, string destination, ushort number)
    {
        var (from, to) = (IPAddress.Parse(source), IPAddress.Parse(destination));
        byte[] message = [EchoRequest, 0, 0, 0, 0x47, 0x11, (byte)(number >> 8), (byte)number, .. "ping through TLS"u8];
        var packet = new byte[IPv6Header.Length + message.Length];
        BinaryPrimitives.WriteUInt16BigEndian(message.AsSpan(2), Icmpv6Checksum(message, from, to));
        IPv6Header.Write(packet, 0, 0, message.Length, IpProtocol.Icmpv6, 64, from.GetAddressBytes(), to.GetAddressBytes());
        message.CopyTo(packet, IPv6Header.Length);
        return packet;
    }

    /// <summary>RFC 4443 2.3, written out here: the codec under test computes its own.</summary>
    private static ushort Icmpv6Checksum(byte[] message, IPAddress source, IPAddress destination)
    {
        byte[] covered = [.. source.GetAddressBytes(), .. destination.GetAddressBytes(), 0, 0, (byte)(message.Length >> 8), (byte)message.Length, 0, 0, 0, 58, .. message];
        var sum = 0;
        for (var i = 0; i < covered.Length; i += 2)
        {
            sum += (covered[i] << 8) | (i + 1 < covered.Length ? covered[i + 1] : 0);
        }

        while (sum > 0xFFFF)
        {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }

        return (ushort)~sum;
    }

    private static byte[] Frame(byte[] packet) => [(byte)(packet.Length >> 8), (byte)packet.Length, .. packet];

    private static int Number(byte[] packet) => BinaryPrimitives.ReadUInt16BigEndian(packet.AsSpan(IPv6Header.Length + 6));

    private static async Task SendAsync(Process client, byte[] octets, bool framed = false, bool mayFail = false)
    {
        try
        {
            await client.StandardInput.BaseStream.WriteAsync(framed ? octets : Frame(octets));
            await client.StandardInput.BaseStream.FlushAsync();
        }
        catch (IOException) when (mayFail)
        {
            // s_client has ended already.
        }
    }

    private static async Task<byte[]> ReceiveAsync(Process client)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        var length = new byte[2];
        await client.StandardOutput.BaseStream.ReadExactlyAsync(length, limit.Token);
        var packet = new byte[BinaryPrimitives.ReadUInt16BigEndian(length)];
        await client.StandardOutput.BaseStream.ReadExactlyAsync(packet, limit.Token);
        return packet;
    }

    private static async Task UntilAsync(Func<Task<bool>> holds) => await Dhcpv6.DelegationRig.Until(holds, "it does not come to that", 20);

    private static Task<bool> PingAsync(NetworkNamespace space, string address) => Task.Run(() => space.Run(() =>
    {
        using var ping = Process.Start(new ProcessStartInfo("ping", ["-6", "-c", "2", "-i", "0.2", "-W", "1", address]) { RedirectStandardOutput = true })!;
        ping.WaitForExit();
        return ping.ExitCode == 0;
    }));

    private string At(string name) => Path.Combine(_folder, name);

    private Task<IReadOnlyList<SessionRow>> Sessions() => _node.Engine.Query(_node.Role.Sessions);

    private async Task<SessionRow> SessionAsync(string name)
    {
        await UntilAsync(async () => (await Sessions()).Any(s => s.Nai == name));
        return (await Sessions()).Single(s => s.Nai == name);
    }

    private RunningNode Start()
    {
        var read = ConfigurationReader.ReadFile(At("gw.yaml"));
        Assert.True(read.Node is not null, string.Join('\n', read.Findings));
        return _gateway.Run(() =>
        {
            var made = new RunningNode(read.Node, new NodeServices { Report = _events.Enqueue, Count = (name, amount) => _counters.AddOrUpdate(name, amount, (_, had) => had + amount) });
            made.Start();
            return made;
        });
    }

    /// <summary>A connection that carries octets as they are.</summary>
    private Process Client(string? certificate, params string[] options) => OpenSsl(certificate, ["-quiet", "-ign_eof", .. options]);

    /// <summary>A connection of a second, and what s_client says about it.</summary>
    private async Task<string> TalkAsync(string certificate, params string[] options)
    {
        var client = OpenSsl(certificate, options);
        var output = client.StandardOutput.ReadToEndAsync();
        await Task.Delay(1000);
        await client.StandardInput.WriteAsync("Q\n");
        await client.StandardInput.FlushAsync();
        await client.WaitForExitAsync(new CancellationTokenSource(TimeSpan.FromSeconds(20)).Token);
        return await output;
    }

    private Process OpenSsl(string? certificate, string[] options)
    {
        string[] own = certificate is null ? [] : ["-cert", At(certificate + ".crt"), "-key", At(certificate + ".key")];
        var process = _outside.Run(() => Process.Start(new ProcessStartInfo(
            "openssl", ["s_client", "-connect", $"[{Gateway}]:4433", "-CAfile", At("ca.crt"), "-verify_return_error", "-verify_hostname", "gw.home.example", .. own, .. options])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!);
        _processes.Add(process);
        return process;
    }
}
