using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Nodes;

namespace Sojourn.Lab.Browsing;

/// <summary>
/// A headless Chromium, driven by chromedriver over the WebDriver protocol (W3C), with a profile directory of its own. A name
/// nobody maps is not resolved, so it reaches nothing but what it is sent to.
/// </summary>
public sealed class Chromium : IAsyncDisposable
{
    private const string Driver = "/usr/bin/chromedriver";
    private const string Program = "/usr/bin/chromium";
    private const string ElementKey = "element-6066-11e4-a52e-4f735466cecf";
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly DirectoryInfo _profile = Directory.CreateTempSubdirectory("sojourn-chromium-");
    private readonly NetworkNamespace? _space;
    private readonly Process _driver;
    private readonly HttpClient _http;
    private string _session = "";

    private Chromium(NetworkNamespace? space)
    {
        _space = space;
        var port = FreePort();
        string[] command = [Driver, string.Create(CultureInfo.InvariantCulture, $"--port={port}"), "--allowed-ips=127.0.0.1", "--silent"];
        _driver = LabCommand.Start(space is null ? command : LabCommand.Inside(space.Name, command), redirect: true);
        _driver.BeginOutputReadLine();
        _driver.BeginErrorReadLine();
        _http = new HttpClient(new SocketsHttpHandler { ConnectCallback = (_, cancellation) => ConnectAsync(space, new IPEndPoint(IPAddress.Loopback, port), cancellation) })
        {
            BaseAddress = new Uri(string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{port}/")),
            Timeout = TimeSpan.FromMinutes(2),
        };
    }

    /// <summary>Null when both programs are installed, else what is missing.</summary>
    public static string? Missing => File.Exists(Driver) && File.Exists(Program) ? null : "chromium and chromium-driver are not installed";

    /// <summary>The driver's process; the browser's are its children.</summary>
    public int ProcessId => _driver.Id;

    /// <param name="space">Namespace of the computer it runs on; null = this one.</param>
    /// <param name="hosts">Names it can resolve, beside literal addresses of its own loopback.</param>
    /// <exception cref="JsonException">The driver says why the browser cannot be opened.</exception>
    public static async Task<Chromium> StartAsync(NetworkNamespace? space = null, params (string Name, IPAddress Address)[] hosts)
    {
        var chromium = new Chromium(space);
        try
        {
            await chromium.OpenAsync(hosts);
            return chromium;
        }
        catch
        {
            await chromium.DisposeAsync();
            throw;
        }
    }

    public Task Go(Uri address) => Send(HttpMethod.Post, "url", new JsonObject { ["url"] = address.ToString() });

    public async Task<string> Text(string selector) => (await Send(HttpMethod.Get, $"element/{await Find(selector)}/text"))!.GetValue<string>();

    public async Task Type(string selector, string text)
    {
        var element = await Find(selector);
        await Send(HttpMethod.Post, $"element/{element}/clear", []);
        await Send(HttpMethod.Post, $"element/{element}/value", new JsonObject { ["text"] = text });
    }

    public async Task Click(string selector) => await Send(HttpMethod.Post, $"element/{await Find(selector)}/click", []);

    /// <summary>Clicks on what leads to another page and returns once that one has been read to its end, so that nothing is taken from the old one.</summary>
    public async Task Follow(string selector)
    {
        await Script("window.isLeft = true");
        await Click(selector);
        var watch = Stopwatch.StartNew();
        while ((await Script("return !window.isLeft && document.readyState == 'complete'"))?.GetValue<bool>() != true)
        {
            if (watch.Elapsed > s_patience)
            {
                throw new TimeoutException($"{selector} led nowhere within {s_patience.TotalSeconds:0} s");
            }

            await Task.Delay(20);
        }
    }

    public async Task<byte[]> Screenshot() => Convert.FromBase64String((await Send(HttpMethod.Get, "screenshot"))!.GetValue<string>());

    /// <summary>Begins to download a file as a click on a link does. The browser writes it under another name in the same folder until it is whole.</summary>
    /// <param name="address">Where it is.</param>
    /// <param name="folder">Where to keep it.</param>
    /// <param name="rate">Octets per second at most.</param>
    public async Task Download(Uri address, string folder, int rate)
    {
        await Command("Browser.setDownloadBehavior", new JsonObject { ["behavior"] = "allow", ["downloadPath"] = folder });
        await Command("Network.emulateNetworkConditions", new JsonObject { ["offline"] = false, ["latency"] = 0, ["downloadThroughput"] = rate, ["uploadThroughput"] = -1 });
        await Script($"window.location = {JsonValue.Create(address.ToString()).ToJsonString()}");
    }

    /// <summary>What the browser complained about, such as something the content security policy forbids.</summary>
    public async Task<string> Complaints() => (await Send(HttpMethod.Post, "se/log", new JsonObject { ["type"] = "browser" }))!.ToJsonString();

    public async ValueTask DisposeAsync()
    {
        try
        {
            if (_session.Length > 0)
            {
                using var answer = await _http.DeleteAsync($"session/{_session}");
            }
        }
        catch (HttpRequestException)
        {
            // The driver is gone; its browser goes with the process below.
        }

        _http.Dispose();
        _driver.Kill(entireProcessTree: true);
        await _driver.WaitForExitAsync();
        _driver.Dispose();
        for (var attempt = 0; ; attempt++)
        {
            try
            {
                _profile.Delete(recursive: true);
                return;
            }
            catch (IOException) when (attempt < 50)
            {
                await Task.Delay(100);
            }
        }
    }

    /// <summary>A TCP connection from a namespace.</summary>
    internal static async ValueTask<Stream> ConnectAsync(NetworkNamespace? space, IPEndPoint to, CancellationToken cancellation)
    {
        Socket Create() => new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        var socket = space is null ? Create() : space.Run(Create);
        try
        {
            await socket.ConnectAsync(to, cancellation);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private int FreePort()
    {
        int Find()
        {
            using var free = new TcpListener(IPAddress.Loopback, 0);
            free.Start();
            return ((IPEndPoint)free.LocalEndpoint).Port;
        }

        return _space is null ? Find() : _space.Run(Find);
    }

    private async Task OpenAsync((string Name, IPAddress Address)[] hosts)
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                using var ready = await _http.GetAsync("status");
                break;
            }
            catch (HttpRequestException) when (watch.Elapsed < TimeSpan.FromSeconds(30))
            {
                await Task.Delay(50);
            }
        }

        string[] arguments =
        [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1100,900", $"--user-data-dir={_profile.FullName}",
            $"--host-resolver-rules={string.Join(", ", hosts.Select(h => $"MAP {h.Name} {h.Address}").Append("MAP * ~NOTFOUND").Append("EXCLUDE 127.0.0.1"))}",
        ];
        var answer = await Post("session", new JsonObject
        {
            ["capabilities"] = new JsonObject
            {
                ["alwaysMatch"] = new JsonObject
                {
                    ["browserName"] = "chrome",
                    ["acceptInsecureCerts"] = true,
                    ["goog:loggingPrefs"] = new JsonObject { ["browser"] = "ALL" },
                    ["goog:chromeOptions"] = new JsonObject { ["binary"] = Program, ["args"] = new JsonArray([.. arguments.Select(a => (JsonNode)a)]) },
                },
            },
        });
        _session = answer!["sessionId"]!.GetValue<string>();
        await Send(HttpMethod.Post, "timeouts", new JsonObject { ["implicit"] = (int)s_patience.TotalMilliseconds });
    }

