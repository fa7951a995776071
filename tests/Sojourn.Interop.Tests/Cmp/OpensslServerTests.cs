using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Enrolment;
using Sojourn.Engine.Ikev2;
using Sojourn.Roles.Enrolment;
using Sojourn.Wire.Cmp;
using Xunit;

namespace Sojourn.Interop.Tests.Cmp;

/// <summary>Our CMP client with the server that <c>openssl cmp -port</c> is. It is no judge of certificates, but of every message's form.</summary>
public sealed class OpensslServerTests : IDisposable
{
    private const string Mn1 = "mn1.home.example";

    private readonly string _folder = Directory.CreateTempSubdirectory("sojourn-cmp-").FullName;
    private readonly X509Certificate2 _root;
    private readonly SigningKey _key;
    private readonly X509Certificate2 _certificate;

    public OpensslServerTests()
    {
        using var rootKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var now = DateTimeOffset.UtcNow;
        var request = new CertificateRequest("CN=Another CA", rootKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using (var signed = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1)))
        {
            _root = X509CertificateLoader.LoadCertificate(signed.RawData);
        }

        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var leaf = new CertificateRequest($"CN={Mn1}", key, HashAlgorithmName.SHA256);
        leaf.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        leaf.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(leaf.PublicKey, false));
        leaf.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(_root, true, false));
        _certificate = leaf.Create(_root.SubjectName, X509SignatureGenerator.CreateForECDsa(rootKey), now.AddHours(-1), now.AddHours(12), [1, 2, 3]);
        _key = SigningKey.FromPkcs8(key.ExportPkcs8PrivateKey());
        File.WriteAllText(At("root.key"), rootKey.ExportPkcs8PrivateKeyPem());
        File.WriteAllText(At("root.pem"), _root.ExportCertificatePem());
        File.WriteAllText(At("mn1.pem"), _certificate.ExportCertificatePem());
    }

    private CmpRequester Secret => CmpRequester.BySecret("mn1", new KeyMaterial("insta123"u8));

    private CmpRequester Holder => CmpRequester.ByCertificate(new IkeCredential(_certificate, [], _key), [_root]);

    public void Dispose()
    {
        _key.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [OpensslFact]
    [Trait("Row", "TA-M30")]
    public async Task A_certificate_comes_under_a_secret_with_polling_and_explicit_confirmation()
    {
        using var server = new Server(this, "-srv_ref", "mn1", "-srv_secret", "pass:insta123", "-rsp_cert", At("mn1.pem"), "-rsp_capubs", At("root.pem"), "-poll_count", "1", "-check_after", "1");
        var issued = Assert.IsType<CmpIssued>(await server.RunAsync(Certificate(Secret, CertificateRequestKind.Initial)));
        Assert.Equal(_certificate.RawData, issued.Certificate.RawData);
        Assert.Equal(_root.RawData, Assert.Single(issued.Authorities).RawData);
    }

    [OpensslFact]
    public async Task Without_caPubs_and_authorities_of_our_own_nothing_is_trusted()
    {
        using var server = new Server(this, "-srv_ref", "mn1", "-srv_secret", "pass:insta123", "-rsp_cert", At("mn1.pem"));
        var refused = Assert.IsType<CmpRefused>(await server.RunAsync(Certificate(Secret, CertificateRequestKind.Initial)));
        Assert.Contains("no authority", refused.Reason);
    }

    [OpensslFact]
    [Trait("Row", "TA-M36")]
    [Trait("Row", "TA-M37")]
    [Trait("Row", "TA-M39")]
    public async Task Requests_of_every_kind_work_by_signature()
    {
        using var server = new Server(this, "-srv_cert", At("root.pem"), "-srv_key", At("root.key"), "-srv_trusted", At("root.pem"), "-rsp_cert", At("mn1.pem"), "-grant_implicitconf");
        foreach (var kind in Enum.GetValues<CertificateRequestKind>())
        {
            foreach (var implicitly in new[] { false, true })
            {
                var end = await server.RunAsync(Certificate(Holder, kind, implicitly));
                Assert.True(end is CmpIssued, $"{kind}: {end}");
            }
        }

        Assert.IsType<CmpAuthorities>(await server.RunAsync(CmpExchange.AuthorityCertificates(Holder, SystemRandomSource.Instance)));
        Assert.IsType<CmpRevoked>(await server.RunAsync(CmpExchange.Revocation(Holder, _certificate, RevocationReason.KeyCompromise, SystemRandomSource.Instance)));
    }

    [OpensslFact]
    public async Task Refusals_are_told_and_unprotected_ones_marked()
    {
        using (var server = new Server(this, "-srv_ref", "mn1", "-srv_secret", "pass:insta123", "-pkistatus", "2", "-failure", "9", "-statusstring", "not today"))
        {
            var refused = Assert.IsType<CmpRefused>(await server.RunAsync(Certificate(Secret, CertificateRequestKind.Initial)));
            Assert.True(refused.Proven);
            Assert.Equal([PkiFailure.BadPop], refused.Failures);
            Assert.Contains("not today", refused.Reason);
        }

        using (var server = new Server(this, "-srv_ref", "mn1", "-srv_secret", "pass:insta123", "-send_unprot_err", "-pkistatus", "2", "-failure", "9"))
        {
            Assert.False(Assert.IsType<CmpRefused>(await server.RunAsync(Certificate(Secret, CertificateRequestKind.Initial))).Proven);
        }
    }

    private CmpExchange Certificate(CmpRequester requester, CertificateRequestKind kind, bool implicitly = false) =>
        CmpExchange.Certificate(requester, new CertificateWish(kind, Mn1, _key, implicitly), SystemRandomSource.Instance);

    private string At(string name) => Path.Combine(_folder, name);

    private sealed class Server : IDisposable
    {
        private readonly Process _process;
        private readonly Uri _address;

        public Server(OpensslServerTests test, params string[] options)
        {
            var port = AuthorityNode.FreePort();
            _process = Process.Start(new ProcessStartInfo("/usr/bin/openssl", ["cmp", "-config", "", "-port", $"{port}", .. options]) { RedirectStandardError = true, RedirectStandardOutput = true, WorkingDirectory = test._folder })!;
            _process.ErrorDataReceived += (_, _) => { };
            _process.OutputDataReceived += (_, _) => { };
            _process.BeginErrorReadLine();
            _process.BeginOutputReadLine();
            _address = new Uri($"http://127.0.0.1:{port}/pkix/");
            for (var i = 0; i < 200 && !_process.HasExited; i++)
            {
                if (IsListening(port))
                {
                    return;
                }

                Thread.Sleep(25);
            }

            Dispose();
            throw new TimeoutException("openssl cmp does not listen");
        }

        /// <summary>By a connection of its own: the server ends one after each transaction, which a client that keeps it finds out too late.</summary>
        public async Task<CmpEnd> RunAsync(CmpExchange exchange)
        {
            using var client = new CmpClient(_address);
            return await client.RunAsync(exchange);
        }

        public void Dispose()
        {
            if (!_process.HasExited)
            {
                _process.Kill();
                _process.WaitForExit();
            }

            _process.Dispose();
        }

        /// <summary>Looked up, since the server serves one connection at a time and a probe would be one.</summary>
        private static bool IsListening(int port) => System.Net.NetworkInformation.IPGlobalProperties.GetIPGlobalProperties().GetActiveTcpListeners().Any(end => end.Port == port);
    }
}
