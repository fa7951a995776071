using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;
using Sojourn.Engine.Aaa;
using Sojourn.Roles.Hosting;
using Sojourn.Storage;
using Sojourn.Storage.Customers;
using Sojourn.WebConsole.Sessions;

namespace Sojourn.WebConsole.Customers;

/// <summary>
/// The customer page (spec NV7.1, M11): a subscriber logs in, sees their own profiles and changes what the provider
/// allows. Whose profile it is comes from the session alone; a number that is somebody else's is a number that does not exist.
/// </summary>
internal sealed class CustomerPages(SubscriberStore store, NodeServices services, SessionTable sessions, string provider)
{
    // The prefix makes browsers insist on Secure, no Domain and Path=/.
    private const string Cookie = "__Host-sojourn";
    private const string WrongLogin = "User name or password is wrong.";
    private const int MostHashing = 2;
    private static readonly TimeSpan HashingPatience = TimeSpan.FromSeconds(5);

    private readonly CustomerHtml _html = new(provider);
    private readonly LoginThrottle _throttle = new(services.Time);

    // A hash is made slow on purpose; without a limit a crowd of logins would take the node's processors.
    private readonly SemaphoreSlim _hashing = new(MostHashing, MostHashing);
    private long _lastRefusal;

    public Task ShowLogin(HttpContext context) =>
        SessionOf(context) is null ? Answer(context, StatusCodes.Status200OK, _html.Login(null)) : Redirect(context, "/customer");

    public async Task Login(HttpContext context)
    {
        if (await Form(context).ConfigureAwait(false) is not { } form)
        {
            return;
        }

        var (written, password) = (Field(form, "nai"), Field(form, "password"));
        var name = Nai.TryNormalize(written.Trim(), out _);
        var source = Source(context);
        var wait = _throttle.Begin(name ?? "", source);
        if (wait > TimeSpan.Zero)
        {
            services.Count("console.login.delayed", 1);
            await TooEarly(context, wait).ConfigureAwait(false);
            return;
        }

        if (!await _hashing.WaitAsync(HashingPatience, context.RequestAborted).ConfigureAwait(false))
        {
            services.Count("console.login.busy", 1);
            await Answer(context, StatusCodes.Status503ServiceUnavailable, _html.Login("Too many people log in at this moment. Please try again.")).ConfigureAwait(false);
            return;
        }

        CustomerAccount? account;
        bool right;
        try
        {
            account = name is null ? null : store.FindCustomer(name);
            right = await Task.Run(() => CustomerPassword.Verify(password, account is { Enabled: true } ? account.PasswordHash : null)).ConfigureAwait(false);
        }
        finally
        {
            _hashing.Release();
        }

        if (!right)
        {
            services.Count("console.login.refused", 1);
            Refused(account, source);
            await Answer(context, StatusCodes.Status403Forbidden, _html.Login(WrongLogin)).ConfigureAwait(false);
            return;
        }

        _throttle.Right(name!, source);
        services.Count("console.login.accepted", 1);
        services.Report(new EngineEvent("console.login", EventSeverity.Information, "a subscriber logged in to the customer page") { Nai = account!.Nai, Peer = source.ToString(), Rule = "NV7.1" });
        context.Response.Cookies.Append(Cookie, sessions.Open(account.Nai, Fingerprint(account)), CookieOptions());
        await Redirect(context, "/customer").ConfigureAwait(false);
    }

    public async Task Logout(HttpContext context)
    {
        if (await Posted(context).ConfigureAwait(false) is null)
        {
            return;
        }

        sessions.Close(context.Request.Cookies[Cookie]!);
        context.Response.Cookies.Delete(Cookie, CookieOptions());
        await Redirect(context, "/customer/login").ConfigureAwait(false);
    }

    public Task Overview(HttpContext context)
    {
        if (SessionOf(context) is not { } at)
        {
            return Redirect(context, "/customer/login");
        }

        var view = View(at);
        at.Session.Done = null;
        return Answer(context, StatusCodes.Status200OK, _html.Overview(view));
    }

    public Task ShowProfile(HttpContext context)
    {
        if (SessionOf(context) is not { } at)
        {
            return Redirect(context, "/customer/login");
        }

        var view = View(at);
        return Own(context, view) is { } profile
            ? Answer(context, StatusCodes.Status200OK, _html.Profile(view, profile, ProfileWish.Of(profile), [], null, Version(profile)))
            : NotFound(context);
    }

