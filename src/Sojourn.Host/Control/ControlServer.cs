using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Sojourn.Roles.Hosting;

namespace Sojourn.Host.Control;

/// <summary>
/// The control API: HTTP over a Unix socket that only its owner can open (mode 0600), and, when a metrics port is
/// configured, metrics and health alone on 127.0.0.1.
/// </summary>
public sealed partial class ControlServer : IAsyncDisposable
{
    private const long LargestBody = 64 * 1024;
    private const uint OwnerOnly = 0x7F; // 0177

    private static readonly Lock Binding = new();

    private readonly NodeHost _host;
    private readonly WebApplication _application;
    private readonly string _socket;

    internal ControlServer(NodeHost host)
    {
        _host = host;
        _socket = host.SocketPath;
        Directory.CreateDirectory(Path.GetDirectoryName(_socket)!);
        RemoveStale(_socket);
        var endpoints = new ControlEndpoints(host).All();
        var builder = NodeWebHost.CreateBuilder();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = LargestBody;
            kestrel.Limits.MaxConcurrentConnections = 256;
            kestrel.ListenUnixSocket(_socket, listen => listen.Protocols = HttpProtocols.Http1);
            if (host.Node.Options.Control.MetricsPort is > 0 and var port)
            {
                kestrel.Listen(IPAddress.Loopback, port, listen => listen.Protocols = HttpProtocols.Http1);
            }
        });
        _application = builder.Build();
        _application.Use(Guard);

        // No path has a variable part, so a table finds them; the framework's routing would make each handler anew by compiled expressions (decision 0009).
        var answers = endpoints.ToDictionary(endpoint => $"{endpoint.Method} /v1/{endpoint.Path}", endpoint => endpoint.Handle, StringComparer.OrdinalIgnoreCase);
        foreach (var name in (string[])["metrics", "health"])
        {
            answers.Add($"GET /{name}", answers[$"GET /v1/{name}"]);
        }

        // When somebody asks: describing every type takes half of a node's start.
        var document = new Lazy<string>(() => OpenApiDocument.Of(endpoints));
        answers.Add("GET /v1/openapi.json", context =>
        {
            context.Response.ContentType = "application/json";
            return context.Response.WriteAsync(document.Value, context.RequestAborted);
        });
        _application.Run(context => answers.GetValueOrDefault($"{context.Request.Method} {context.Request.Path}", NotFound)(context));
    }

    /// <summary>The OpenAPI document without a node.</summary>
    public static string OpenApi() => OpenApiDocument.Of(new ControlEndpoints(null!).All());

    /// <exception cref="IOException">The socket or the metrics port cannot be bound.</exception>
    internal async Task StartAsync()
    {
        // Kestrel binds before its first await, so the mask holds for this socket and for nothing else of this program.
        Task starting;
        lock (Binding)
        {
            var before = SetMask(OwnerOnly);
            try
            {
                starting = _application.StartAsync();
            }
            finally
            {
                _ = SetMask(before);
            }
        }

        await starting.ConfigureAwait(false);
        File.SetUnixFileMode(_socket, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    public async ValueTask DisposeAsync()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        await _application.StopAsync(limit.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _application.DisposeAsync().ConfigureAwait(false);
        File.Delete(_socket);
    }

    /// <summary>Removes what a crashed node left; refuses to take the place of a living one.</summary>
    /// <exception cref="IOException">Another node answers there, or a file that is no socket is in the way.</exception>
    private static void RemoveStale(string path)
    {
        if (!File.Exists(path))
        {
            return;
        }

        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused && new FileInfo(path).Length == 0)
        {
            File.Delete(path);
            return;
        }
        catch (SocketException e)
        {
            throw new IOException($"control socket {path} cannot be used: {e.Message}", e);
        }

        throw new IOException($"another node answers at the control socket {path}");
    }

    /// <summary>Over TCP there is nothing but metrics and health. A fault becomes an answer, not a torn connection.</summary>
    private async Task Guard(HttpContext context, RequestDelegate next)
    {
        if (context.Connection.LocalIpAddress is not null && context.Request.Path.Value is not ("/metrics" or "/health"))
        {
            await NotFound(context).ConfigureAwait(false);
            return;
        }

        try
        {
            await next(context).ConfigureAwait(false);
        }
        catch (Exception e) when (e is not OperationCanceledException || !context.RequestAborted.IsCancellationRequested)
        {
            if (!context.Response.HasStarted)
            {
                context.Response.Clear();
                context.Response.StatusCode = e is OperationCanceledException ? StatusCodes.Status503ServiceUnavailable : StatusCodes.Status500InternalServerError;
                await Write(context, new ErrorDocument(_host.Node.Options.Node, e is OperationCanceledException ? "the node is stopping" : e.Message)).ConfigureAwait(false);
            }
        }
    }

    private Task NotFound(HttpContext context)
    {
        context.Response.StatusCode = StatusCodes.Status404NotFound;
        return Write(context, new ErrorDocument(_host.Node.Options.Node, $"there is no {context.Request.Method} {context.Request.Path}", "what GET /v1/openapi.json lists"));
    }

    private static Task Write(HttpContext context, ErrorDocument document)
    {
        context.Response.ContentType = "application/json";
        return JsonSerializer.SerializeAsync(context.Response.Body, document, ControlJson.Options, context.RequestAborted);
    }

    [LibraryImport("libc", EntryPoint = "umask")]
    private static partial uint SetMask(uint mask);
}
