using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Sojourn.Engine;
using Sojourn.Host.Configuration;
using Sojourn.Roles.Configuration;
using Sojourn.Storage;
using Xunit;

namespace Sojourn.Host.Tests;

/// <summary>Nodes that need nothing but loopback, driven through their Unix socket and the command line.</summary>
public sealed class ControlApiTests : IDisposable
{
    private readonly ConfigurationMaterial _material = new();

    public void Dispose() => _material.Dispose();

    [Fact]
    public async Task A_node_answers_every_endpoint_with_its_schema()
    {
        await using var node = await Start(Relay(FreePort()));
        var document = JsonDocument.Parse((await Commands.Run("openapi")).Output).RootElement;
        Assert.Equal("3.1.0", document.GetProperty("openapi").GetString());
        var asked = 0;
        foreach (var path in document.GetProperty("paths").EnumerateObject().Where(path => path.Value.TryGetProperty("get", out _)))
        {
            var (status, answer) = await Http(node, HttpMethod.Get, path.Name);
            Assert.Equal(HttpStatusCode.OK, status);
            if (!path.Name.EndsWith("/metrics", StringComparison.Ordinal))
            {
                var root = JsonDocument.Parse(answer).RootElement;
                Assert.Equal($"sojourn/{path.Name["/v1/".Length..]}/1", root.EnumerateObject().First().Value.GetString());
                Assert.Equal("relay", root.GetProperty("node").GetString());
            }

            asked++;
        }

        Assert.True(asked >= 18);
        var (missing, error) = await Http(node, HttpMethod.Get, "/v1/nothing");
        Assert.Equal(HttpStatusCode.NotFound, missing);
        Assert.Equal("sojourn/error/1", JsonDocument.Parse(error).RootElement.GetProperty("schema").GetString());
        (missing, error) = await Http(node, HttpMethod.Delete, "/v1/status");
        Assert.Equal(HttpStatusCode.NotFound, missing);
        Assert.Contains("there is no DELETE /v1/status", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task References_inside_the_OpenAPI_document_resolve()
    {
        var root = JsonDocument.Parse((await Commands.Run("openapi")).Output).RootElement;
        var references = new List<string>();
        Collect(root);
        Assert.NotEmpty(references);
        Assert.All(references, reference =>
        {
            var at = root;
            foreach (var step in reference[2..].Split('/'))
            {
                Assert.True(at.ValueKind == JsonValueKind.Array ? int.TryParse(step, out _) : at.TryGetProperty(step, out _), reference);
                at = at.ValueKind == JsonValueKind.Array ? at[int.Parse(step)] : at.GetProperty(step);
            }
        });

        void Collect(JsonElement element)
        {
            if (element.ValueKind == JsonValueKind.Object)
            {
                foreach (var member in element.EnumerateObject())
                {
                    if (member.Name == "$ref" && member.Value.ValueKind == JsonValueKind.String)
                    {
                        references.Add(member.Value.GetString()!);
                    }

                    Collect(member.Value);
                }
            }
            else if (element.ValueKind == JsonValueKind.Array)
            {
                foreach (var item in element.EnumerateArray())
                {
                    Collect(item);
                }
            }
        }
    }

    [Fact]
    public async Task Only_the_owner_can_open_the_control_socket_and_a_living_node_keeps_it()
    {
        var options = Relay(FreePort());
        await using var node = await Start(options);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(node.SocketPath));

        var other = Relay(FreePort());
        var refusal = await Assert.ThrowsAsync<NodeStartException>(() => NodeHost.StartAsync(other));
        Assert.Contains("another node answers", refusal.Message);
        Assert.Equal(0, (await Commands.Run("status", "--socket", node.SocketPath)).Status);
    }

    [Fact]
    public async Task A_socket_that_a_crashed_node_left_is_taken_over()
    {
        var options = Relay(FreePort());
        Directory.CreateDirectory(options.StateDirectory.FullPath);
        using (var left = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            left.Bind(new UnixDomainSocketEndPoint(options.SocketPath));
        }

        await using var node = await Start(options);
        Assert.Equal(0, (await Commands.Run("status", "--socket", node.SocketPath)).Status);
    }

    [Fact]
    public async Task The_metrics_port_offers_metrics_and_health_and_nothing_else()
    {
        var metrics = FreePort();
        await using var node = await Start(Relay(FreePort(), metrics));
        using var client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{metrics}/") };
        var page = await client.GetStringAsync("metrics");
        Assert.Contains("sojourn_node{node=\"relay\",role=\"diameter-relay\"} 1", page);
        Assert.Contains("sojourn_configured{kind=\"diameter-peer\",name=\"aaaf.visited.example\"} 1", page);
        Assert.Contains("sojourn_up{kind=\"diameter-peer\",name=\"aaaf.visited.example\"} 0", page);
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("health")).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync("v1/status")).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await client.PostAsync("v1/stop", null)).StatusCode);
        Assert.False(node.StopAsked.IsCompleted);
    }

    [Fact]
    public async Task A_dry_run_changes_nothing_a_reload_takes_over_what_it_can_and_an_error_keeps_the_old_configuration()
    {
        var options = Relay(FreePort());
        await using var node = await Start(options);
        var text = await File.ReadAllTextAsync(options.File);
        await File.WriteAllTextAsync(options.File, text.Replace("level: information", "level: debug").Replace("watchdog-interval: 30s", "watchdog-interval: 60s"));

        var dry = await Commands.Run("reload", "--dry-run", "--socket", node.SocketPath);
        Assert.Equal(0, dry.Status);
        Assert.Contains("~ log.level: information -> debug", dry.Output);
        Assert.Contains("~ diameter.watchdog-interval: 30s -> 1m  (waits for a restart)", dry.Output);
        Assert.Contains("would be taken over", dry.Output);
        Assert.Equal(LogThreshold.Information, node.Node.Options.Log.Level);

        var done = await Commands.Run("reload", "--socket", node.SocketPath);
        Assert.Equal(0, done.Status);
        Assert.Contains("taken over", done.Output);
        var status = JsonDocument.Parse((await Commands.Run("status", "--json", "--socket", node.SocketPath)).Output).RootElement;
        Assert.Equal("diameter.watchdog-interval", Assert.Single(status.GetProperty("restartNeededFor").EnumerateArray()).GetString());
        Assert.Contains("nothing changes", (await Commands.Run("reload", "--dry-run", "--socket", node.SocketPath)).Output);

        await File.AppendAllTextAsync(options.File, "\nadress: 1\n");
        var refused = await Commands.Run("reload", "--socket", node.SocketPath);
        Assert.Equal(1, refused.Status);
        Assert.Contains("unknown option 'adress'", refused.Output);
        Assert.Contains("the old configuration stays", refused.Output);

        var events = (await Commands.Run("events", "--event", "node", "--socket", node.SocketPath)).Output;
        Assert.Contains("SJ1004 node.reloaded", events);
        Assert.Contains("SJ1005 node.reload_refused", events);
    }

    [Fact]
    public async Task Explain_names_the_rule_and_what_it_says()
    {
        await using var node = await Start(Relay(FreePort()));
        Assert.Equal(1, (await Commands.Run("explain", "--socket", node.SocketPath)).Status);
        node.Report(new EngineEvent("registration.refused", EventSeverity.Warning, "the contract does not cover 10.98.0.1") { Nai = "alice@home.example", Rule = "M9" });
        node.Report(new EngineEvent("registration.refused", EventSeverity.Warning, "somebody else") { Nai = "bob@home.example", Rule = "NV9.7" });

        var (status, output, _) = await Commands.Run("explain", "--nai", "alice@home.example", "--socket", node.SocketPath);

        Assert.Equal(0, status);
        Assert.Contains("at relay: the contract does not cover 10.98.0.1", output);
        Assert.Contains("rule     M9", output);
        Assert.Contains("only under a contract", output);
        Assert.DoesNotContain("somebody else", output);
    }

    [Fact]
    public async Task Followed_events_arrive_and_end_with_the_node()
    {
        var node = await Start(Relay(FreePort()));
        var following = Commands.Run("events", "--follow", "--json", "--socket", node.SocketPath);
        for (var i = 0; i < 20; i++)
        {
            node.Report(new EngineEvent("registration.accepted", EventSeverity.Information, $"number {i}"));
            await Task.Delay(20);
        }

        await node.DisposeAsync();
        var (status, output, error) = await following.WaitAsync(TimeSpan.FromSeconds(20));
        Assert.True(status == 0, error);
        Assert.Contains("number 19", output);
        Assert.All(output.Split('\n', StringSplitOptions.RemoveEmptyEntries), line => Assert.Equal(JsonValueKind.Object, JsonDocument.Parse(line).RootElement.ValueKind));
    }

    [Fact]
    public async Task Stop_ends_a_node_in_time_and_removes_its_socket()
    {
        var node = await Start(Relay(FreePort()));
        var (status, output, _) = await Commands.Run("stop", "--socket", node.SocketPath);
        Assert.Equal(0, status);
        Assert.Contains("stopping", output);
        await node.StopAsked.WaitAsync(TimeSpan.FromSeconds(5));
        var watch = Stopwatch.StartNew();
        await node.DisposeAsync();
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(5), watch.Elapsed.ToString());
        Assert.False(File.Exists(node.SocketPath));
    }

    [Fact]
    public async Task Commands_say_what_is_wrong_and_how_it_ended()
    {
        var nobody = await Commands.Run("status", "--socket", _material.At("nobody.sock"));
        Assert.Equal(3, nobody.Status);
        Assert.Contains("no node answers at", nobody.Error);

        await using var node = await Start(Relay(FreePort()));
        var vague = await Commands.Run("clear", "session", "--socket", node.SocketPath);
        Assert.Equal(1, vague.Status);
        Assert.Contains("allowed: session, nai, homeAddress, or all: true", vague.Error);
        var nowhere = await Commands.Run("register", "--service-update", "--socket", node.SocketPath);
        Assert.Equal(1, nowhere.Status);
        Assert.Contains("registers nowhere; allowed: a node with role mobile-node", nowhere.Error);
        var stranger = await Commands.Run("clear", "certificate", "mn1.home.example", "--socket", node.SocketPath);
        Assert.Equal(1, stranger.Status);
        Assert.Contains("relay keeps no certificate of mn1.home.example; allowed: an identifier of `certificates`", stranger.Error);
        var nobodyAtAll = await Commands.Run("clear", "certificate", "not a name", "--socket", node.SocketPath);
        Assert.Equal(1, nobodyAtAll.Status);
        Assert.Contains("allowed: a host name or a distinguished name", nobodyAtAll.Error);
        var level = await Commands.Run("events", "--level", "7", "--socket", node.SocketPath);
        Assert.Equal(1, level.Status);
        Assert.Contains("'7' is not a level; allowed: debug", level.Error);
    }

    [Fact]
    [Trait("Row", "NV-A17")]
    [Trait("Row", "NV-A32")]
    [Trait("Row", "M14")]
    public async Task Show_vpn_db_lists_every_field_and_no_key()
    {
        var (options, secrets) = HomeAaa();
        await using var node = await Start(options);

        var shown = await Commands.Run("show", "vpn-db", "--json", "--socket", node.SocketPath);
        var instances = JsonDocument.Parse(shown.Output).RootElement.GetProperty("instances");
        Assert.Equal(2, instances.GetArrayLength());
        Assert.Equal(
            ["profileNumber", "nai", "vpnShare", "destination", "upClass", "downClass", "upSpi", "downSpi", "security", "algorithm", "contractAlgorithm", "contractKeyFingerprint", "route", "trigger", "enabled"],
            instances[0].EnumerateObject().Select(member => member.Name));
        var contract = instances.EnumerateArray().First(instance => instance.GetProperty("profileNumber").GetUInt32() == 8);
        Assert.Equal("0x00002001", contract.GetProperty("upSpi").GetString());
        Assert.Equal(1, contract.GetProperty("vpnShare").GetInt32());
        Assert.Equal("aes128-cbc-hmac-sha256", contract.GetProperty("contractAlgorithm").GetString());
        Assert.Equal(8, contract.GetProperty("contractKeyFingerprint").GetString()!.Length);

        var everything = shown.Output;
        foreach (var table in new[] { "vpn-db", "vpn-cache", "cn-gw", "sessions", "usage", "peers", "config", "paths", "ipsec", "counters", "qos", "routes", "bindings", "visitors" })
        {
            var (status, text, error) = await Commands.Run("show", table, "--socket", node.SocketPath);
            Assert.True(status == 0, table + error);
            everything += text + (await Commands.Run("show", table, "--json", "--socket", node.SocketPath)).Output;
        }

        everything += (await Commands.Run("status", "--json", "--socket", node.SocketPath)).Output + (await Commands.Run("events", "--json", "--socket", node.SocketPath)).Output;
        Assert.Contains("192.168.50.0/24", everything);
        Assert.All(secrets, secret =>
        {
            Assert.DoesNotContain(Convert.ToHexString(secret), everything, StringComparison.OrdinalIgnoreCase);
            Assert.DoesNotContain(Convert.ToBase64String(secret), everything, StringComparison.Ordinal);
        });
    }

    [Fact]
    public async Task A_change_in_the_database_shows_at_once()
    {
        var (options, _) = HomeAaa();
        await using var node = await Start(options);
        using (var database = Database.Open(options.Aaa!.Database!.FullPath))
        {
            new SubscriberStore(database, TimeProvider.System).Put(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.60.0/24"), IPAddress.Parse("10.0.4.2"), GatewayType.Dynamic, "partner"));
        }

        var rows = JsonDocument.Parse((await Commands.Run("show", "cn-gw", "--json", "--socket", node.SocketPath)).Output).RootElement.GetProperty("gateways");
        Assert.Contains(rows.EnumerateArray(), row => row.GetProperty("correspondents").GetString() == "192.168.60.0/24" && row.GetProperty("type").GetString() == "dynamic");
    }

    private static async Task<NodeHost> Start(NodeOptions options) => await NodeHost.StartAsync(options);

    private static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    private static async Task<(HttpStatusCode Status, string Body)> Http(NodeHost node, HttpMethod method, string path)
    {
        using var client = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(node.SocketPath), cancellation);
                return new NetworkStream(socket, ownsSocket: true);
            },
        });
        using var answer = await client.SendAsync(new HttpRequestMessage(method, "http://node" + path));
        return (answer.StatusCode, await answer.Content.ReadAsStringAsync());
    }

    private NodeOptions Relay(int port, int metricsPort = 0) => Read("relay.yaml", $$"""
        node: relay
        role: diameter-relay
        control: { metrics-port: {{metricsPort}} }
        log: { level: information, file: relay.jsonl }
        diameter:
          identity: relay.transit.example
          realm: transit.example
          allow-plain-tcp: true
          watchdog-interval: 30s
          listen: [ { address: 127.0.0.1, port: {{port}} } ]
          peers:
            - { identity: aaaf.visited.example, realm: visited.example }
            - { identity: aaah.home.example, realm: home.example }
        """);

    private (NodeOptions Options, IReadOnlyList<byte[]> Secrets) HomeAaa()
    {
        var wrap = _material.Secret("keys/aaaf", 32);
        var mobile = SystemRandomSource.Instance.NextBytes(32);
        byte[][] keys = [SystemRandomSource.Instance.NextBytes(16), SystemRandomSource.Instance.NextBytes(32), SystemRandomSource.Instance.NextBytes(16), SystemRandomSource.Instance.NextBytes(32)];
        File.Delete(_material.At("subscribers.db"));
        using (var database = Database.Open(_material.At("subscribers.db")))
        {
            var store = new SubscriberStore(database, TimeProvider.System);
            store.PutPartner("visited.example");
            store.Put(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.50.0/24"), IPAddress.Parse("10.0.5.2"), GatewayType.Static, "company"));
            store.Put(new Subscriber("alice@home.example", 0x200, new KeyMaterial(mobile), IPAddress.Parse("10.99.0.10"), "ha.home.example", true));
            store.Put(new VpnInstance { ProfileNumber = 7, Nai = "alice@home.example", UserSpecific = true, Destination = IPNetwork.Parse("192.168.60.0/24"), UpClass = 5, DownClass = 1 });
            store.Put(new VpnInstance
            {
                ProfileNumber = 8,
                Nai = "alice@home.example",
                UserSpecific = true,
                Destination = IPNetwork.Parse("192.168.50.0/24"),
                UpSpi = 0x2001,
                DownSpi = 0x2002,
                ContractAlgorithm = IpsecAlgorithm.Aes128CbcHmacSha256,
                ContractKeys = new ProfileKeying.Contract(
                    new AssociationKeys(new KeyMaterial(keys[0]), new KeyMaterial(keys[1])), new AssociationKeys(new KeyMaterial(keys[2]), new KeyMaterial(keys[3]))),
            });
        }

        var options = Read("aaah.yaml", $$"""
            node: aaah
            role: aaa
            diameter:
              identity: aaah.home.example
              realm: home.example
              allow-plain-tcp: true
              listen: [ { address: 127.0.0.1, port: {{FreePort()}} } ]
              peers: [ { identity: aaaf.visited.example, realm: visited.example } ]
            key-wrap: [ { peer: aaaf.visited.example, key-file: keys/aaaf } ]
            aaa:
              serves: home
              database: subscribers.db
              home-agents: [ { identity: ha.home.example, address: 10.0.3.2, network: 10.99.0.0/24 } ]
            log: { file: aaah.jsonl }
            """);
        return (options, [wrap, mobile, .. keys]);
    }

    private NodeOptions Read(string name, string text)
    {
        var result = ConfigurationReader.ReadFile(_material.Write(name, text));
        Assert.True(result.Node is not null, string.Join('\n', result.Findings));
        return result.Node;
    }
}
