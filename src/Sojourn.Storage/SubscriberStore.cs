using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using Dapper;
using Microsoft.Data.Sqlite;

namespace Sojourn.Storage;

/// <summary>
/// Subscribers, their VPN database instances, the CN-GW address table and roaming partners (spec network-vpn 3.1, 3.3,
/// R48). Reads serve the AAAH, writes serve provisioning; every write leaves an audit entry in the same transaction.
/// </summary>
public sealed partial class SubscriberStore(Database database, TimeProvider time, string actor = "local") : ISubscriberDirectory
{
    private const string SubscriberColumns = "nai, mn_aaa_spi, mn_aaa_sealed, home_address, home_agent, enabled";
    private const string InstanceColumns = "profile_number, nai, user_specific, destination, up_class, down_class, up_spi, down_spi, security_type, algorithm, contract_algorithm, contract_sealed, route, trigger_on, enabled";

    private readonly PreparedCommand _version = new(database, "PRAGMA data_version");
    private readonly PreparedCommand _begin = new(database, "BEGIN");
    private readonly PreparedCommand _end = new(database, "COMMIT");
    private readonly PreparedCommand _subscriber = new(database, $"SELECT {SubscriberColumns} FROM subscriber WHERE nai = @nai");
    private readonly PreparedCommand _profiles = new(database, $"SELECT {InstanceColumns} FROM vpn_instance WHERE nai = @nai AND enabled = 1 ORDER BY profile_number");
    private Reading? _reading;
    private long _writes;
    private SqliteTransaction? _transaction;
    private long _tablesVersion = -1;
    private IReadOnlyList<CorrespondentGatewayRow> _gateways = [];
    private IReadOnlyCollection<string> _partners = [];

    public long Version
    {
        get
        {
            lock (database.Gate)
            {
                // data_version moves when another connection (the CLI) committed; our own writes are counted here.
                return _version.Number()!.Value + _writes;
            }
        }
    }

    public (long Position, IReadOnlyList<string> Users) VpnChanges(long? since)
    {
        lock (database.Gate)
        {
            var position = database.Connection.ExecuteScalar<long>("SELECT coalesce(max(id), 0) FROM vpn_change");
            return (position, since is not { } seen || seen >= position
                ? []
                : [.. database.Connection.Query<string>("SELECT DISTINCT nai FROM vpn_change WHERE id > @seen AND id <= @position", new { seen, position })]);
        }
    }

    public IReadOnlyList<CorrespondentGatewayRow> CorrespondentGateways
    {
        get
        {
            LoadTables();
            return _gateways;
        }
    }

    public IReadOnlyCollection<string> RoamingPartners
    {
        get
        {
            LoadTables();
            return _partners;
        }
    }

    /// <summary>One read transaction instead of one for each question: every one locks the file, and looks whether it has changed.</summary>
    public IDisposable ReadTogether()
    {
        database.Gate.Enter();
        try
        {
            _begin.Execute();
        }
        catch
        {
            database.Gate.Exit();
            throw;
        }

        return _reading ??= new Reading(this);
    }

    public Subscriber? FindSubscriber(string nai)
    {
        if (Nai.TryNormalize(nai, out _) is not { } normal)
        {
            return null;
        }

        lock (database.Gate)
        {
            using var rows = _subscriber.Read(normal);
            return rows.Next()
                ? Read(new SubscriberRow(rows.Text(0)!, rows.Number(1), rows.Octets(2)!, rows.Text(3), rows.Text(4), rows.Number(5)))
                : null;
        }
    }

    public IReadOnlyList<Subscriber> Subscribers()
    {
        lock (database.Gate)
        {
            return [.. database.Connection.Query<SubscriberRow>($"SELECT {SubscriberColumns} FROM subscriber ORDER BY nai").Select(Read)];
        }
    }

