using System.Diagnostics;
using System.Net;
using System.Text.RegularExpressions;
using Sojourn.Lab.Browsing;
using Sojourn.WebConsole.Sessions;
using Xunit;

namespace Sojourn.WebConsole.Tests;

/// <summary>Guessing passwords: what it tells, and how it is slowed down.</summary>
public sealed partial class LoginTests : IAsyncLifetime
{
    private HomeNetwork _home = null!;

    public async Task InitializeAsync() => _home = await HomeNetwork.StartAsync();

    public async Task DisposeAsync() => await _home.DisposeAsync();

    [Fact]
    public async Task Wrong_passwords_are_slowed_down_more_and_more_and_a_right_one_must_wait_too()
    {
        using var browser = new Browser(_home.Address);
        Assert.Equal(HttpStatusCode.Forbidden, (await browser.Login(HomeNetwork.Alice, "wrong password 1")).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await browser.Login(HomeNetwork.Alice, "wrong password 2")).Status);
        var waits = new List<int>();
        for (var i = 0; i < 5; i++)
        {
            var early = await browser.Login(HomeNetwork.Alice, HomeNetwork.AlicePassword);
            Assert.Equal(HttpStatusCode.TooManyRequests, early.Status);
            waits.Add((int)early.Response.Headers.RetryAfter!.Delta!.Value.TotalSeconds);
            _home.Time.Move(TimeSpan.FromSeconds(waits[^1]));
            Assert.Equal(HttpStatusCode.Forbidden, (await browser.Login(HomeNetwork.Alice, "wrong password 3")).Status);
        }

