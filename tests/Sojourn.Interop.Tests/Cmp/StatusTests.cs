using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Roles.CertificateAuthority;
using Sojourn.Roles.Hosting;
using Xunit;

namespace Sojourn.Interop.Tests.Cmp;

/// <summary>What others learn from a ca node: OpenSSL as judge of CRL and OCSP, queries over TLS.</summary>
public sealed class StatusTests
{
    private const string Mn1 = "mn1.home.example";

    [OpensslFact]
    [Trait("Row", "TA-N15")]
    [Trait("Row", "TA-M37")]
    [Trait("Row", "TA-D5")]
    public async Task Openssl_sees_a_withdrawal_by_crl_and_by_ocsp()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        await ca.AddAsync("mn2.home.example");
        await ca.EnrolAsync("mn1", Mn1);
        await ca.EnrolAsync("mn2", "mn2.home.example");
        Assert.Equal((0, "good"), await Both("mn1"));

        // By the operator, while the authority runs: the next CRL has it.
        await ca.Ca("certificate", "revoke", await ca.SerialOf("mn1"), "--reason", "key-compromise");
        Assert.Equal((2, "revoked"), await Both("mn1"));
        Assert.Equal((0, "good"), await Both("mn2"));
        Assert.Contains("clear (revoked)", await ca.Ca("permission", "list"));
        await ca.StopAsync();
        await ca.RunAsync();
        Assert.Equal((2, "revoked"), await Both("mn1"));

