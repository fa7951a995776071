using Sojourn.Lab.Browsing;
using Xunit;
using Xunit.Abstractions;

namespace Sojourn.WebConsole.Tests;

/// <summary>The customer page in a real browser: what a person sees and clicks. Screenshots stay in .build/test-results/screenshots.</summary>
public sealed class ChromiumTests(ITestOutputHelper output)
{
    [InstalledFact]
    [Trait("Row", "NV7.1")]
    [Trait("Row", "NV-C24")]
    public async Task In_Chromium_a_subscriber_logs_in_and_changes_the_destination()
    {
        await using var home = await HomeNetwork.StartAsync();
        await using var chromium = await Chromium.StartAsync();
        await chromium.Go(home.Address);
        await Keep(chromium, "login");
        await chromium.Type("#nai", HomeNetwork.Alice);
        await chromium.Type("#password", HomeNetwork.AlicePassword);
        await chromium.Follow("main button");
        Assert.Equal("Your secure paths", await chromium.Text("h1"));
        Assert.Contains("10.4.0.0/24", await chromium.Text("section:first-child"));
        await Keep(chromium, "paths");

        await chromium.Follow("section:first-child .button");
        Assert.Equal("Path 1", await chromium.Text("h1"));
        await chromium.Type("#destination", "172.16.0.1");
        await chromium.Follow("main button");
        Assert.Contains("172.16.0.1 is not among the destinations of your contract", await chromium.Text("p.wrong"));
        await Keep(chromium, "refused");
        Assert.Equal("10.4.0.0/24", home.Profile(1).Destination.ToString());

        await chromium.Type("#destination", "10.6.0.10");
        await chromium.Click("#up-class option[value='3']");
        await chromium.Follow("main button");
        Assert.Contains("Path 1 is changed", await chromium.Text(".note.done"));
        Assert.Contains("10.6.0.10", await chromium.Text("section:first-child"));
        await Keep(chromium, "changed");
        Assert.Equal(("10.6.0.10/32", 3), (home.Profile(1).Destination.ToString(), home.Profile(1).UpClass));

        await chromium.Follow(".who button");
        Assert.Equal("Log in", await chromium.Text("h1"));

        // The 422 of the refused form is the only thing a browser has to say: nothing was blocked, nothing is missing.
        var complaints = await chromium.Complaints();
        Assert.DoesNotContain("Content Security Policy", complaints);
        Assert.DoesNotContain("404", complaints);
    }

    private async Task Keep(Chromium chromium, string name)
    {
        var root = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(root.FullName, "Sojourn.slnx")))
        {
            root = root.Parent!;
        }

        var folder = Directory.CreateDirectory(Path.Combine(root.FullName, ".build", "test-results", "screenshots"));
        var file = Path.Combine(folder.FullName, name + ".png");
        await File.WriteAllBytesAsync(file, await chromium.Screenshot());
        output.WriteLine(file);
    }
}

/// <summary>Skipped, with the reason, where there is no Chromium.</summary>
internal sealed class InstalledFactAttribute : FactAttribute
{
    public InstalledFactAttribute() => Skip = Chromium.Missing;
}
