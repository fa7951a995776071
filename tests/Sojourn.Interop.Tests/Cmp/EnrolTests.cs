using System.CommandLine;
using System.Net;
using System.Text;
using Sojourn.Cli;
using Sojourn.Engine;
using Sojourn.Engine.Enrolment;
using Sojourn.Roles.Enrolment;
using Xunit;

namespace Sojourn.Interop.Tests.Cmp;

/// <summary>Our CMP client and its stores with a ca node, over HTTP.</summary>
public sealed class EnrolTests
{
    private const string Mn1 = "mn1.home.example";

    [OpensslFact]
    [Trait("Row", "TA1.181")]
    [Trait("Row", "TA1.182")]
    [Trait("Row", "TA-M38")]
    [Trait("Row", "TA-D14")]
    public async Task An_operator_enrols_a_home_agent_ahead_of_any_terminal_renews_and_withdraws()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.Ca("identifier", "add", "ha1.home.example", "--kind", "home-agent", "--address", "2001:db8:a::1");
        await ca.Ca("secret", "ha1.home.example", "--reference", "ha1", "--out", ca.At("ha1.secret"));
        string[] options = ["--url", $"http://127.0.0.1:{ca.Port}", "--store", ca.At("ha1")];
        var (status, output) = await Enrol(["--identifier", "ha1.home.example", "--reference", "ha1", "--secret-file", ca.At("ha1.secret"), .. options]);
        Assert.True(status == 0, output);
        var (verified, verdict) = await ca.OpensslAsync("verify", "-x509_strict", "-CAfile", ca.At("ha1/authorities.pem"), ca.At("ha1/certificate.pem"));
        Assert.True(verified == 0, verdict);
        Assert.Equal(await File.ReadAllTextAsync(ca.At("ca.pem")), await File.ReadAllTextAsync(ca.At("ha1/authorities.pem")));
        var (_, text) = await ca.OpensslAsync("x509", "-in", ca.At("ha1/certificate.pem"), "-noout", "-text");
        Assert.Contains("IP Address:2001:DB8:A:0:0:0:0:1", text);
        Assert.Contains("DNS:ha1.home.example", text);
        Assert.Equal("", await ca.Ca("permission", "list"));
        var firstKey = await File.ReadAllTextAsync(ca.At("ha1/key.pem"));
        var firstCertificate = await File.ReadAllTextAsync(ca.At("ha1/certificate.pem"));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(ca.At("ha1/key.pem")));

        (status, output) = await Enrol(["update", .. options]);
        Assert.True(status == 0, output);
        Assert.NotEqual(firstKey, await File.ReadAllTextAsync(ca.At("ha1/key.pem")));
        Assert.NotEqual(firstCertificate, await File.ReadAllTextAsync(ca.At("ha1/certificate.pem")));
        (verified, verdict) = await ca.OpensslAsync("verify", "-CAfile", ca.At("ca.pem"), ca.At("ha1/certificate.pem"));
        Assert.True(verified == 0, verdict);
        Assert.Empty(Directory.GetFiles(ca.At("ha1"), "*.next.*"));

        (status, output) = await Enrol(["revoke", "--reason", "superseded", .. options]);
        Assert.True(status == 0, output);
        Assert.Contains("\"reason\": \"superseded\"", await ca.Ca("certificate", "list", "--json"));
        (status, output) = await Enrol(["update", .. options]);
        Assert.Equal(1, status);
        Assert.Contains("badMessageCheck", output);
        Assert.DoesNotContain("PRIVATE", await File.ReadAllTextAsync(ca.At("node.jsonl")));
    }

    [OpensslFact]
    [Trait("Row", "TA1.107a")]
    [Trait("Row", "TA-D13")]
    public async Task A_store_keeps_certificate_and_authority_beside_the_key_pair_it_came_with()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        using (var made = CredentialStore.Create(ca.At("card"), Mn1, CredentialKeyKind.P384))
        {
            using var client = new CmpClient(new Uri($"http://127.0.0.1:{ca.Port}"), IPAddress.Parse("127.0.0.2"));
            var key = made.PublicKey.ToArray();
            Assert.IsType<CmpIssued>(await client.EnrolAsync(made, "mn1", await SecretAsync(ca, "mn1"), implicitConfirmation: true));
            Assert.Equal(key, made.Certificate!.PublicKey.ExportSubjectPublicKeyInfo());
            var authorities = Assert.IsType<CmpAuthorities>(await client.AuthorityCertificatesAsync(made));
            Assert.Equal(made.Authorities[0].RawData, Assert.Single(authorities.Certificates).RawData);
        }

        using var store = CredentialStore.Open(ca.At("card"));
        Assert.Equal(Mn1, store.Identifier);
        Assert.Equal(await ca.Ca("export"), store.Authorities[0].ExportCertificatePem() + "\n");
        Assert.NotNull(store.ToCredential());

        // The request left from the address it was told to.
        Assert.Contains("\"peer\":\"127.0.0.2\"", await File.ReadAllTextAsync(ca.At("node.jsonl")));
    }

    [OpensslFact]
    public async Task A_card_made_by_openssl_is_a_store_and_openssl_reads_what_was_added()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        await File.WriteAllTextAsync(ca.At("card.password"), "correct horse\n");
        File.SetUnixFileMode(ca.At("card.password"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
        var (status, output) = await ca.OpensslAsync("pkcs12", "-export", "-nocerts", "-inkey", ca.At("mn1.key"), "-name", Mn1, "-out", ca.At("card.p12"), "-passout", $"file:{ca.At("card.password")}");
        Assert.True(status == 0, output);
        string[] options = ["--url", $"http://127.0.0.1:{ca.Port}", "--store", ca.At("card.p12"), "--password-file", ca.At("card.password")];
        (status, output) = await Enrol(["--reference", "mn1", "--secret-file", ca.At("mn1.secret"), .. options]);
        Assert.True(status == 0, output);
        (status, output) = await Enrol(["update", .. options]);
        Assert.True(status == 0, output);
        (status, output) = await ca.OpensslAsync("pkcs12", "-in", ca.At("card.p12"), "-passin", $"file:{ca.At("card.password")}", "-nodes");
        Assert.True(status == 0, output);
        Assert.Contains("subject=CN = mn1.home.example", output);
        Assert.Contains("subject=O = Home, CN = Home CA", output);
        Assert.Contains("PRIVATE KEY", output);
        (status, output) = await Enrol(["show", "--json", .. options]);
        Assert.True(status == 0, output);
        Assert.Contains("\"identifier\": \"mn1.home.example\"", output);
        Assert.DoesNotContain("PRIVATE", output);
    }

    [OpensslFact]
    [Trait("Row", "TA-N29")]
    public async Task Without_an_authority_the_store_stays_as_it_was_and_works_when_it_is_back()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        using var store = CredentialStore.Create(ca.At("card"), Mn1);
        using var client = new CmpClient(new Uri($"http://127.0.0.1:{ca.Port}"));
        await ca.StopAsync();
        Assert.IsType<CmpUnreachable>(await client.EnrolAsync(store, "mn1", await SecretAsync(ca, "mn1")));
        Assert.Null(store.Certificate);
        await ca.RunAsync();
        Assert.IsType<CmpIssued>(await client.EnrolAsync(store, "mn1", await SecretAsync(ca, "mn1")));
        var certificate = store.Certificate!.RawData;
        await ca.StopAsync();
        Assert.IsType<CmpUnreachable>(await client.UpdateAsync(store));
        Assert.Equal(certificate, store.Certificate!.RawData);
    }

    [OpensslFact]
    [Trait("Row", "TA-D13")]
    public async Task A_store_that_is_taken_away_signs_nothing_until_the_same_key_is_back()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        using var store = CredentialStore.Create(ca.At("card"), Mn1);
        using var client = new CmpClient(new Uri($"http://127.0.0.1:{ca.Port}"));
        Assert.IsType<CmpIssued>(await client.EnrolAsync(store, "mn1", await SecretAsync(ca, "mn1")));
        Directory.Move(ca.At("card"), ca.At("pocket"));
        Assert.False(store.IsPresent());
        var refused = Assert.IsType<CmpRefused>(await client.UpdateAsync(store));
        Assert.Contains("taken out of its store", refused.Reason);
        Assert.NotNull(store.Certificate);
        CredentialStore.Create(ca.At("card"), Mn1).Dispose();
        Assert.False(store.IsPresent());
        Directory.Delete(ca.At("card"), recursive: true);
        Directory.Move(ca.At("pocket"), ca.At("card"));
        Assert.IsType<CmpIssued>(await client.UpdateAsync(store));
    }

    [OpensslFact]
    public async Task An_update_that_a_crash_broke_off_is_finished_when_the_store_is_opened()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        using var client = new CmpClient(new Uri($"http://127.0.0.1:{ca.Port}"));
        using (var store = CredentialStore.Create(ca.At("card"), Mn1))
        {
            Assert.IsType<CmpIssued>(await client.EnrolAsync(store, "mn1", await SecretAsync(ca, "mn1")));
            File.Copy(ca.At("card/key.pem"), ca.At("old-key.pem"));
            File.Copy(ca.At("card/certificate.pem"), ca.At("old-certificate.pem"));
            Assert.IsType<CmpIssued>(await client.UpdateAsync(store));
        }

        var certificate = await File.ReadAllTextAsync(ca.At("card/certificate.pem"));
        foreach (var renamed in new[] { 0, 1 })
        {
            // Both files are written, and the crash comes before the first or the second is put in place.
            File.Move(ca.At("card/certificate.pem"), ca.At("card/certificate.next.pem"));
            File.Copy(ca.At("old-certificate.pem"), ca.At("card/certificate.pem"));
            if (renamed == 0)
            {
                File.Move(ca.At("card/key.pem"), ca.At("card/key.next.pem"));
                File.Copy(ca.At("old-key.pem"), ca.At("card/key.pem"));
            }

            using var store = CredentialStore.Open(ca.At("card"));
            Assert.Equal(certificate, await File.ReadAllTextAsync(ca.At("card/certificate.pem")));
            Assert.Empty(Directory.GetFiles(ca.At("card"), "*.next.*"));
        }
    }

    [OpensslFact]
    public async Task A_store_that_is_open_to_others_or_of_somebody_else_is_refused()
    {
        await using var ca = await AuthorityNode.StartAsync();
        CredentialStore.Create(ca.At("card"), Mn1).Dispose();
        File.SetUnixFileMode(ca.At("card/key.pem"), UnixFileMode.UserRead | UnixFileMode.GroupRead);
        Assert.Contains("open to group or others", Assert.Throws<CredentialStoreException>(() => CredentialStore.Open(ca.At("card"))).Message);
        Assert.Contains("there is no credential store", Assert.Throws<CredentialStoreException>(() => CredentialStore.Open(ca.At("none"))).Message);
        Assert.Throws<CredentialStoreException>(() => CredentialStore.Create(ca.At("card"), Mn1));
        Assert.Throws<CredentialStoreException>(() => CredentialStore.Create(ca.At("x"), "no identifier"));
        var (status, output) = await Enrol(["--store", ca.At("card"), "--reference", "x", "--secret-file", ca.At("none"), "--url", "http://127.0.0.1:1"]);
        Assert.Equal(2, status);
        Assert.Contains("--secret-file: no file", output);
    }

    private static async Task<(int Status, string Output)> Enrol(params string[] arguments)
    {
        var output = new StringWriter();
        var status = await CommandLine.Create().Parse(["enrol", .. arguments]).InvokeAsync(new InvocationConfiguration { Output = output, Error = output });
        return (status, output.ToString());
    }

    private static async Task<KeyMaterial> SecretAsync(AuthorityNode ca, string name) => new(Encoding.UTF8.GetBytes((await File.ReadAllLinesAsync(ca.At(name + ".secret")))[0]));
}
