using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Xunit;

namespace Sojourn.Interop.Tests.Cmp;

/// <summary>The unmodified CMP client of OpenSSL against a ca node.</summary>
public sealed class OpensslCmpTests
{
    private const string Mn1 = "mn1.home.example";

    [OpensslFact]
    [Trait("Row", "TA-A1")]
    [Trait("Row", "TA-A2")]
    [Trait("Row", "TA1.105")]
    [Trait("Row", "TA1.106")]
    [Trait("Row", "TA1.107")]
    [Trait("Row", "TA-C8")]
    [Trait("Row", "TA-S1")]
    [Trait("Row", "TA-D4")]
    [Trait("Row", "TA-P9")]
    [Trait("Row", "TA-G12")]
    public async Task A_terminal_enrols_with_its_secret_and_gets_the_authoritys_certificate_with_it()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        var (status, output) = await ca.CmpBySecret("mn1", "ir", "-subject", "/CN=" + Mn1, "-newkey", ca.At("mn1.key"), "-certout", ca.At("mn1.crt"), "-cacertsout", ca.At("got.pem"));
        Assert.True(status == 0, output);
        var (verified, verdict) = await ca.OpensslAsync("verify", "-x509_strict", "-CAfile", ca.At("ca.pem"), ca.At("mn1.crt"));
        Assert.True(verified == 0, verdict);
        var (_, text) = await ca.OpensslAsync("x509", "-in", ca.At("mn1.crt"), "-noout", "-text");
        Assert.Contains("DNS:" + Mn1, text);
        Assert.Contains("URI:http://127.0.0.1:", text);
        Assert.Equal(Body(await File.ReadAllTextAsync(ca.At("ca.pem"))), Body(await File.ReadAllTextAsync(ca.At("got.pem"))));
        var row = Assert.Single((await ca.Ca("permission", "list")).Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Contains($"{Mn1} ", row);
        Assert.Contains(" OK ", row);
        Assert.Contains(await ca.SerialOf("mn1"), row);
    }

