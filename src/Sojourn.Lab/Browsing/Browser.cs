using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text.RegularExpressions;
using Sojourn.DataPath.Netlink;

namespace Sojourn.Lab.Browsing;

/// <summary>Where a browser runs and whom it trusts.</summary>
/// <param name="Space">Namespace of its computer.</param>
/// <param name="Server">Where the site's name leads.</param>
/// <param name="Authority">The only one whose certificates it takes.</param>
public sealed record BrowserPlace(NetworkNamespace Space, IPEndPoint Server, X509Certificate2 Authority);

/// <summary>An HTTP client that keeps cookies and sends forms as a browser does; follows nothing by itself.</summary>
public sealed class Browser : IDisposable
{
    private readonly HttpClient _http;

    /// <param name="address">The site.</param>
    /// <param name="sayOrigin">Tell with a form where the page came from, as browsers do.</param>
    /// <param name="place">Null = this computer, and any certificate will do.</param>
    public Browser(Uri address, bool sayOrigin = true, BrowserPlace? place = null)
    {
        var handler = new SocketsHttpHandler { AllowAutoRedirect = false, CookieContainer = Cookies };
        if (place is null)
        {
            handler.SslOptions.RemoteCertificateValidationCallback = (_, _, _, _) => true;
        }
        else
        {
            handler.ConnectCallback = (_, cancellation) => Chromium.ConnectAsync(place.Space, place.Server, cancellation);
            handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                CustomTrustStore = { place.Authority },
                RevocationMode = X509RevocationMode.NoCheck,
            };
        }

        _http = new HttpClient(handler) { BaseAddress = address };
        if (sayOrigin)
        {
            _http.DefaultRequestHeaders.Add("Origin", address.ToString().TrimEnd('/'));
            _http.DefaultRequestHeaders.Add("Sec-Fetch-Site", "same-origin");
        }
    }

    public CookieContainer Cookies { get; } = new();

    public HttpClient Http => _http;

    public async Task<Page> Get(string path) => await Page.Of(await _http.GetAsync(path));

    public async Task<Page> Post(string path, params (string Name, string Value)[] fields) =>
        await Page.Of(await _http.PostAsync(path, new FormUrlEncodedContent(fields.Select(f => KeyValuePair.Create(f.Name, f.Value)))));

    public Task<Page> Login(string nai, string password) => Post("/customer/login", ("nai", nai), ("password", password));

    /// <summary>Opens a profile's form and sends it with some fields changed.</summary>
    public async Task<Page> Change(int profile, params (string Name, string Value)[] changes)
    {
        var form = (await Get($"/customer/profiles/{profile}")).Form;
        foreach (var (name, value) in changes)
        {
            form[name] = value;
        }

        return await Post($"/customer/profiles/{profile}", [.. form.Select(f => (f.Key, f.Value))]);
    }

    public void Dispose() => _http.Dispose();
}

/// <summary>An answer with its body.</summary>
public sealed partial record Page(HttpStatusCode Status, string Text, HttpResponseMessage Response)
{
    public string? Location => Response.Headers.Location?.ToString();

    /// <summary>The fields of the page's last form as a browser would send them.</summary>
    public Dictionary<string, string> Form
    {
        get
        {
            var form = Text[Text.LastIndexOf("<form", StringComparison.Ordinal)..];
            var fields = Inputs().Matches(form).ToDictionary(m => m.Groups["name"].Value, m => WebUtility.HtmlDecode(Value().Match(m.Value).Groups[1].Value));
            foreach (Match select in Selects().Matches(form))
            {
                fields[select.Groups["name"].Value] = Chosen().Match(select.Value).Groups[1].Value;
            }

            return fields;
        }
    }

    public static async Task<Page> Of(HttpResponseMessage response) => new(response.StatusCode, await response.Content.ReadAsStringAsync(), response);

    [GeneratedRegex("<input [^>]*name=\"(?<name>[^\"]+)\"[^>]*>")]
    private static partial Regex Inputs();

    [GeneratedRegex("value=\"([^\"]*)\"")]
    private static partial Regex Value();

    [GeneratedRegex("<select [^>]*name=\"(?<name>[^\"]+)\".*?</select>", RegexOptions.Singleline)]
    private static partial Regex Selects();

    [GeneratedRegex("value=\"([^\"]*)\" selected")]
    private static partial Regex Chosen();
}
