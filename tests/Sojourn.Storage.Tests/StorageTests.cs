using System.Net;
using System.Security.Cryptography;
using Dapper;
using Microsoft.Data.Sqlite;
using Sojourn.Engine;
using Sojourn.Storage.Provisioning;
using Xunit;

namespace Sojourn.Storage.Tests;

public sealed class StorageTests : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("sojourn-storage-");

    private string DatabasePath => Path.Combine(_directory.FullName, "subscribers.db");

    public void Dispose() => _directory.Delete(recursive: true);

    [Fact]
    [Trait("Row", "NV-A17")]
    [Trait("Row", "R19")]
    public void A_vpn_instance_comes_back_with_every_field_of_3_1()
    {
        using var database = Database.Open(DatabasePath);
        var store = new SubscriberStore(database, TimeProvider.System);
        store.Put(Alice());
        var instance = ContractInstance();
        store.Put(instance);

        var found = Assert.Single(store.FindVpns("alice@HOME.example"));
        Assert.Equal(instance with { ContractKeys = found.ContractKeys }, found);
        Assert.Equal(instance.ContractKeys!.Up, found.ContractKeys!.Up);
        Assert.Equal(instance.ContractKeys.Down, found.ContractKeys.Down);
        Assert.Equal(Alice(), store.FindSubscriber("alice@home.example"));
    }

    [Fact]
    public void The_realm_of_an_NAI_ignores_case_and_the_user_part_does_not()
    {
        using var database = Database.Open(DatabasePath);
        var store = new SubscriberStore(database, TimeProvider.System);
        store.Put(Alice());
        Assert.NotNull(store.FindSubscriber("alice@Home.Example"));
        Assert.Null(store.FindSubscriber("Alice@home.example"));
        Assert.Null(store.FindSubscriber("alice"));
    }

    [Fact]
    public void Whose_data_have_changed_is_read_on_from_a_position_whoever_wrote_them()
    {
        using var database = Database.Open(DatabasePath);
        using var other = Database.Open(DatabasePath);
        var (store, page) = (new SubscriberStore(database, TimeProvider.System), new SubscriberStore(other, TimeProvider.System));
        page.Put(Alice());
        page.Put(ContractInstance());
        var (position, none) = store.VpnChanges(null);
        Assert.Empty(none);
        Assert.Empty(store.VpnChanges(position).Users);
        page.Put(ContractInstance() with { UpClass = 3 });
        page.Put(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.90.0/24"), IPAddress.Parse("10.0.9.2"), GatewayType.Dynamic));
        var (next, users) = store.VpnChanges(position);
        Assert.Equal(["alice@home.example"], users);
        page.RemoveVpn(ContractInstance().ProfileNumber);
        Assert.Equal(["alice@home.example"], store.VpnChanges(next).Users);
        Assert.Empty(store.VpnChanges(store.VpnChanges(next).Position).Users);
    }

    [Fact]
    public void Disabled_instances_are_kept_but_not_found()
    {
        using var database = Database.Open(DatabasePath);
        var store = new SubscriberStore(database, TimeProvider.System);
        store.Put(Alice());
        store.Put(ContractInstance() with { Enabled = false });
        Assert.Empty(store.FindVpns("alice@home.example"));
        Assert.Single(store.VpnInstances("alice@home.example"));
    }

    [Fact]
    [Trait("Row", "NV-A32")]
    [Trait("Row", "M14")]
    public void No_secret_stands_in_clear_in_any_file_of_the_database()
    {
        using (var database = Database.Open(DatabasePath))
        {
            var store = new SubscriberStore(database, TimeProvider.System);
            store.Put(Alice());
            store.Put(ContractInstance());
            new StateStore(database).Save(new StateKey("bindings", "a"), Secret(7, 40).Octets.ToArray());
        }

        foreach (var file in _directory.GetFiles().Where(f => !f.Name.EndsWith("seal-key", StringComparison.Ordinal)))
        {
            var octets = File.ReadAllBytes(file.FullName);
            foreach (var secret in (KeyMaterial[])[Secret(1, 32), Secret(2, 16), Secret(3, 32), Secret(4, 16), Secret(5, 32), Secret(7, 40)])
            {
                Assert.Equal(-1, octets.AsSpan().IndexOf(secret.Octets));
                Assert.Equal(-1, octets.AsSpan().IndexOf(System.Text.Encoding.ASCII.GetBytes(Convert.ToHexStringLower(secret.Octets))));
            }
        }
    }

    [Fact]
    public void A_sealed_value_moved_to_another_row_does_not_open()
    {
        using var database = Database.Open(DatabasePath);
        var state = new StateStore(database);
        state.Save(new StateKey("bindings", "a"), new byte[] { 1, 2, 3 });
        database.Connection.Execute("UPDATE engine_state SET key = 'b'");
        var error = Assert.Throws<StorageException>(state.LoadAll);
        Assert.Contains("engine_state/bindings/b", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_box_has_a_nonce_of_its_own_and_opens_in_a_later_life()
    {
        var key = Secret(9, 32);
        var first = new Seal(key);
        var boxes = Enumerable.Range(0, 50).Select(i => first.Close([(byte)i], $"row/{i}")).ToList();
        var other = new Seal(key).Close([1, 2, 3], "row/0");
        Assert.Equal(51, boxes.Append(other).Select(box => Convert.ToHexString(box.AsSpan(0, 45))).Distinct().Count());
        var later = new Seal(key);
        Assert.All(Enumerable.Range(0, 50), i => Assert.Equal([(byte)i], later.Open(boxes[i], $"row/{i}")));
        Assert.Equal([1, 2, 3], later.Open(other, "row/0"));
        for (var at = 0; at < boxes[0].Length; at++)
        {
            var damaged = boxes[0].ToArray();
            damaged[at] ^= 1;
            Assert.Throws<StorageException>(() => later.Open(damaged, "row/0"));
            Assert.Throws<StorageException>(() => later.Open(boxes[0].AsSpan(0, at), "row/0"));
        }
    }

    [Fact]
    public void A_box_of_the_first_version_still_opens()
    {
        // Version 1 || salt || tag || ciphertext, a key for each box under "sojourn seal v1", nonce zero.
        var master = Secret(9, 32);
        var salt = RandomNumberGenerator.GetBytes(32);
        var box = new byte[1 + 32 + 16 + 3];
        box[0] = 1;
        salt.CopyTo(box, 1);
        using var cipher = new AesGcm(HKDF.DeriveKey(HashAlgorithmName.SHA256, master.Octets.ToArray(), 32, salt, "sojourn seal v1"u8.ToArray()), 16);
        cipher.Encrypt(new byte[12], [7, 8, 9], box.AsSpan(49), box.AsSpan(33, 16), "row/1"u8);
        Assert.Equal([7, 8, 9], new Seal(master).Open(box, "row/1"));
        Assert.Throws<StorageException>(() => new Seal(master).Open(box, "row/2"));
    }

    [Fact]
    public void Another_sealing_key_is_refused_with_the_place_named()
    {
        using (var database = Database.Open(DatabasePath))
        {
            new SubscriberStore(database, TimeProvider.System).Put(Alice());
        }

        File.WriteAllText(DatabasePath + ".seal-key", Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32)));
        using var again = Database.Open(DatabasePath);
        var error = Assert.Throws<StorageException>(() => new SubscriberStore(again, TimeProvider.System).FindSubscriber("alice@home.example"));
        Assert.Contains("subscriber/alice@home.example/mn-aaa", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_sealing_key_that_others_can_read_is_refused()
    {
        Database.Open(DatabasePath).Dispose();
        File.SetUnixFileMode(DatabasePath + ".seal-key", UnixFileMode.UserRead | UnixFileMode.OtherRead);
        Assert.Contains("chmod 600", Assert.Throws<StorageException>(() => Database.Open(DatabasePath)).Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Row", "NV-A32")]
    public void A_contract_with_a_counter_mode_cipher_is_refused()
    {
        using var database = Database.Open(DatabasePath);
        var store = new SubscriberStore(database, TimeProvider.System);
        store.Put(Alice());
        var error = Assert.Throws<StorageException>(() => store.Put(ContractInstance() with { ContractAlgorithm = IpsecAlgorithm.Aes128Gcm16 }));
        Assert.Contains("M5", error.Message, StringComparison.Ordinal);
        Assert.Empty(store.VpnInstances());
    }

    public static TheoryData<string, VpnInstance> BrokenInstances() => new()
    {
        { "reserved", ContractInstance() with { UpSpi = 255 } },
        { "class out of range", ContractInstance() with { UpClass = 6 } },
        { "does not fit", ContractInstance() with { SecurityType = SecurityType.Ah, ContractKeys = null, ContractAlgorithm = null } },
        { "need up-spi", ContractInstance() with { DownSpi = null } },
        { "different keys", ContractInstance() with { ContractKeys = new(ContractInstance().ContractKeys!.Up, ContractInstance().ContractKeys!.Up) } },
        { "contract keys have", ContractInstance() with { ContractAlgorithm = IpsecAlgorithm.Aes256CbcHmacSha256 } },
        { "is not known", ContractInstance() with { Nai = "bob@home.example" } },
        { "must be user@realm", ContractInstance() with { Nai = "bob" } },
        { "profile number 0", ContractInstance() with { ProfileNumber = 0 } },
    };

    [Theory]
    [MemberData(nameof(BrokenInstances))]
    public void A_wrong_instance_is_refused_with_its_reason_and_changes_nothing(string reason, VpnInstance instance)
    {
        using var database = Database.Open(DatabasePath);
        var store = new SubscriberStore(database, TimeProvider.System);
        store.Put(Alice());
        var audited = new AuditTrail(database, TimeProvider.System).Latest().Count;
        Assert.Contains(reason, Assert.Throws<StorageException>(() => store.Put(instance)).Message, StringComparison.Ordinal);
        Assert.Empty(store.VpnInstances());
        Assert.Equal(audited, new AuditTrail(database, TimeProvider.System).Latest().Count);
    }

    [Fact]
    public void A_home_address_belongs_to_one_subscriber()
    {
        using var database = Database.Open(DatabasePath);
        var store = new SubscriberStore(database, TimeProvider.System);
        store.Put(Alice());
        var error = Assert.Throws<StorageException>(() => store.Put(Alice() with { Nai = "bob@home.example" }));
        Assert.Contains("another subscriber's", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_version_moves_when_another_process_provisions()
    {
        using var served = Database.Open(DatabasePath);
        var reader = new SubscriberStore(served, TimeProvider.System);
        Assert.Empty(reader.CorrespondentGateways);
        var before = reader.Version;
        using (var cli = Database.Open(DatabasePath))
        {
            new SubscriberStore(cli, TimeProvider.System).Put(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.50.0/24"), IPAddress.Parse("10.0.5.2"), GatewayType.Static));
        }

        Assert.NotEqual(before, reader.Version);
        Assert.Single(reader.CorrespondentGateways);
    }

    [Fact]
    [Trait("Row", "M5")]
    public void Sequence_floors_survive_a_restart_and_never_go_down()
    {
        using (var database = Database.Open(DatabasePath))
        {
            var state = new StateStore(database);
            state.ChangeSequenceFloors([KeyValuePair.Create("ha-sgw", 5000UL), KeyValuePair.Create("out:left", 7UL)], []);
            state.ChangeSequenceFloors([KeyValuePair.Create("ha-sgw", 10UL)], ["out:left", "unknown"]);
        }

        using var again = Database.Open(DatabasePath);
        Assert.Equal(new Dictionary<string, ulong> { ["ha-sgw"] = 5000 }, new StateStore(again).SequenceFloors());
    }

    [Fact]
    public void State_is_saved_dropped_and_restored_sealed()
    {
        using (var database = Database.Open(DatabasePath))
        {
            var state = new StateStore(database);
            state.Apply([
                new SaveState(new StateKey("bindings", "a"), new byte[] { 1 }),
                new SaveState(new StateKey("bindings", "b"), new byte[] { 2 }),
                new SaveState(new StateKey("bindings", "a"), new byte[] { 3 }),
                new DropState(new StateKey("bindings", "b")),
            ]);
        }

        using var again = Database.Open(DatabasePath);
        var saved = Assert.Single(new StateStore(again).LoadAll());
        Assert.Equal(new StateKey("bindings", "a"), saved.Key);
        Assert.Equal([3], saved.Value.ToArray());
    }

    [Fact]
    public void The_audit_trail_names_every_change_and_cannot_be_rewritten()
    {
        using var database = Database.Open(DatabasePath);
        var store = new SubscriberStore(database, TimeProvider.System, "cli:root");
        store.Put(Alice());
        store.RemoveSubscriber("alice@home.example");
        Assert.False(store.RemoveSubscriber("nobody@home.example"));
        var entries = new AuditTrail(database, TimeProvider.System).Latest();
        Assert.Equal(["user.remove", "user.put"], entries.Select(e => e.Action));
        Assert.All(entries, e => Assert.Equal("cli:root", e.Actor));
        Assert.Throws<SqliteException>(() => database.Connection.Execute("DELETE FROM audit"));
        Assert.Throws<SqliteException>(() => database.Connection.Execute("UPDATE audit SET actor = 'x'"));
    }

    [Fact]
    public void A_database_of_a_newer_program_is_refused()
    {
        using (var database = Database.Open(DatabasePath))
        {
            database.Connection.Execute("PRAGMA user_version = 99");
        }

        Assert.Contains("newer version", Assert.Throws<StorageException>(() => Database.Open(DatabasePath)).Message, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Row", "NV1.3")]
    [Trait("Row", "NV4.1")]
    [Trait("Row", "R48")]
    public void An_export_imported_elsewhere_gives_the_same_database()
    {
        using var database = Database.Open(DatabasePath);
        var store = new SubscriberStore(database, TimeProvider.System);
        store.Put(Alice());
        store.Put(ContractInstance());
        store.Put(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.50.0/24"), IPAddress.Parse("10.0.5.2"), GatewayType.Static, "company"));
        store.Put(new CorrespondentGatewayRow(IPNetwork.Parse("192.168.60.0/24"), IPAddress.Parse("10.0.6.2"), GatewayType.Dynamic));
        store.PutPartner("visited.example");
        var file = Path.Combine(_directory.FullName, "export.yaml");
        File.WriteAllText(file, ProvisioningFile.Export(store, Path.Combine(_directory.FullName, "keys")));
        Assert.DoesNotContain(Convert.ToHexStringLower(Secret(1, 32).Octets), File.ReadAllText(file), StringComparison.OrdinalIgnoreCase);

        using var other = Database.Open(Path.Combine(_directory.FullName, "other.db"));
        var copy = new SubscriberStore(other, TimeProvider.System);
        Assert.Equal(new ImportSummary(1, 1, 2, 1), ProvisioningFile.Import(file, copy));
        Assert.Equal(store.Subscribers(), copy.Subscribers());
        Assert.Equal(store.CorrespondentGateways, copy.CorrespondentGateways);
        Assert.Equal(store.RoamingPartners, copy.RoamingPartners);
        Assert.Equal(store.VpnInstances().Single().ContractKeys, copy.VpnInstances().Single().ContractKeys);
    }

    [Theory]
    [InlineData("users:\n  - nai: alice@home.example\n    adress: 1\n", ":3:5:", "adress")]
    [InlineData("gateways:\n  - correspondents: 192.168.50.1/24\n    gateway: 10.0.5.2\n", "gateways[0].correspondents", "zero host bits")]
    [InlineData("gateways:\n  - correspondents: 192.168.50.0/24\n    gateway: nowhere\n", "gateways[0].gateway", "not an IP address")]
    [InlineData("gateways:\n  - correspondents: 192.168.50.0/24\n    gateway: 10.0.5.2\n    type: sometimes\n", "gateways[0].type", "allowed: static, dynamic")]
    [InlineData("users:\n  - nai: alice\n    mn-aaa-spi: 0x200\n", "users[0]", "user@realm")]
    [InlineData("users:\n  - nai: alice@home.example\n    mn-aaa-spi: 12\n", "mn-aaa-spi", "256 to 4294967295")]
    [InlineData("users:\n  - nai: alice@home.example\n    mn-aaa-spi: 0x200\n    mn-aaa-key-file: missing\n", "mn-aaa-key-file", "does not exist")]
    public void A_wrong_import_names_the_place_and_writes_nothing(string yaml, string place, string reason)
    {
        using var database = Database.Open(DatabasePath);
        var store = new SubscriberStore(database, TimeProvider.System);
        var file = Path.Combine(_directory.FullName, "import.yaml");
        File.WriteAllText(file, yaml);
        var error = Assert.Throws<StorageException>(() => ProvisioningFile.Import(file, store));
        Assert.Contains(place, error.Message, StringComparison.Ordinal);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.Empty(store.Subscribers());
        Assert.Empty(store.CorrespondentGateways);
    }

    private static KeyMaterial Secret(byte seed, int length) => new([.. Enumerable.Range(0, length).Select(i => (byte)(seed * 31 + i * 7))]);

    private static Subscriber Alice() => new("alice@home.example", 0x200, Secret(1, 32), IPAddress.Parse("10.99.0.10"), "ha.home.example", true);

    private static VpnInstance ContractInstance() => new()
    {
        ProfileNumber = 7,
        Nai = "alice@home.example",
        UserSpecific = true,
        Destination = IPNetwork.Parse("192.168.50.0/24"),
        UpClass = 5,
        DownClass = 1,
        UpSpi = 0x1001,
        DownSpi = 0x1002,
        SecurityType = SecurityType.Esp,
        Algorithm = IpsecAlgorithm.Aes128Gcm16,
        ContractAlgorithm = IpsecAlgorithm.Aes128CbcHmacSha256,
        ContractKeys = new(new(Secret(2, 16), Secret(3, 32)), new(Secret(4, 16), Secret(5, 32))),
        Route = RoutePreference.ViaHome,
        Trigger = ProfileTrigger.FirstPacket,
    };
}
