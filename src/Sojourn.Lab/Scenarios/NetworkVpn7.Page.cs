using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Sojourn.Lab.Browsing;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV7.1, NV-A14: what happens on the customer page, from a computer with a browser.</summary>
public sealed partial class NetworkVpn7
{
    private const string PictureFolder = "page";
    private const uint AlicesProfile = 1, BobsProfile = 2, NobodysProfile = 99;

    private readonly List<(string File, string Caption)> _pictures = [];
    private readonly List<HttpStatusCode> _guesses = [];
    private readonly string _password = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(12));
    private TimeSpan _delay;
    private HttpStatusCode _rightButEarly;
    private Page? _foreignShown, _foreignChanged, _nobodysShown, _nobodysChanged, _unlisted, _withoutLogin;
    private string _browser = "", _said = "";

    public override IReadOnlyList<(string File, string Caption)> Pictures => _pictures;

    /// <summary>As an operator does, while the AAA server runs.</summary>
    private async Task SetPasswordsAsync(LabRun run, CancellationToken cancellation)
    {
        foreach (var (nai, password) in ((string, string)[])[(AliceNai, _password), (BobNai, Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(12)))])
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
    }

    private async Task VisitPageAsync(LabRun run, CancellationToken cancellation)
    {
        var site = NodeFiles.ConsoleOf(run.Topology.Node("aaah"));
        using var authority = NodeFiles.Authority(run.Directory);
        var desk = new BrowserPlace(run.Network.Namespace("desk"), new IPEndPoint(Web, site.Port), authority);
        await GuessAsync(run, site, desk, cancellation);
        await TrespassAsync(run, site, desk);
        await _tables.TakeAsync(run, "denied", cancellation);

        run.Progress.Step("Alice enters another correspondent on the customer page");
        if (Chromium.Missing is { } missing)
        {
            _browser = $"plain HTTPS forms, because {missing}";
            await ChangeByFormsAsync(site, desk);
        }
        else
        {
            _browser = "headless Chromium";
            await ChangeInChromiumAsync(run, site);
        }

        run.Progress.Note($"by {_browser}: {_said}");
    }

    /// <summary>Wrong passwords until the page makes the guesser wait; then the right one, too early.</summary>
    private async Task GuessAsync(LabRun run, Uri site, BrowserPlace desk, CancellationToken cancellation)
    {
        run.Progress.Step("Somebody guesses Alice's password");
        using var guesser = new Browser(site, place: desk);
        while (_guesses.Count < 8 && !_guesses.Contains(HttpStatusCode.TooManyRequests))
        {
            var answer = await guesser.Login(AliceNai, string.Create(CultureInfo.InvariantCulture, $"guess number {_guesses.Count}"));
            _guesses.Add(answer.Status);
            _delay = answer.Response.Headers.RetryAfter?.Delta ?? TimeSpan.Zero;
        }

        _rightButEarly = (await guesser.Login(AliceNai, _password)).Status;
        run.Progress.Note($"{string.Join(", ", _guesses.Select(g => (int)g))}, then the right password at once: {(int)_rightButEarly}");
        await Task.Delay(_delay + TimeSpan.FromMilliseconds(500), cancellation);
    }

    /// <summary>Alice, logged in, tries what is not hers to do.</summary>
    private async Task TrespassAsync(LabRun run, Uri site, BrowserPlace desk)
    {
        run.Progress.Step("Alice reaches for Bob's profile and for a company that does not list her");
        using var alice = new Browser(site, place: desk);
        _withoutLogin = await alice.Get($"/customer/profiles/{AlicesProfile}");
        var login = await alice.Login(AliceNai, _password);
        if (login.Status != HttpStatusCode.SeeOther)
        {
            throw new ScenarioException($"the customer page answers Alice's login with {(int)login.Status}");
        }

        _foreignShown = await alice.Get($"/customer/profiles/{BobsProfile}");
        _nobodysShown = await alice.Get($"/customer/profiles/{NobodysProfile}");
        var form = (await alice.Get($"/customer/profiles/{AlicesProfile}")).Form;
        form["destination"] = NewHost.ToString();
        (string, string)[] fields = [.. form.Select(f => (f.Key, f.Value))];
        _foreignChanged = await alice.Post($"/customer/profiles/{BobsProfile}", fields);
        _nobodysChanged = await alice.Post($"/customer/profiles/{NobodysProfile}", fields);
        _unlisted = await alice.Change((int)AlicesProfile, ("destination", "192.168.50.10"));
    }

    private async Task ChangeByFormsAsync(Uri site, BrowserPlace desk)
    {
        using var alice = new Browser(site, place: desk);
        await alice.Login(AliceNai, _password);
        var answer = await alice.Change((int)AlicesProfile, ("destination", NewHost.ToString()));
        var overview = await alice.Get("/customer");
        _said = $"{(int)answer.Status}, {(overview.Text.Contains("Path 1 is changed", StringComparison.Ordinal) ? "Path 1 is changed" : "no word of a change")}";
    }

    private async Task ChangeInChromiumAsync(LabRun run, Uri site)
    {
        await using var chromium = await Chromium.StartAsync(run.Network.Namespace("desk"), (site.Host, Web));
        run.Directory.Remember(chromium.ProcessId);
        await chromium.Go(site);
        await chromium.Type("#nai", AliceNai);
        await chromium.Type("#password", _password);
        await chromium.Click("main button");
        await KeepAsync("paths", "Alice's paths, as she finds them");
        await chromium.Click("section:first-child .button");
        await chromium.Type("#destination", NewHost.ToString());
        await KeepAsync("entered", "She enters a host of the second partner");
        await chromium.Click("main button");
        _said = await chromium.Text(".note.done");
        await KeepAsync("changed", "The page says what it did, and when it counts");
        await chromium.Click(".who button");

        async Task KeepAsync(string name, string caption)
        {
            var file = $"{PictureFolder}/{name}.png";
            Directory.CreateDirectory(Path.Combine(run.Evidence, PictureFolder));
            await File.WriteAllBytesAsync(Path.Combine(run.Evidence, file), await chromium.Screenshot());
            _pictures.Add((file, caption));
        }
    }
}
