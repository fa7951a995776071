using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using Sojourn.Engine;
using Sojourn.Lab.Browsing;
using Sojourn.Storage.Customers;
using Xunit;

namespace Sojourn.WebConsole.Tests;

/// <summary>The customer page as a browser sees it: HTTPS to a running home AAA server.</summary>
public sealed class CustomerPageTests : IAsyncLifetime
{
    private HomeNetwork _home = null!;

    public async Task InitializeAsync() => _home = await HomeNetwork.StartAsync();

    public async Task DisposeAsync() => await _home.DisposeAsync();

    [Fact]
    [Trait("Row", "NV7.1")]
    [Trait("Row", "NV-C24")]
    public async Task A_subscriber_changes_the_destination_and_the_AAA_server_s_database_has_it()
    {
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        var overview = await alice.Get("/customer");
        Assert.Contains("10.4.0.0/24", overview.Text);
        Assert.Contains("service update", overview.Text);

        var changed = await alice.Change(1, ("destination", "10.6.0.10"), ("up-class", "3"), ("down-class", "1"), ("security", "ah"), ("route", "home"));

        Assert.Equal(HttpStatusCode.SeeOther, changed.Status);
        var after = await alice.Get("/customer");
        Assert.Contains("Path 1 is changed. It takes effect the next time your terminal logs in", after.Text);
        Assert.Contains("10.6.0.10", after.Text);
        Assert.DoesNotContain("Path 1 is changed", (await alice.Get("/customer")).Text);
        var profile = _home.Store(store => store.FindVpns(HomeNetwork.Alice)[0]);
        Assert.Equal(
            ("10.6.0.10/32", 3, 1, SecurityType.Ah, IpsecAlgorithm.HmacSha256, RoutePreference.ViaHome),
            (profile.Destination.ToString(), profile.UpClass, profile.DownClass, profile.SecurityType, profile.Algorithm, profile.Route));
    }

    [Fact]
    [Trait("Row", "NV7.1")]
    [Trait("Row", "M11")]
    public async Task Every_change_is_audited_and_show_audit_tells_who_from_where_old_and_new()
    {
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        await alice.Change(1, ("destination", "10.6.0.10"));

        var (status, output, _) = await HomeNetwork.Run("show", "audit", "--json", "--socket", _home.Socket);
        Assert.Equal(0, status);
        Assert.Contains("\"actor\": \"console:alice@home.example\"", output);
        Assert.Contains("\"action\": \"profile.change\"", output);
        Assert.Contains("from 127.0.0.1: destination 10.4.0.0/24 -\\u003E 10.6.0.10/32", output.Replace("->", "-\\u003E"));
        Assert.Contains("console.profile_changed", _home.Log);
        Assert.Equal("10.6.0.10/32", (await HomeNetwork.Run("show", "vpn-db", "--json", "--socket", _home.Socket)).Output.Split('"').First(t => t.StartsWith("10.6.", StringComparison.Ordinal)));
    }

    [Theory]
    [Trait("Row", "NV-A14")]
    [Trait("Row", "M11")]
    [InlineData("destination", "192.168.51.0/24", "192.168.51.0/24 is not among the destinations of your contract. Allowed: 10.4.0.0/24 or any address in it")]
    [InlineData("destination", "0.0.0.0/0", "not among the destinations")]
    [InlineData("destination", "10.4.0.0/23", "not among the destinations")]
    [InlineData("destination", "10.6.0.0/24", "not among the destinations")]
    [InlineData("destination", "10.4.0.9/24", "is not an address such as")]
    [InlineData("destination", "2001:db8::1", "not among the destinations")]
    [InlineData("destination", "192.168.50.0/24", "Path 2 leads to 192.168.50.0/24 already")]
    [InlineData("destination", "'; DROP TABLE subscriber; --", "is not an address such as")]
    [InlineData("destination", "", "is not an address such as")]
    [InlineData("up-class", "4", "Allowed: 0, 1, 2, 3.")]
    [InlineData("up-class", "-1", "Allowed: 0, 1, 2, 3.")]
    [InlineData("down-class", "x", "Allowed: 0, 1, 2, 3.")]
    [InlineData("security", "encapsulation", "Allowed: esp, ah.")]
    [InlineData("route", "sideways", "Allowed: direct, home.")]
    public async Task What_is_not_allowed_is_refused_at_its_field_and_nothing_changes(string field, string value, string text)
    {
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        var before = _home.Profile(1);

        var refused = await alice.Change(1, ("down-class", "1"), (field, value));

        Assert.Equal(HttpStatusCode.UnprocessableEntity, refused.Status);
        var shown = WebUtility.HtmlDecode(refused.Text);
        var at = shown.IndexOf($"for=\"{field}\"", StringComparison.Ordinal);
        Assert.Contains(text, shown[at..shown.IndexOf("</div>", at, StringComparison.Ordinal)]);
        Assert.Contains("Nothing was changed", shown);
        Assert.Equal(before, _home.Profile(1));
        Assert.DoesNotContain(_home.Audit(), e => e.Action == "profile.change");
    }

