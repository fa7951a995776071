using System.Net;
using Microsoft.Data.Sqlite;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Wire.Dhcpv6;
using Xunit;

namespace Sojourn.Storage.Tests;

public sealed class PrefixStoreTests : IDisposable
{
    private static readonly AssociationKey Key = new(Duid.OfLinkLayer(1, [2, 0, 0, 0, 0, 1]), uint.MaxValue);
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("sojourn-storage-");

    private string DatabasePath => Path.Combine(_directory.FullName, "node.db");

    public void Dispose() => _directory.Delete(recursive: true);

    [Fact]
    public void Leases_come_back_as_they_were_stored_with_the_engines_other_state()
    {
        var lease = Lease(Key, "2001:db8:8000:1::/64");
        var ended = Lease(Key with { Iaid = 2 }, "2001:db8:8000:2::/64") with { State = LeaseState.Expired, Interface = null, RenewAt = null, RebindAt = null, Certificate = null };
        using (var database = Database.Open(DatabasePath))
        {
            new StateStore(database).Apply([new StoreLease(Lease(Key, "2001:db8:8000:9::/64")), new StoreLease(ended), new StoreLease(lease), new StoreLease(Lease(Key with { Iaid = 3 }, "2001:db8:8000:3::/64")), new RemoveLease(Key with { Iaid = 3 })]);
        }

        using var again = Database.Open(DatabasePath);
        Assert.Equal([ended, lease], new PrefixLeaseStore(again).LoadAll().OrderBy(l => l.Key.Iaid));
    }

    [Fact]
    public void A_prefix_never_belongs_to_two_associations_and_nothing_of_the_batch_is_kept()
    {
        using var database = Database.Open(DatabasePath);
        var store = new StateStore(database);
        Assert.Throws<SqliteException>(() => store.Apply([new StoreLease(Lease(Key, "2001:db8:8000:1::/64")), new StoreLease(Lease(Key with { Iaid = 2 }, "2001:db8:8000:1::/64"))]));
        Assert.Empty(new PrefixLeaseStore(database).LoadAll());
    }

    [Fact]
    public void Identities_are_found_by_DUID_and_IAID_and_changes_of_others_count_at_once()
    {
        using var database = Database.Open(DatabasePath);
        var store = new PrefixIdentityStore(database, TimeProvider.System);
        Assert.Null(store.Find(Key));
        using (var other = Database.Open(DatabasePath))
        {
            new PrefixIdentityStore(other, TimeProvider.System, "cli:ops").Put([new PrefixIdentity(Key, "MN1.Home.Example.", IdentityOrigin.Provisioned, ["2001:db8::1", "*"])]);
        }

        var found = store.Find(Key)!;
        Assert.Equal(("mn1.home.example", IdentityOrigin.Provisioned), (found.Identifier, found.Origin));
        Assert.Equal(["2001:db8::1", "*"], found.Relays);
        Assert.Null(store.Find(Key with { Iaid = 1 }));
        Assert.Equal(Key, Assert.Single(store.List()).Key);
        Assert.Equal(("cli:ops", "prefix.put"), (store.Audit(1)[0].Actor, store.Audit(1)[0].Action));
        Assert.True(store.Remove(Key));
        Assert.False(store.Remove(Key));
        Assert.Null(store.Find(Key));
    }

    [Fact]
    public void A_bad_row_of_an_import_keeps_all_of_it_out()
    {
        using var database = Database.Open(DatabasePath);
        var store = new PrefixIdentityStore(database, TimeProvider.System);
        Assert.Throws<StorageException>(() => store.Put([new PrefixIdentity(Key, "mn1", IdentityOrigin.Provisioned, []), new PrefixIdentity(Key with { Iaid = 1 }, " ", IdentityOrigin.Provisioned, [])]));
        Assert.Empty(store.List());
    }

    private static PrefixLease Lease(AssociationKey key, string prefix) => new(key, "mn1.home.example", IPNetwork.Parse(prefix))
    {
        State = LeaseState.Allocated,
        Location = "interface acc0",
        NextHop = IPAddress.Parse("fe80::1"),
        Interface = "acc0",
        Granted = DateTimeOffset.FromUnixTimeMilliseconds(1),
        PreferredUntil = DateTimeOffset.FromUnixTimeMilliseconds(2_000_000_000_002),
        ValidUntil = DateTimeOffset.FromUnixTimeMilliseconds(2_000_000_000_003),
        RenewAt = DateTimeOffset.FromUnixTimeMilliseconds(4),
        RebindAt = DateTimeOffset.FromUnixTimeMilliseconds(5),
        Certificate = "0a",
    };
}
