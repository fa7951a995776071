using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Sojourn.Engine;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.Queries;

namespace Sojourn.Roles.CertificateAuthority;

/// <summary>
/// Q1 for delegating routers and home agents (spec 7.9). Who is not configured, or has a certificate of this authority that is
/// withdrawn, does not get past the handshake (TA-H21).
/// </summary>
internal sealed class PermissionServer : IDisposable
{
    private const int LongestIdentifier = 1024;

    private readonly AuthorityWorker _worker;
    private readonly QueryServer _server;

    public PermissionServer(CaQueriesSection section, TlsCredentials identity, AuthorityWorker worker, NodeServices services)
    {
        _worker = worker;
        _server = new QueryServer(
            section.Listen, identity,
            (names, why) =>
            {
                services.Count("ca.query.refused", 1);
                services.Report(new EngineEvent("ca.query_refused", EventSeverity.Warning, $"{names} may not ask: {why}") { Rule = "TA-H21" });
            },
            Objection);
        _server.Map("/v1/permission", [.. section.Askers.Select(asker => asker.Name)], QueryJson.Default.PermissionRequest, PermissionAsync);
    }

    /// <summary>Binds in the network namespace of the calling thread.</summary>
    /// <exception cref="IOException">An address cannot be bound.</exception>
    public void Start() => _server.Start();

    public void Dispose() => _server.Dispose();

    private string? Objection(X509Certificate2 certificate)
    {
        try
        {
            return _worker.IsWithdrawn(certificate.GetSerialNumberString().ToLowerInvariant()) ? "its certificate is withdrawn" : null;
        }
        catch (Storage.StorageException e)
        {
            return $"its certificate could not be looked up: {e.Message}";
        }
    }

    private async Task<QueryReply> PermissionAsync(PermissionRequest request, CancellationToken cancellation)
    {
        if (request.Identifier.Length is 0 or > LongestIdentifier)
        {
            return QueryReply.Malformed;
        }

        var answer = await _worker.Permission(request.Identifier, permission => JsonSerializer.SerializeToUtf8Bytes(PermissionAnswer.Of(permission), QueryJson.Default.PermissionAnswer)).ConfigureAwait(false);
        return answer is null ? QueryReply.Unavailable : new QueryReply(200, answer);
    }
}
