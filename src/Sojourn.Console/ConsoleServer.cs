using System.Collections.Concurrent;
using System.Data.Common;
using System.Net;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Storage;
using Sojourn.WebConsole.Customers;
using Sojourn.WebConsole.Sessions;

namespace Sojourn.WebConsole;

/// <summary>
/// The web server of a home AAA server's node: the customer page over HTTPS with TLS 1.3 (spec M11). It has a database
/// connection of its own, so that a browser never keeps the AAA server waiting.
/// </summary>
public sealed class ConsoleServer : IAsyncDisposable
{
    private const long LargestBody = 16 * 1024;
    private const int MostConnectionsPerSource = 32;
    private static readonly TimeSpan HandshakeLimit = TimeSpan.FromSeconds(10);

    private readonly NodeServices _services;
    private readonly Database _database;
    private readonly X509Certificate2? _certificate;
    private readonly CustomerPages _pages;
    private readonly WebApplication _application;
    private readonly ConcurrentDictionary<IPAddress, int> _connections = new();

    /// <param name="node">A home AAA server's options with a console section.</param>
    /// <exception cref="StorageException">The subscriber database cannot be opened.</exception>
    /// <exception cref="System.Security.Cryptography.CryptographicException">The certificate or its key cannot be read.</exception>
    public ConsoleServer(NodeOptions node, NodeServices services)
    {
        var (section, aaa) = (node.Console!, node.Aaa!);
        _services = services;
        Options = section;
        _database = Database.Open(aaa.Database!.FullPath, aaa.DatabaseKeyFile?.FullPath, create: false);
        try
        {
            var sessions = new SessionTable(services.Time, section.IdleTimeout, section.SessionLifetime);
            _pages = new CustomerPages(new SubscriberStore(_database, services.Time, "console"), services, sessions, node.Diameter!.Realm);
            _certificate = section.PlainHttp ? null : X509Certificate2.CreateFromPemFile(section.CertificateFile!.FullPath, section.KeyFile!.FullPath);
            _application = Build(section);
        }
        catch
        {
            _certificate?.Dispose();
            _database.Dispose();
            throw;
        }
    }

    public ConsoleSection Options { get; }

    /// <summary>Where it can be reached.</summary>
    public Uri Address => new($"{(Options.PlainHttp ? "http" : "https")}://{Options.Address}:{Options.Port}/");

    /// <summary>Binds in the network namespace of the calling thread, before the first await.</summary>
    /// <exception cref="IOException">The address cannot be bound.</exception>
    public Task StartAsync() => _application.StartAsync();

    public async ValueTask DisposeAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        await _application.StopAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _application.DisposeAsync().ConfigureAwait(false);
        _certificate?.Dispose();
        _database.Dispose();
    }

    private WebApplication Build(ConsoleSection section)
    {
        var builder = NodeWebHost.CreateBuilder();
        builder.Services.AddRoutingCore();
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = LargestBody;
            kestrel.Limits.MaxRequestHeadersTotalSize = (int)LargestBody;
            kestrel.Limits.MaxConcurrentConnections = section.MaximumConnections;
            kestrel.Limits.RequestHeadersTimeout = HandshakeLimit;
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(60);
            kestrel.Listen(section.Address, section.Port, listen =>
            {
                listen.Protocols = HttpProtocols.Http1;
                listen.Use(next => connection => Limited(connection, next));
                if (_certificate is not null)
                {
                    listen.UseHttps(Https(section));
                }
            });
        });
        var application = builder.Build();
        application.Use(Guard);
        application.UseRouting();
        application.MapGet("/", context =>
        {
            context.Response.Redirect("/customer");
            return Task.CompletedTask;
        });
        application.MapGet("/customer", _pages.Overview);
        application.MapGet("/customer/login", _pages.ShowLogin);
        application.MapPost("/customer/login", _pages.Login);
        application.MapPost("/customer/logout", _pages.Logout);
        application.MapGet("/customer/profiles/{number}", _pages.ShowProfile);
        application.MapPost("/customer/profiles/{number}", _pages.ChangeProfile);
        application.MapGet("/customer.css", Asset("customer.css", "text/css; charset=utf-8"));
        application.MapGet("/icon.svg", Asset("icon.svg", "image/svg+xml"));
        application.MapFallback(_pages.NotFound);
        return application;
    }

    private HttpsConnectionAdapterOptions Https(ConsoleSection section)
    {
        var chain = new X509Certificate2Collection();
        chain.ImportFromPemFile(section.CertificateFile!.FullPath);
        chain.RemoveAt(0);
        return new HttpsConnectionAdapterOptions
        {
            ServerCertificate = _certificate,
            ServerCertificateChain = chain,
            SslProtocols = SslProtocols.Tls13,
            HandshakeTimeout = HandshakeLimit,
            OnAuthenticate = (_, options) => options.AllowRenegotiation = false,
        };
    }

    /// <summary>No source may take all connections; what is over is closed before TLS costs anything.</summary>
    private async Task Limited(ConnectionContext connection, ConnectionDelegate next)
    {
        var source = (connection.RemoteEndPoint as IPEndPoint)?.Address ?? IPAddress.None;
        try
        {
            if (_connections.AddOrUpdate(source, 1, (_, held) => held + 1) > MostConnectionsPerSource)
            {
                _services.Count("console.connection.refused", 1);
                connection.Abort();
                return;
            }

            await next(connection).ConfigureAwait(false);
        }
        finally
        {
            var left = _connections.AddOrUpdate(source, 0, (_, held) => held - 1);
            if (left == 0)
            {
                _connections.TryRemove(new KeyValuePair<IPAddress, int>(source, 0));
            }
        }
    }

    /// <summary>Headers of every answer; a fault becomes a page that tells a stranger nothing.</summary>
    private async Task Guard(HttpContext context, RequestDelegate next)
    {
        _services.Count("console.request", 1);
        var headers = context.Response.Headers;
        headers.ContentSecurityPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
        headers.XContentTypeOptions = "nosniff";
        headers.XFrameOptions = "DENY";
        headers["Referrer-Policy"] = "same-origin";
        headers["Cross-Origin-Opener-Policy"] = "same-origin";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()";
        headers.CacheControl = "no-store";
        if (_certificate is not null)
        {
            headers.StrictTransportSecurity = "max-age=31536000";
        }

        try
        {
            await next(context).ConfigureAwait(false);
        }
        catch (Microsoft.AspNetCore.Http.BadHttpRequestException e) when (!context.Response.HasStarted)
        {
            await _pages.Refuse(context, e.StatusCode, "It is larger than any form here, or not HTTP.").ConfigureAwait(false);
        }
        catch (Exception e) when (e is not OperationCanceledException && !context.Response.HasStarted)
        {
            _services.Count("console.fault", 1);
            _services.Report(new EngineEvent("console.fault", EventSeverity.Error, e is StorageException or DbException ? e.Message : $"{e.GetType().Name}: {e.Message}"));
            await _pages.Fault(context).ConfigureAwait(false);
        }
    }

    private static RequestDelegate Asset(string name, string type)
    {
        using var stream = typeof(ConsoleServer).Assembly.GetManifestResourceStream(name)!;
        var octets = new byte[stream.Length];
        stream.ReadExactly(octets);
        return context =>
        {
            context.Response.ContentType = type;
            context.Response.Headers.CacheControl = "max-age=3600";
            return context.Response.Body.WriteAsync(octets, context.RequestAborted).AsTask();
        };
    }
}
