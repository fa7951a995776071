using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.Gateway;
using Sojourn.Engine.Ikev2;
using Sojourn.Host.Configuration;
using Sojourn.Lab;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Sojourn.Lab.VirtualMachine;
using Sojourn.Roles.Hosting;
using Xunit;

namespace Sojourn.Interop.Tests.Ikev2;

/// <summary>What the company's gateway is.</summary>
internal enum CompanyPeer : byte
{
    /// <summary>strongSwan's charon, with ESP in user space.</summary>
    Charon,

    /// <summary>The same with a Linux kernel in a virtual machine.</summary>
    LinuxKernel,

    /// <summary>Another node of ours.</summary>
    Ours,
}

/// <summary>
/// A node of ours, from its configuration file, and strongSwan as the company's gateway; hosts that know nothing behind both:
/// <code>host 10.99.0.10 -- own 10.0.3.2 ==core== 10.0.5.2 charon -- 192.168.50.10 company</code>
/// </summary>
internal sealed class CompanyGateway : IAsyncDisposable
{
    public static readonly IPAddress Host = IPAddress.Parse("10.99.0.10"), Company = IPAddress.Parse("192.168.50.10"), CharonAddress = IPAddress.Parse("10.0.5.2"), CharonSecond = IPAddress.Parse("10.0.5.3"), Elsewhere = IPAddress.Parse("10.0.6.2");

    private const string Topology =
        """
        title: a company whose gateway is strongSwan
        demonstrates: nothing
        nodes:
          host: { role: host, routes: [ default via 10.99.0.1 ] }
          own: { role: router }
          charon: { role: router }
          company: { role: host, routes: [ default via 192.168.50.1 ] }
        links:
          home: { kind: home, ends: [ host eth0 10.99.0.10/24, own lan0 10.99.0.1/24 ] }
          core: { kind: core, ends: [ own up0 10.0.3.2/16, charon up0 10.0.5.2/16 ] }
          lan: { kind: company, ends: [ charon lan0 192.168.50.1/24, company eth0 192.168.50.10/24 ] }
        """;

    /// <summary>The company's gateway is at one of two links, each of 10 ms; which, <see cref="Reattach"/> says.</summary>
    private const string TwoLinks =
        """
        title: a company whose gateway moves
        demonstrates: nothing
        nodes:
          host: { role: host, routes: [ default via 10.99.0.1 ] }
          own: { role: router }
          charon: { role: router }
          company: { role: host, routes: [ default via 192.168.50.1 ] }
        links:
          home: { kind: home, ends: [ host eth0 10.99.0.10/24, own lan0 10.99.0.1/24 ] }
          core: { kind: core, ends: [ own up0 10.0.3.2/24, charon up0 ], delay: 10ms }
          other: { kind: core, ends: [ own up1 10.0.4.2/24, charon up1 ], delay: 10ms }
          lan: { kind: company, ends: [ charon lan0 192.168.50.1/24, company eth0 192.168.50.10/24 ] }
        """;

    private static readonly IPAddress s_own = IPAddress.Parse("10.0.3.2");
    private static int s_number;
    private readonly string _folder;
    private readonly List<EngineEvent> _reports = [];

    private readonly Charon? _charon;
    private readonly CharonMachine? _machine;
    private readonly RunningNode? _other;

    /// <param name="charon">Neither of both when the company's gateway is another node of ours.</param>
    private CompanyGateway(LabNetwork network, Charon? charon, CharonMachine? machine, string folder)
    {
        (Network, _charon, _machine, _folder) = (network, charon, machine, folder);
        Node = StartNode("own", "own");
        _other = charon is null && machine is null ? StartNode("company", "charon") : null;
    }

    public LabNetwork Network { get; }

    public Charon Charon => _charon ?? throw new InvalidOperationException("the company's gateway is not this");

    public CharonMachine Machine => _machine ?? throw new InvalidOperationException("the company's gateway is not this");

    public RunningNode Node { get; }

    private KeyedGateway Engine => (KeyedGateway)Node.Role.Engine;

