using System.Net;
using Dapper;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Storage;

/// <summary>The prefix control table of a delegating router in the node's database.</summary>
public sealed class PrefixLeaseStore(Database database) : IPrefixLeases
{
    private const string Upsert = """
        INSERT INTO prefix_lease (duid, iaid, identifier, prefix, state, location, next_hop, interface, granted, preferred_until, valid_until, renew_at, rebind_at, certificate)
        VALUES (@duid, @iaid, @identifier, @prefix, @state, @location, @next_hop, @interface, @granted, @preferred_until, @valid_until, @renew_at, @rebind_at, @certificate)
        ON CONFLICT (duid, iaid) DO UPDATE SET identifier = excluded.identifier, prefix = excluded.prefix, state = excluded.state, location = excluded.location,
            next_hop = excluded.next_hop, interface = excluded.interface, granted = excluded.granted, preferred_until = excluded.preferred_until,
            valid_until = excluded.valid_until, renew_at = excluded.renew_at, rebind_at = excluded.rebind_at, certificate = excluded.certificate
        """;

    private const string Delete = "DELETE FROM prefix_lease WHERE duid = @duid AND iaid = @iaid";

    private readonly PreparedCommand _upsert = new(database, Upsert);
    private readonly PreparedCommand _delete = new(database, Delete);

    /// <exception cref="StorageException">A row cannot be read.</exception>
    public IReadOnlyList<PrefixLease> LoadAll()
    {
        lock (database.Gate)
        {
            using var reader = database.Connection.ExecuteReader("SELECT * FROM prefix_lease");
            var leases = new List<PrefixLease>();
            while (reader.Read())
            {
                var duid = (byte[])reader["duid"];
                var prefix = (byte[])reader["prefix"];
                if (!Duid.TryParse(duid, out var client, out _) || prefix.Length != 17)
                {
                    throw new StorageException($"a row of prefix_lease cannot be read: duid {Convert.ToHexStringLower(duid)}");
                }

                leases.Add(new PrefixLease(
                    new AssociationKey(client, (uint)(long)reader["iaid"]), (string)reader["identifier"], new IPNetwork(new IPAddress(prefix.AsSpan(0, 16)), prefix[16]))
                {
                    State = (LeaseState)(long)reader["state"],
                    Location = (string)reader["location"],
                    NextHop = new IPAddress((byte[])reader["next_hop"]),
                    Interface = reader["interface"] as string,
                    Granted = Time(reader["granted"]),
                    PreferredUntil = Time(reader["preferred_until"])!.Value,
                    ValidUntil = Time(reader["valid_until"])!.Value,
                    RenewAt = Time(reader["renew_at"]),
                    RebindAt = Time(reader["rebind_at"]),
                    Certificate = reader["certificate"] as string,
                });
            }

            return leases;
        }
    }

    /// <summary>Carries out changes of their own; an engine's come with its other state (<see cref="StateStore.Apply"/>).</summary>
    public void Apply(IEnumerable<LeaseChange> changes)
    {
        lock (database.Gate)
        {
            using var transaction = database.Connection.BeginTransaction();
            foreach (var change in changes)
            {
                Put(change);
            }

            transaction.Commit();
        }
    }

    /// <summary>In the transaction that is open, under the database's gate.</summary>
    internal void Put(LeaseChange change)
    {
        switch (change)
        {
            case StoreLease { Lease: var lease }:
                var prefix = new byte[17];
                lease.Prefix.BaseAddress.TryWriteBytes(prefix, out _);
                prefix[16] = (byte)lease.Prefix.PrefixLength;
                _upsert.Execute(
                    lease.Key.Client.Octets.ToArray(), (long)lease.Key.Iaid, lease.Identifier, prefix, (long)lease.State, lease.Location, lease.NextHop.GetAddressBytes(), lease.Interface,
                    Time(lease.Granted), Time(lease.PreferredUntil), Time(lease.ValidUntil), Time(lease.RenewAt), Time(lease.RebindAt), lease.Certificate);
                break;
            case RemoveLease { Key: var key }:
                _delete.Execute(key.Client.Octets.ToArray(), (long)key.Iaid);
                break;
        }
    }

    private static object? Time(DateTimeOffset? time) => time?.ToUnixTimeMilliseconds();

    private static DateTimeOffset? Time(object value) => value is long milliseconds ? DateTimeOffset.FromUnixTimeMilliseconds(milliseconds) : null;
}
