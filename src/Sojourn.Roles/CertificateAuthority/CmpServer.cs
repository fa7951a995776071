using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Sojourn.Engine;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Cmp;

namespace Sojourn.Roles.CertificateAuthority;

/// <summary>
/// HTTP transfer of CMP (RFC 9811): POST of <c>application/pkixcmp</c> to <c>/.well-known/cmp</c> or below it. Beside it the
/// authority's certificate, those it issued by serial number, and CRL (RFC 2585), and OCSP (RFC 6960 appendix A).
/// </summary>
internal sealed class CmpServer : IDisposable
{
    private const string MediaType = "application/pkixcmp";
    private const string OcspRequestType = "application/ocsp-request";
    private const string OcspResponseType = "application/ocsp-response";
    private const int LongestOcspRequest = 4096;
    private static readonly TimeSpan HeaderLimit = TimeSpan.FromSeconds(10);

    private readonly AuthorityWorker _worker;
    private readonly NodeServices _services;
    private readonly SourceRate _rate;
    private readonly WebApplication _application;

    /// <param name="certificate">The authority's own, DER.</param>
    public CmpServer(CaSection section, ReadOnlyMemory<byte> certificate, AuthorityWorker worker, NodeServices services)
    {
        _worker = worker;
        _services = services;
        _rate = new SourceRate(services.Time, section.RequestsPerSource);
        var builder = NodeWebHost.CreateBuilder();
        builder.Services.AddRoutingCore();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = CmpLimits.Message;
            kestrel.Limits.MaxRequestHeadersTotalSize = 16 * 1024;
            kestrel.Limits.MaxConcurrentConnections = section.MaximumConnections;
            kestrel.Limits.RequestHeadersTimeout = HeaderLimit;
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(30);
            foreach (var end in section.Listen)
            {
                kestrel.Listen(end, listen => listen.Protocols = HttpProtocols.Http1);
            }
        });
        _application = builder.Build();
        _application.Use(Guard);
        _application.UseRouting();
        _application.MapPost("/.well-known/cmp/{**operation}", Cmp);
        _application.MapGet("/ca.crt", context => Send(context, "application/pkix-cert", certificate));
        _application.MapGet("/ca.crl", Crl);
        _application.MapGet("/certificates/{serial}.cer", Certificate);
        _application.MapPost("/ocsp", Ocsp);
        _application.MapGet("/ocsp/{**request}", OcspByGet);
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

    private async Task Cmp(HttpContext context)
    {
        if (!Is(context.Request.ContentType, MediaType))
        {
            context.Response.StatusCode = StatusCodes.Status415UnsupportedMediaType;
            return;
        }

        var message = await Body(context.Request, CmpLimits.Message).ConfigureAwait(false);
        await SendOr503(context, MediaType, await _worker.Answer(message, Source(context)).ConfigureAwait(false)).ConfigureAwait(false);
    }

    /// <summary>What hash-and-URL of IKEv2 leads to (RFC 7296 3.6). Certificates are public; whoever knows the number may read.</summary>
    private async Task Certificate(HttpContext context)
    {
        var serial = context.Request.RouteValues["serial"] as string ?? "";
        if (serial.Length <= 2 * (CmpLimits.SerialNumber + 1) && serial.All(char.IsAsciiHexDigitLower) && _worker.Certificate(serial) is { } certificate)
        {
            await Send(context, "application/pkix-cert", certificate).ConfigureAwait(false);
        }
        else
        {
            context.Response.StatusCode = StatusCodes.Status404NotFound;
        }
    }

    private async Task Crl(HttpContext context) => await SendOr503(context, "application/pkix-crl", await _worker.RevocationList().ConfigureAwait(false)).ConfigureAwait(false);

    private async Task Ocsp(HttpContext context)
    {
        if (!Is(context.Request.ContentType, OcspRequestType))
        {
            context.Response.StatusCode = StatusCodes.Status415UnsupportedMediaType;
            return;
        }

        var request = await Body(context.Request, LongestOcspRequest).ConfigureAwait(false);
        await SendOr503(context, OcspResponseType, await _worker.Status(request).ConfigureAwait(false)).ConfigureAwait(false);
    }

    /// <summary>GET of the base64 of the request. The server has taken percent signs apart already, but for that of a slash.</summary>
    private async Task OcspByGet(HttpContext context)
    {
        var text = (context.Request.RouteValues["request"] as string ?? "").Replace("%2F", "/", StringComparison.OrdinalIgnoreCase);
        var octets = new byte[text.Length];
        if (text.Length > LongestOcspRequest || !Convert.TryFromBase64String(text, octets, out var length))
        {
            context.Response.StatusCode = StatusCodes.Status400BadRequest;
            return;
        }

        await SendOr503(context, OcspResponseType, await _worker.Status(octets.AsMemory(0, length)).ConfigureAwait(false)).ConfigureAwait(false);
    }

    private static async Task SendOr503(HttpContext context, string type, byte[]? response)
    {
        if (response is null)
        {
            context.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
            context.Response.Headers.RetryAfter = "1";
            return;
        }

        await Send(context, type, response).ConfigureAwait(false);
    }

    private static async Task Send(HttpContext context, string type, ReadOnlyMemory<byte> octets)
    {
        context.Response.ContentType = type;
        context.Response.ContentLength = octets.Length;
        await context.Response.Body.WriteAsync(octets, context.RequestAborted).ConfigureAwait(false);
    }

    private static async Task<ReadOnlyMemory<byte>> Body(HttpRequest request, int most)
    {
        using var body = new MemoryStream((int)Math.Min(request.ContentLength ?? 1024, most));
        await request.Body.CopyToAsync(body, request.HttpContext.RequestAborted).ConfigureAwait(false);
        return body.ToArray();
    }

    /// <summary>Media types may have parameters.</summary>
    private static bool Is(string? given, string wanted) => given is not null && given.Split(';', 2)[0].Trim().Equals(wanted, StringComparison.OrdinalIgnoreCase);

    private static string Source(HttpContext context) => $"{context.Connection.RemoteIpAddress}";

    /// <summary>Too many requests of one source are refused before they are read; a fault tells a stranger nothing.</summary>
    private async Task Guard(HttpContext context, RequestDelegate next)
    {
        if (!_rate.Allows(context.Connection.RemoteIpAddress ?? IPAddress.None))
        {
            _services.Count("ca.rate_limited", 1);
            context.Response.StatusCode = StatusCodes.Status429TooManyRequests;
            context.Response.Headers.RetryAfter = "1";
            return;
        }

        try
        {
            await next(context).ConfigureAwait(false);
        }
        catch (Microsoft.AspNetCore.Http.BadHttpRequestException e) when (!context.Response.HasStarted)
        {
            _services.Count("ca.http.bad_request", 1);
            context.Response.StatusCode = e.StatusCode;
        }
        catch (Exception e) when (e is not OperationCanceledException && !context.Response.HasStarted)
        {
            _services.Count("ca.faults", 1);
            _services.Report(new EngineEvent("ca.fault", EventSeverity.Error, $"{e.GetType().Name}: {e.Message}"));
            context.Response.StatusCode = StatusCodes.Status500InternalServerError;
        }
    }
}
