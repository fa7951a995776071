using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using Sojourn.Lab.Browsing;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>NV7.1, NV-A14: what happens on the customer page, from a computer with a browser.</summary>
public sealed partial class NetworkVpn7
{
    private const uint AlicesProfile = 1, BobsProfile = 2, NobodysProfile = 99;

    private readonly List<HttpStatusCode> _guesses = [];
    private readonly string _password = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(12));
    private TimeSpan _delay;
    private HttpStatusCode _rightButEarly;
    private Page? _foreignShown, _foreignChanged, _nobodysShown, _nobodysChanged, _unlisted, _withoutLogin;
    private CustomerVisit? _visit;

    public override IReadOnlyList<(string File, string Caption)> Pictures => _visit?.Pictures ?? [];

    private async Task SetPasswordsAsync(LabRun run, CancellationToken cancellation)
    {
        await CustomerVisit.SetPasswordAsync(run, AliceNai, _password, cancellation);
        await CustomerVisit.SetPasswordAsync(run, BobNai, Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(12)), cancellation);
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
        _visit = await CustomerVisit.ChangeDestinationAsync(run, Web, AliceNai, _password, AlicesProfile, NewHost, cancellation);
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
}
