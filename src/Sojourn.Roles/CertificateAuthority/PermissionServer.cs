using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Sojourn.Engine;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Diameter;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.CertificateAuthority;

/// <summary>
/// Q1 for delegating routers and home agents: HTTPS with TLS 1.3, certificates on both sides (spec 7.9). Who is not configured, or
/// has a certificate of this authority that is withdrawn, does not get past the handshake (TA-H21).
/// </summary>
internal sealed class PermissionServer : IDisposable
{
    private const int LargestBody = 4096;
    private static readonly TimeSpan HandshakeLimit = TimeSpan.FromSeconds(5);

    private readonly AuthorityWorker _worker;
    private readonly NodeServices _services;
    private readonly HashSet<string> _askers;
    private readonly SslServerAuthenticationOptions _tls;
    private readonly WebApplication _application;

    public PermissionServer(CaQueriesSection section, DiameterTlsIdentity identity, AuthorityWorker worker, NodeServices services)
    {
        _worker = worker;
        _services = services;
        _askers = [.. section.Askers.Select(asker => asker.Name)];
        _tls = new DiameterTls(identity).Server;
        var trusted = _tls.RemoteCertificateValidationCallback!;
        _tls.RemoteCertificateValidationCallback = (sender, certificate, chain, errors) => trusted(sender, certificate, chain, errors) && IsAsker(certificate);
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "sojourn" });
        builder.Logging.ClearProviders();
        builder.Services.AddRoutingCore();
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = LargestBody;
            kestrel.Limits.MaxConcurrentConnections = 256;
            kestrel.Limits.RequestHeadersTimeout = HandshakeLimit;
            foreach (var end in section.Listen)
            {
                kestrel.Listen(end, listen =>
                {
                    listen.Protocols = HttpProtocols.Http1;
                    listen.UseHttps(new TlsHandshakeCallbackOptions { HandshakeTimeout = HandshakeLimit, OnConnection = _ => ValueTask.FromResult(_tls) });
                });
            }
        });
        _application = builder.Build();
        _application.UseRouting();
        _application.MapPost("/v1/permission", Permission);
    }

    /// <summary>Binds in the network namespace of the calling thread.</summary>
    /// <exception cref="IOException">An address cannot be bound.</exception>
    public void Start() => _application.StartAsync().GetAwaiter().GetResult();

    public void Dispose()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        _application.StopAsync(limit.Token).ContinueWith(_ => { }, TaskScheduler.Default).Wait();
        _application.DisposeAsync().AsTask().Wait(TimeSpan.FromSeconds(1));
    }

    private bool IsAsker(X509Certificate? certificate)
    {
        try
        {
            var refusal = !DiameterTls.NamesOf(certificate).Any(_askers.Contains) ? "it is no configured asker"
                : _worker.IsWithdrawn(certificate!.GetSerialNumberString().ToLowerInvariant()) ? "its certificate is withdrawn"
                : null;
            if (refusal is not null)
            {
                _services.Count("ca.query.refused", 1);
                _services.Report(new EngineEvent("ca.query_refused", EventSeverity.Warning, $"{string.Join(' ', DiameterTls.NamesOf(certificate))} may not ask: {refusal}") { Rule = "TA-H21" });
            }

            return refusal is null;
        }
        catch (Storage.StorageException)
        {
            return false;
        }
    }

    private async Task Permission(HttpContext context)
    {
        PermissionRequest? request;
        try
        {
            request = await JsonSerializer.DeserializeAsync(context.Request.Body, QueryJson.Default.PermissionRequest, context.RequestAborted).ConfigureAwait(false);
        }
        catch (JsonException)
        {
            request = null;
        }
        catch (Microsoft.AspNetCore.Http.BadHttpRequestException e)
        {
            context.Response.StatusCode = e.StatusCode;
            return;
        }

        if (request is not { Identifier: { Length: > 0 and <= 1024 } identifier })
        {
            context.Response.StatusCode = StatusCodes.Status400BadRequest;
            return;
        }

        var answer = await _worker.Permission(identifier, permission => JsonSerializer.SerializeToUtf8Bytes(PermissionAnswer.Of(permission), QueryJson.Default.PermissionAnswer)).ConfigureAwait(false);
        if (answer is null)
        {
            context.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
            return;
        }

        context.Response.ContentType = "application/json";
        context.Response.ContentLength = answer.Length;
        await context.Response.Body.WriteAsync(answer, context.RequestAborted).ConfigureAwait(false);
    }
}