    /// <param name="certificates">Of ECDSA keys, instead of a pre-shared key.</param>
    /// <param name="own">Further options of our section <c>key-exchange</c>.</param>
    /// <param name="connection">Further options of charon's connection.</param>
    /// <param name="child">Further options of charon's child.</param>
    /// <param name="remoteProof">How charon proves itself, when that is another way than ours.</param>
    /// <param name="theirCertificate">charon's, when it is not a good one.</param>
    /// <param name="kind">Of both certificates.</param>
    /// <param name="twoLinks">The company's gateway can move.</param>
    /// <param name="peer">What the company's gateway is. Another node of ours begins, with a pre-shared key.</param>
    /// <param name="inUdp">Both ends pretend a NAT; without it there is ESP as such, which charon has only with a kernel.</param>
    public static async Task<CompanyGateway> StartAsync(
        bool certificates, string start, string own = "", string connection = "", string child = "", string daemon = "", string remoteProof = "", Func<StrongSwan.Authority, (X509Certificate2 Certificate, string KeyPem)>? theirCertificate = null,
        IkeAuthenticationKind kind = IkeAuthenticationKind.EcdsaP256, bool twoLinks = false, CompanyPeer peer = CompanyPeer.Charon, bool inUdp = true)
    {
        var folder = Directory.CreateTempSubdirectory("sojourn-company-").FullName;
        var secret = RandomNumberGenerator.GetHexString(64, lowercase: true);
        await WriteSecretAsync(Path.Combine(folder, "psk"), secret);
        var authority = new StrongSwan.Authority();
        var theirs = theirCertificate?.Invoke(authority) ?? authority.Issue(StrongSwan.PeerName, kind);
        var owned = authority.Issue(StrongSwan.OwnName, kind);
        await File.WriteAllTextAsync(Path.Combine(Charon.FolderOf(folder, "x509ca"), "ca.pem"), authority.Root.ExportCertificatePem());
        await File.WriteAllTextAsync(Path.Combine(Charon.FolderOf(folder, "x509"), "peer.pem"), theirs.Certificate.ExportCertificatePem());
        await File.WriteAllTextAsync(Path.Combine(Charon.FolderOf(folder, "private"), "peer.pem"), theirs.KeyPem);
        await File.WriteAllTextAsync(Path.Combine(folder, "own.pem"), owned.Certificate.ExportCertificatePem());
        await File.WriteAllTextAsync(Path.Combine(folder, "ca.pem"), authority.Root.ExportCertificatePem());
        await WriteSecretAsync(Path.Combine(folder, "own.key"), owned.KeyPem);
        await File.WriteAllTextAsync(Path.Combine(folder, "own.yaml"),
            $$"""
            node: own
            role: gateway
            state-directory: state
            key-export: { esp: keys/esp_sa, ike: keys/ikev2_decryption_table }
            gateway: { type: static, address: 10.0.3.2, serves: [ 10.99.0.0/24 ] }
            key-exchange:
              - name: company
                peer: 10.0.5.2
                local-identity: {{StrongSwan.OwnName}}
                peer-identity: {{StrongSwan.PeerName}}
                {{(certificates ? "certificate-file: own.pem\n    private-key-file: own.key\n    ca-file: ca.pem" : "pre-shared-key-file: psk")}}
                local-networks: [ 10.99.0.0/24 ]
                peer-networks: [ 192.168.50.0/24 ]
                start: {{start}}
                udp-encapsulation: {{(inUdp ? "true" : "false")}}
                {{own}}
            standing-tunnels:
              - { name: company, association: company, source: 10.99.0.0/24, destination: 192.168.50.0/24 }
            """);
        await File.WriteAllTextAsync(Path.Combine(folder, "company.yaml"),
            $$"""
            node: company
            role: gateway
            state-directory: company-state
            gateway: { type: static, address: 10.0.5.2, serves: [ 192.168.50.0/24 ] }
            key-exchange:
              - name: home
                peer: 10.0.3.2
                local-identity: {{StrongSwan.PeerName}}
                peer-identity: {{StrongSwan.OwnName}}
                pre-shared-key-file: psk
                local-networks: [ 192.168.50.0/24 ]
                peer-networks: [ 10.99.0.0/24 ]
            standing-tunnels:
              - { name: home, association: home, source: 192.168.50.0/24, destination: 10.99.0.0/24 }
            """);
        var auth = remoteProof.Length > 0 ? remoteProof : certificates ? "pubkey" : "psk";
        var connections =
            $$"""
            connections {
              own {
                local_addrs = {{CharonAddress}}, {{CharonSecond}}, {{Elsewhere}}
                remote_addrs = 10.0.3.2
                encap = {{(inUdp ? "yes" : "no")}}
                {{connection}}
                local {
                  auth = {{auth}}
                  id = {{StrongSwan.PeerName}}
                  {{(auth == "pubkey" ? "certs = peer.pem" : "")}}
                }
                remote {
                  auth = {{auth}}
                  id = {{StrongSwan.OwnName}}
                }
                children {
                  net {
                    local_ts = 192.168.50.0/24
                    remote_ts = 10.99.0.0/24
                    {{child}}
                  }
                }
              }
            }
            secrets {
              ike-own {
                id = {{StrongSwan.OwnName}}
                secret = 0x{{secret}}
              }
            }
            """;
        var network = new LabNetwork(
            ScenarioDefinition.Read("company-gateway", Tree.Parse(twoLinks ? TwoLinks : Topology, "company-gateway"), new ScenarioOptions()).Topology,
            string.Create(CultureInfo.InvariantCulture, $"sjco-{Environment.ProcessId}-{Interlocked.Increment(ref s_number)}"), Directory.CreateDirectory(Path.Combine(folder, "captures")).FullName);
        Charon? charon = null;
        CharonMachine? machine = null;
        try
        {
            if (twoLinks)
            {
                network.Namespace("own").Run(() =>
                {
                    using var route = new Rtnetlink();
                    route.AddRoute(new Route { Destination = new IPNetwork(CharonAddress, 32), Interface = "up0" });
                    route.AddRoute(new Route { Destination = new IPNetwork(Elsewhere, 32), Interface = "up1" });
                });
                Attach(network, CharonAddress);
            }

            if (peer == CompanyPeer.LinuxKernel)
            {
                machine = await CharonMachine.StartAsync(network.Namespace("charon"), ["up0", "lan0"], folder, connections);
                await machine.Machine.ConfigureAsync([(CharonAddress, 16), (IPAddress.Parse("192.168.50.1"), 24)], [(IPNetwork.Parse("10.99.0.0/24"), s_own)], CancellationToken.None);
                await machine.BeginAsync();
            }

            charon = peer != CompanyPeer.Charon ? null : await Charon.StartAsync(network.Namespace("charon").Name, folder, connections, daemon);
            return new CompanyGateway(network, charon, machine, folder);
        }
        catch
        {
            if (charon is not null)
            {
                await charon.DisposeAsync();
            }

            if (machine is not null)
            {
                await machine.DisposeAsync();
            }

            network.Dispose();
            throw;
        }
    }

