using System.Net;
using Sojourn.DataPath.Interception;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Roles.CertificateAuthority;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Storage;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Roles.PrefixDelegation;

/// <summary>Role delegating-router (spec P8): DHCPv6 prefix delegation to terminals the certification authority has approved.</summary>
public sealed class DelegatingRouterRole : Role
{
    private readonly DelegatingRouterSection _section;
    private readonly Database _database;
    private readonly PrefixIdentityStore _identities;
    private readonly DelegatingRouter _router;
    private readonly NodeServices _services;
    private readonly StaticAuthority? _approved;
    private readonly TlsCredentials? _identity;
    private readonly AllocationEndSender? _ends;

    /// <exception cref="StorageException">The identity table cannot be opened.</exception>
    /// <exception cref="System.Security.Cryptography.CryptographicException">A file of <c>tls</c> does not hold what it should.</exception>
    /// <param name="leases">Where the prefix control table is kept.</param>
    public DelegatingRouterRole(NodeOptions node, NodeServices services, PrefixLeaseStore leases)
    {
        _services = services;
        _section = node.DelegatingRouter!;
        _database = Database.Open(_section.Database.FullPath, create: false);
        _identities = new PrefixIdentityStore(_database, services.Time);
        _approved = _section.Authorisation == AuthorisationSource.Static ? new StaticAuthority(_section.Approved) : null;
        _identity = _section.Tls is { } tls ? TlsCredentials.FromPemFiles(tls.CertificateFile.FullPath, tls.KeyFile.FullPath, tls.CaFile.FullPath) : null;
        _ends = _section.Queries is { } queries ? new AllocationEndSender(queries, _identity!, services) : null;
        _router = new DelegatingRouter(
            new DelegatingRouterOptions
            {
                Duid = _section.Duid is { } text && Duid.TryParseText(text, out var duid) ? duid : null,
                Pools = [.. _section.Pools.Select(pool => new PrefixPoolOptions(pool.Prefix, pool.DelegatedLength))],
                Relays = _section.Relays,
                Interfaces = _section.Interfaces,
                PreferredLifetime = _section.PreferredLifetime,
                ValidLifetime = _section.ValidLifetime,
                OfferLifetime = _section.OfferLifetime,
                PrefixInAdvertise = _section.PrefixInAdvertise,
                Preference = (byte)_section.Preference,
                DnsServers = _section.DnsServers,
                Routes = _section.Routes,
                Authority = _approved,

                // The list is this node's own: a reload says at once what it no longer allows.
                PermissionPolling = _approved is null ? _section.Authority!.Polling : TimeSpan.Zero,
            },
            _identities, leases, services.Random);
    }

    /// <summary>Told on the engine's thread that an allocation has ended (event Q3 towards home agents).</summary>
    public event Action<AllocationEnded>? Ended;

    public override IEngine Engine => _router;

    /// <summary>Query Q2; on the engine's thread (<see cref="EngineHost.Query{T}"/>).</summary>
    public PrefixAllocation FindAllocation(IPAddress address, string identifier) => _router.FindAllocation(address, identifier, _services.Time.GetUtcNow());

    public override IReadOnlyList<LeaseRow> Leases() => [.. _router.Leases.OrderBy(lease => lease.Identifier, StringComparer.Ordinal).Select(LeaseRow.Of)];

    public override IReadOnlyList<AuditEntry> Audit(int count) => [.. _identities.Audit(count).Select(entry => entry with { Trail = "prefixes" })];

    public override IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) =>
        session is null ? [new EndLeases(nai, homeAddress)] : [];

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services)
    {
        yield return new DatagramPort(Dhcpv6Ports.Server(_section.Interfaces), deliver, services.Count);
        yield return new AllocationEvents(allocation =>
        {
            Ended?.Invoke(allocation);
            _ends?.Tell(allocation);
        });
        if (_section.Authority is { } authority)
        {
            yield return new AuthorityPort(new PermissionClient(new Uri(authority.Url), _identity!), deliver);
        }

        if (_section.Queries is { } queries)
        {
            yield return new DelegationQueries(queries, _identity!, _section.Authority?.CertificateName, _identities, deliver, services);
        }

        if (_section.Routes != DelegatedRoutes.None)
        {
            yield return new DelegatedRoutePort(services.Report);
        }
    }

    /// <summary>The approved identifiers; those that are gone from the list lose their prefixes.</summary>
    public override void Reconfigure(NodeOptions options, DateTimeOffset now, EffectSink effects)
    {
        if (_approved is null)
        {
            return;
        }

        _approved.Replace(options.DelegatingRouter!.Approved);
        foreach (var identifier in _router.Leases.Where(lease => lease.State != LeaseState.Expired).Select(lease => lease.Identifier).Distinct().ToList())
        {
            if (!_approved.Ask(identifier, PermissionPurpose.Renew).Allowed)
            {
                _router.Handle(new WithdrawPermission(identifier, PermissionReason.FlagClear), now, effects);
            }
        }
    }

    public override void Dispose()
    {
        _ends?.Dispose();
        _identity?.Dispose();
        _database.Dispose();
        base.Dispose();
    }
}
