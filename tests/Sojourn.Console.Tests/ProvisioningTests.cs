using Sojourn.Host.Configuration;
using Sojourn.Lab.Browsing;
using Sojourn.Storage.Customers;
using Xunit;

namespace Sojourn.WebConsole.Tests;

/// <summary>What an operator does for the customer page: password, allowance, configuration.</summary>
public sealed class ProvisioningTests : IAsyncLifetime
{
    private HomeNetwork _home = null!;

    public async Task InitializeAsync() => _home = await HomeNetwork.StartAsync();

    public async Task DisposeAsync() => await _home.DisposeAsync();

    [Fact]
    public async Task A_password_comes_from_a_private_file_and_never_from_an_argument()
    {
        var file = _home.At("carol.password");
        File.WriteAllText(file, "a password for carol\n");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherRead);
        Assert.Contains("chmod 600", (await User("password", "carol@home.example", "--password-file", file)).Error);
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);

        var (status, output, _) = await User("password", "carol@home.example", "--password-file", file);
        Assert.Equal((0, "password of carol@home.example set\n"), (status, output));
        using var carol = new Browser(_home.Address);
        Assert.Equal("/customer", (await carol.Login("carol@home.example", "a password for carol")).Location);
        Assert.NotEqual(0, (await User("password", "carol@home.example", "a password for carol")).Status);

        File.WriteAllText(file, "short");
        Assert.Contains("10 to 128", (await User("password", "carol@home.example", "--password-file", file)).Error);
        Assert.Contains("not known", (await User("password", "dave@home.example", "--password-file", file)).Error);
        Assert.Equal(0, (await User("password", "carol@home.example", "--remove")).Status);
        Assert.Equal("/customer/login", (await carol.Get("/customer")).Location);
    }

    [Fact]
    public async Task What_is_allowed_is_replaced_option_by_option_and_shown()
    {
        Assert.Equal(0, (await User("allow", HomeNetwork.Bob, "--destination", "10.4.0.0/24", "10.6.0.0/24", "--security", "esp,ah", "--highest-class", "2")).Status);
        var (_, output, _) = await User("allow", HomeNetwork.Bob, "--highest-class", "4");
        Assert.Equal("bob@home.example may choose destinations 10.4.0.0/24, 10.6.0.0/24; security esp, ah; classes 0 to 4\n", output);
        Assert.Contains("\"highestClass\": 4", (await User("list", "--json")).Output);
        Assert.Contains("allowed: 0 to 5", (await User("allow", HomeNetwork.Bob, "--highest-class", "6")).Error);
        Assert.Contains("allowed: esp, ah, encapsulation", (await User("allow", HomeNetwork.Bob, "--security", "none")).Error);
        Assert.Contains("choose destinations none; security none; classes 0 to 0", (await User("allow", HomeNetwork.Bob, "--nothing")).Output);
        Assert.Equal("user.allow", _home.Audit()[0].Action);
    }

    [Theory]
    [InlineData("address: 0.0.0.0, plain-http: true", "would send passwords in clear")]
    [InlineData("port: 8443", "the web server has no certificate")]
    [InlineData("plain-http: true, key-file: tls/console.key", "'key-file' has no use with plain-http")]
    [InlineData("certificate-file: tls/console.crt, key-file: tls/aaah.key", "are not a PEM certificate and its private key")]
    [InlineData("plain-http: true, idle-timeout: 2h, session-lifetime: 1h", "'idle-timeout' is longer than 'session-lifetime'")]
    public void A_configuration_that_would_be_unsafe_is_refused_with_the_reason(string console, string text)
    {
        var lines = File.ReadAllLines(_home.At("node.yaml"));
        var at = Array.FindIndex(lines, l => l == "console:");
        string[] changed = [.. lines[..at], $"console: {{ {console} }}", .. lines[(at + 4)..]];
        var result = ConfigurationReader.Read(string.Join('\n', changed), _home.At("changed.yaml"));
        var finding = Assert.Single(result.Findings);
        Assert.Contains(text, finding.Text);
        Assert.Equal(at + 1, finding.At.Line);
    }

    [Fact]
    public void A_loopback_address_may_do_without_tls()
    {
        var text = File.ReadAllText(_home.At("node.yaml")).Replace("  certificate-file: tls/console.crt\n  key-file: tls/console.key\n", "  plain-http: true\n");
        Assert.Contains("plain-http", text);
        Assert.NotNull(ConfigurationReader.Read(text, _home.At("plain.yaml")).Node);
    }

    [Fact]
    public void A_hash_takes_long_enough_to_make_guessing_dear()
    {
        var watch = System.Diagnostics.Stopwatch.StartNew();
        CustomerPassword.Verify("some password", null);
        Assert.True(watch.ElapsedMilliseconds >= 20, $"{watch.ElapsedMilliseconds} ms");
    }

    private Task<(int Status, string Output, string Error)> User(params string[] arguments) =>
        HomeNetwork.Run(["user", .. arguments, "--database", _home.At("subscribers.db")]);
}
