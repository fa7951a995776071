using System.Net;
using System.Text.RegularExpressions;

namespace Sojourn.WebConsole.Tests;

/// <summary>An HTTP client that keeps cookies and sends forms as a browser does; follows nothing by itself.</summary>
internal sealed partial class Browser : IDisposable
{
    private readonly HttpClient _http;

    public Browser(Uri address, bool sayOrigin = true)
    {
        _http = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            CookieContainer = Cookies,
            SslOptions = { RemoteCertificateValidationCallback = (_, _, _, _) => true },
        })
        {
            BaseAddress = address,
        };
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

internal sealed partial record Page(HttpStatusCode Status, string Text, HttpResponseMessage Response)
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
