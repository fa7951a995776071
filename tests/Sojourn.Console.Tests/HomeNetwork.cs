using System.CommandLine;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Sojourn.Cli;
using Sojourn.Engine;
using Sojourn.Host;
using Sojourn.Host.Configuration;
using Sojourn.Roles.Diameter;
using Sojourn.Storage;
using Sojourn.Storage.Customers;

namespace Sojourn.WebConsole.Tests;

/// <summary>
/// A home AAA server's node with its web console, made from a configuration file as an operator would, with two
/// subscribers. Time can be moved.
/// </summary>
internal sealed class HomeNetwork : IAsyncDisposable
{
    public const string Alice = "alice@home.example";
    public const string Bob = "bob@home.example";
    public const string AlicePassword = "correct horse battery";
    public const string BobPassword = "another fine password";

    private static readonly string AliceHash = CustomerPassword.Hash(AlicePassword);
    private static readonly string BobHash = CustomerPassword.Hash(BobPassword);

    private readonly DirectoryInfo _directory;
    private NodeHost _host = null!;

    private HomeNetwork(DirectoryInfo directory) => _directory = directory;

    public int Port { get; private set; }

    public Uri Address => new($"https://127.0.0.1:{Port}");

    public MovedTime Time { get; } = new();

    public string Socket => At("state/control.sock");

    public string Log => File.ReadAllText(At("node.jsonl"));

    public NodeHost Host => _host;

    public string At(string name) => Path.Combine(_directory.FullName, name);

    public static async Task<HomeNetwork> StartAsync()
    {
        var network = new HomeNetwork(Directory.CreateTempSubdirectory("sojourn-console-"));
        network.Provision();
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                network.Port = FreePort();
                var read = ConfigurationReader.ReadFile(network.Configuration());
                network._host = await NodeHost.StartAsync(read.Node ?? throw new InvalidOperationException(string.Join('\n', read.Findings)), network.Time);
                return network;
            }
            catch (NodeStartException) when (attempt < 5)
            {
                // Somebody took the free port in between.
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _host.DisposeAsync();
        _directory.Delete(recursive: true);
    }

    /// <summary>What the AAA server reads at the next AMR (ISubscriberDirectory), through a connection of its own.</summary>
    public VpnInstance Profile(uint number) => Store(store => store.VpnInstances().Single(p => p.ProfileNumber == number));

    public IReadOnlyList<AuditEntry> Audit() => Store(store => store.Audit(100));

    public T Store<T>(Func<SubscriberStore, T> ask)
    {
        using var database = Database.Open(At("subscribers.db"));
        return ask(new SubscriberStore(database, TimeProvider.System, "cli:test"));
    }

    public static async Task<(int Status, string Output, string Error)> Run(params string[] arguments)
    {
        var (output, error) = (new StringWriter(), new StringWriter());
        var status = await CommandLine.Create().Parse(arguments).InvokeAsync(new InvocationConfiguration { Output = output, Error = error });
        return (status, output.ToString(), error.ToString());
    }

    private void Provision() => Store(store =>
    {
        foreach (var (nai, hash) in new[] { (Alice, AliceHash), (Bob, BobHash), ("carol@home.example", null) })
        {
            store.Put(new Subscriber(nai, 0x200, new KeyMaterial(RandomNumberGenerator.GetBytes(32)), null, null, true));
            store.SetPasswordHash(nai, hash);
        }

        store.Put(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.50.0/24"), IPAddress.Parse("10.0.5.2"), GatewayType.Static, "Company"));
        store.Put(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.51.0/24"), IPAddress.Parse("10.0.7.2"), GatewayType.Static, "Another company"));
        store.Put(new CorrespondentGatewayRow(IPNetwork.Parse("10.4.0.0/24"), IPAddress.Parse("10.0.4.2"), GatewayType.Dynamic, "Partner network"));
        store.Put(new CorrespondentGatewayRow(IPNetwork.Parse("10.6.0.0/24"), IPAddress.Parse("10.0.6.2"), GatewayType.Dynamic, "Second partner"));
        store.PutAllowance(Alice, new CustomerAllowance([IPNetwork.Parse("192.168.50.0/24"), IPNetwork.Parse("10.4.0.0/24"), IPNetwork.Parse("10.6.0.10/32")], [SecurityType.Esp, SecurityType.Ah], 3));
        store.Put(new VpnInstance { ProfileNumber = 1, Nai = Alice, UserSpecific = true, Destination = IPNetwork.Parse("10.4.0.0/24") });
        store.Put(new VpnInstance { ProfileNumber = 2, Nai = Alice, UserSpecific = true, Destination = IPNetwork.Parse("192.168.50.0/24"), Route = RoutePreference.ViaHome, UpClass = 5 });
        store.Put(new VpnInstance { ProfileNumber = 3, Nai = Bob, UserSpecific = true, Destination = IPNetwork.Parse("10.4.0.0/24") });
        return 0;
    });

    private string Configuration()
    {
        Directory.CreateDirectory(At("tls"));
        Directory.CreateDirectory(At("keys"));
        using (var authority = new LabCertificateAuthority("Test authority", TimeSpan.FromDays(1)))
        {
            authority.WriteAuthority(At("tls"));
            authority.Write(At("tls"), "aaah", "aaah.home.example");
            authority.Write(At("tls"), "console", "localhost");
        }

        File.WriteAllText(At("keys/ha"), Convert.ToHexString(RandomNumberGenerator.GetBytes(32)));
        File.SetUnixFileMode(At("keys/ha"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
        File.WriteAllText(At("node.yaml"), $$"""
            node: aaah
            role: aaa
            log: { level: debug, file: node.jsonl }
            aaa:
              serves: home
              database: subscribers.db
              home-agents: [ { identity: ha.home.example, address: 127.0.0.3, network: 10.99.0.0/24 } ]
            console:
              port: {{Port}}
              certificate-file: tls/console.crt
              key-file: tls/console.key
            key-wrap: [ { peer: ha.home.example, key-file: keys/ha } ]
            diameter:
              identity: aaah.home.example
              realm: home.example
              tls: { certificate-file: tls/aaah.crt, key-file: tls/aaah.key, ca-file: tls/ca.crt }
              listen: [ { address: 127.0.0.1, port: {{FreePort()}} } ]
              peers: [ { identity: ha.home.example, realm: home.example } ]
            """);
        return At("node.yaml");
    }

    private static int FreePort()
    {
        using var free = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        free.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)free.LocalEndPoint!).Port;
    }
}

/// <summary>Stands still until a test moves it, however slow the machine is.</summary>
internal sealed class MovedTime : TimeProvider
{
    private readonly DateTimeOffset _start = DateTimeOffset.UtcNow;
    private long _ahead;

    public void Move(TimeSpan by) => Interlocked.Add(ref _ahead, by.Ticks);

    public override DateTimeOffset GetUtcNow() => _start + TimeSpan.FromTicks(Interlocked.Read(ref _ahead));
}
