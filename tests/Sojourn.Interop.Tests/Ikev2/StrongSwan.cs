using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.KeyExchange;
using Sojourn.Wire.Ikev2;
using Xunit;

namespace Sojourn.Interop.Tests.Ikev2;

/// <summary>Runs only where strongSwan is installed.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class StrongSwanTheoryAttribute : TheoryAttribute
{
    public StrongSwanTheoryAttribute() => Skip = Charon.Missing;
}

/// <inheritdoc cref="StrongSwanTheoryAttribute"/>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class StrongSwanFactAttribute : FactAttribute
{
    public StrongSwanFactAttribute() => Skip = Charon.Missing;
}

/// <summary>
/// charon in a namespace of its own, beside our engine on real sockets:
/// <code>own 10.9.0.1, 10.9.0.3 ==link== 10.9.0.2 charon (ESP in user space: kernel-libipsec, always in UDP)</code>
/// </summary>
internal sealed class StrongSwan : IAsyncDisposable
{
    public static readonly IPAddress Own = IPAddress.Parse("10.9.0.1"), OwnSecond = IPAddress.Parse("10.9.0.3"), Peer = IPAddress.Parse("10.9.0.2");
    public static readonly IPNetwork OwnNetwork = IPNetwork.Parse("10.1.0.0/24"), PeerNetwork = IPNetwork.Parse("10.2.0.0/24");
    public const string OwnName = "own.home.example", PeerName = "peer.home.example", Secret = "a secret of both ends";

    private const string Topology =
        """
        title: strongSwan as peer of the IKE engine
        demonstrates: nothing
        nodes:
          own: { role: host }
          charon: { role: host }
        links:
          core: { kind: core, ends: [ own up0 10.9.0.1/24, charon up0 10.9.0.2/24 ] }
        """;

    private static int s_number;
    private readonly LabNetwork _network;
    private readonly Charon _charon;
    private readonly IkePort _port;
    private readonly EngineHost _host;
    private readonly Lock _gate = new();
    private readonly List<Effect> _effects = [];

    private StrongSwan(LabNetwork network, Charon charon, string folder, IkeOptions options)
    {
        (_network, _charon, Folder) = (network, charon, folder);
        Engine = new IkeEngine(options, SystemRandomSource.Instance);
        _host = new EngineHost(Engine, new EngineHostOptions { Node = "own", Report = e => Keep(new Report(e)) });
        _port = network.Namespace("own").Run(() => new IkePort(_host.Post, (_, _) => { }));
        _host.Start([_port, new Recorder(this)]);
    }

    public IkeEngine Engine { get; }

    public string Folder { get; }

    /// <summary>UDP payloads on the link so far.</summary>
    public IReadOnlyList<Ipv4Packet> Captured => [.. _network.Wire("core").Recording.Frames(0).Select(Ipv4Packet.Of).OfType<Ipv4Packet>().Where(p => p.IsUdp)];