        Assert.Equal([1, 2, 4, 8, 16], waits);
        using var bob = new Browser(_home.Address);
        Assert.Equal(HttpStatusCode.SeeOther, (await bob.Login(HomeNetwork.Bob, HomeNetwork.BobPassword)).Status);
        _home.Time.Move(TimeSpan.FromSeconds(32));
        Assert.Equal(HttpStatusCode.SeeOther, (await browser.Login(HomeNetwork.Alice, HomeNetwork.AlicePassword)).Status);
        Assert.Equal(5, _home.Host.Metrics.Counters["console.login.delayed"]);
    }

    [Fact]
    public async Task Many_attempts_at_once_gain_nothing()
    {
        using var browser = new Browser(_home.Address);
        var answers = await Task.WhenAll(Enumerable.Range(0, 12).Select(i => browser.Login(HomeNetwork.Alice, $"wrong password {i}")));
        Assert.Equal(2, answers.Count(a => a.Status == HttpStatusCode.Forbidden));
        Assert.Equal(10, answers.Count(a => a.Status == HttpStatusCode.TooManyRequests));
    }

    [Fact]
    public async Task Who_has_an_account_can_be_seen_neither_from_the_answer_nor_from_its_delay()
    {
        using var browser = new Browser(_home.Address);
        string[] names = [HomeNetwork.Alice, "carol@home.example", "nobody@home.example"];
        foreach (var attempt in new[] { 1, 2, 3 })
        {
            var answers = new List<Page>();
            foreach (var name in names)
            {
                answers.Add(await browser.Login(name, "wrong password"));
            }

            Assert.Single(answers.Select(a => (a.Status, Seconds().Replace(a.Text, "N s"), a.Response.Headers.RetryAfter is null)).Distinct());
        }
    }

    [Fact]
    public async Task An_unknown_name_takes_as_long_as_a_wrong_password()
    {
        using var browser = new Browser(_home.Address);
        await browser.Login("warm-up@home.example", "wrong password");
        var known = new List<double>();
        var unknown = new List<double>();
        for (var i = 0; i < 4; i++)
        {
            // An hour later the throttle has forgotten; what is left is the time the check takes.
            _home.Time.Move(TimeSpan.FromHours(2));
            known.Add(await Time(HomeNetwork.Alice));
            known.Add(await Time(HomeNetwork.Bob));
            unknown.Add(await Time($"nobody-{i}@home.example"));
            unknown.Add(await Time("carol@home.example"));
        }

        // The least of several is what the work takes; the machine's other work only adds. Without the dummy hash the ratio is far above 10.
        Assert.InRange(unknown.Min() / known.Min(), 0.5, 2.0);

        async Task<double> Time(string name)
        {
            var watch = Stopwatch.StartNew();
            Assert.Equal(HttpStatusCode.Forbidden, (await browser.Login(name, "wrong password")).Status);
            return watch.Elapsed.TotalMilliseconds;
        }
    }

    [Fact]
    public void A_source_that_tries_many_names_is_slowed_down_and_its_own_logins_do_not_free_it()
    {
        var time = new MovedTime();
        var throttle = new LoginThrottle(time);
        var source = IPAddress.Parse("192.0.2.1");
        for (var i = 0; i < 9; i++)
        {
            Assert.Equal(TimeSpan.Zero, throttle.Begin($"user{i}@home.example", source));
            Assert.Equal(TimeSpan.Zero, throttle.Begin("own@home.example", source));
            throttle.Right("own@home.example", source);
        }

        Assert.Equal(TimeSpan.Zero, throttle.Begin("user10@home.example", source));
        Assert.InRange(throttle.Begin("user11@home.example", source), TimeSpan.FromSeconds(0.1), TimeSpan.FromSeconds(1));
        Assert.Equal(TimeSpan.Zero, throttle.Begin("user11@home.example", IPAddress.Parse("192.0.2.2")));
        for (var i = 0; i < 20; i++)
        {
            var wait = throttle.Begin($"later{i}@home.example", source);
            Assert.InRange(wait, TimeSpan.Zero, TimeSpan.FromMinutes(15));
            time.Move(wait);
            throttle.Begin($"later{i}@home.example", source);
        }

        Assert.InRange(throttle.Begin("last@home.example", source), TimeSpan.FromMinutes(14), TimeSpan.FromMinutes(15));
    }

    [Fact]
    public void A_name_waits_a_minute_at_most_and_an_hour_forgets()
    {
        var time = new MovedTime();
        var throttle = new LoginThrottle(time);
        var wait = TimeSpan.Zero;
        for (var i = 0; i < 12; i++)
        {
            time.Move(wait);
            throttle.Begin("alice@home.example", new IPAddress([192, 0, 2, (byte)i]));
            wait = throttle.Begin("alice@home.example", new IPAddress([192, 0, 2, (byte)(i + 100)]));
        }

        Assert.InRange(wait, TimeSpan.FromSeconds(59), TimeSpan.FromSeconds(60));
        time.Move(TimeSpan.FromHours(1));
        Assert.Equal(TimeSpan.Zero, throttle.Begin("alice@home.example", IPAddress.Loopback));
        Assert.Equal(TimeSpan.Zero, throttle.Begin("alice@home.example", IPAddress.Loopback));
    }

    [Fact]
    public void Addresses_of_one_ipv6_network_are_one_source_and_a_flood_of_names_does_not_fill_the_memory()
    {
        var throttle = new LoginThrottle(new MovedTime());
        for (var i = 0; i < 10; i++)
        {
            Assert.Equal(TimeSpan.Zero, throttle.Begin($"user{i}@home.example", IPAddress.Parse($"2001:db8::{i + 1}")));
        }

        Assert.NotEqual(TimeSpan.Zero, throttle.Begin("user@home.example", IPAddress.Parse("2001:db8::ffff")));

        for (var i = 0; i < 4; i++)
        {
            throttle.Begin("alice@home.example", IPAddress.Parse("2001:db8:1::1"));
        }

        for (var i = 0; i < LoginThrottle.MostEntries + 10; i++)
        {
            throttle.Begin($"flood{i}@home.example", new IPAddress([10, (byte)(i >> 16), (byte)(i >> 8), (byte)i]));
        }

        Assert.NotEqual(TimeSpan.Zero, throttle.Begin("alice@home.example", IPAddress.Parse("2001:db8:2::1")));
    }

    [Fact]
    public void A_user_s_ninth_session_ends_the_oldest_and_the_longest_time_ends_a_busy_one()
    {
        var time = new MovedTime();
        var sessions = new SessionTable(time, TimeSpan.FromMinutes(10), TimeSpan.FromHours(1));
        var tokens = Enumerable.Range(0, 9).Select(_ => { time.Move(TimeSpan.FromSeconds(1)); return sessions.Open("alice@home.example", ""); }).ToList();
        Assert.Null(sessions.Find(tokens[0]));
        Assert.NotNull(sessions.Find(tokens[1]));
        Assert.Equal(8, sessions.Count);
        for (var i = 0; i < 6; i++)
        {
            Assert.NotNull(sessions.Find(tokens[8]));
            time.Move(TimeSpan.FromMinutes(9.9));
        }

        time.Move(TimeSpan.FromMinutes(1));
        Assert.Null(sessions.Find(tokens[8]));
    }

    [GeneratedRegex("[0-9]+ s")]
    private static partial Regex Seconds();
}
