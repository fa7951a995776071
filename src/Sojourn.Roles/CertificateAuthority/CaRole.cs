using System.Security.Cryptography;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Storage;

namespace Sojourn.Roles.CertificateAuthority;

/// <summary>Role ca: certification authority of the home network (spec authentication P9).</summary>
public sealed class CaRole : Role
{
    private readonly Database _database;
    private readonly EcdsaSigner _signer;
    private readonly AuthorityStore _store;
    private readonly AuthorityWorker _worker;
    private readonly CmpServer _server;
    private readonly TlsCredentials? _identity;
    private readonly PermissionServer? _permissions;
    private readonly WithdrawalSender? _withdrawals;

    /// <exception cref="StorageException">The authority's database cannot be opened or holds no authority.</exception>
    /// <exception cref="CryptographicException">The authority's key does not fit its certificate.</exception>
    public CaRole(NodeOptions node, NodeServices services)
    {
        var section = node.Ca!;
        _database = Database.Open(section.Database.FullPath, section.DatabaseKeyFile?.FullPath, create: false);
        try
        {
            _store = new AuthorityStore(_database, services.Time);
            var (certificate, key) = _store.Authority() ?? throw new StorageException($"{section.Database} holds no authority; make one with: sojourn ca init --database {section.Database}");
            _signer = new EcdsaSigner(certificate, key);
            key.Wipe();
            _worker = new AuthorityWorker(new CertificationAuthority(_signer, OptionsOf(section), services.Random), _store, services, section.CrlLifetime / 2);
            _server = new CmpServer(section, certificate, _worker, services);
            if (section.Queries is { } queries)
            {
                _identity = TlsCredentials.FromPemFiles(queries.Tls.CertificateFile.FullPath, queries.Tls.KeyFile.FullPath, queries.Tls.CaFile.FullPath);
                _permissions = new PermissionServer(queries, _identity, _worker, services);
                _withdrawals = new WithdrawalSender(queries, _identity, _store, services);
            }
        }
        catch
        {
            _identity?.Dispose();
            _signer?.Dispose();
            _database.Dispose();
            throw;
        }
    }

    public override IEngine Engine { get; } = new RequestsOnly();

    /// <summary>Opens the listeners in the network namespace of the calling thread.</summary>
    /// <exception cref="IOException">An address cannot be bound.</exception>
    public override void Start()
    {
        _worker.Start();
        _server.Start();
        _permissions?.Start();
        _withdrawals?.Start();
    }

    public override IReadOnlyList<AuditEntry> Audit(int count) => [.. _store.Audit(count).Select(entry => entry with { Trail = "authority" })];

    public override void Dispose()
    {
        _withdrawals?.Dispose();
        _permissions?.Dispose();
        _server.Dispose();
        _worker.Dispose();
        _identity?.Dispose();
        _signer.Dispose();
        _database.Dispose();
        base.Dispose();
    }

    internal static AuthorityOptions OptionsOf(CaSection section)
    {
        var (crl, ocsp) = StatusUris(section.PublicUri);
        return new AuthorityOptions
        {
            CertificateLifetime = section.CertificateLifetime,
            ConfirmationWait = section.ConfirmationWait,
            ImplicitConfirmation = section.ImplicitConfirmation,
            TimeTolerance = section.TimeTolerance,
            CrlLifetime = section.CrlLifetime,
            CrlUri = crl,
            OcspUri = ocsp,
        };
    }

    /// <summary>Where CRL and OCSP are, below the address that the authority is reached at.</summary>
    internal static (Uri? Crl, Uri? Ocsp) StatusUris(string? publicUri)
    {
        var uri = publicUri is { } text ? new Uri(text.TrimEnd('/') + "/") : null;
        return uri is null ? (null, null) : (new Uri(uri, "ca.crl"), new Uri(uri, "ocsp"));
    }

    /// <summary>Everything this role does answers a request, inside the store's transaction: nothing is left for the engine thread.</summary>
    private sealed class RequestsOnly : IEngine
    {
        public DateTimeOffset? NextDeadline => null;

        public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
        {
        }
    }
}