    public IReadOnlyList<VpnInstance> FindVpns(string nai)
    {
        if (Nai.TryNormalize(nai, out _) is not { } normal)
        {
            return [];
        }

        var found = new List<VpnInstance>();
        lock (database.Gate)
        {
            using var rows = _profiles.Read(normal);
            while (rows.Next())
            {
                found.Add(Read(new InstanceRow(
                    rows.Number(0), rows.Text(1)!, rows.Number(2), rows.Text(3)!, rows.Number(4), rows.Number(5), rows.OptionalNumber(6), rows.OptionalNumber(7),
                    rows.Number(8), rows.Number(9), rows.OptionalNumber(10), rows.Octets(11), rows.Number(12), rows.Number(13), rows.Number(14))));
            }
        }

        return found;
    }

    /// <summary>All instances, disabled ones too; of one user when <paramref name="nai"/> is given.</summary>
    public IReadOnlyList<VpnInstance> VpnInstances(string? nai = null) =>
        nai is null ? Instances("", null)
        : Nai.TryNormalize(nai, out _) is { } normal ? Instances("WHERE nai = @normal", new { normal })
        : [];

    /// <summary>Adds or replaces a subscriber.</summary>
    /// <exception cref="StorageException">A field is out of range or the home address is another subscriber's.</exception>
    public void Put(Subscriber subscriber)
    {
        var nai = Nai.TryNormalize(subscriber.Nai, out var reason) ?? throw new StorageException($"NAI '{subscriber.Nai}' {reason}");
        Require(subscriber.MnAaaSpi >= 256, $"user {nai}: mn-aaa SPI {subscriber.MnAaaSpi} is reserved; allowed: 256 to 4294967295 (RFC 5944)");
        Require(subscriber.MnAaaKey.Length is >= 16 and <= 255, $"user {nai}: the mn-aaa key has {subscriber.MnAaaKey.Length} octets; allowed: 16 to 255");
        Write("user.put", nai, $"home address {subscriber.HomeAddress?.ToString() ?? "from pool"}, {(subscriber.Enabled ? "enabled" : "disabled")}", (connection, transaction) =>
            connection.Execute(
                $"""
                INSERT INTO subscriber ({SubscriberColumns}) VALUES (@nai, @spi, @sealedKey, @home, @agent, @enabled)
                ON CONFLICT (nai) DO UPDATE SET mn_aaa_spi = excluded.mn_aaa_spi, mn_aaa_sealed = excluded.mn_aaa_sealed,
                    home_address = excluded.home_address, home_agent = excluded.home_agent, enabled = excluded.enabled
                """,
                new
                {
                    nai,
                    spi = (long)subscriber.MnAaaSpi,
                    sealedKey = database.Seal.Close(subscriber.MnAaaKey.Octets, $"subscriber/{nai}/mn-aaa"),
                    home = subscriber.HomeAddress?.ToString(),
                    agent = subscriber.HomeAgent,
                    enabled = subscriber.Enabled,
                },
                transaction));
    }

    public bool RemoveSubscriber(string nai) =>
        Nai.TryNormalize(nai, out _) is { } normal && Write("user.remove", normal, null, (connection, transaction) =>
            connection.Execute("DELETE FROM subscriber WHERE nai = @normal", new { normal }, transaction)) > 0;

