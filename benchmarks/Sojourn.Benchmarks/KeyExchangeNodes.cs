using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Lab.Nodes;
using Sojourn.Roles.Diameter;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.KeyExchange;

namespace Sojourn.Benchmarks;

/// <summary>How both ends prove themselves.</summary>
internal enum KeyExchangeProof
{
    Psk,
    Ecdsa,
}

/// <summary>Secrets, certificates and configuration of a run.</summary>
internal static class KeyExchangeFiles
{
    public const string LoadName = "load.example", ResponderName = "responder.example", Secret = "the secret of a benchmark";

    public static void Write(string folder)
    {
        using var authority = new LabCertificateAuthority("benchmark", TimeSpan.FromDays(1));
        foreach (var kind in (string[])["x509", "x509ca", "private", "conf.d"])
        {
            Directory.CreateDirectory(Path.Combine(folder, "swanctl", kind));
        }

        File.WriteAllText(Path.Combine(folder, "swanctl", "x509ca", "ca.pem"), authority.CertificatePem);
        foreach (var name in (string[])[LoadName, ResponderName])
        {
            var (certificate, key) = authority.Issue(name);
            File.WriteAllText(Path.Combine(folder, "swanctl", "x509", name + ".pem"), certificate);
            File.WriteAllText(Path.Combine(folder, "swanctl", "private", name + ".pem"), key);
        }
    }

    /// <summary>The peer's end of it, without child SAs: their keys cost both responders the same, and what installs them is measured elsewhere.</summary>
    public static IkePeer Peer(string folder, KeyExchangeProof proof, string own, string other, IPAddress? address)
    {
        var peer = new IkePeer { Name = "peer", Address = address, LocalIdentity = IkeIdentity.OfName(own), RemoteIdentity = IkeIdentity.OfName(other), LivenessInterval = null };
        if (proof == KeyExchangeProof.Psk)
        {
            return peer with { PreSharedKey = new KeyMaterial(Encoding.ASCII.GetBytes(Secret)) };
        }

        var certificate = X509Certificate2.CreateFromPem(File.ReadAllText(Path.Combine(folder, "swanctl", "x509", own + ".pem")));
        var authority = X509Certificate2.CreateFromPem(File.ReadAllText(Path.Combine(folder, "swanctl", "x509ca", "ca.pem")));
        return peer with
        {
            Credential = new IkeCredential(certificate, [], SigningKey.FromPem(File.ReadAllText(Path.Combine(folder, "swanctl", "private", own + ".pem")))),
            Trust = new TrustAnchors([authority]),
        };
    }
}

/// <summary>A responder in a process and a namespace of its own.</summary>
internal sealed class KeyExchangeResponder : IDisposable
{
    private readonly Process _process;

    private KeyExchangeResponder(string name, IPAddress address, Process process) => (Name, Address, _process) = (name, address, process);

    public static string? Missing => Charon.Missing;

    public string Name { get; }

    public IPAddress Address { get; }