    /// <summary>Starts both ends; nothing is negotiated yet.</summary>
    /// <param name="proposals">charon's, e.g. <c>aes256gcm16-prfsha384-x25519</c>.</param>
    public static async Task<StrongSwan> StartAsync(IkeAuthenticationKind kind, string proposals = "default", string espProposals = "default", string more = "", string daemon = "", Func<IkePeer, IkePeer>? change = null, Func<IkeOptions, IkeOptions>? options = null)
    {
        var folder = Directory.CreateTempSubdirectory("sojourn-ike-").FullName;
        var authority = new Authority();
        await File.WriteAllTextAsync(Path.Combine(Charon.FolderOf(folder, "x509ca"), "ca.pem"), authority.Root.ExportCertificatePem());
        var auth = "auth = psk";
        var peer = new IkePeer
        {
            Name = "charon",
            Address = Peer,
            LocalIdentity = IkeIdentity.OfName(OwnName),
            RemoteIdentity = IkeIdentity.OfName(PeerName),
            Children = [new IkeChildOptions { Name = "net", LocalSelectors = [TrafficSelector.Of(OwnNetwork)], RemoteSelectors = [TrafficSelector.Of(PeerNetwork)] }],
        };
        if (kind == IkeAuthenticationKind.PreSharedKey)
        {
            peer = peer with { PreSharedKey = new KeyMaterial(System.Text.Encoding.ASCII.GetBytes(Secret)) };
        }
        else
        {
            var theirs = authority.Issue(PeerName, kind);
            await File.WriteAllTextAsync(Path.Combine(Charon.FolderOf(folder, "x509"), "peer.pem"), theirs.Certificate.ExportCertificatePem());
            await File.WriteAllTextAsync(Path.Combine(Charon.FolderOf(folder, "private"), "peer.pem"), theirs.KeyPem);
            var ours = authority.Issue(OwnName, kind);
            peer = peer with { Credential = new IkeCredential(ours.Certificate, [], SigningKey.FromPem(ours.KeyPem)), Trust = new TrustAnchors([authority.Root]) };
            auth = "auth = pubkey";
        }

        peer = change?.Invoke(peer) ?? peer;
        var connections =
            $$"""
            connections {
              own {
                local_addrs = {{Peer}}
                remote_addrs = {{Own}}, {{OwnSecond}}
                version = 2
                encap = yes
                mobike = {{(peer.Mobike ? "yes" : "no")}}
                proposals = {{proposals}}
                {{more}}
                local {
                  {{auth}}
                  id = {{PeerName}}
                  {{(auth == "auth = psk" ? "" : "certs = peer.pem")}}
                }
                remote {
                  {{auth}}
                  id = {{OwnName}}
                }
                children {
                  net {
                    local_ts = {{PeerNetwork}}
                    remote_ts = {{OwnNetwork}}
                    esp_proposals = {{espProposals}}
                  }
                }
              }
            }
            secrets {
              ike-own {
                id = {{OwnName}}
                secret = "{{Secret}}"
              }
            }
            """;
        var network = new LabNetwork(
            ScenarioDefinition.Read("strongswan", Tree.Parse(Topology, "strongswan"), new ScenarioOptions()).Topology,
            string.Create(CultureInfo.InvariantCulture, $"sjike-{Environment.ProcessId}-{Interlocked.Increment(ref s_number)}"), captures: null);
        try
        {
            network.Namespace("own").Run(() =>
            {
                using var route = new Rtnetlink();
                route.AddAddress("up0", OwnSecond, 24);
            });

            // kernel-libipsec wants an address of its own inside the local selector, else it answers TS_UNACCEPTABLE.
            network.Namespace("charon").Run(() =>
            {
                using var route = new Rtnetlink();
                route.AddAddress("lo", IPAddress.Parse("10.2.0.1"), 32);
            });

            var charon = await Charon.StartAsync(network.Namespace("charon").Name, folder, connections, daemon);
            var defaults = new IkeOptions { Peers = [peer], ExportKeys = true };
            return new StrongSwan(network, charon, folder, options?.Invoke(defaults) ?? defaults);
        }
        catch
        {
            network.Dispose();
            throw;
        }
    }

    public IReadOnlyList<Effect> Effects
    {
        get
        {
            lock (_gate)
            {
                return [.. _effects];
            }
        }
    }

    public void Tell(EngineInput input) => _host.Post(input);

    public Task<IReadOnlyList<IkeSaView>> IkeSasAsync() => _host.Query<IReadOnlyList<IkeSaView>>(() => [.. Engine.IkeSas]);

    public Task<IReadOnlyList<ChildSa>> ChildSasAsync() => _host.Query<IReadOnlyList<ChildSa>>(() => [.. Engine.ChildSas]);

    /// <inheritdoc cref="Charon.ControlAsync"/>
    public Task<string> ControlAsync(params string[] arguments) => _charon.ControlAsync(arguments);

    /// <summary>Waits until charon lists exactly the IKE SA and the child that we have, by their SPIs.</summary>
    public async Task AgreeAsync(Func<IkeSaView, ChildSa, bool>? also = null)
    {
        var listed = "";
        for (var end = DateTime.UtcNow + TimeSpan.FromSeconds(20); DateTime.UtcNow < end; await Task.Delay(100))
        {
            var (sas, children) = (await IkeSasAsync(), await ChildSasAsync());
            listed = await ControlAsync("--list-sas");
            if (sas.Count == 1 && children.Count == 1 && (also?.Invoke(sas[0], children[0]) ?? true)
                && listed.Contains($"{sas[0].InitiatorSpi:x16}_i", StringComparison.Ordinal) && listed.Contains($"{sas[0].ResponderSpi:x16}_r", StringComparison.Ordinal)
                && listed.Contains($"in  {children[0].Outbound.Spi:x8}", StringComparison.Ordinal) && listed.Contains($"out {children[0].Inbound.Spi:x8}", StringComparison.Ordinal)
                && listed.Split("ESTABLISHED").Length == 2 && listed.Split("INSTALLED").Length == 2)
            {
                return;
            }
        }

        Assert.Fail($"no agreement; charon lists\n{listed}\nwe have {string.Join('\n', await IkeSasAsync())}\n{string.Join('\n', (await ChildSasAsync()).Select(c => $"{c.Inbound.Spi:x8} {c.Outbound.Spi:x8}"))}\n{Reports()}\n{Log()}");
    }

