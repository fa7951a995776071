using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Storage.Customers;
using Sojourn.Storage.Provisioning;

namespace Sojourn.WebConsole.Customers;

/// <summary>The customer page's HTML. Plain pages and forms: nothing needs a script, and none is allowed to run.</summary>
/// <param name="provider">Realm of the home network.</param>
internal sealed class CustomerHtml(string provider)
{
    private const string WhenItCounts = "A change takes effect the next time your terminal logs in. To use it at once, send a service update from the terminal.";

    public Html Login(string? problem) => Page("Log in", null, Html.Of($"""
        <main class="narrow">
        <h1>Log in</h1>
        <p class="lead">See where your secure paths lead, and change them.</p>
        {Note("fault", problem)}
        <form method="post" action="/customer/login" class="card">
        <label for="nai">User name</label>
        <input id="nai" name="nai" type="text" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="253" required autofocus placeholder="user@{provider}">
        <label for="password">Password</label>
        <input id="password" name="password" type="password" autocomplete="current-password" maxlength="{CustomerPassword.Longest}" required>
        <button type="submit">Log in</button>
        </form>
        </main>
        """));

    public Html Overview(CustomerPageView view) => Page("Your secure paths", view, Html.Of($"""
        <main>
        <h1>Your secure paths</h1>
        {Note("done", view.Done)}
        {(view.Profiles.Count == 0 ? Html.Of($"<p class=\"lead\">No path is set up for you. Ask {provider} for one.</p>") : Cards(view))}
        <p class="hint">{WhenItCounts}</p>
        </main>
        """));

    public Html Profile(CustomerPageView view, VpnInstance profile, ProfileWish wish, IReadOnlyList<FieldFault> faults, string? problem, string version) => Page($"Path {profile.ProfileNumber}", view, Html.Of($"""
        <main>
        <p class="back"><a href="/customer">← All paths</a></p>
        <h1>Path {profile.ProfileNumber}</h1>
        {Note("fault", problem ?? (faults.Count > 0 ? "Nothing was changed. Please correct what is marked below." : null))}
        <form method="post" action="/customer/profiles/{profile.ProfileNumber}" class="card">
        <input type="hidden" name="form-token" value="{view.FormToken}">
        <input type="hidden" name="version" value="{version}">
        {Field("destination", "Destination", DestinationInput(view, wish), DestinationHint(view, profile), faults)}
        <div class="pair">
        {Field("up-class", "Service class, to the destination", Select("up-class", wish.UpClass, WishDecision.ClassesFor(profile.UpClass, view.Account.Allowance).Select(c => ($"{c}", ClassName(c)))), Html.Empty, faults)}
        {Field("down-class", "Service class, to you", Select("down-class", wish.DownClass, WishDecision.ClassesFor(profile.DownClass, view.Account.Allowance).Select(c => ($"{c}", ClassName(c)))), Html.Empty, faults)}
        </div>
        {Field("security", "Security level", Select("security", wish.Security, WishDecision.SecurityTypes(profile, view.Account.Allowance).Select(t => (Words.Name(t), SecurityName(t)))), Html.Empty, faults)}
        {Field("route", "Route", Select("route", wish.Route, [("direct", "Direct to the destination's gateway"), ("home", "By way of the home network")]), Html.Of($"<p class=\"hint\">Direct is possible where the destination’s network takes part. Otherwise the path goes by way of the home network.</p>"), faults)}
        <div class="actions"><button type="submit">Save</button><a href="/customer">Cancel</a></div>
        </form>
        <p class="hint">{WhenItCounts}</p>
        </main>
        """));

    public Html Problem(string title, string text) => Page(title, null, Html.Of($"""
        <main class="narrow">
        <h1>{title}</h1>
        <p class="lead">{text}</p>
        <p><a href="/customer">To the start page</a></p>
        </main>
        """));

    private static Html Cards(CustomerPageView view) => Html.Of($"""<div class="cards">{Html.Join(view.Profiles.Select(p => Card(view, p)))}</div>""");

    private static Html Card(CustomerPageView view, VpnInstance p) => Html.Of($"""
        <section class="card" aria-labelledby="path-{p.ProfileNumber}">
        <header><h2 id="path-{p.ProfileNumber}">Path {p.ProfileNumber}</h2>{(p.Enabled ? Html.Empty : Html.Of($"<span class=\"badge\">switched off by your provider</span>"))}</header>
        <p class="destination">{ProfileWish.Shown(p.Destination)}{(view.Gateways.Find(p.Destination)?.Name is { } name ? Html.Of($"<small>{name}</small>") : Html.Empty)}</p>
        <dl>
        <dt>Security</dt><dd>{SecurityName(p.SecurityType)}</dd>
        <dt>Service class</dt><dd>to the destination {p.UpClass}, to you {p.DownClass}</dd>
        <dt>Route</dt><dd>{RouteName(p, view.Gateways)}</dd>
        </dl>
        <a class="button" href="/customer/profiles/{p.ProfileNumber}">Change<span class="unseen"> path {p.ProfileNumber}</span></a>
        </section>
        """);