    /// <summary>The company's gateway leaves its link, whose cable is pulled, and is at the other at once, with another address.</summary>
    public void Reattach(IPAddress address)
    {
        var old = address.Equals(Elsewhere) ? "core" : "other";
        Network.Wire(old).Cut = true;
        Network.Wire(old == "core" ? "other" : "core").Cut = false;
        Attach(Network, address);
    }

    /// <summary>Tells the company's gateway, which is ours, that it has another address.</summary>
    public async Task MoveOtherAsync(IPAddress address)
    {
        var other = _other ?? throw new InvalidOperationException("the company's gateway is not ours");
        var engine = (KeyedGateway)other.Role.Engine;
        other.Post(new ChangeLocalAddress(await other.Engine.Query(() => engine.IkeSas.Single().Id), address));
    }

    public Task<IReadOnlyList<IkeSaView>> IkeSasAsync() => Node.Engine.Query<IReadOnlyList<IkeSaView>>(() => [.. Engine.IkeSas]);

    public Task<IReadOnlyList<ChildSa>> ChildSasAsync() => Node.Engine.Query<IReadOnlyList<ChildSa>>(() => [.. Engine.ChildSas]);

    public Task<IReadOnlyList<VpnPath>> PathsAsync() => Node.Engine.Query<IReadOnlyList<VpnPath>>(() => [.. Node.Role.Vpn!.Paths]);

    public async Task UntilAsync(Func<Task<bool>> condition, string what, int seconds = 20)
    {
        for (var end = DateTime.UtcNow + TimeSpan.FromSeconds(seconds); !await condition(); await Task.Delay(50))
        {
            if (DateTime.UtcNow >= end)
            {
                Assert.Fail($"{what}\n{Reports()}\n{string.Join('\n', await PathsAsync())}\n{_charon?.Log()}{(_machine is null ? "" : await _machine.LogAsync())}");
            }
        }
    }

