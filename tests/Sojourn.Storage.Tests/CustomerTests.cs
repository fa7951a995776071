using System.Net;
using System.Security.Cryptography;
using System.Text;
using Dapper;
using Sojourn.Engine;
using Sojourn.Storage.Customers;
using Sojourn.Storage.Provisioning;
using Xunit;

namespace Sojourn.Storage.Tests;

public sealed class CustomerTests : IDisposable
{
    private const string Alice = "alice@home.example";
    private const string Password = "correct horse battery";
    private static readonly string Hash = CustomerPassword.Hash(Password);

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("sojourn-customer-");
    private readonly Database _database;
    private readonly SubscriberStore _store;

    public CustomerTests()
    {
        _database = Database.Open(At("subscribers.db"));
        _store = new SubscriberStore(_database, TimeProvider.System, "cli:root");
        foreach (var nai in new[] { Alice, "bob@home.example" })
        {
            _store.Put(new Subscriber(nai, 0x200, new KeyMaterial(RandomNumberGenerator.GetBytes(32)), null, null, true));
        }

        _store.Put(new VpnInstance { ProfileNumber = 1, Nai = Alice, UserSpecific = true, Destination = IPNetwork.Parse("192.168.60.0/24") });
        _store.Put(new VpnInstance { ProfileNumber = 2, Nai = "bob@home.example", UserSpecific = true, Destination = IPNetwork.Parse("192.168.60.0/24") });
    }

    public void Dispose()
    {
        _database.Dispose();
        _directory.Delete(recursive: true);
    }

    [Fact]
    public void Only_the_password_that_was_set_is_right_and_every_hash_has_its_own_salt()
    {
        Assert.True(CustomerPassword.Verify(Password, Hash));
        Assert.False(CustomerPassword.Verify(Password + " ", Hash));
        Assert.False(CustomerPassword.Verify("", Hash));
        Assert.False(CustomerPassword.Verify(Password, null));
        Assert.NotEqual(Hash, CustomerPassword.Hash(Password));
    }