    private static Html DestinationInput(CustomerPageView view, ProfileWish wish) => Html.Of($"""
        <input id="destination" name="destination" type="text" list="destinations" value="{wish.Destination}" maxlength="43" autocomplete="off" spellcheck="false" required aria-describedby="destination-about">
        <datalist id="destinations">{Html.Join(view.Account.Allowance.Destinations.Select(d => Html.Of($"<option value=\"{ProfileWish.Shown(d)}\">{view.Gateways.Find(d)?.Name}</option>")))}</datalist>
        """);

    private static Html DestinationHint(CustomerPageView view, VpnInstance profile)
    {
        var allowed = view.Account.Allowance.Destinations;
        return allowed.Count == 0
            ? Html.Of($"<p class=\"hint\">Your contract names no other destination than {ProfileWish.Shown(profile.Destination)}.</p>")
            : Html.Of($"<div class=\"hint\">Your contract allows these, or any address in them:<ul>{Html.Join(allowed.Select(d => Allowed(d, view.Gateways)))}</ul></div>");
    }

    private static Html Allowed(IPNetwork destination, CorrespondentGatewayTable gateways)
    {
        var row = gateways.Find(destination);
        return Html.Of($"<li><code>{ProfileWish.Shown(destination)}</code> {(row?.Name is { } name ? $"{name}, " : "")}{(row?.Type == GatewayType.Dynamic ? "direct or by home" : "by home")}</li>");
    }

    private static Html Field(string name, string label, Html input, Html hint, IReadOnlyList<FieldFault> faults)
    {
        var text = string.Join(" ", faults.Where(f => f.Field == name).Select(f => f.Text));
        return Html.Of($"""
            <div class="field{(text.Length > 0 ? " wrong" : "")}">
            <label for="{name}">{label}</label>
            {input}
            <div id="{name}-about">{(text.Length > 0 ? Html.Of($"<p class=\"wrong\" role=\"alert\">{text}</p>") : Html.Empty)}{hint}</div>
            </div>
            """);
    }

    private static Html Select(string name, string chosen, IEnumerable<(string Value, string Text)> options) => Html.Of($"""
        <select id="{name}" name="{name}" aria-describedby="{name}-about">{Html.Join(options.Select(o => o.Value == chosen
            ? Html.Of($"<option value=\"{o.Value}\" selected>{o.Text}</option>")
            : Html.Of($"<option value=\"{o.Value}\">{o.Text}</option>")))}</select>
        """);

    private static string SecurityName(SecurityType type) => type switch
    {
        SecurityType.Esp => "Encrypted and authenticated (ESP)",
        SecurityType.Ah => "Authenticated, readable on the way (AH)",
        _ => "Neither: only carried through a tunnel",
    };

    private static string ClassName(int serviceClass) => serviceClass switch
    {
        0 => "0 – best effort",
        5 => "5 – real time",
        _ => $"{serviceClass}",
    };

    private static string RouteName(VpnInstance profile, CorrespondentGatewayTable gateways) =>
        profile.Route == RoutePreference.Direct && WishDecision.TakesDirectPath(profile.Destination, gateways) ? "direct" : "by way of the home network";

    private static Html Note(string kind, string? text) => text is null ? Html.Empty
        : kind == "fault" ? Html.Of($"<p class=\"note fault\" role=\"alert\">{text}</p>")
        : Html.Of($"<p class=\"note {kind}\" role=\"status\">{text}</p>");

    private Html Page(string title, CustomerPageView? view, Html body) => Html.Of($"""
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>{title} – {provider}</title>
        <link rel="icon" href="/icon.svg" type="image/svg+xml">
        <link rel="stylesheet" href="/customer.css">
        </head>
        <body>
        <header class="top"><a class="brand" href="/customer">{provider}<span>secure mobile access</span></a>{(view is null ? Html.Empty : Who(view))}</header>
        {body}
        </body>
        </html>
        """);

    private static Html Who(CustomerPageView view) => Html.Of($"""
        <form method="post" action="/customer/logout" class="who">
        <input type="hidden" name="form-token" value="{view.FormToken}">
        <span>{view.Account.Nai}</span>
        <button type="submit" class="quiet">Log out</button>
        </form>
        """);
}

/// <summary>What a page of a logged-in subscriber shows.</summary>
/// <param name="Done">What the last request did.</param>
internal sealed record CustomerPageView(
    CustomerAccount Account, string FormToken, IReadOnlyList<VpnInstance> Profiles, CorrespondentGatewayTable Gateways, string? Done);
