using System.CommandLine;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Sojourn.Cli;
using Sojourn.Host;
using Sojourn.Host.Configuration;
using Xunit;

namespace Sojourn.Interop.Tests.Cmp;

/// <summary>Runs only where openssl is installed.</summary>
internal sealed class OpensslFactAttribute : FactAttribute
{
    public OpensslFactAttribute()
    {
        if (!File.Exists("/usr/bin/openssl"))
        {
            Skip = "openssl is not installed";
        }
    }
}

/// <summary>A ca node as an operator makes one, in a folder of its own, and <c>openssl</c> beside it.</summary>
internal sealed class AuthorityNode : IAsyncDisposable
{
    private NodeHost? _host;

    private AuthorityNode(string folder, int port)
    {
        Folder = folder;
        Port = port;
    }

    public string Folder { get; }

    public int Port { get; }

    public string Server => $"127.0.0.1:{Port}/.well-known/cmp";

    public static async Task<AuthorityNode> StartAsync(string options = "")
    {
        var node = new AuthorityNode(Directory.CreateTempSubdirectory("sojourn-ca-").FullName, FreePort());
        await node.Ca("init", "--name", "CN=Home CA,O=Home");
        await File.WriteAllTextAsync(node.At("ca.pem"), await node.Ca("export"));
        await File.WriteAllTextAsync(node.At("ca.yaml"), $$"""
            node: ca1
            role: ca
            log: { level: debug, file: node.jsonl }
            ca:
              database: ca.db
              listen: [ 127.0.0.1:{{node.Port}} ]
              public-uri: http://127.0.0.1:{{node.Port}}
            {{options}}
            """);
        await node.RunAsync();
        return node;
    }

    public static int FreePort()
    {
        using var free = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        free.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)free.LocalEndPoint!).Port;
    }

    /// <summary>An authority that certified itself, the asker dr1 and a node that is no asker, and takes queries.</summary>
    /// <param name="withReceiver">Whether dr1 wants withdrawals, at <see cref="ReceiverPort"/>.</param>
    public static async Task<AuthorityNode> StartWithQueriesAsync(int port, bool withReceiver)
    {
        var node = await StartAsync();
        foreach (var name in new[] { "ca", "dr1", "other" })
        {
            await node.AddAsync($"{name}.home.example", "--kind", "node", "--address", "127.0.0.1");
            await node.EnrolAsync(name, $"{name}.home.example");
        }

        await node.StopAsync();
        node.ReceiverPort = FreePort();
        var receiver = withReceiver ? $", withdrawal-uri: https://127.0.0.1:{node.ReceiverPort}/v1/withdrawal" : "";
        await File.AppendAllTextAsync(node.At("ca.yaml"), $$"""

              queries:
                listen: [ 127.0.0.1:{{port}} ]
                tls: { certificate-file: ca.crt, key-file: ca.key, ca-file: ca.pem }
                askers: [ { name: dr1.home.example{{receiver}} } ]
            """);
        await node.RunAsync();
        return node;
    }

    public int ReceiverPort { get; private set; }

    public string At(string name) => Path.Combine(Folder, name);

    /// <summary>Starts the node, or starts it again.</summary>
    public async Task RunAsync()
    {
        var read = ConfigurationReader.ReadFile(At("ca.yaml"));
        Assert.True(read.Node is not null, string.Join('\n', read.Findings));
        _host = await NodeHost.StartAsync(read.Node!);
    }

    /// <summary>Starts the node as a process of its own, which the caller ends.</summary>
    public async Task<Process> RunApartAsync()
    {
        var process = Process.Start(new ProcessStartInfo("dotnet", ["exec", Path.Combine(AppContext.BaseDirectory, "sojourn.dll"), "run", "--config", At("ca.yaml")]) { WorkingDirectory = Folder })!;
        for (var i = 0; i < 600; i++)
        {
            try
            {
                using var probe = new TcpClient();
                await probe.ConnectAsync(IPAddress.Loopback, Port);
                return process;
            }
            catch (SocketException)
            {
                await Task.Delay(100);
            }
        }

        process.Kill();
        throw new TimeoutException("the node does not listen");
    }

    public async Task StopAsync()
    {
        if (_host is not null)
        {
            await _host.DisposeAsync();
            _host = null;
        }
    }

    /// <summary><c>sojourn ca …</c>; fails the test unless it ends with 0.</summary>
    public async Task<string> Ca(params string[] arguments)
    {
        var (status, output) = await TryCa(arguments);
        Assert.True(status == 0, output);
        return output;
    }

    public async Task<(int Status, string Output)> TryCa(params string[] arguments)
    {
        var output = new StringWriter();
        var status = await CommandLine.Create().Parse(["ca", .. arguments, "--database", At("ca.db")]).InvokeAsync(new InvocationConfiguration { Output = output, Error = output });
        return (status, output.ToString());
    }

    /// <summary>Adds a terminal with a secret in <c>NAME.secret</c> and a P-256 key in <c>NAME.key</c>; NAME is the first label.</summary>
    public async Task<string> AddAsync(string identifier, params string[] options)
    {
        var name = identifier.Split('.')[0].Replace("=", "-", StringComparison.Ordinal).Split(',')[0].Replace(' ', '-');
        await Ca(["identifier", "add", identifier, .. options]);
        await Ca("secret", identifier, "--reference", name, "--out", At(name + ".secret"));
        await KeyAsync(name);
        return name;
    }

    public async Task KeyAsync(string name, params string[] options)
    {
        var (status, output) = await OpensslAsync(["genpkey", .. options.Length > 0 ? options : ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "-out", At(name + ".key")]);
        Assert.True(status == 0, output);
    }

    /// <summary><c>openssl cmp</c> with a secret.</summary>
    public Task<(int Status, string Output)> CmpBySecret(string name, string command, params string[] options) => OpensslAsync(
        ["cmp", "-config", "", "-server", Server, "-cmd", command, "-ref", name, "-secret", $"file:{At(name + ".secret")}", "-unprotected_errors", .. options]);

    /// <summary><c>openssl cmp</c> with a certificate and its key.</summary>
    public Task<(int Status, string Output)> CmpByCertificate(string name, string command, params string[] options) => OpensslAsync(
        ["cmp", "-config", "", "-server", Server, "-cmd", command, "-cert", At(name + ".crt"), "-key", At(name + ".key"), "-trusted", At("ca.pem"), "-unprotected_errors", .. options]);

    /// <summary>Enrols and confirms; the certificate is in <c>NAME.crt</c>.</summary>
    public async Task EnrolAsync(string name, string identifier)
    {
        var (status, output) = await CmpBySecret(name, "ir", "-subject", $"/CN={identifier}", "-newkey", At(name + ".key"), "-certout", At(name + ".crt"));
        Assert.True(status == 0, output);
    }

    public async Task<(int Status, string Output)> OpensslAsync(params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("/usr/bin/openssl", arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true, WorkingDirectory = Folder })!;
        process.StandardInput.Close();
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        await process.WaitForExitAsync(limit.Token);
        return (process.ExitCode, await output + await error);
    }

    public async Task<string> SerialOf(string name)
    {
        var (_, output) = await OpensslAsync("x509", "-in", At(name + ".crt"), "-noout", "-serial");
        return output.Trim().Split('=')[1].ToLowerInvariant();
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        Directory.Delete(Folder, recursive: true);
    }
}
