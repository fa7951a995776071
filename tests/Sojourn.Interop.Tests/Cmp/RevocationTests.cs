using System.Diagnostics;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine;
using Sojourn.Engine.Revocation;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Revocation;
using Sojourn.Wire.Cmp;
using Xunit;

namespace Sojourn.Interop.Tests.Cmp;

/// <summary>What a home agent learns about certificates: from a ca node over HTTP, and from OpenSSL's responder.</summary>
public sealed class RevocationTests
{
    private const string Mn1 = "mn1.home.example", Mn2 = "mn2.home.example";

    [OpensslFact]
    [Trait("Row", "TA-N15")]
    [Trait("Row", "TA-M37")]
    public async Task A_withdrawn_certificate_is_seen_by_ocsp_and_by_crl()
    {
        await using var ca = await StartAsync();
        foreach (var method in Enum.GetValues<RevocationMethod>())
        {
            using var checker = Checker(ca, new RevocationSection { Methods = [method] });
            var answer = await checker.AskAsync(Certificate(ca, "mn1"));
            Assert.True(answer.Status == RevocationStatus.Good, answer.Text);
        }

        await ca.Ca("certificate", "revoke", await ca.SerialOf("mn1"), "--reason", "key-compromise");
        foreach (var method in Enum.GetValues<RevocationMethod>())
        {
            using var checker = Checker(ca, new RevocationSection { Methods = [method] });
            Assert.Equal(RevocationStatus.Revoked, (await checker.AskAsync(Certificate(ca, "mn1"))).Status);
            Assert.Equal(RevocationStatus.Good, (await checker.AskAsync(Certificate(ca, "mn2"))).Status);
        }
    }

    [OpensslFact]
    [Trait("Row", "TA-N16")]
    public async Task Methods_are_tried_in_their_order_and_an_authority_that_is_silent_is_no_answer()
    {
        await using var ca = await StartAsync();
        await ca.Ca("certificate", "revoke", await ca.SerialOf("mn1"));
        using var elsewhere = Checker(ca, new RevocationSection { OcspUri = $"http://127.0.0.1:{AuthorityNode.FreePort()}/ocsp" });
        var answer = await elsewhere.AskAsync(Certificate(ca, "mn1"));
        Assert.True(answer.Status == RevocationStatus.Revoked && answer.Text.Contains("CRL", StringComparison.Ordinal), answer.Text);

        // The CRL is kept: it goes on to count when the authority is gone, for those who ask it.
        using var lists = Checker(ca, new RevocationSection { Methods = [RevocationMethod.Crl] });
        Assert.Equal(RevocationStatus.Good, (await lists.AskAsync(Certificate(ca, "mn2"))).Status);
        using var responder = Checker(ca, new RevocationSection { Methods = [RevocationMethod.Ocsp] });
        await ca.StopAsync();
        Assert.Equal((RevocationStatus.Good, RevocationStatus.Revoked), ((await lists.AskAsync(Certificate(ca, "mn2"))).Status, (await lists.AskAsync(Certificate(ca, "mn1"))).Status));
        answer = await responder.AskAsync(Certificate(ca, "mn2"));
        Assert.True(answer.Status == RevocationStatus.Unknown && answer.Text.Contains("does not answer", StringComparison.Ordinal), answer.Text);
    }

    [OpensslFact]
    [Trait("Row", "TA-N16")]
    public async Task What_is_no_answer_about_the_certificate_proves_nothing()
    {
        await using var ca = await StartAsync();

        // A page that is neither OCSP nor CRL; a certificate of nobody trusted here; a certificate that names no place, as its authority has none.
        using var wrong = Checker(ca, new RevocationSection { OcspUri = $"http://127.0.0.1:{ca.Port}/ca.crt", CrlUri = $"http://127.0.0.1:{ca.Port}/ca.crt" });
        var answer = await wrong.AskAsync(Certificate(ca, "mn1"));
        Assert.True(answer.Status == RevocationStatus.Unknown && answer.Text.Contains("CRL cannot be read", StringComparison.Ordinal), answer.Text);
        using var checker = Checker(ca, new RevocationSection());
        await ca.OpensslAsync("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", ca.At("other.key"), "-out", ca.At("other.crt"), "-subj", "/CN=mn1.home.example", "-days", "10");
        answer = await checker.AskAsync(Certificate(ca, "other"));
        Assert.Contains("none of the authorities", answer.Text, StringComparison.Ordinal);
        answer = await checker.AskAsync(X509CertificateLoader.LoadCertificateFromFile(ca.At("ca.pem")).RawData);
        Assert.True(answer.Status == RevocationStatus.Unknown && answer.Text.Contains("no OCSP responder is named; no CRL is named", StringComparison.Ordinal), answer.Text);
    }

