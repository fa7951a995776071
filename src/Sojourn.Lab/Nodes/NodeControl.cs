using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Nodes;

/// <summary>A node's control API, over its Unix socket: what an operator could see, nothing more.</summary>
public sealed class NodeControl : IDisposable
{
    private readonly HttpClient _client;

    public NodeControl(string socketPath)
    {
        SocketPath = socketPath;
        _client = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), cancellation);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        })
        {
            BaseAddress = new Uri("http://sojourn/"),
            Timeout = TimeSpan.FromSeconds(10),
        };
    }

    public string SocketPath { get; }

    /// <summary>True when the node answers and says it is ready.</summary>
    public async Task<bool> IsReadyAsync(CancellationToken cancellation)
    {
        try
        {
            using var answer = await _client.GetAsync(new Uri("v1/status", UriKind.Relative), cancellation);
            return answer.IsSuccessStatusCode;
        }
        catch (Exception e) when (e is HttpRequestException or SocketException or TaskCanceledException && !cancellation.IsCancellationRequested)
        {
            return false;
        }
    }

    /// <summary>Reads a table, e.g. <c>paths</c>.</summary>
    /// <exception cref="ScenarioException">The node does not answer, or refuses.</exception>
    public async Task<JsonElement> GetAsync(string path, CancellationToken cancellation)
    {
        try
        {
            using var answer = await _client.GetAsync(new Uri("v1/" + path, UriKind.Relative), cancellation);
            var body = await answer.Content.ReadAsStringAsync(cancellation);
            return answer.IsSuccessStatusCode
                ? JsonDocument.Parse(body).RootElement.Clone()
                : throw new ScenarioException($"{SocketPath}: GET {path} answered {(int)answer.StatusCode}: {body}");
        }
        catch (HttpRequestException e)
        {
            throw new ScenarioException($"{SocketPath}: GET {path}: {e.Message}", e);
        }
    }

    public async Task<JsonElement> PostAsync(string path, object body, CancellationToken cancellation)
    {
        try
        {
            using var answer = await _client.PostAsJsonAsync(new Uri("v1/" + path, UriKind.Relative), body, cancellation);
            var text = await answer.Content.ReadAsStringAsync(cancellation);
            return answer.IsSuccessStatusCode
                ? text.Length == 0 ? default : JsonDocument.Parse(text).RootElement.Clone()
                : throw new ScenarioException($"{SocketPath}: POST {path} answered {(int)answer.StatusCode}: {text}");
        }
        catch (HttpRequestException e)
        {
            throw new ScenarioException($"{SocketPath}: POST {path}: {e.Message}", e);
        }
    }

    public void Dispose() => _client.Dispose();
}