    private async Task<string> Find(string selector) =>
        (await Send(HttpMethod.Post, "element", new JsonObject { ["using"] = "css selector", ["value"] = selector }))![ElementKey]!.GetValue<string>();

    private Task<JsonNode?> Send(HttpMethod method, string command, JsonObject? body = null) =>
        method == HttpMethod.Get ? Get($"session/{_session}/{command}") : Post($"session/{_session}/{command}", body!);

    private Task<JsonNode?> Script(string text) => Send(HttpMethod.Post, "execute/sync", new JsonObject { ["script"] = text, ["args"] = new JsonArray() });

    /// <summary>A command of the DevTools protocol.</summary>
    private Task<JsonNode?> Command(string name, JsonObject parameters) => Send(HttpMethod.Post, "goog/cdp/execute", new JsonObject { ["cmd"] = name, ["params"] = parameters });

    private async Task<JsonNode?> Get(string path)
    {
        using var answer = await _http.GetAsync(path);
        return await Value(answer);
    }

    private async Task<JsonNode?> Post(string path, JsonObject body)
    {
        // With a length: the driver closes the connection on a chunked body.
        using var content = new StringContent(body.ToJsonString(), Encoding.UTF8, "application/json");
        using var answer = await _http.PostAsync(path, content);
        return await Value(answer);
    }

    private static async Task<JsonNode?> Value(HttpResponseMessage answer)
    {
        var value = (await answer.Content.ReadFromJsonAsync<JsonObject>())!["value"];
        return answer.IsSuccessStatusCode ? value : throw new JsonException($"{value?["error"]}: {value?["message"]}");
    }
}