    /// <summary>openssl ocsp as responder, with a certificate of the authority for that alone.</summary>
    [OpensslFact]
    public async Task Openssls_responder_is_believed_with_a_certificate_for_it_and_not_with_another()
    {
        var folder = Directory.CreateTempSubdirectory("sojourn-ocsp-").FullName;
        try
        {
            string At(string name) => Path.Combine(folder, name);
            await File.WriteAllTextAsync(At("c.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n[rs]\nextendedKeyUsage=OCSPSigning\nnoCheck=ignored\n[asked]\nextendedKeyUsage=OCSPSigning\n[mn]\nextendedKeyUsage=1.3.6.1.5.5.7.3.17\n");
            await File.WriteAllTextAsync(At("index.txt"), "V\t361119000000Z\t\t4101\tunknown\t/CN=mn1\nR\t361119000000Z\t261121100000Z\t4102\tunknown\t/CN=mn2\n");
            await Run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", At("ca.key"), "-out", At("ca.pem"), "-subj", "/CN=Other CA", "-days", "10", "-config", At("c.cnf"), "-extensions", "ca");
            foreach (var (name, serial) in new[] { ("mn", "0x4101"), ("mn2", "0x4102"), ("rs", "0x4103"), ("asked", "0x4104") })
            {
                await Run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", At(name + ".key"), "-out", At(name + ".csr"), "-subj", $"/CN={name}", "-config", At("c.cnf"));
                await Run("x509", "-req", "-in", At(name + ".csr"), "-CA", At("ca.pem"), "-CAkey", At("ca.key"), "-set_serial", serial, "-days", "10", "-extfile", At("c.cnf"), "-extensions", name == "mn2" ? "mn" : name, "-out", At(name + ".pem"));
            }

            Assert.Equal((RevocationStatus.Good, RevocationStatus.Revoked), ((await Asked("mn", "rs")).Status, (await Asked("mn2", "rs")).Status));
            Assert.Equal((RevocationStatus.Good, RevocationStatus.Revoked), ((await Asked("mn", "ca")).Status, (await Asked("mn2", "ca")).Status));
            foreach (var unfit in new[] { "asked", "mn" })
            {
                var answer = await Asked("mn", unfit);
                Assert.True(answer.Status == RevocationStatus.Unknown && answer.Text.Contains("not signed", StringComparison.Ordinal), answer.Text);
            }

            async Task<RevocationAnswer> Asked(string about, string responder)
            {
                var question = new OcspQuestion(Fields(At(about + ".pem")), Fields(At("ca.pem")), SystemRandomSource.Instance);
                await File.WriteAllBytesAsync(At("req.der"), question.Request);
                await Run("ocsp", "-index", At("index.txt"), "-CA", At("ca.pem"), "-rsigner", At(responder + ".pem"), "-rkey", At(responder + ".key"), "-reqin", At("req.der"), "-respout", At("resp.der"), "-ndays", "1");
                return question.Judge(await File.ReadAllBytesAsync(At("resp.der")), DateTimeOffset.UtcNow);
            }

            async Task Run(params string[] arguments)
            {
                using var openssl = Process.Start(new ProcessStartInfo("/usr/bin/openssl", arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
                var errors = openssl.StandardError.ReadToEndAsync();
                await openssl.StandardOutput.ReadToEndAsync();
                await openssl.WaitForExitAsync();
                Assert.True(openssl.ExitCode == 0, await errors);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<AuthorityNode> StartAsync()
    {
        var ca = await AuthorityNode.StartAsync();
        foreach (var (name, identifier) in new[] { ("mn1", Mn1), ("mn2", Mn2) })
        {
            await ca.AddAsync(identifier);
            await ca.EnrolAsync(name, identifier);
        }

        return ca;
    }

    private static CertificateFields Fields(string pem)
    {
        using var certificate = X509CertificateLoader.LoadCertificateFromFile(pem);
        return CertificateFields.TryParse(certificate.RawData, out var fields, out var error) ? fields : throw new InvalidDataException(error.ToString());
    }

    private static byte[] Certificate(AuthorityNode ca, string name) => X509CertificateLoader.LoadCertificateFromFile(ca.At(name + ".crt")).RawData;

    private static RevocationChecker Checker(AuthorityNode ca, RevocationSection section) =>
        new(section, [X509CertificateLoader.LoadCertificateFromFile(ca.At("ca.pem"))], TimeProvider.System, SystemRandomSource.Instance);
}
