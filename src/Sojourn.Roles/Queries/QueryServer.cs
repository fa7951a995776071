using System.Net;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Sojourn.Roles.Diameter;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.Queries;

/// <summary>What a query is answered with.</summary>
/// <param name="Status">HTTP status.</param>
/// <param name="Body">JSON; empty = none.</param>
internal readonly record struct QueryReply(int Status, ReadOnlyMemory<byte> Body)
{
    public static readonly QueryReply Done = new(StatusCodes.Status204NoContent, default);
    public static readonly QueryReply Forbidden = new(StatusCodes.Status403Forbidden, default);
    public static readonly QueryReply Conflict = new(StatusCodes.Status409Conflict, default);
    public static readonly QueryReply Malformed = new(StatusCodes.Status400BadRequest, default);
    public static readonly QueryReply Unavailable = new(StatusCodes.Status503ServiceUnavailable, default);

    public static QueryReply Of<T>(T answer, JsonTypeInfo<T> type) => new(StatusCodes.Status200OK, JsonSerializer.SerializeToUtf8Bytes(answer, type));
}

/// <summary>
/// Queries between the parts of the home network (spec 7.9): HTTPS with TLS 1.3 and certificates on both sides, POST with JSON. Who may
/// ask nothing does not get past the handshake (TA-H21); who may ask something else is told 403.
/// </summary>
internal sealed class QueryServer : IDisposable
{
    private const int LargestBody = 4096;
    private const int MostConnections = 256;
    private static readonly TimeSpan HandshakeLimit = TimeSpan.FromSeconds(5);

    private readonly Func<X509Certificate2, string?>? _objection;
    private readonly Action<string, string> _refused;
    private readonly HashSet<string> _names = [];
    private readonly SslServerAuthenticationOptions _tls;
    private readonly WebApplication _application;

    /// <param name="refused">Told the names of a peer that was refused, and why.</param>
    /// <param name="objection">What else speaks against a certificate; null = nothing.</param>
    public QueryServer(IReadOnlyList<IPEndPoint> listen, TlsCredentials identity, Action<string, string> refused, Func<X509Certificate2, string?>? objection = null)
    {
        _refused = refused;
        _objection = objection;
        _tls = new DiameterTls(identity).Server;
        var trusted = _tls.RemoteCertificateValidationCallback!;
        _tls.RemoteCertificateValidationCallback = (sender, certificate, chain, errors) => trusted(sender, certificate, chain, errors) && IsAllowed(certificate);
        var builder = NodeWebHost.CreateBuilder();
        builder.Services.AddRoutingCore();
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = LargestBody;
            kestrel.Limits.MaxConcurrentConnections = MostConnections;
            kestrel.Limits.RequestHeadersTimeout = HandshakeLimit;
            foreach (var end in listen)
            {
                kestrel.Listen(end, options =>
                {
                    options.Protocols = HttpProtocols.Http1;
                    options.UseHttps(new TlsHandshakeCallbackOptions { HandshakeTimeout = HandshakeLimit, OnConnection = _ => ValueTask.FromResult(_tls) });
                });
            }
        });
        _application = builder.Build();
        _application.UseRouting();
    }

    /// <summary>Takes queries of a kind, before <see cref="Start"/>.</summary>
    /// <param name="names">DNS names of certificates that may ask.</param>
    public void Map<T>(string path, IReadOnlyCollection<string> names, JsonTypeInfo<T> type, Func<T, CancellationToken, Task<QueryReply>> answer)
        where T : class => Map(path, names, type, (request, _, cancellation) => answer(request, cancellation));

    /// <inheritdoc cref="Map{T}(string, IReadOnlyCollection{string}, JsonTypeInfo{T}, Func{T, CancellationToken, Task{QueryReply}})"/>
    /// <param name="answer">Told the name that the asker was let in by.</param>
    public void Map<T>(string path, IReadOnlyCollection<string> names, JsonTypeInfo<T> type, Func<T, string, CancellationToken, Task<QueryReply>> answer)
        where T : class
    {
        _names.UnionWith(names);
        _application.MapPost(path, async context =>
        {
            if (DiameterTls.NamesOf(context.Connection.ClientCertificate).FirstOrDefault(names.Contains) is not { } name)
            {
                _refused(string.Join(' ', DiameterTls.NamesOf(context.Connection.ClientCertificate)), $"it may not ask {path}");
                context.Response.StatusCode = StatusCodes.Status403Forbidden;
                return;
            }

            QueryReply reply;
            try
            {
                var request = await JsonSerializer.DeserializeAsync(context.Request.Body, type, context.RequestAborted).ConfigureAwait(false);
                reply = request is null ? QueryReply.Malformed : await answer(request, name, context.RequestAborted).ConfigureAwait(false);
            }
            catch (JsonException)
            {
                reply = QueryReply.Malformed;
            }
            catch (Microsoft.AspNetCore.Http.BadHttpRequestException e)
            {
                reply = new QueryReply(e.StatusCode, default);
            }

            context.Response.StatusCode = reply.Status;
            if (!reply.Body.IsEmpty)
            {
                context.Response.ContentType = "application/json";
                context.Response.ContentLength = reply.Body.Length;
                await context.Response.Body.WriteAsync(reply.Body, context.RequestAborted).ConfigureAwait(false);
            }
        });
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

    private bool IsAllowed(X509Certificate? certificate)
    {
        var names = DiameterTls.NamesOf(certificate);
        var objection = !names.Any(_names.Contains) ? "it may ask nothing here" : _objection?.Invoke((X509Certificate2)certificate!);
        if (objection is not null)
        {
            _refused(string.Join(' ', names), objection);
        }

        return objection is null;
    }
}