    [Theory]
    [InlineData("")]
    [InlineData("pbkdf2-sha512:1:AAAAAAAAAAAAAAAAAAAAAA==:AAAA")]
    [InlineData("pbkdf2-sha512:2147483647:AAAAAAAAAAAAAAAAAAAAAA==:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
    [InlineData("md5:210000:AAAAAAAAAAAAAAAAAAAAAA==:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
    [InlineData("pbkdf2-sha512:210000:!:!")]
    public void A_text_that_is_no_sound_hash_is_right_for_no_password(string stored)
    {
        Assert.False(CustomerPassword.IsHash(stored));
        Assert.False(CustomerPassword.Verify("", stored));
        Assert.Throws<StorageException>(() => _store.SetPasswordHash(Alice, stored));
    }

    [Theory]
    [InlineData("short", "10 to 128")]
    [InlineData("aaaaaaaaaaaaaaaa", "repeats")]
    [InlineData("correct\nhorse battery", "control")]
    public void A_weak_password_is_refused_with_the_reason(string password, string reason) =>
        Assert.Contains(reason, CustomerPassword.Fault(password));

    [Fact]
    [Trait("Row", "NV-A32")]
    public void Not_even_the_hash_stands_in_clear_in_the_files()
    {
        _store.SetPasswordHash(Alice, Hash);
        Assert.Equal(Hash, _store.FindCustomer("alice@HOME.example")!.PasswordHash);
        _database.Connection.Execute("PRAGMA wal_checkpoint(FULL)");
        foreach (var file in _directory.GetFiles())
        {
            var text = Encoding.Latin1.GetString(File.ReadAllBytes(file.FullName));
            Assert.DoesNotContain("pbkdf2", text);
            Assert.DoesNotContain(Password, text);
        }

        _store.SetPasswordHash(Alice, null);
        Assert.Null(_store.FindCustomer(Alice)!.PasswordHash);
    }

    [Fact]
    public void Password_and_allowance_outlive_a_change_of_the_subscriber_and_go_with_it()
    {
        var allowance = new CustomerAllowance([IPNetwork.Parse("10.4.0.0/24"), IPNetwork.Parse("192.168.50.0/24")], [SecurityType.Esp, SecurityType.Ah], 3);
        _store.SetPasswordHash(Alice, Hash);
        _store.PutAllowance(Alice, allowance);
        _store.Put(_store.FindSubscriber(Alice)! with { HomeAgent = "ha2.home.example" });
        var found = _store.FindCustomer(Alice)!;
        Assert.Equal(Hash, found.PasswordHash);
        Assert.Equal(allowance.Destinations, found.Allowance.Destinations);
        Assert.Equal(allowance.SecurityTypes, found.Allowance.SecurityTypes);
        Assert.Equal(3, found.Allowance.HighestClass);

        _store.RemoveSubscriber(Alice);
        Assert.Null(_store.FindCustomer(Alice));
        Assert.Equal(0, _database.Connection.ExecuteScalar<long>("SELECT count(*) FROM allowed_destination"));
    }

    [Fact]
    public void Nothing_is_allowed_until_the_provider_says_so()
    {
        var account = _store.FindCustomer(Alice)!;
        Assert.Null(account.PasswordHash);
        Assert.Empty(account.Allowance.Destinations);
        Assert.Empty(account.Allowance.SecurityTypes);
        Assert.Equal(0, account.Allowance.HighestClass);
        Assert.Throws<StorageException>(() => _store.PutAllowance("nobody@home.example", CustomerAllowance.Nothing));
        Assert.Throws<StorageException>(() => _store.PutAllowance(Alice, new CustomerAllowance([], [], 6)));
    }

    [Fact]
    [Trait("Row", "NV7.1")]
    public void A_customer_changes_an_own_profile_and_the_trail_says_who_where_old_and_new()
    {
        var done = _store.ChangeOwnProfile(Alice, 1, "192.0.2.7", before => before.Profile with { Destination = IPNetwork.Parse("10.4.0.9/32"), UpClass = 2 });
        Assert.Equal("10.4.0.9/32", done!.Value.After.Destination.ToString());
        Assert.Equal("10.4.0.9/32", _store.FindVpns(Alice).Single().Destination.ToString());
        var entry = _store.Audit(1).Single();
        Assert.Equal(("console:alice@home.example", "profile.change", "1"), (entry.Actor, entry.Action, entry.Object));
        Assert.Equal("from 192.0.2.7: destination 192.168.60.0/24 -> 10.4.0.9/32, up-class 0 -> 2", entry.Detail);
    }

    [Fact]
    [Trait("Row", "NV-A14")]
    public void Another_users_profile_cannot_be_changed_and_is_not_even_shown()
    {
        var asked = false;
        var before = _store.VpnInstances("bob@home.example").Single();
        Assert.Null(_store.ChangeOwnProfile(Alice, 2, "192.0.2.7", profile =>
        {
            asked = true;
            return profile.Profile with { UpClass = 5 };
        }));
        Assert.Null(_store.ChangeOwnProfile(Alice, 3, "192.0.2.7", _ => null));
        Assert.False(asked);
        Assert.Equal(before, _store.VpnInstances("bob@home.example").Single());
        Assert.DoesNotContain(_store.Audit(100), e => e.Action == "profile.change");
    }

    [Fact]
    public void A_change_that_breaks_a_rule_or_changes_nothing_writes_nothing()
    {
        var before = _store.FindVpns(Alice).Single();
        Assert.Throws<StorageException>(() => _store.ChangeOwnProfile(Alice, 1, "192.0.2.7", p => p.Profile with { UpClass = 6 }));
        Assert.Throws<StorageException>(() => _store.ChangeOwnProfile(Alice, 1, "192.0.2.7", p => p.Profile with { Nai = "bob@home.example" }));
        Assert.NotNull(_store.ChangeOwnProfile(Alice, 1, "192.0.2.7", p => p.Profile));
        Assert.NotNull(_store.ChangeOwnProfile(Alice, 1, "192.0.2.7", _ => null));
        Assert.Equal(before, _store.FindVpns(Alice).Single());
        Assert.DoesNotContain(_store.Audit(100), e => e.Action == "profile.change");
    }

    [Fact]
    public void Export_and_import_carry_password_and_allowance_and_an_import_without_them_leaves_both()
    {
        _store.SetPasswordHash(Alice, Hash);
        _store.PutAllowance(Alice, new CustomerAllowance([IPNetwork.Parse("10.4.0.0/24")], [SecurityType.Ah], 4));
        var file = At("export.yaml");
        File.WriteAllText(file, ProvisioningFile.Export(_store, At("keys")));
        Assert.DoesNotContain("pbkdf2", File.ReadAllText(file));

        using var second = Database.Open(At("second.db"));
        var copy = new SubscriberStore(second, TimeProvider.System);
        ProvisioningFile.Import(file, copy);
        var found = copy.FindCustomer(Alice)!;
        Assert.Equal(Hash, found.PasswordHash);
        Assert.Equal("10.4.0.0/24", Assert.Single(found.Allowance.Destinations).ToString());
        Assert.Equal([SecurityType.Ah], found.Allowance.SecurityTypes);
        Assert.Equal(4, found.Allowance.HighestClass);
        Assert.Null(copy.FindCustomer("bob@home.example")!.PasswordHash);

        var lines = File.ReadAllLines(file).Where(l => !l.Contains("password-hash-file"));
        File.WriteAllLines(file, lines);
        ProvisioningFile.Import(file, copy);
        Assert.Equal(Hash, copy.FindCustomer(Alice)!.PasswordHash);

        File.WriteAllText(file, File.ReadAllText(file).Replace("highest-class: 4", "highest-class: 9"));
        Assert.Contains("users[0].allowed.highest-class", Assert.Throws<StorageException>(() => ProvisioningFile.Import(file, copy)).Message);
    }

    [Fact]
    public void A_database_of_the_first_version_gains_the_customer_page_and_keeps_a_copy()
    {
        var old = At("old.db");
        using (var database = Database.Open(old))
        {
            new SubscriberStore(database, TimeProvider.System).Put(_store.FindSubscriber(Alice)!);
            database.Connection.Execute("DROP TABLE prefix_lease; DROP TABLE prefix_identity; DROP TABLE withdrawal_receiver; DROP TABLE withdrawal; DROP TABLE cmp_transaction; DROP TABLE prefix_permission; DROP TABLE certificate; DROP TABLE enrolment_secret; DROP TABLE certified_identifier; DROP TABLE authority_number; DROP TABLE authority; DROP TRIGGER vpn_instance_added; DROP TRIGGER vpn_instance_changed; DROP TRIGGER vpn_instance_removed; DROP TABLE vpn_change; DROP TABLE usage_profile; DROP TABLE usage_record; DROP TABLE allowed_destination; ALTER TABLE subscriber DROP COLUMN password_sealed; ALTER TABLE subscriber DROP COLUMN allowed_security; ALTER TABLE subscriber DROP COLUMN highest_class; PRAGMA user_version = 1");
        }

        using var again = Database.Open(old);
        Assert.NotNull(new SubscriberStore(again, TimeProvider.System).FindCustomer(Alice));
        Assert.True(File.Exists(old + ".before-2"));
    }

    private string At(string name) => Path.Combine(_directory.FullName, name);
}