    /// <summary>Adds or replaces a VPN database instance, checking everything spec 3.1 asks for.</summary>
    /// <exception cref="StorageException">A field is wrong, the user is not known, or the number is another user's.</exception>
    public void Put(VpnInstance instance)
    {
        var nai = Nai.TryNormalize(instance.Nai, out var reason) ?? throw new StorageException($"NAI '{instance.Nai}' {reason}");
        Check(instance);
        Write("profile.put", string.Create(CultureInfo.InvariantCulture, $"{instance.ProfileNumber}"), $"{nai} to {instance.Destination}, {instance.SecurityType}", (connection, transaction) =>
        {
            var owner = connection.ExecuteScalar<string?>("SELECT nai FROM vpn_instance WHERE profile_number = @number", new { number = (long)instance.ProfileNumber }, transaction);
            Require(owner is null || owner == nai, $"profile {instance.ProfileNumber} belongs to {owner}; profile numbers are unique");
            Require(connection.ExecuteScalar<long>("SELECT count(*) FROM subscriber WHERE nai = @nai", new { nai }, transaction) == 1, $"user {nai} is not known; add the user first");
            return connection.Execute(
                $"""
                INSERT OR REPLACE INTO vpn_instance ({InstanceColumns})
                VALUES (@number, @nai, @specific, @destination, @upClass, @downClass, @upSpi, @downSpi, @security, @algorithm, @contractAlgorithm, @contractSealed, @route, @trigger, @enabled)
                """,
                new
                {
                    number = (long)instance.ProfileNumber,
                    nai,
                    specific = instance.UserSpecific,
                    destination = instance.Destination.ToString(),
                    upClass = instance.UpClass,
                    downClass = instance.DownClass,
                    upSpi = (long?)instance.UpSpi,
                    downSpi = (long?)instance.DownSpi,
                    security = (int)instance.SecurityType,
                    algorithm = (int)instance.Algorithm,
                    contractAlgorithm = (int?)instance.ContractAlgorithm,
                    contractSealed = instance.ContractKeys is { } keys ? database.Seal.Close(Pack(keys), ContractPlace(instance.ProfileNumber)) : null,
                    route = (int)instance.Route,
                    trigger = (int)instance.Trigger,
                    enabled = instance.Enabled,
                },
                transaction);
        });
    }

    public bool RemoveVpn(uint profileNumber) =>
        Write("profile.remove", string.Create(CultureInfo.InvariantCulture, $"{profileNumber}"), null, (connection, transaction) =>
            connection.Execute("DELETE FROM vpn_instance WHERE profile_number = @number", new { number = (long)profileNumber }, transaction)) > 0;

    public void Put(CorrespondentGatewayRow row)
    {
        Require(row.Correspondents.BaseAddress.AddressFamily == row.Gateway.AddressFamily, $"gateway {row.Gateway} and correspondents {row.Correspondents} are of different address families");
        Write("gateway.put", row.Correspondents.ToString(), $"{row.Gateway}, {row.Type}", (connection, transaction) =>
            connection.Execute(
                "INSERT OR REPLACE INTO correspondent_gateway (correspondents, gateway, type, name) VALUES (@correspondents, @gateway, @type, @name)",
                new { correspondents = row.Correspondents.ToString(), gateway = row.Gateway.ToString(), type = (int)row.Type, name = row.Name },
                transaction));
    }

    public bool RemoveGateway(IPNetwork correspondents) =>
        Write("gateway.remove", correspondents.ToString(), null, (connection, transaction) =>
            connection.Execute("DELETE FROM correspondent_gateway WHERE correspondents = @key", new { key = correspondents.ToString() }, transaction)) > 0;

    public void PutPartner(string realm)
    {
        Require(Nai.IsRealm(realm), $"'{realm}' is not a realm");
        Write("partner.put", realm, null, (connection, transaction) =>
            connection.Execute("INSERT OR REPLACE INTO roaming_partner (realm) VALUES (@realm)", new { realm = realm.ToLowerInvariant() }, transaction));
    }

    public bool RemovePartner(string realm) =>
        Write("partner.remove", realm, null, (connection, transaction) =>
            connection.Execute("DELETE FROM roaming_partner WHERE realm = @realm", new { realm = realm.ToLowerInvariant() }, transaction)) > 0;

    /// <summary>Newest changes first.</summary>
    public IReadOnlyList<AuditEntry> Audit(int count) => new AuditTrail(database, time).Latest(count);