    /// <summary>User and system time so far, in milliseconds; the tick is 10 ms.</summary>
    public long CpuMilliseconds
    {
        get
        {
            var fields = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{_process.Id}/stat")).Split(") ")[^1].Split(' ');
            return 10 * (long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture));
        }
    }

    public static async Task<KeyExchangeResponder> SojournAsync(NetworkNamespace space, IPAddress address, KeyExchangeProof proof, string folder)
    {
        var process = LabCommand.Start(
            LabCommand.Inside(space.Name, ["dotnet", typeof(KeyExchangeResponder).Assembly.Location, "ike-responder", proof.ToString(), folder]), redirect: true);
        var ready = await process.StandardOutput.ReadLineAsync();
        return ready == "ready" ? new KeyExchangeResponder("sojourn", address, process) : throw new InvalidOperationException("the responder does not start: " + await process.StandardError.ReadToEndAsync());
    }

    /// <summary>What runs in that process, until the folder of the run is gone.</summary>
    public static int Run(KeyExchangeProof proof, string folder)
    {
        var engine = new IkeEngine(new IkeOptions { Peers = [KeyExchangeFiles.Peer(folder, proof, KeyExchangeFiles.ResponderName, KeyExchangeFiles.LoadName, null)] }, SystemRandomSource.Instance);
        using var host = new EngineHost(engine, new EngineHostOptions { Node = "responder" });
        using var port = new IkePort(host.Post, (_, _) => { });
        host.Start([port, new Nobody()]);
        Console.WriteLine("ready");
        var clock = Stopwatch.StartNew();
        while (Directory.Exists(folder) && clock.Elapsed < TimeSpan.FromMinutes(30))
        {
            Thread.Sleep(500);
        }

        return 0;
    }

    public static async Task<KeyExchangeResponder> CharonAsync(NetworkNamespace space, IPAddress address, KeyExchangeProof proof, string folder)
    {
        var auth = proof == KeyExchangeProof.Psk ? "psk" : "pubkey";
        File.Delete(Path.Combine(folder, "vici"));
        var charon = await Charon.StartAsync(
            space.Name, folder,
            $$"""
            connections {
              any {
                local_addrs = {{address}}
                remote_addrs = %any
                version = 2
                mobike = no
                unique = never
                dpd_delay = 0
                childless = allow
                local {
                  auth = {{auth}}
                  id = {{KeyExchangeFiles.ResponderName}}
                  {{(auth == "pubkey" ? $"certs = {KeyExchangeFiles.ResponderName}.pem" : "")}}
                }
                remote {
                  auth = {{auth}}
                  id = {{KeyExchangeFiles.LoadName}}
                }
              }
            }
            secrets {
              ike-any {
                id = {{KeyExchangeFiles.LoadName}}
                secret = "{{KeyExchangeFiles.Secret}}"
              }
            }
            """, "dos_protection = no", log: false);
        return new KeyExchangeResponder("strongSwan charon", address, charon.Process);
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
            _process.WaitForExit();
        }

        _process.Dispose();
    }

    /// <summary>Effects that are no datagram are nobody's here.</summary>
    private sealed class Nobody : IEffectPort
    {
        public bool TryCarryOut(Effect effect) => true;
    }
}

/// <summary>Our initiator, with a number of negotiations open at one time.</summary>
internal sealed class KeyExchangeLoad(string folder, KeyExchangeProof proof, IPAddress own, KeyExchangeResponder responder, int window) : IEffectPort
{
    private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private EngineHost? _host;
    private int _left, _open;

    public int Established { get; private set; }

    public int Failed { get; private set; }

    /// <summary>Sets up IKE SAs until so many were tried.</summary>
    public async Task<TimeSpan> RunAsync(NetworkNamespace space, int setUps)
    {
        var engine = new IkeEngine(new IkeOptions { Peers = [KeyExchangeFiles.Peer(folder, proof, KeyExchangeFiles.LoadName, KeyExchangeFiles.ResponderName, responder.Address)] }, SystemRandomSource.Instance);
        using var host = _host = new EngineHost(engine, new EngineHostOptions { Node = "load" });
        using var port = space.Run(() => new IkePort(host.Post, (_, _) => { }));
        host.Start([port, this]);
        _left = setUps;
        _open = Math.Min(window, setUps);
        var clock = Stopwatch.StartNew();
        for (var i = 0; i < Math.Min(window, setUps); i++)
        {
            Begin();
        }

        await _done.Task.WaitAsync(TimeSpan.FromMinutes(2));
        return clock.Elapsed;
    }

    public bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case IkeSaUp:
                Established++;
                Next();
                break;
            case IkeSaDown { End: IkeEnd.Refused or IkeEnd.Timeout }:
                Failed++;
                Next();
                break;
        }

        return true;
    }

    private void Begin()
    {
        _left--;
        _host!.Post(new InitiateIke("peer", own));
    }

    private void Next()
    {
        if (_left > 0)
        {
            Begin();
        }
        else if (--_open == 0)
        {
            _done.TrySetResult();
        }
    }
}
