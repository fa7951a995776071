using System.Globalization;
using System.Net;
using System.Text;
using Sojourn.Lab.Browsing;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>A subscriber changes where a path leads, on the customer page, from the computer <c>desk</c>.</summary>
/// <param name="Browser">With what.</param>
/// <param name="Said">What the page answered.</param>
/// <param name="Pictures">Pictures in the evidence folder; none without Chromium.</param>
internal sealed record CustomerVisit(string Browser, string Said, IReadOnlyList<(string File, string Caption)> Pictures)
{
    private const string PictureFolder = "page";

    /// <summary>As an operator does, while the AAA server runs.</summary>
    public static async Task SetPasswordAsync(LabRun run, string nai, string password, CancellationToken cancellation)
    {
        var file = Path.Combine(run.Directory.FolderOf("desk"), nai + ".password");
        using (var secret = new FileStream(file, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }))
        {
            secret.Write(Encoding.ASCII.GetBytes(password + "\n"));
        }

        var done = await run.SojournAsync(["user", "password", nai, "--password-file", file, "--database", NodeFiles.DatabaseOf(run.Directory, "aaah")], cancellation);
        if (done.ExitCode != 0)
        {
            throw new ScenarioException($"{done}: {done.Errors.Trim()}");
        }
    }

    /// <summary>In headless Chromium; where there is none, over a client that sends forms as a browser does.</summary>
    /// <param name="web">Address of the page.</param>
    public static async Task<CustomerVisit> ChangeDestinationAsync(LabRun run, IPAddress web, string nai, string password, uint profile, IPAddress destination, CancellationToken cancellation)
    {
        var site = NodeFiles.ConsoleOf(run.Topology.Node("aaah"));
        var visit = Chromium.Missing is { } missing
            ? await ByFormsAsync(run, site, web, $"plain HTTPS forms, because {missing}", nai, password, profile, destination)
            : await InChromiumAsync(run, site, web, nai, password, destination);
        cancellation.ThrowIfCancellationRequested();
        run.Progress.Note($"by {visit.Browser}: {visit.Said}");
        return visit;
    }

    private static async Task<CustomerVisit> ByFormsAsync(LabRun run, Uri site, IPAddress web, string how, string nai, string password, uint profile, IPAddress destination)
    {
        using var authority = NodeFiles.Authority(run.Directory);
        using var browser = new Browser(site, place: new BrowserPlace(run.Network.Namespace("desk"), new IPEndPoint(web, site.Port), authority));
        await browser.Login(nai, password);
        var answer = await browser.Change((int)profile, ("destination", destination.ToString()));
        var overview = await browser.Get("/customer");
        var expected = string.Create(CultureInfo.InvariantCulture, $"Path {profile} is changed");
        return new CustomerVisit(how, $"{(int)answer.Status}, {(overview.Text.Contains(expected, StringComparison.Ordinal) ? expected : "no word of a change")}", []);
    }

    /// <summary>Changes the first path of the page.</summary>
    private static async Task<CustomerVisit> InChromiumAsync(LabRun run, Uri site, IPAddress web, string nai, string password, IPAddress destination)
    {
        var pictures = new List<(string, string)>();
        await using var chromium = await Chromium.StartAsync(run.Network.Namespace("desk"), (site.Host, web));
        run.Directory.Remember(chromium.ProcessId);
        await chromium.Go(site);
        await chromium.Type("#nai", nai);
        await chromium.Type("#password", password);
        await chromium.Follow("main button");
        await KeepAsync("paths", "The subscriber's paths, as the page shows them");
        await chromium.Follow("section:first-child .button");
        await chromium.Type("#destination", destination.ToString());
        await KeepAsync("entered", "Another correspondent is entered");
        await chromium.Follow("main button");
        var said = await chromium.Text(".note.done");
        await KeepAsync("changed", "The page says what it did, and when it counts");
        await chromium.Follow(".who button");
        return new CustomerVisit("headless Chromium", said, pictures);

        async Task KeepAsync(string name, string caption)
        {
            var file = $"{PictureFolder}/{name}.png";
            Directory.CreateDirectory(Path.Combine(run.Evidence, PictureFolder));
            await File.WriteAllBytesAsync(Path.Combine(run.Evidence, file), await chromium.Screenshot());
            pictures.Add((file, caption));
        }
    }
}