    [Fact]
    public async Task A_present_value_may_stay_though_it_is_not_allowed_anew()
    {
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        Assert.Equal(HttpStatusCode.SeeOther, (await alice.Change(2, ("down-class", "2"))).Status);
        Assert.Equal((5, 2), (_home.Profile(2).UpClass, _home.Profile(2).DownClass));
    }

    [Fact]
    public async Task Direct_is_possible_only_where_the_destination_s_gateway_is_dynamic()
    {
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        var refused = await alice.Change(2, ("route", "direct"));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, refused.Status);
        Assert.Contains("takes no direct path. Allowed: home.", refused.Text);
        Assert.Equal(HttpStatusCode.SeeOther, (await alice.Change(2, ("destination", "10.6.0.10"), ("route", "direct"))).Status);
        Assert.Equal(RoutePreference.Direct, _home.Profile(2).Route);
    }

    [Fact]
    public async Task Contract_keys_stay_with_the_gateway_they_were_agreed_for()
    {
        var keys = new ProfileKeying.Contract(new AssociationKeys(Key(16, 1), Key(32, 2)), new AssociationKeys(Key(16, 3), Key(32, 4)));
        _home.Store(store =>
        {
            store.Put(_home.Profile(2) with { ContractKeys = keys, ContractAlgorithm = IpsecAlgorithm.Aes128CbcHmacSha256, UpSpi = 0x1001, DownSpi = 0x1002 });
            return 0;
        });
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);

        var elsewhere = await alice.Change(2, ("destination", "10.6.0.10"));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, elsewhere.Status);
        Assert.Contains("keys agreed with one company", elsewhere.Text);
        Assert.DoesNotContain("value=\"ah\"", elsewhere.Text);
        Assert.Equal(HttpStatusCode.SeeOther, (await alice.Change(2, ("destination", "192.168.50.7"))).Status);
        Assert.Equal("192.168.50.7/32", _home.Profile(2).Destination.ToString());
        Assert.NotNull(_home.Profile(2).ContractKeys);
    }

    [Fact]
    [Trait("Row", "NV-A14")]
    [Trait("Row", "M11")]
    public async Task Another_user_s_profile_cannot_be_seen_or_reached_by_its_number()
    {
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        Assert.DoesNotContain("/customer/profiles/3", (await alice.Get("/customer")).Text);
        var form = (await alice.Get("/customer/profiles/1")).Form;
        var before = _home.Profile(3);
        var missing = await alice.Get("/customer/profiles/4711");

        var others = await alice.Get("/customer/profiles/3");
        var posted = await alice.Post("/customer/profiles/3", [.. form.Select(f => (f.Key, f.Value))]);
        var smuggled = await alice.Change(1, ("number", "3"), ("nai", HomeNetwork.Bob), ("profile-number", "3"), ("up-class", "2"));

        Assert.Equal(HttpStatusCode.NotFound, others.Status);
        Assert.Equal(HttpStatusCode.NotFound, posted.Status);
        Assert.Equal(missing.Text, others.Text);
        Assert.Equal(HttpStatusCode.SeeOther, smuggled.Status);
        Assert.Equal(before, _home.Profile(3));
        Assert.Equal(2, _home.Profile(1).UpClass);
        foreach (var odd in new[] { "0", "-1", "1e0", "99999999999", "+1", "../3", "1/../3" })
        {
            Assert.Equal(HttpStatusCode.NotFound, (await alice.Get("/customer/profiles/" + odd)).Status);
        }
    }

    [Fact]
    [Trait("Row", "M11")]
    public async Task Without_a_session_every_page_leads_to_the_login()
    {
        using var stranger = new Browser(_home.Address);
        foreach (var path in new[] { "/customer", "/customer/profiles/1" })
        {
            var page = await stranger.Get(path);
            Assert.Equal((HttpStatusCode.SeeOther, "/customer/login"), (page.Status, page.Location));
        }

        Assert.Equal("/customer/login", (await stranger.Post("/customer/profiles/1", ("destination", "10.6.0.10"))).Location);
        stranger.Cookies.Add(_home.Address, new Cookie("__Host-sojourn", new string('A', 43)) { Secure = true });
        Assert.Equal("/customer/login", (await stranger.Get("/customer")).Location);
    }

    [Fact]
    public async Task A_forged_request_is_refused_by_token_and_by_origin()
    {
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        var before = _home.Profile(1);
        Assert.Equal(HttpStatusCode.Forbidden, (await alice.Change(1, ("destination", "10.6.0.10"), ("form-token", ""))).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await alice.Change(1, ("destination", "10.6.0.10"), ("form-token", new string('A', 43)))).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await alice.Post("/customer/logout")).Status);

        var form = (await alice.Get("/customer/profiles/1")).Form;
        form["destination"] = "10.6.0.10";
        foreach (var (header, value) in new[] { ("Origin", "https://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site") })
        {
            alice.Http.DefaultRequestHeaders.Remove(header);
            alice.Http.DefaultRequestHeaders.Add(header, value);
            Assert.Equal(HttpStatusCode.Forbidden, (await alice.Post("/customer/profiles/1", [.. form.Select(f => (f.Key, f.Value))])).Status);
            Assert.Equal(HttpStatusCode.Forbidden, (await alice.Login(HomeNetwork.Bob, HomeNetwork.BobPassword)).Status);
        }

        Assert.Equal(before, _home.Profile(1));
        Assert.Equal(9, _home.Host.Metrics.Counters["console.request.forged"]);
    }

    [Fact]
    public async Task A_page_that_was_overtaken_by_another_change_changes_nothing()
    {
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        var form = (await alice.Get("/customer/profiles/1")).Form;
        _home.Store(store =>
        {
            store.Put(_home.Profile(1) with { DownClass = 4 });
            return 0;
        });
        var late = await alice.Post("/customer/profiles/1", [.. form.Select(f => (f.Key, f.Value))]);
        Assert.Equal(HttpStatusCode.Conflict, late.Status);
        Assert.Equal(4, _home.Profile(1).DownClass);
        Assert.Equal("4", late.Form["down-class"]);
        Assert.Equal(HttpStatusCode.SeeOther, (await alice.Post("/customer/profiles/1", [.. late.Form.Select(f => (f.Key, f.Value))])).Status);
    }

    [Fact]
    public async Task A_session_ends_by_logout_quiet_time_new_password_and_by_disabling()
    {
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        var cookie = alice.Cookies.GetCookies(_home.Address)[0].Value;
        await alice.Post("/customer/logout", ("form-token", (await alice.Get("/customer/profiles/1")).Form["form-token"]));
        alice.Cookies.Add(_home.Address, new Cookie("__Host-sojourn", cookie) { Secure = true });
        Assert.Equal("/customer/login", (await alice.Get("/customer")).Location);

        using var again = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        _home.Time.Move(TimeSpan.FromMinutes(9));
        Assert.Equal(HttpStatusCode.OK, (await again.Get("/customer")).Status);
        _home.Time.Move(TimeSpan.FromMinutes(9));
        Assert.Equal(HttpStatusCode.OK, (await again.Get("/customer")).Status);
        _home.Time.Move(TimeSpan.FromMinutes(10));
        Assert.Equal("/customer/login", (await again.Get("/customer")).Location);

        using var third = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        Change(store => store.SetPasswordHash(HomeNetwork.Alice, CustomerPassword.Hash("a different password")));
        Assert.Equal("/customer/login", (await third.Get("/customer")).Location);

        using var bob = await LoggedIn(HomeNetwork.Bob, HomeNetwork.BobPassword);
        Change(store => store.Put(store.FindSubscriber(HomeNetwork.Bob)! with { Enabled = false }));
        Assert.Equal("/customer/login", (await bob.Get("/customer")).Location);
        Assert.Equal(HttpStatusCode.Forbidden, (await bob.Login(HomeNetwork.Bob, HomeNetwork.BobPassword)).Status);

        void Change(Action<Sojourn.Storage.SubscriberStore> change) => _home.Store(store =>
        {
            change(store);
            return 0;
        });
    }

    [Fact]
    public async Task Answers_tell_a_browser_to_keep_to_itself_and_the_cookie_is_for_this_site_only()
    {
        using var alice = new Browser(_home.Address);
        var login = await alice.Login("alice@HOME.example", HomeNetwork.AlicePassword);
        var cookie = Assert.Single(login.Response.Headers.GetValues("Set-Cookie"));
        Assert.Matches("^__Host-sojourn=[A-Za-z0-9_-]{43}; path=/; secure; samesite=strict; httponly$", cookie);
        foreach (var path in new[] { "/customer", "/customer/profiles/1", "/nowhere" })
        {
            var page = await alice.Get(path);
            Assert.StartsWith("default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'", page.Response.Headers.GetValues("Content-Security-Policy").Single());
            Assert.Equal("nosniff", page.Response.Headers.GetValues("X-Content-Type-Options").Single());
            Assert.Equal("no-store", page.Response.Headers.GetValues("Cache-Control").Single());
            Assert.Contains("max-age", page.Response.Headers.GetValues("Strict-Transport-Security").Single());
            Assert.False(page.Response.Headers.Contains("Server"));
            Assert.DoesNotContain("<script", page.Text);
            Assert.DoesNotContain("style=", page.Text);
            Assert.DoesNotContain("http", page.Text.Replace("http-equiv", "", StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task What_a_subscriber_types_comes_back_encoded()
    {
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        var page = await alice.Change(1, ("destination", "\"><script>alert(1)</script>"));
        Assert.DoesNotContain("<script", page.Text);
        Assert.Contains("&quot;&gt;&lt;script&gt;", page.Text);
    }

    [Fact]
    public async Task Requests_too_large_or_of_another_kind_are_refused()
    {
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await alice.Change(1, ("destination", new string('x', 20_000)))).Status);
        var json = await alice.Http.PostAsync("/customer/profiles/1", new StringContent("{}", System.Text.Encoding.UTF8, "application/json"));
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, json.StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await alice.Http.DeleteAsync("/customer/profiles/1")).StatusCode);
    }

    [Fact]
    [Trait("Row", "NV-A32")]
    public async Task No_secret_stands_in_a_page_or_in_the_log()
    {
        using var alice = await LoggedIn(HomeNetwork.Alice, HomeNetwork.AlicePassword);
        const string slip = "my-password-in-the-name-field";
        await alice.Login(slip + "@home.example", "whatever it was");
        await alice.Login(HomeNetwork.Bob, "wrong-" + HomeNetwork.BobPassword);
        var cookie = alice.Cookies.GetCookies(_home.Address)[0].Value;
        var pages = string.Concat((await alice.Get("/customer")).Text, (await alice.Get("/customer/profiles/1")).Text, (await alice.Change(1, ("destination", "x"))).Text);
        await alice.Change(1, ("destination", "10.6.0.10"));
        var key = Convert.ToHexString(_home.Store(store => store.FindSubscriber(HomeNetwork.Alice)!.MnAaaKey.Octets.ToArray()));

        var log = _home.Log;
        Assert.Contains("console.login_refused", log);
        Assert.Contains("console.profile_changed", log);
        var trail = string.Join('\n', _home.Audit());
        foreach (var secret in new[] { HomeNetwork.AlicePassword, HomeNetwork.BobPassword, slip, cookie, key, "pbkdf2" })
        {
            Assert.DoesNotContain(secret, log, StringComparison.OrdinalIgnoreCase);
            Assert.DoesNotContain(secret, pages, StringComparison.OrdinalIgnoreCase);
            Assert.DoesNotContain(secret, trail, StringComparison.OrdinalIgnoreCase);
        }
    }

    [Fact]
    [Trait("Row", "M11")]
    public async Task Only_TLS_1_3_is_spoken()
    {
        Assert.Equal(SslProtocols.Tls13, await Protocol(SslProtocols.None));
        await Assert.ThrowsAnyAsync<Exception>(() => Protocol(SslProtocols.Tls12));

        async Task<SslProtocols> Protocol(SslProtocols offered)
        {
            using var socket = new TcpClient();
            await socket.ConnectAsync(IPAddress.Loopback, _home.Port);
            await using var tls = new SslStream(socket.GetStream(), false, (_, _, _, _) => true);
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = "localhost", EnabledSslProtocols = offered });
            return tls.SslProtocol;
        }
    }

    [Fact]
    public async Task One_source_cannot_take_all_connections()
    {
        var taken = new List<TcpClient>();
        try
        {
            for (var i = 0; i < 60; i++)
            {
                var socket = new TcpClient();
                taken.Add(socket);
                try
                {
                    await socket.ConnectAsync(IPAddress.Loopback, _home.Port);
                }
                catch (SocketException)
                {
                    // Closed so soon that it shows as a failed connect.
                }
            }

            var watch = Stopwatch.StartNew();
            while (_home.Host.Metrics.Counters.GetValueOrDefault("console.connection.refused") < 28)
            {
                Assert.True(watch.Elapsed < TimeSpan.FromSeconds(10));
                await Task.Delay(20);
            }
        }
        finally
        {
            taken.ForEach(socket => socket.Dispose());
        }

        for (var watch = Stopwatch.StartNew(); ; await Task.Delay(50))
        {
            try
            {
                using var later = new Browser(_home.Address);
                Assert.Equal(HttpStatusCode.OK, (await later.Get("/customer/login")).Status);
                break;
            }
            catch (HttpRequestException) when (watch.Elapsed < TimeSpan.FromSeconds(10))
            {
                // The closed connections are being counted off.
            }
        }
    }

    private static KeyMaterial Key(int octets, byte filling) => new(Enumerable.Repeat(filling, octets).ToArray());

    private async Task<Browser> LoggedIn(string nai, string password)
    {
        var browser = new Browser(_home.Address);
        var page = await browser.Login(nai, password);
        Assert.Equal((HttpStatusCode.SeeOther, "/customer"), (page.Status, page.Location));
        return browser;
    }
}