    /// <summary>Waits until neither end has anything.</summary>
    public async Task GoneAsync()
    {
        var listed = "";
        for (var end = DateTime.UtcNow + TimeSpan.FromSeconds(20); DateTime.UtcNow < end; await Task.Delay(100))
        {
            listed = await ControlAsync("--list-sas");
            if ((await IkeSasAsync()).Count == 0 && string.IsNullOrWhiteSpace(listed))
            {
                return;
            }
        }

        Assert.Fail($"something is left:\n{listed}\n{Reports()}\n{Log()}");
    }

    public string Log() => _charon.Log();

    public async ValueTask DisposeAsync()
    {
        _host.Dispose();
        _port.Dispose();
        await _charon.DisposeAsync();
        _network.Dispose();
        Directory.Delete(Folder, recursive: true);
    }

    private void Keep(Effect effect)
    {
        lock (_gate)
        {
            _effects.Add(effect);
        }
    }

    private string Reports() => string.Join('\n', Effects.OfType<Report>().Select(r => r.Event.Text));

    /// <summary>Keeps what the engine says beside its datagrams.</summary>
    private sealed class Recorder(StrongSwan both) : IEffectPort
    {
        public bool TryCarryOut(Effect effect)
        {
            both.Keep(effect);
            return true;
        }
    }

    /// <summary>An authority and certificates of either kind of key.</summary>
    internal sealed class Authority
    {
        private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

        public Authority()
        {
            var request = new CertificateRequest("CN=interop authority", _key, HashAlgorithmName.SHA256);
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
            request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
            Root = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(2));
        }

        public X509Certificate2 Root { get; }

        public (X509Certificate2 Certificate, string KeyPem) Issue(string name, IkeAuthenticationKind kind, DateTimeOffset? from = null, DateTimeOffset? until = null)
        {
            var subject = new X500DistinguishedName($"CN={name}");
            CertificateRequest request;
            string pem;
            if (kind == IkeAuthenticationKind.Rsa)
            {
                var rsa = RSA.Create(3072);
                (request, pem) = (new CertificateRequest(subject, rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1), rsa.ExportPkcs8PrivateKeyPem());
            }
            else if (kind == IkeAuthenticationKind.Ed25519)
            {
                var seed = RandomNumberGenerator.GetBytes(32);
                using var key = SigningKey.FromEd25519(new KeyMaterial(seed));
                request = new CertificateRequest(subject, new PublicKey(new Oid("1.3.101.112"), null, new AsnEncodedData(key.Ed25519PublicKey!)), HashAlgorithmName.SHA256);
                pem = PemEncoding.WriteString("PRIVATE KEY", [.. Convert.FromHexString("302e020100300506032b657004220420"), .. seed]);
            }
            else
            {
                var ecdsa = ECDsa.Create(kind == IkeAuthenticationKind.EcdsaP384 ? ECCurve.NamedCurves.nistP384 : ECCurve.NamedCurves.nistP256);
                (request, pem) = (new CertificateRequest(subject, ecdsa, HashAlgorithmName.SHA256), ecdsa.ExportPkcs8PrivateKeyPem());
            }

            var names = new SubjectAlternativeNameBuilder();
            names.AddDnsName(name);
            request.CertificateExtensions.Add(names.Build());
            return (request.Create(Root.SubjectName, X509SignatureGenerator.CreateForECDsa(_key), from ?? DateTimeOffset.UtcNow.AddHours(-1), until ?? DateTimeOffset.UtcNow.AddDays(1), RandomNumberGenerator.GetBytes(8)), pem);
        }
    }
}

public enum IkeAuthenticationKind
{
    PreSharedKey,
    EcdsaP256,
    EcdsaP384,
    Rsa,
    Ed25519,
}
