using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Sojourn.Engine.Diameter;
using Sojourn.Roles.Diameter;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Interop.Tests.Diameter;

/// <summary>Runs only where the files exist that a Debian package brings.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class PackagedFactAttribute : FactAttribute
{
    public PackagedFactAttribute(string packages, params string[] files)
    {
        if (Array.Find(files, f => !File.Exists(f)) is { } missing)
        {
            Skip = $"{missing} is not there: install {packages}";
        }
    }
}

/// <summary>A folder with an authority and certificates, removed at the end.</summary>
internal sealed class Credentials : IDisposable
{
    private readonly LabCertificateAuthority _authority = new("interop", TimeSpan.FromDays(1));

    public Credentials()
    {
        Folder = Directory.CreateTempSubdirectory("sojourn-diameter-").FullName;
        _authority.WriteAuthority(Folder);
    }

    public string Folder { get; }

    public string Authority => Path.Combine(Folder, "ca.crt");

    /// <summary>Certificate files named after the first label of the identity.</summary>
    public TlsCredentials Issue(string identity, string? named = null)
    {
        var (certificate, key) = _authority.Write(Folder, identity.Split('.')[0], named ?? identity);
        return TlsCredentials.FromPemFiles(certificate, key, Authority);
    }

    public void Dispose()
    {
        _authority.Dispose();
        Directory.Delete(Folder, recursive: true);
    }
}

/// <summary>A program of somebody else; what it prints is kept, and it ends with the test.</summary>
internal sealed class Stranger : IAsyncDisposable
{
    private readonly Process _process;

    public Stranger(string program, params string[] arguments)
    {
        _process = new Process
        {
            StartInfo = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true },
        };
        _process.OutputDataReceived += (_, e) => Keep(e.Data);
        _process.ErrorDataReceived += (_, e) => Keep(e.Data);
        _process.Start();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public ConcurrentQueue<string> Lines { get; } = new();

    public string Output => string.Join('\n', Lines);

    public async Task WaitForAsync(string text)
    {
        var end = DateTime.UtcNow + TimeSpan.FromSeconds(40);
        while (!Lines.Any(l => l.Contains(text, StringComparison.Ordinal)))
        {
            Assert.True(DateTime.UtcNow < end && !_process.HasExited, $"no '{text}' in:\n{Output}");
            await Task.Delay(20);
        }
    }

    /// <summary>Value of an attribute as the Erlang peer prints it.</summary>
    public string? Avp(string message, string attribute)
    {
        var start = $"AVP {message} {attribute} ";
        return Lines.FirstOrDefault(l => l.StartsWith(start, StringComparison.Ordinal))?[start.Length..];
    }

    public async Task<int> EndAsync()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(40));
        await _process.WaitForExitAsync(patience.Token);
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync();
        }

        _process.Dispose();
    }

    private void Keep(string? line)
    {
        if (line is not null)
        {
            Lines.Enqueue(line);
        }
    }
}

internal static class Rig
{
    public static DiameterNodeOptions Options(string identity, params DiameterPeerOptions[] peers) => new()
    {
        Identity = identity,
        Realm = identity[(identity.IndexOf('.', StringComparison.Ordinal) + 1)..],
        Addresses = [IPAddress.Loopback],
        Peers = peers,
        ReconnectMinimum = TimeSpan.FromMilliseconds(200),
    };

    public static DiameterTransportOptions Transport(TlsCredentials identity, int port = 0) => new()
    {
        Tls = identity,
        Listeners = [new DiameterListener(new IPEndPoint(IPAddress.Loopback, port))],
    };

    /// <summary>A port nobody listens on now; somebody may take it before we do, which a second run cures.</summary>
    public static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    public static DiameterMessageBuilder Amr(this RunningNode node, string realm) => DiameterDictionary.Default.Request(DiameterCommands.AaMobileNode)
        .Add(AvpKeys.SessionId, node.NewSession())
        .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
        .Add(AvpKeys.UserName, "alice@home.example")
        .Add(AvpKeys.DestinationRealm, realm)
        .Add(AvpKeys.MipRegRequest, Convert.FromHexString("010203040506"))
        .AddGroup(AvpKeys.MipMnAaaAuth, g => g
            .Add(AvpKeys.MipMnAaaSpi, 0x200)
            .Add(AvpKeys.MipAuthInputDataLength, 44)
            .Add(AvpKeys.MipAuthenticatorLength, 32)
            .Add(AvpKeys.MipAuthenticatorOffset, 50))
        .Add(AvpKeys.MipMobileNodeAddress, IPAddress.Parse("10.99.0.10"))
        .Add(AvpKeys.MipFeatureVector, 16)
        .Add(AvpKeys.AcctMultiSessionId, "mobility-session-1");
}