    public async Task ChangeProfile(HttpContext context)
    {
        if (await Posted(context).ConfigureAwait(false) is not { } posted)
        {
            return;
        }

        var (at, form) = posted;
        var view = View(at);
        if (Own(context, view) is not { } shown)
        {
            await NotFound(context).ConfigureAwait(false);
            return;
        }

        var wish = new ProfileWish(Field(form, "destination"), Field(form, "up-class"), Field(form, "down-class"), Field(form, "security"), Field(form, "route"));
        IReadOnlyList<FieldFault> faults = [];
        var stale = false;
        var done = store.ChangeOwnProfile(at.Account.Nai, shown.ProfileNumber, Source(context).ToString(), before =>
        {
            stale = Version(before.Profile) != Field(form, "version");
            (var wished, faults) = stale ? (null, []) : WishDecision.Decide(wish, before, view.Gateways);
            return wished;
        });
        if (done is null)
        {
            await NotFound(context).ConfigureAwait(false);
            return;
        }

        if (stale)
        {
            var now = done.Value.Before;
            await Answer(context, StatusCodes.Status409Conflict, _html.Profile(view, now, ProfileWish.Of(now), [],
                "Nothing was changed: this path has been changed since you opened the page. Below are its present values.", Version(now))).ConfigureAwait(false);
            return;
        }

        if (faults.Count > 0)
        {
            services.Count("console.profile.refused", 1);
            await Answer(context, StatusCodes.Status422UnprocessableEntity, _html.Profile(view, shown, wish, faults, null, Version(shown))).ConfigureAwait(false);
            return;
        }

        var changes = ProfileChanges.Between(done.Value.Before, done.Value.After);
        if (changes.Count > 0)
        {
            services.Count("console.profile.changed", 1);
            services.Report(new EngineEvent("console.profile_changed", EventSeverity.Information, $"profile {shown.ProfileNumber}: {string.Join(", ", changes)}")
            {
                Nai = at.Account.Nai,
                Peer = Source(context).ToString(),
                Rule = "NV7.1",
            });
        }

        at.Session.Done = changes.Count > 0
            ? $"Path {shown.ProfileNumber} is changed. It takes effect the next time your terminal logs in, or at once after a service update from the terminal."
            : $"Path {shown.ProfileNumber} is as it was: you changed nothing.";
        await Redirect(context, "/customer").ConfigureAwait(false);
    }

    public Task NotFound(HttpContext context) => Answer(context, StatusCodes.Status404NotFound, _html.Problem("There is no such page", "Perhaps the address was mistyped, or what it showed is gone."));

    public Task Fault(HttpContext context) => Answer(context, StatusCodes.Status500InternalServerError, _html.Problem("Something went wrong", "The request could not be carried out and nothing was changed. Please try again later."));

    public Task Refuse(HttpContext context, int status, string text) => Answer(context, status, _html.Problem("The request was refused", text));

    private Task TooEarly(HttpContext context, TimeSpan wait)
    {
        var seconds = (int)Math.Ceiling(wait.TotalSeconds);
        context.Response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
        return Answer(context, StatusCodes.Status429TooManyRequests, _html.Login($"There were too many wrong attempts. Please try again in {seconds} s."));
    }

    /// <summary>Session and form of a request that changes something; null when it was answered already.</summary>
    private async Task<((CustomerSession Session, CustomerAccount Account) At, IFormCollection Form)?> Posted(HttpContext context)
    {
        if (SessionOf(context) is not { } at)
        {
            await Redirect(context, "/customer/login").ConfigureAwait(false);
            return null;
        }

        if (await Form(context).ConfigureAwait(false) is not { } form)
        {
            return null;
        }

        if (CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(Field(form, "form-token")), Encoding.UTF8.GetBytes(at.Session.FormToken)))
        {
            return (at, form);
        }

