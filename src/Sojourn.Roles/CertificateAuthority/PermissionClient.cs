using System.Net.Http.Json;
using System.Text.Json;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Roles.Diameter;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.CertificateAuthority;

/// <summary>Who a delegating router or a home agent asks for permission (Q1): an authority elsewhere, or one in the same process.</summary>
public interface IPermissionAuthority
{
    /// <summary>Null = no answer in time: nothing new is allowed, what stands stays (spec L5).</summary>
    Task<PermissionAnswer?> AskAsync(string identifier, PermissionPurpose purpose, CancellationToken cancellation = default);
}

/// <summary>Asks a ca node over HTTPS with mutual TLS 1.3: two seconds, one retry (spec L5). Connections are kept.</summary>
public sealed class PermissionClient : IPermissionAuthority, IDisposable
{
    private const int Attempts = 2;
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(2);

    private readonly HttpClient _http;
    private readonly Uri _address;

    /// <param name="authority">e.g. <c>https://ca.home.example:8444</c>; the host must be in the authority's server certificate.</param>
    /// <param name="identity">Own certificate and the anchors that the authority's server certificate must come from.</param>
    public PermissionClient(Uri authority, TlsCredentials identity)
    {
        _address = new Uri(authority, "/v1/permission");
        _http = QueryHttp.Client(authority.DnsSafeHost, identity, AnswerLimit);
    }

    public async Task<PermissionAnswer?> AskAsync(string identifier, PermissionPurpose purpose, CancellationToken cancellation = default)
    {
        for (var attempt = 0; attempt < Attempts; attempt++)
        {
            if (await AskOnceAsync(identifier, purpose, cancellation).ConfigureAwait(false) is { } answer)
            {
                return answer;
            }
        }

        return null;
    }

    /// <summary>Asks once, for who repeats a question by itself.</summary>
    public async Task<PermissionAnswer?> AskOnceAsync(string identifier, PermissionPurpose purpose, CancellationToken cancellation = default)
    {
        try
        {
            using var response = await _http.PostAsJsonAsync(_address, new PermissionRequest(identifier, purpose), QueryJson.Default.PermissionRequest, cancellation).ConfigureAwait(false);
            return response.IsSuccessStatusCode ? await response.Content.ReadFromJsonAsync(QueryJson.Default.PermissionAnswer, cancellation).ConfigureAwait(false) : null;
        }
        catch (Exception e) when (e is HttpRequestException or JsonException or IOException || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            // Silence, and answers that mean nothing, count alike.
            return null;
        }
    }

    public void Dispose() => _http.Dispose();
}

/// <summary>HTTPS between parts of the home network.</summary>
internal static class QueryHttp
{
    private const int LargestAnswer = 64 * 1024;

    /// <summary>Well below what a server takes from all its askers together; the rest of a burst waits.</summary>
    private const int MostConnections = 32;

    /// <param name="host">Name, or address, that the server's certificate must carry.</param>
    public static HttpClient Client(string host, TlsCredentials identity, TimeSpan limit)
    {
        var tls = new DiameterTls(identity).Client(host);
        var trusted = tls.RemoteCertificateValidationCallback!;
        tls.RemoteCertificateValidationCallback = (sender, certificate, chain, errors) =>
            trusted(sender, certificate, chain, errors) && certificate is System.Security.Cryptography.X509Certificates.X509Certificate2 full && full.MatchesHostname(host, allowWildcards: false, allowCommonName: false);
        return new HttpClient(new SocketsHttpHandler { SslOptions = tls, UseProxy = false, AllowAutoRedirect = false, ConnectTimeout = limit, MaxConnectionsPerServer = MostConnections, PooledConnectionLifetime = TimeSpan.FromMinutes(10) })
        {
            Timeout = limit,
            MaxResponseContentBufferSize = LargestAnswer,
        };
    }
}
