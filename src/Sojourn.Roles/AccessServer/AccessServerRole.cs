using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine;
using Sojourn.Engine.Radius;
using Sojourn.Engine.Tls;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.AccessServer;

/// <summary>Role access-server (spec authentication P5): who may use access links, and who may reach the home network.</summary>
public sealed class AccessServerRole : Role
{
    private readonly AccessServerSection _section;
    private readonly TlsContext _tls;
    private readonly RadiusServer _server;
    private PasswordPort? _passwords;

    /// <exception cref="CryptographicException">A certificate or its key cannot be used.</exception>
    public AccessServerRole(NodeOptions node, IRandomSource random)
    {
        _section = node.AccessServer!;
        _tls = ReadTls(_section.Tls);
        _server = new RadiusServer(
            new RadiusServerOptions
            {
                Clients = [.. _section.Clients.Select(c => new RadiusClientEntry(c.Name, c.Address, SecretFile.Read(c.SecretFile)))],
                Tls = _tls,
                Users = UsersOf(_section),
                Devices = DevicesOf(_section),
                AddressOnlyDevices = _section.AddressOnlyDevices,
                HiddenPasswords = _section.HiddenPasswords,
                SessionLifetime = _section.SessionLifetime,
            },
            random);
    }

    public override IEngine Engine => _server;

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services)
    {
        yield return _passwords = new PasswordPort(HashesOf(_section), deliver, services.Count);
        yield return new RadiusPort(_section.Listen, deliver, services.Count);
    }

    /// <summary>Users and devices. Who is gone gets no more access; who is in stays until its session's time is over.</summary>
    public override void Reconfigure(NodeOptions options, DateTimeOffset now, EffectSink effects)
    {
        var section = options.AccessServer!;
        _passwords?.Replace(HashesOf(section));
        _server.Replace(UsersOf(section), DevicesOf(section));
    }

    public override void Dispose()
    {
        _server.Dispose();
        _tls.Dispose();
        base.Dispose();
    }

    /// <summary>Reads the PEM files of an end that speaks TLS inside EAP.</summary>
    /// <exception cref="CryptographicException">They hold no certificate, or a key that is not its own.</exception>
    internal static TlsContext ReadTls(TlsOptions options)
    {
        var chain = new X509Certificate2Collection();
        chain.ImportFromPemFile(options.CertificateFile.FullPath);
        var anchors = new X509Certificate2Collection();
        anchors.ImportFromPemFile(options.CaFile.FullPath);
        using var own = X509Certificate2.CreateFromPemFile(options.CertificateFile.FullPath, options.KeyFile.FullPath);
        using AsymmetricAlgorithm key = (AsymmetricAlgorithm?)own.GetECDsaPrivateKey() ?? own.GetRSAPrivateKey() ?? throw new CryptographicException("the key is neither of an elliptic curve nor RSA");
        var octets = key.ExportPkcs8PrivateKey();
        var secret = new KeyMaterial(octets);
        CryptographicOperations.ZeroMemory(octets);
        var context = new TlsContext(new TlsIdentity([.. chain.Select(c => c.RawDataMemory)], secret), anchors.Select(c => c.RawDataMemory));
        secret.Wipe();
        return context;
    }

    /// <summary>A link-layer address of six octets in any usual spelling; null when it is none.</summary>
    public static LinkAddress? ParseAddress(string text)
    {
        var digits = text.Replace(":", "", StringComparison.Ordinal).Replace("-", "", StringComparison.Ordinal).Replace(".", "", StringComparison.Ordinal);
        return digits.Length == 12 && digits.All(char.IsAsciiHexDigit) ? new LinkAddress(Convert.FromHexString(digits)) : null;
    }

    private static Dictionary<string, string> HashesOf(AccessServerSection section) => section.Users.ToDictionary(u => u.Name, u => u.PasswordHash, StringComparer.Ordinal);

    private static AccessUser[]? UsersOf(AccessServerSection section) => section.Users.Count == 0 ? null : [.. section.Users.Select(u => new AccessUser(u.Name, u.Identifier))];

    private static AccessDevice[]? DevicesOf(AccessServerSection section) =>
        section.Devices.Count == 0 ? null : [.. section.Devices.Select(d => new AccessDevice(ParseAddress(d.Address)!.Value, d.CertificateName, d.Allowed, d.Clients))];
}