    [OpensslFact]
    [Trait("Row", "TA-A3")]
    [Trait("Row", "TA-M31")]
    [Trait("Row", "TA-M32")]
    [Trait("Row", "TA-G12")]
    public async Task Confirmation_is_explicit_or_implicit_as_the_client_asks()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        var (status, output) = await ca.CmpBySecret("mn1", "ir", "-subject", "/CN=" + Mn1, "-newkey", ca.At("mn1.key"), "-certout", ca.At("mn1.crt"));
        Assert.True(status == 0, output);
        Assert.Contains("sending CERTCONF", output);
        Assert.Contains("received PKICONF", output);
        await ca.AddAsync("mn2.home.example");
        (status, output) = await ca.CmpBySecret("mn2", "ir", "-subject", "/CN=mn2.home.example", "-newkey", ca.At("mn2.key"), "-certout", ca.At("mn2.crt"), "-implicit_confirm");
        Assert.True(status == 0, output);
        Assert.DoesNotContain("CERTCONF", output);
        Assert.Equal(2, (await ca.Ca("permission", "list")).Split(" OK ").Length - 1);
    }

    [OpensslFact]
    [Trait("Row", "TA-M32")]
    [Trait("Row", "TA-N4")]
    [Trait("Row", "TA-G12")]
    public async Task A_client_that_does_not_confirm_loses_certificate_and_flag()
    {
        await using var ca = await AuthorityNode.StartAsync("  confirmation-wait: 1s");
        await ca.AddAsync(Mn1);
        var (status, _) = await ca.CmpBySecret("mn1", "ir", "-subject", "/CN=" + Mn1, "-newkey", ca.At("mn1.key"), "-certout", ca.At("mn1.crt"), "-disable_confirm");
        Assert.Equal(0, status);
        Assert.Contains("not confirmed", await ca.Ca("permission", "list"));
        for (var i = 0; i < 100 && !(await ca.Ca("permission", "list")).Contains("clear (not-confirmed)"); i++)
        {
            await Task.Delay(100);
        }

        Assert.Contains("clear (not-confirmed)", await ca.Ca("permission", "list"));
        Assert.Contains(" revoked ", await ca.Ca("certificate", "list"));
    }

    [OpensslFact]
    [Trait("Row", "TA-A4")]
    [Trait("Row", "TA-C26")]
    public async Task An_identifier_may_be_a_distinguished_name()
    {
        await using var ca = await AuthorityNode.StartAsync();
        var name = await ca.AddAsync("CN=Node 7,O=Home");
        var (status, output) = await ca.CmpBySecret(name, "ir", "-subject", "/O=Home/CN=Node 7", "-newkey", ca.At(name + ".key"), "-certout", ca.At("node7.crt"));
        Assert.True(status == 0, output);
        var (_, text) = await ca.OpensslAsync("x509", "-in", ca.At("node7.crt"), "-noout", "-subject");
        Assert.Equal("subject=O = Home, CN = Node 7", text.Trim());
        Assert.Contains("CN=node 7,O=home", await ca.Ca("permission", "list"));
    }

    [OpensslFact]
    [Trait("Row", "TA-A30")]
    [Trait("Row", "TA-M30")]
    [Trait("Row", "TA-M36")]
    [Trait("Row", "TA-M39")]
    [Trait("Row", "TA-G13")]
    public async Task Every_kind_of_request_works_by_signature()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        await ca.EnrolAsync("mn1", Mn1);
        await ca.KeyAsync("new");
        await ca.KeyAsync("rsa", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048");
        await ca.KeyAsync("p384", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384");
        await Works("kur", "-newkey", ca.At("new.key"), "-certout", ca.At("new.crt"));
        Assert.Contains(await ca.SerialOf("new"), await ca.Ca("permission", "list"));
        await Works("ir", "-newkey", ca.At("p384.key"), "-certout", ca.At("p384.crt"));
        await Works("cr", "-newkey", ca.At("rsa.key"), "-certout", ca.At("rsa.crt"));
        var (made, request) = await ca.OpensslAsync("req", "-new", "-key", ca.At("new.key"), "-subj", "/CN=" + Mn1, "-out", ca.At("new.csr"));
        Assert.True(made == 0, request);
        await Works("p10cr", "-csr", ca.At("new.csr"), "-certout", ca.At("p10.crt"));

        // openssl cmp itself cannot sign with Ed25519; a PKCS#10 request made elsewhere can.
        await ca.KeyAsync("ed", "-algorithm", "ED25519");
        (made, request) = await ca.OpensslAsync("req", "-new", "-key", ca.At("ed.key"), "-subj", "/CN=" + Mn1, "-out", ca.At("ed.csr"));
        Assert.True(made == 0, request);
        await Works("p10cr", "-csr", ca.At("ed.csr"), "-certout", ca.At("ed.crt"));
        Assert.Contains("id-it-caCerts", await Works("genm", "-infotype", "caCerts"));
        var (status, output) = await ca.CmpByCertificate("rsa", "kur", "-newkey", ca.At("mn1.key"), "-certout", ca.At("again.crt"));
        Assert.True(status == 0, output);

        async Task<string> Works(string command, params string[] options)
        {
            var (code, text) = await ca.CmpByCertificate("mn1", command, ["-subject", "/CN=" + Mn1, .. options]);
            Assert.True(code == 0, $"{command}: {text}");
            return text;
        }
    }

    [OpensslFact]
    [Trait("Row", "TA-M37")]
    public async Task A_holder_withdraws_its_certificate()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        await ca.EnrolAsync("mn1", Mn1);
        var (status, output) = await ca.CmpByCertificate("mn1", "rr", "-oldcert", ca.At("mn1.crt"), "-revreason", "1");
        Assert.True(status == 0, output);
        Assert.Contains("clear (revoked)", await ca.Ca("permission", "list"));
        Assert.Contains("\"reason\": \"key-compromise\"", await ca.Ca("certificate", "list", "--json"));
        (status, output) = await ca.CmpByCertificate("mn1", "kur", "-newkey", ca.At("mn1.key"), "-certout", ca.At("x.crt"));
        Assert.Equal(1, status);
        Assert.Contains("badMessageCheck", output);
    }

    [OpensslFact]
    [Trait("Row", "TA-N1")]
    [Trait("Row", "TA-N2")]
    [Trait("Row", "TA-N3")]
    [Trait("Row", "TA-H2")]
    [Trait("Row", "TA-M33")]
    [Trait("Row", "TA-M34")]
    [Trait("Row", "TA-M35")]
    [Trait("Row", "TA-S1")]
    [Trait("Row", "TA-D5")]
    [Trait("Row", "TA-G13")]
    [Trait("Row", "TA-G18")]
    public async Task Refusals_end_the_client_with_status_1_and_the_reason_and_leave_no_row()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        await ca.AddAsync("banned.home.example", "--not-eligible");
        await ca.KeyAsync("weak", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024");
        await ca.KeyAsync("p521", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521");
        Assert.Contains("notAuthorized", await Refused("mn1", "unknown.home.example", "mn1"));
        Assert.Contains("notAuthorized", await Refused("banned", "banned.home.example", "banned"));
        Assert.Contains("badCertTemplate", await Refused("mn1", Mn1, "weak"));
        Assert.Contains("badAlg", await Refused("mn1", Mn1, "p521"));
        Assert.Contains("badPOP", await Refused("mn1", Mn1, "mn1", "-popo", "0"));
        Assert.Contains("badMessageCheck", await Refused("mn1", Mn1, "mn1", "-secret", "pass:something else"));
        Assert.Equal("", await ca.Ca("permission", "list"));
        Assert.Equal("", await ca.Ca("certificate", "list"));
        await ca.EnrolAsync("mn1", Mn1);
        Assert.Contains("duplicateCertReq", await Refused("mn1", Mn1, "banned"));

        async Task<string> Refused(string name, string identifier, string key, params string[] options)
        {
            var (status, output) = await ca.CmpBySecret(name, "ir", ["-subject", "/CN=" + identifier, "-newkey", ca.At(key + ".key"), "-certout", ca.At("none.crt"), .. options]);
            Assert.Equal(1, status);
            Assert.False(File.Exists(ca.At("none.crt")));
            return output;
        }
    }

    [OpensslFact]
    [Trait("Row", "TA-M38")]
    [Trait("Row", "TA1.181")]
    [Trait("Row", "TA1.182")]
    public async Task A_home_agent_gets_its_certificate_beforehand_and_no_flag()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync("ha1.home.example", "--kind", "home-agent", "--address", "2001:db8:a::1");
        await ca.EnrolAsync("ha1", "ha1.home.example");
        var (_, text) = await ca.OpensslAsync("x509", "-in", ca.At("ha1.crt"), "-noout", "-text");
        Assert.Contains("IP Address:2001:DB8:A:0:0:0:0:1", text);
        Assert.Equal("", await ca.Ca("permission", "list"));
    }

    [OpensslFact]
    [Trait("Row", "TA-N29")]
    public async Task A_client_without_an_authority_fails_and_the_authority_goes_on_where_it_was()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        await ca.AddAsync("mn2.home.example");
        await ca.EnrolAsync("mn1", Mn1);
        var before = await ca.Ca("permission", "list");
        await ca.StopAsync();
        var (status, _) = await ca.CmpBySecret("mn2", "ir", "-subject", "/CN=mn2.home.example", "-newkey", ca.At("mn2.key"), "-certout", ca.At("mn2.crt"), "-total_timeout", "5");
        Assert.Equal(1, status);
        Assert.Equal(before, await ca.Ca("permission", "list"));
        await ca.RunAsync();
        await ca.EnrolAsync("mn2", "mn2.home.example");
        var (updated, output) = await ca.CmpByCertificate("mn1", "kur", "-newkey", ca.At("mn1.key"), "-certout", ca.At("mn1b.crt"));
        Assert.True(updated == 0, output);
    }

    [OpensslFact]
    [Trait("Row", "TA-M32")]
    [Trait("Row", "TA-R82")]
    [Trait("Row", "TA-G18")]
    public async Task An_authority_killed_in_the_middle_comes_back_with_all_of_every_enrolment_or_nothing()
    {
        const int Terminals = 12;
        await using var ca = await AuthorityNode.StartAsync();
        await ca.StopAsync();
        for (var i = 0; i < Terminals; i++)
        {
            await ca.AddAsync($"t{i}.home.example");
        }

        // Killed at another moment in each round; whoever got no certificate tries again with the same secret.
        var open = Enumerable.Range(0, Terminals).ToList();
        for (var round = 0; round < 5 && open.Count > 0; round++)
        {
            using var process = await ca.RunApartAsync();
            var tries = open.Select(async i => (Terminal: i, (await ca.CmpBySecret($"t{i}", "ir", "-subject", $"/CN=t{i}.home.example", "-newkey", ca.At($"t{i}.key"), "-certout", ca.At($"t{i}.crt"), "-total_timeout", "10")).Status)).ToList();
            await Task.Delay(20 + (60 * round));
            process.Kill();
            await process.WaitForExitAsync();
            open = [.. (await Task.WhenAll(tries)).Where(t => t.Status != 0).Select(t => t.Terminal)];
            await Whole();
        }

        await ca.RunAsync();
        foreach (var i in open)
        {
            await ca.EnrolAsync($"t{i}", $"t{i}.home.example");
        }

        await Whole();
        Assert.Equal(Terminals, (await ca.Ca("permission", "list")).Split(" OK ").Length - 1);
        for (var i = 0; i < Terminals; i++)
        {
            Assert.Contains(await ca.SerialOf($"t{i}"), await ca.Ca("permission", "list"));
        }

        // Every row of D4 names a stored certificate of that identifier; an effective one is good, and no good one lacks its row.
        async Task Whole()
        {
            var rows = JsonDocument.Parse(await ca.Ca("permission", "list", "--json")).RootElement.GetProperty("rows").EnumerateArray().ToList();
            var certificates = JsonDocument.Parse(await ca.Ca("certificate", "list", "--json")).RootElement.GetProperty("rows").EnumerateArray().ToDictionary(c => c.GetProperty("serial").GetString()!);
            foreach (var row in rows)
            {
                var certificate = certificates[row.GetProperty("serial").GetString()!];
                Assert.Equal(row.GetProperty("identifier").GetString(), certificate.GetProperty("identifier").GetString());
                Assert.True(!row.GetProperty("effective").GetBoolean() || certificate.GetProperty("status").GetString() == "good", row.ToString());
            }

            var effective = rows.Where(r => r.GetProperty("effective").GetBoolean()).Select(r => r.GetProperty("serial").GetString()).ToHashSet();
            Assert.All(certificates.Values.Where(c => c.GetProperty("status").GetString() == "good"), c => Assert.Contains(c.GetProperty("serial").GetString(), effective));
        }
    }

    [OpensslFact]
    [Trait("Row", "TA-H19")]
    public async Task Bodies_of_another_kind_too_large_or_meaningless_are_refused_and_the_authority_stays_up()
    {
        await using var ca = await AuthorityNode.StartAsync();
        await ca.AddAsync(Mn1);
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{ca.Port}") };
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, await Post(new byte[10 * 1024 * 1024], "application/pkixcmp"));
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, await Post([0x30, 0], "application/json"));
        Assert.Equal(HttpStatusCode.OK, await Post([0x30, 0], "application/pkixcmp"));
        Assert.Equal(HttpStatusCode.OK, await Post([.. Enumerable.Repeat((byte)0x30, 60000)], "application/pkixcmp"));
        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await http.GetAsync("/.well-known/cmp")).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync("/")).StatusCode);
        await ca.EnrolAsync("mn1", Mn1);

        async Task<HttpStatusCode> Post(byte[] octets, string type)
        {
            using var content = new ByteArrayContent(octets);
            content.Headers.ContentType = new MediaTypeHeaderValue(type);
            try
            {
                using var response = await http.PostAsync("/.well-known/cmp", content);
                return response.StatusCode;
            }
            catch (HttpRequestException) when (octets.Length > 1_000_000)
            {
                // The server closed while the client was still sending.
                return HttpStatusCode.RequestEntityTooLarge;
            }
        }
    }

    private static string Body(string pem) => string.Concat(pem.Split('\n').SkipWhile(line => !line.StartsWith("-----BEGIN", StringComparison.Ordinal)));
}