        async Task<(int, string)> Both(string name)
        {
            using var http = new HttpClient();
            await File.WriteAllBytesAsync(ca.At("ca.crl"), await http.GetByteArrayAsync($"http://127.0.0.1:{ca.Port}/ca.crl"));
            var (read, text) = await ca.OpensslAsync("crl", "-inform", "DER", "-in", ca.At("ca.crl"), "-CAfile", ca.At("ca.pem"), "-noout", "-text", "-verify");
            Assert.True(read == 0 && text.Contains("verify OK", StringComparison.Ordinal), text);
            await ca.OpensslAsync("crl", "-inform", "DER", "-in", ca.At("ca.crl"), "-out", ca.At("ca.crl.pem"));
            var (verified, verdict) = await ca.OpensslAsync("verify", "-crl_check", "-CAfile", ca.At("ca.pem"), "-CRLfile", ca.At("ca.crl.pem"), ca.At(name + ".crt"));
            Assert.True(verified == 0 || verdict.Contains("certificate revoked", StringComparison.Ordinal), verdict);
            var (asked, status) = await ca.OpensslAsync("ocsp", "-issuer", ca.At("ca.pem"), "-cert", ca.At(name + ".crt"), "-CAfile", ca.At("ca.pem"), "-url", $"http://127.0.0.1:{ca.Port}/ocsp");
            Assert.True(asked == 0 && status.Contains("Response verify OK", StringComparison.Ordinal) && !status.Contains("WARNING", StringComparison.Ordinal), status);
            return (verified, status.Split('\n').Single(line => line.Contains(name + ".crt: ", StringComparison.Ordinal)).Split(": ")[1].Trim());
        }
    }

    [OpensslFact]
    public async Task The_operators_own_crl_reads_too()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await File.WriteAllTextAsync(ca.At("own.pem"), await ca.Ca("crl"));
        var (status, text) = await ca.OpensslAsync("crl", "-in", ca.At("own.pem"), "-CAfile", ca.At("ca.pem"), "-noout", "-verify");
        Assert.True(status == 0 && text.Contains("verify OK", StringComparison.Ordinal), text);
    }

    [OpensslFact]
    [Trait("Row", "TA1.109")]
    [Trait("Row", "TA1.110")]
    [Trait("Row", "TA1.111")]
    [Trait("Row", "TA1.111x")]
    [Trait("Row", "TA-H21")]
    [Trait("Row", "TA-C13")]
    [Trait("Row", "TA-Q1")]
    [Trait("Row", "TA-P9")]
    [Trait("Row", "TA-D4")]
    [Trait("Row", "TA-G30")]
    [Trait("Row", "TA-G35")]
    public async Task A_delegating_router_asks_over_mutual_tls_and_nobody_else_does()
    {
        await using var ca = await StartWithQueries(out var port);
        await ca.AddAsync(Mn1);
        await ca.EnrolAsync("mn1", Mn1);
        using var dr = Client(ca, "dr1", port);
        var answer = await dr.AskAsync("MN1.home.example", PermissionPurpose.Delegate);
        Assert.Equal((true, PermissionReason.Ok, Mn1, await ca.SerialOf("mn1")), (answer!.Allowed, answer.Reason, answer.Identifier, answer.Serial));
        Assert.Equal(PermissionReason.Unknown, (await dr.AskAsync("mn9.home.example", PermissionPurpose.Renew))!.Reason);
        await ca.Ca("permission", "clear", Mn1);
        Assert.Equal(PermissionReason.FlagClear, (await dr.AskAsync(Mn1, PermissionPurpose.Advertise))!.Reason);
        await ca.Ca("certificate", "revoke", await ca.SerialOf("mn1"));
        Assert.False((await dr.AskAsync(Mn1, PermissionPurpose.Advertise))!.Allowed);

        // A good certificate of this authority, but no asker; an asker whose certificate is withdrawn; no certificate; plain TCP.
        using var other = Client(ca, "other", port);
        Assert.Null(await other.AskAsync(Mn1, PermissionPurpose.Delegate));
        await ca.Ca("certificate", "revoke", await ca.SerialOf("dr1"));
        using var withdrawn = Client(ca, "dr1", port);
        Assert.Null(await withdrawn.AskAsync(Mn1, PermissionPurpose.Delegate));
        using var tcp = new TcpClient();
        await tcp.ConnectAsync(IPAddress.Loopback, port);
        using var tls = new SslStream(tcp.GetStream(), false, (_, _, _, _) => true);
        var refused = await Record.ExceptionAsync(async () =>
        {
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = "ca.home.example", EnabledSslProtocols = SslProtocols.Tls13 });
            await tls.WriteAsync("POST /v1/permission HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"u8.ToArray());
            Assert.Equal(0, await tls.ReadAsync(new byte[100]));
        });
        Assert.True(refused is null or IOException or AuthenticationException, refused?.ToString());
    }

    [OpensslFact]
    [Trait("Row", "TA-N29")]
    public async Task An_authority_that_is_down_is_no_answer_within_five_seconds()
    {
        await using var ca = await StartWithQueries(out var port);
        await ca.StopAsync();
        using var dr = Client(ca, "dr1", port);
        var watch = System.Diagnostics.Stopwatch.StartNew();
        Assert.Null(await dr.AskAsync(Mn1, PermissionPurpose.Delegate));
        Assert.InRange(watch.Elapsed.TotalSeconds, 0, 5);
        await ca.RunAsync();
        Assert.Equal(PermissionReason.Unknown, (await dr.AskAsync(Mn1, PermissionPurpose.Delegate))!.Reason);
    }

    [OpensslFact]
    [Trait("Row", "TA-M37")]
    [Trait("Row", "TA-Q3")]
    public async Task A_withdrawal_is_told_until_it_is_acknowledged()
    {
        await using var ca = await StartWithQueries(out _, withReceiver: true);
        await ca.AddAsync(Mn1);
        await ca.EnrolAsync("mn1", Mn1);
        var serial = await ca.SerialOf("mn1");
        await ca.Ca("certificate", "revoke", serial);
        await Task.Delay(1500);

        // Nobody listened so far. The first answer is a refusal: told again.
        using var identity = Identity(ca, "dr1");
        using var listener = new TcpListener(IPAddress.Loopback, ca.ReceiverPort);
        listener.Start();
        foreach (var status in new[] { "503 Service Unavailable", "204 No Content" })
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
            using var connection = await listener.AcceptTcpClientAsync(limit.Token);
            using var tls = new SslStream(connection.GetStream(), false, (_, certificate, _, _) => certificate is not null);
            await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions { ServerCertificate = identity.Certificate, ClientCertificateRequired = true, EnabledSslProtocols = SslProtocols.Tls13 }, limit.Token);
            var text = new StringBuilder();
            var octets = new byte[4096];
            while (!text.ToString().Contains('}'))
            {
                var count = await tls.ReadAsync(octets, limit.Token);
                Assert.NotEqual(0, count);
                text.Append(Encoding.UTF8.GetString(octets, 0, count));
            }

            Assert.Contains($"\"identifier\":\"{Mn1}\",\"serial\":\"{serial}\",\"reason\":\"revoked\"", text.ToString());
            await tls.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"), limit.Token);
            await tls.FlushAsync(limit.Token);
        }

        await Task.Delay(3000);
        Assert.False(listener.Pending());
    }

    private static Task<AuthorityNode> StartWithQueries(out int port, bool withReceiver = false)
    {
        port = AuthorityNode.FreePort();
        return AuthorityNode.StartWithQueriesAsync(port, withReceiver);
    }

    private static TlsCredentials Identity(AuthorityNode ca, string name) => TlsCredentials.FromPemFiles(ca.At(name + ".crt"), ca.At(name + ".key"), ca.At("ca.pem"));

    private static PermissionClient Client(AuthorityNode ca, string name, int port) => new(new Uri($"https://127.0.0.1:{port}"), Identity(ca, name));
}
