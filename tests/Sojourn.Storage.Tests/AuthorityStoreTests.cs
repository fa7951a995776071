using System.Text;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Xunit;

namespace Sojourn.Storage.Tests;

public sealed class AuthorityStoreTests : IDisposable
{
    private static readonly DateTimeOffset Now = new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);

    private readonly string _folder = Directory.CreateTempSubdirectory("sojourn-authority-").FullName;
    private readonly Database _database;
    private readonly AuthorityStore _store;

    public AuthorityStoreTests()
    {
        _database = Database.Open(Path.Combine(_folder, "ca.db"));
        _store = new AuthorityStore(_database, TimeProvider.System);
        _store.Put(new IdentifierEntry("mn1.home.example", "mn1.home.example", IdentifierKind.Terminal, true, []), "test");
    }

    public void Dispose()
    {
        _database.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void What_is_stored_comes_back()
    {
        var certificate = Certificate("01");
        var permission = new PrefixPermission("mn1.home.example", true, false, "01", Now.AddDays(1), Now);
        var transaction = new CmpTransaction("aa", "secret:mn1", "01", "bb", Now.AddMinutes(5));
        Apply(new AddCertificate(certificate), new PutPermission(permission), new PutTransaction(transaction));
        var found = _store.Certificate("01")!;
        Assert.Equal(certificate with { Encoded = default }, found with { Encoded = default });
        Assert.Equal(certificate.Encoded.ToArray(), found.Encoded.ToArray());
        Assert.Equal(permission, _store.Permission("mn1.home.example"));
        Assert.Equal(transaction, _store.Transaction("aa"));
        Assert.Equal("01", Assert.Single(_store.Unconfirmed("mn1.home.example")).Serial);
        Assert.Null(_store.CertificateBySecret("mn1", "k01"));
        Assert.Null(_store.KeyClash("k01", "mn1.home.example"));
        Assert.Equal("mn1.home.example", _store.KeyClash("k01", "mn2.home.example"));
        Assert.Empty(_store.Overdue(Now));
        Assert.Equal("01", Assert.Single(_store.Overdue(Now.AddMinutes(1))).Serial);
    }

    [Fact]
    public async Task Who_finds_the_database_locked_waits_as_long_as_a_busy_disk_takes()
    {
        using var other = Database.Open(Path.Combine(_folder, "ca.db"));
        var (held, waited) = (new TaskCompletionSource(), TimeSpan.FromSeconds(6));
        var slow = Task.Run(() => new AuthorityStore(other, TimeProvider.System).InOneTransaction(() =>
        {
            held.SetResult();
            Thread.Sleep(waited);
            return true;
        }));
        await held.Task;
        _store.Put(new IdentifierEntry("mn2.home.example", "mn2.home.example", IdentifierKind.Terminal, true, []), "test");
        Assert.True(await slow);
        Assert.NotNull(_store.Identifier("mn2.home.example"));
    }

    [Fact]
    [Trait("Row", "TA-R82")]
    [Trait("Row", "TA-M32")]
    public void Certificate_and_flag_are_stored_together_or_not_at_all()
    {
        Assert.Throws<InvalidOperationException>(() => _store.InOneTransaction<bool>(() =>
        {
            _store.Apply([new AddCertificate(Certificate("01")), new PutPermission(new PrefixPermission("mn1.home.example", true, true, "01", Now.AddDays(1), Now))]);
            Assert.NotNull(_store.Certificate("01"));
            throw new InvalidOperationException("the process ends here");
        }));
        Assert.Null(_store.Certificate("01"));
        Assert.Null(_store.Permission("mn1.home.example"));

        // The same serial twice is a fault of the store and takes the flag back with it.
        Apply(new AddCertificate(Certificate("01")));
        Assert.Throws<StorageException>(() => Apply(new PutPermission(new PrefixPermission("mn1.home.example", true, true, "01", Now.AddDays(1), Now)), new AddCertificate(Certificate("01"))));
        Assert.Null(_store.Permission("mn1.home.example"));
    }

    [Fact]
    public void An_identifier_has_one_row_however_often_it_is_certified()
    {
        Apply(new PutPermission(new PrefixPermission("mn1.home.example", true, false, "01", Now.AddDays(1), Now)));
        Apply(new PutPermission(new PrefixPermission("mn1.home.example", true, true, "02", Now.AddDays(2), Now)));
        Assert.Equal("02", Assert.Single(_store.Permissions()).Serial);
    }

    [Fact]
    public void Secrets_and_the_authoritys_key_do_not_stand_in_the_file()
    {
        var secret = _store.AddSecret("mn1.home.example", "mn1", new KeyMaterial("correct horse battery"u8), TimeSpan.FromHours(1), "test");
        var (certificate, key) = EcdsaSigner.Create("CN=Home CA", false, Now.AddDays(-1), Now.AddDays(100), SystemRandomSource.Instance);
        _store.PutAuthority(certificate, key, "test");
        Assert.Equal(key, _store.Authority()!.Value.Key);
        Assert.Equal(secret.Secret, _store.Secret("mn1")!.Secret);
        foreach (var file in Directory.GetFiles(_folder, "ca.db*").Where(f => !f.EndsWith("seal-key", StringComparison.Ordinal)))
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var octets = new byte[stream.Length];
            stream.ReadExactly(octets);
            Assert.True(octets.AsSpan().IndexOf("correct horse battery"u8) < 0, file);
            Assert.True(octets.AsSpan().IndexOf(key.Octets[30..60]) < 0, file);
        }
    }

    [Fact]
    public void A_secret_is_long_enough_replaces_an_unused_one_and_keeps_its_name_after_use()
    {
        Assert.Throws<StorageException>(() => _store.AddSecret("mn1.home.example", null, new KeyMaterial("short"u8), TimeSpan.FromHours(1), "test"));
        Assert.Throws<StorageException>(() => _store.AddSecret("mn9.home.example", null, null, TimeSpan.FromHours(1), "test"));
        var first = _store.AddSecret("mn1.home.example", "a", null, TimeSpan.FromHours(1), "test");
        Assert.Equal(32, first.Secret.Length);
        _store.AddSecret("mn1.home.example", "b", null, TimeSpan.FromHours(1), "test");
        Assert.Null(_store.Secret("a"));
        Apply(new UseSecret("b", Now));
        Assert.Equal(Now, _store.Secret("b")!.UsedAt);
        Assert.Throws<StorageException>(() => _store.AddSecret("mn1.home.example", "b", null, TimeSpan.FromHours(1), "test"));
        _store.AddSecret("mn1.home.example", "c", null, TimeSpan.FromHours(1), "test");
        Assert.NotNull(_store.Secret("b"));
    }

    [Fact]
    [Trait("Row", "TA-M37")]
    public void An_operator_withdraws_a_certificate_the_flag_goes_and_everybody_is_told()
    {
        Assert.Empty(_store.Untold("dr1", 10));
        Apply(new AddCertificate(Certificate("01") with { Status = CertificateStatus.Good }), new PutPermission(new PrefixPermission("mn1.home.example", true, true, "01", Now.AddDays(1), Now)));
        Assert.True(_store.Revoke("01", RevocationReason.KeyCompromise, "test"));
        Assert.False(_store.Revoke("01", RevocationReason.KeyCompromise, "test"));
        Assert.Equal("revoked", _store.Permission("mn1.home.example")!.ClearedFor);
        Assert.Equal(1, _store.Revocations());
        var (id, told) = Assert.Single(_store.Untold("dr1", 10));
        Assert.Equal(("mn1.home.example", "01", "revoked"), (told.Identifier, told.Serial, told.Reason));
        _store.Told("dr1", id);
        Assert.Empty(_store.Untold("dr1", 10));
        Assert.Equal(["certificate.revoke", "identifier.put"], _store.Audit(2).Select(e => e.Action));
    }

    [Fact]
    public void Removing_an_identifier_withdraws_its_certificates()
    {
        _store.AddSecret("mn1.home.example", "a", null, TimeSpan.FromHours(1), "test");
        Apply(new AddCertificate(Certificate("01") with { Status = CertificateStatus.Good }), new PutPermission(new PrefixPermission("mn1.home.example", true, true, "01", Now.AddDays(1), Now)));
        Assert.True(_store.RemoveIdentifier("mn1.home.example", "test"));
        Assert.False(_store.RemoveIdentifier("mn1.home.example", "test"));
        Assert.Equal(CertificateStatus.Revoked, _store.Certificate("01")!.Status);
        Assert.False(_store.Permission("mn1.home.example")!.Allowed);
        Assert.Null(_store.Secret("a"));
    }

    [Fact]
    public void The_flag_is_set_by_hand_only_with_a_good_certificate()
    {
        Assert.False(_store.SetPermission("mn1.home.example", false, "test"));
        Apply(new AddCertificate(Certificate("01") with { Status = CertificateStatus.Good }), new PutPermission(new PrefixPermission("mn1.home.example", true, true, "01", Now.AddDays(1), Now)));
        Assert.True(_store.SetPermission("mn1.home.example", false, "test"));
        Assert.Equal("operator", _store.Permission("mn1.home.example")!.ClearedFor);
        Assert.True(_store.SetPermission("mn1.home.example", true, "test"));
        Assert.True(_store.Permission("mn1.home.example")!.Allowed);
        _store.Revoke("01", 0, "test");
        Assert.Throws<StorageException>(() => _store.SetPermission("mn1.home.example", true, "test"));
    }

    [Fact]
    public void The_numbers_of_crls_grow()
    {
        Apply(new AddCertificate(Certificate("01")), new AddCertificate(Certificate("02")), new RevokeCertificate("02", Now, 4));
        var (first, revoked) = _store.NextCrl(Now);
        Assert.Equal("02", Assert.Single(revoked).Serial);
        var (second, none) = _store.NextCrl(Now.AddDays(2));
        Assert.Equal(first + 1, second);
        Assert.Empty(none);
    }

    private void Apply(params AuthorityChange[] changes) => _store.InOneTransaction(() =>
    {
        _store.Apply(changes);
        return true;
    });

    private static IssuedCertificate Certificate(string serial) => new()
    {
        Serial = serial,
        Identifier = "mn1.home.example",
        Encoded = Encoding.ASCII.GetBytes("certificate " + serial),
        KeyHash = "k" + serial,
        NotBefore = Now,
        NotAfter = Now.AddDays(1),
        Status = CertificateStatus.Unconfirmed,
        ConfirmBy = Now.AddMinutes(1),
        Reference = "mn1",
    };
}