    private static void Check(VpnInstance instance)
    {
        var who = string.Create(CultureInfo.InvariantCulture, $"profile {instance.ProfileNumber}");
        Require(instance.ProfileNumber > 0, "profile number 0 is not allowed; allowed: 1 to 4294967295");
        Require(instance.UpClass is >= 0 and <= 5 && instance.DownClass is >= 0 and <= 5, $"{who}: service class out of range; allowed: 0 to 5");
        Require(instance.UpSpi is null or >= 256 && instance.DownSpi is null or >= 256, $"{who}: SPIs 0 to 255 are reserved (RFC 4303); allowed: 256 to 4294967295");
        Require(Enum.IsDefined(instance.SecurityType), $"{who}: unknown security type; allowed: esp, ah, encapsulation");
        Require(instance.SecurityType == SecurityType.EncapsulationOnly || instance.Algorithm.Fits(instance.SecurityType),
            $"{who}: algorithm {instance.Algorithm} does not fit {instance.SecurityType}; allowed: {string.Join(", ", Enum.GetValues<IpsecAlgorithm>().Where(a => a.IsKnown() && a.Fits(instance.SecurityType)))}");
        if (instance.ContractKeys is not { } keys)
        {
            return;
        }

        var algorithm = instance.ContractAlgorithm ?? IpsecAlgorithm.None;
        Require(algorithm.AllowsStaticKey(), $"{who}: {algorithm} never takes a typed-in key (RFC 4106 section 3, spec M5); allowed: {string.Join(", ", Enum.GetValues<IpsecAlgorithm>().Where(a => a.AllowsStaticKey()))}");
        Require(algorithm.Fits(instance.SecurityType), $"{who}: contract algorithm {algorithm} does not fit {instance.SecurityType}");
        Require(instance is { UpSpi: not null, DownSpi: not null }, $"{who}: contract keys need up-spi and down-spi");
        foreach (var association in (AssociationKeys[])[keys.Up, keys.Down])
        {
            Require(association.Encryption.Length == algorithm.EncryptionKeyLength() && association.Authentication.Length == algorithm.AuthenticationKeyLength(),
                $"{who}: contract keys have {association.Encryption.Length} + {association.Authentication.Length} octets; {algorithm} takes {algorithm.EncryptionKeyLength()} + {algorithm.AuthenticationKeyLength()}");
        }

        Require(!keys.Up.Authentication.Equals(keys.Down.Authentication), $"{who}: the two directions of a contract need different keys");
    }

