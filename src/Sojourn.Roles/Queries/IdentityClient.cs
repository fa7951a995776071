using System.Net.Http.Json;
using Sojourn.Roles.CertificateAuthority;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Roles.Queries;

/// <summary>Tells a delegating router whose an IAID of this gateway is (spec G6), over HTTPS with mutual TLS 1.3.</summary>
public sealed class IdentityClient : IDisposable
{
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(2);

    private readonly HttpClient _http;
    private readonly Uri _address;

    /// <param name="router">e.g. <c>https://dr1.home.example:8445</c>; the host must be in the router's server certificate.</param>
    public IdentityClient(Uri router, TlsCredentials identity)
    {
        _address = new Uri(router, "/v1/identity");
        _http = QueryHttp.Client(router.DnsSafeHost, identity, AnswerLimit);
    }

    /// <summary>True: the router knows it now. False: it refuses, or does not answer in two seconds.</summary>
    public async Task<bool> RegisterAsync(Duid duid, uint iaid, string identifier, CancellationToken cancellation = default)
    {
        try
        {
            using var response = await _http.PostAsJsonAsync(_address, new IdentityRegistration(duid.ToString(), iaid, identifier), AllocationJson.Default.IdentityRegistration, cancellation).ConfigureAwait(false);
            return response.IsSuccessStatusCode;
        }
        catch (Exception e) when (e is HttpRequestException or IOException or OperationCanceledException)
        {
            return false;
        }
    }

    public void Dispose() => _http.Dispose();
}