        services.Count("console.request.forged", 1);
        await Refuse(context, StatusCodes.Status403Forbidden, "It did not come from a page of this session. Nothing was changed.").ConfigureAwait(false);
        return null;
    }

    /// <summary>The fields of a posted form; null when the request was answered already.</summary>
    private async Task<IFormCollection?> Form(HttpContext context)
    {
        var request = context.Request;
        if (!IsOwnPage(request))
        {
            services.Count("console.request.forged", 1);
            await Refuse(context, StatusCodes.Status403Forbidden, "It was sent from another site's page. Nothing was changed.").ConfigureAwait(false);
            return null;
        }

        if (request.ContentType?.Split(';')[0].Trim().Equals("application/x-www-form-urlencoded", StringComparison.OrdinalIgnoreCase) != true)
        {
            await Refuse(context, StatusCodes.Status415UnsupportedMediaType, "Only forms of this site are taken.").ConfigureAwait(false);
            return null;
        }

        try
        {
            return await request.ReadFormAsync(context.RequestAborted).ConfigureAwait(false);
        }
        catch (InvalidDataException)
        {
            await Refuse(context, StatusCodes.Status400BadRequest, "The form cannot be read.").ConfigureAwait(false);
            return null;
        }
    }

    /// <summary>Browsers say with a form where the page came from. What says nothing is no browser, and carries no one else's cookie.</summary>
    private static bool IsOwnPage(HttpRequest request) =>
        (request.Headers.Origin.Count == 0 || request.Headers.Origin == $"{request.Scheme}://{request.Host}")
        && (!request.Headers.TryGetValue("Sec-Fetch-Site", out var site) || site == "same-origin");

    private (CustomerSession Session, CustomerAccount Account)? SessionOf(HttpContext context)
    {
        if (context.Request.Cookies[Cookie] is not { } token || sessions.Find(token) is not { } session)
        {
            return null;
        }

        if (store.FindCustomer(session.Nai) is { Enabled: true, PasswordHash: not null } account && Fingerprint(account) == session.AccessFingerprint)
        {
            return (session, account);
        }

        sessions.Close(token);
        return null;
    }

    private CustomerPageView View((CustomerSession Session, CustomerAccount Account) at) => new(
        at.Account, at.Session.FormToken, store.VpnInstances(at.Account.Nai), new CorrespondentGatewayTable(store.CorrespondentGateways), at.Session.Done);

    private static VpnInstance? Own(HttpContext context, CustomerPageView view) =>
        uint.TryParse(context.Request.RouteValues["number"] as string, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? view.Profiles.FirstOrDefault(p => p.ProfileNumber == number)
            : null;

    /// <summary>At most one a second, so that nobody can fill the log. A name nobody has is not logged: it may be a password in the wrong field.</summary>
    private void Refused(CustomerAccount? account, IPAddress source)
    {
        var now = services.Time.GetTimestamp();
        var last = Interlocked.Read(ref _lastRefusal);
        if ((last == 0 || services.Time.GetElapsedTime(last, now) >= TimeSpan.FromSeconds(1)) && Interlocked.CompareExchange(ref _lastRefusal, now, last) == last)
        {
            services.Report(new EngineEvent("console.login_refused", EventSeverity.Warning, account switch
            {
                null => "a login to the customer page named nobody",
                { Enabled: false } => "a login to the customer page named a disabled subscriber",
                { PasswordHash: null } => "a login to the customer page named a subscriber without access to it",
                _ => "a login to the customer page had a wrong password",
            })
            {
                Nai = account?.Nai,
                Peer = source.ToString(),
                Rule = "M11",
            });
        }
    }

    private static string Version(VpnInstance profile) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{ProfileWish.Of(profile)}{profile.Algorithm}")).AsSpan(0, 8));

    private static string Fingerprint(CustomerAccount account) => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(account.PasswordHash ?? "")));

    private static string Field(IFormCollection form, string name) => form[name] is [{ } value] ? value : "";

    private static IPAddress Source(HttpContext context) => context.Connection.RemoteIpAddress is { } address ? address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address : IPAddress.None;

    private static CookieOptions CookieOptions() => new() { HttpOnly = true, Secure = true, SameSite = SameSiteMode.Strict, Path = "/" };

    private static Task Redirect(HttpContext context, string to)
    {
        context.Response.StatusCode = StatusCodes.Status303SeeOther;
        context.Response.Headers.Location = to;
        return Task.CompletedTask;
    }

    private static Task Answer(HttpContext context, int status, Html page)
    {
        context.Response.StatusCode = status;
        context.Response.ContentType = "text/html; charset=utf-8";
        return HttpMethods.IsHead(context.Request.Method) ? Task.CompletedTask : context.Response.WriteAsync(page.Text, context.RequestAborted);
    }
}