    private static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new StorageException(message);
        }
    }

    /// <summary>Everything <paramref name="changes"/> writes becomes durable at once when it returns, or not at all when it throws: for imports.</summary>
    public void InOneTransaction(Action changes)
    {
        lock (database.Gate)
        {
            using var transaction = database.Connection.BeginTransaction();
            _transaction = transaction;
            try
            {
                changes();
                transaction.Commit();
            }
            finally
            {
                _transaction = null;
            }
        }
    }

    private int Write(string action, string @object, string? detail, Func<SqliteConnection, SqliteTransaction, int> change) =>
        Write(actor, action, @object, () => detail, change);

    /// <param name="detail">Asked after the change.</param>
    private int Write(string who, string action, string @object, Func<string?> detail, Func<SqliteConnection, SqliteTransaction, int> change)
    {
        lock (database.Gate)
        {
            using var own = _transaction is null ? database.Connection.BeginTransaction() : null;
            var transaction = own ?? _transaction!;
            int rows;
            try
            {
                rows = change(database.Connection, transaction);
            }
            catch (SqliteException e) when (e.SqliteErrorCode == 19)
            {
                throw new StorageException(e.Message.Contains("home_address", StringComparison.Ordinal)
                    ? $"{@object}: the home address is another subscriber's"
                    : $"{@object}: {e.Message}", e);
            }

            if (rows > 0)
            {
                database.Connection.Execute(
                    "INSERT INTO audit (at, actor, action, object, detail) VALUES (@at, @actor, @action, @object, @detail)",
                    new { at = time.GetUtcNow().ToString("O", CultureInfo.InvariantCulture), actor = who, action, @object, detail = detail() }, transaction);
            }

            own?.Commit();
            _writes++;
            return rows;
        }
    }

    private IReadOnlyList<VpnInstance> Instances(string where, object? parameters, SqliteTransaction? transaction = null)
    {
        lock (database.Gate)
        {
            return [.. database.Connection.Query<InstanceRow>($"SELECT {InstanceColumns} FROM vpn_instance {where} ORDER BY profile_number", parameters, transaction).Select(Read)];
        }
    }

    private void LoadTables()
    {
        lock (database.Gate)
        {
            var version = Version;
            if (version == _tablesVersion)
            {
                return;
            }

            _gateways = [.. database.Connection
                .Query<(string Correspondents, string Gateway, long Type, string? Name)>("SELECT correspondents, gateway, type, name FROM correspondent_gateway ORDER BY correspondents")
                .Select(r => new CorrespondentGatewayRow(IPNetwork.Parse(r.Correspondents), IPAddress.Parse(r.Gateway), (GatewayType)r.Type, r.Name))];
            _partners = database.Connection.Query<string>("SELECT realm FROM roaming_partner").ToHashSet(StringComparer.OrdinalIgnoreCase);
            _tablesVersion = version;
        }
    }

    private Subscriber Read(SubscriberRow row) => new(
        row.nai, (uint)row.mn_aaa_spi, new KeyMaterial(database.Seal.Open(row.mn_aaa_sealed, $"subscriber/{row.nai}/mn-aaa")),
        row.home_address is null ? null : IPAddress.Parse(row.home_address), row.home_agent, row.enabled != 0);

    private VpnInstance Read(InstanceRow row) => new()
    {
        ProfileNumber = (uint)row.profile_number,
        Nai = row.nai,
        UserSpecific = row.user_specific != 0,
        Destination = IPNetwork.Parse(row.destination),
        UpClass = (int)row.up_class,
        DownClass = (int)row.down_class,
        UpSpi = (uint?)row.up_spi,
        DownSpi = (uint?)row.down_spi,
        SecurityType = (SecurityType)row.security_type,
        Algorithm = (IpsecAlgorithm)row.algorithm,
        ContractAlgorithm = (IpsecAlgorithm?)row.contract_algorithm,
        ContractKeys = row.contract_sealed is null ? null : Unpack(database.Seal.Open(row.contract_sealed, ContractPlace((uint)row.profile_number))),
        Route = (RoutePreference)row.route,
        Trigger = (ProfileTrigger)row.trigger_on,
        Enabled = row.enabled != 0,
    };

    private static string ContractPlace(uint profile) => string.Create(CultureInfo.InvariantCulture, $"vpn_instance/{profile}/contract");

    private static byte[] Pack(ProfileKeying.Contract keys)
    {
        KeyMaterial[] parts = [keys.Up.Encryption, keys.Up.Authentication, keys.Down.Encryption, keys.Down.Authentication];
        var packed = new byte[parts.Sum(p => 2 + p.Length)];
        var rest = packed.AsSpan();
        foreach (var part in parts)
        {
            BinaryPrimitives.WriteUInt16BigEndian(rest, (ushort)part.Length);
            part.Octets.CopyTo(rest[2..]);
            rest = rest[(2 + part.Length)..];
        }

        return packed;
    }

    private static ProfileKeying.Contract Unpack(ReadOnlySpan<byte> packed)
    {
        var parts = new KeyMaterial[4];
        for (var i = 0; i < parts.Length; i++)
        {
            var length = BinaryPrimitives.ReadUInt16BigEndian(packed);
            parts[i] = new KeyMaterial(packed.Slice(2, length));
            packed = packed[(2 + length)..];
        }

        return new ProfileKeying.Contract(new AssociationKeys(parts[0], parts[1]), new AssociationKeys(parts[2], parts[3]));
    }

    private void Release() => database.Gate.Exit();

    private sealed class Reading(SubscriberStore store) : IDisposable
    {
        public void Dispose()
        {
            try
            {
                store._end.Execute();
            }
            finally
            {
                store.Release();
            }
        }
    }

    // Dapper fills these by column name.
#pragma warning disable IDE1006
    private sealed record SubscriberRow(string nai, long mn_aaa_spi, byte[] mn_aaa_sealed, string? home_address, string? home_agent, long enabled);

    private sealed record InstanceRow(
        long profile_number, string nai, long user_specific, string destination, long up_class, long down_class, long? up_spi, long? down_spi,
        long security_type, long algorithm, long? contract_algorithm, byte[]? contract_sealed, long route, long trigger_on, long enabled);
#pragma warning restore IDE1006
}