    /// <summary>Waits for a path that carries packets under keys other than those given.</summary>
    public Task CarriesAsync(SaParameters? other = null) => UntilAsync(async () => (await PathsAsync()).Any(p => p.State == PathState.Active && p.Outbound != other), "no path carries packets");

    /// <summary>
    /// Pings between the hosts, 10 ms apart, and counts the replies that reach the sender's link within two seconds: ping itself waits for the last one
    /// only twice as long as for those before, which a busy machine does not keep.
    /// </summary>
    public async Task<(int Received, string Output)> PingAsync(string from, IPAddress to, int count, int size = 56)
    {
        var recording = Network.Wire(from == "host" ? "home" : "lan").Recording;
        var first = recording.Count;
        var result = await LabCommand.RunAsync(
            LabCommand.Inside(Network.Namespace(from).Name, ["ping", "-n", "-i", "0.01", "-W", "2", "-c", count.ToString(CultureInfo.InvariantCulture), "-s", size.ToString(CultureInfo.InvariantCulture), to.ToString()]),
            CancellationToken.None, TimeSpan.FromSeconds(60));
        int Replies() => recording.Frames(first).Count(f => Ipv4Packet.Of(f) is { IcmpType: 0 } reply && reply.Source.Equals(to));
        await LabRun.UntilAsync(() => Task.FromResult(Replies() >= count), TimeSpan.FromSeconds(2), CancellationToken.None);
        return (Replies(), result.Output + result.Errors + "\n" + Reports() + "\n" + _charon?.Log());
    }

    /// <summary>Frames between the gateways so far.</summary>
    public int CoreFrames => Network.Wire("core").Recording.Count;

    /// <summary>Packets between the gateways, from that frame on.</summary>
    public IReadOnlyList<Ipv4Packet> OnCore(int from = 0) => [.. Network.Wire("core").Recording.Frames(from).Select(Ipv4Packet.Of).OfType<Ipv4Packet>()];

    /// <summary>tshark opens everything on the core with our exported keys and finds nothing wrong.</summary>
    public async Task JudgeAsync()
    {
        Assert.True(StrictJudge.IsAvailable);
        Network.StopRecording();
        var capture = Path.Combine(_folder, "captures", "core.pcapng");
        Assert.Empty(await StrictJudge.FaultsAsync(capture, _folder, openEsp: true, except: null, CancellationToken.None));
        Assert.True(await StrictJudge.CountAsync(capture, _folder, "isakmp.typepayload == 39", CancellationToken.None) >= 2, "tshark opens no AUTH payload");
        Assert.True(await StrictJudge.CountAsync(capture, _folder, "esp && icmp", CancellationToken.None) >= 2, "tshark opens no ping");
    }

    public string Reports()
    {
        lock (_reports)
        {
            return string.Join('\n', _reports.Select(r => $"{r.Kind}: {r.Text}"));
        }
    }

    public async ValueTask DisposeAsync()
    {
        Node.Dispose();
        _other?.Dispose();
        if (_charon is not null)
        {
            await _charon.DisposeAsync();
        }

        if (_machine is not null)
        {
            await _machine.DisposeAsync();
        }

        Network.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>Address and way to our gateway at one link, none at the other.</summary>
    private static void Attach(LabNetwork network, IPAddress address) => network.Namespace("charon").Run(() =>
    {
        var (link, left, was) = address.Equals(Elsewhere) ? ("up1", "up0", CharonAddress) : ("up0", "up1", Elsewhere);
        using var route = new Rtnetlink();
        route.AddAddress(link, address, 24);
        route.ReplaceRoute(new Route { Destination = new IPNetwork(s_own, 32), Interface = link, PreferredSource = address });
        if (route.Addresses().Any(a => a.Interface == left && a.Address.Equals(was)))
        {
            route.RemoveAddress(left, was, 24);
        }
    });

    private RunningNode StartNode(string file, string node)
    {
        var read = ConfigurationReader.ReadFile(Path.Combine(_folder, file + ".yaml"));
        Assert.True(read.Node is not null, string.Join('\n', read.Findings));
        return Network.Namespace(node).Run(() =>
        {
            var running = new RunningNode(read.Node!, new NodeServices { Report = Keep });
            running.Start();
            return running;
        });
    }

    private void Keep(EngineEvent report)
    {
        lock (_reports)
        {
            _reports.Add(report);
        }
    }

    private static async Task WriteSecretAsync(string path, string text)
    {
        await File.WriteAllTextAsync(path, text);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }
}
