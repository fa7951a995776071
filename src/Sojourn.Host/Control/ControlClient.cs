using System.Net.Http.Json;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace Sojourn.Host.Control;

/// <summary>A node does not answer at its control socket, or refuses what it is asked.</summary>
/// <param name="refused">It answers, and the answer is no.</param>
public sealed class ControlException(bool refused, string message, Exception? inner = null) : Exception(message, inner)
{
    public bool Refused { get; } = refused;
}

/// <summary>A node's control API over its Unix socket: what an operator can see and do, nothing more. Paths are those behind <c>/v1/</c>.</summary>
public sealed class ControlClient : IDisposable
{
    private readonly HttpClient _client;

    /// <param name="timeout">For an answer; 30 s when left out.</param>
    public ControlClient(string socketPath, TimeSpan? timeout = null)
    {
        SocketPath = socketPath;
        _client = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), cancellation).ConfigureAwait(false);
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
            BaseAddress = new Uri("http://node/v1/"),
            Timeout = timeout ?? TimeSpan.FromSeconds(30),
        };
    }

    public string SocketPath { get; }

    /// <summary>True when the node answers and says how it is.</summary>
    public async Task<bool> IsReadyAsync(CancellationToken cancellation)
    {
        try
        {
            await GetAsync("status", cancellation).ConfigureAwait(false);
            return true;
        }
        catch (ControlException)
        {
            return false;
        }
    }

    /// <summary>Reads a table, e.g. <c>paths</c>.</summary>
    /// <exception cref="ControlException">The node does not answer, or refuses.</exception>
    public Task<JsonElement> GetAsync(string path, CancellationToken cancellation) =>
        SendAsync(new HttpRequestMessage(HttpMethod.Get, path), [], cancellation);

    /// <param name="alsoFine">Status codes of refusals whose answer the caller reads itself.</param>
    /// <exception cref="ControlException">The node does not answer, or refuses.</exception>
    public Task<JsonElement> PostAsync<T>(string path, T body, int[] alsoFine, CancellationToken cancellation) =>
        SendAsync(new HttpRequestMessage(HttpMethod.Post, path) { Content = JsonContent.Create(body, options: ControlJson.Options) }, alsoFine, cancellation);

    /// <summary>Lines as they come, until the node ends or the caller cancels.</summary>
    /// <exception cref="ControlException">The node does not answer, or refuses.</exception>
    public async IAsyncEnumerable<string> LinesAsync(string path, [EnumeratorCancellation] CancellationToken cancellation)
    {
        using var answer = await Guarded(() => _client.GetAsync(new Uri(path, UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, cancellation), cancellation).ConfigureAwait(false);
        if (!answer.IsSuccessStatusCode)
        {
            throw Refusal(await answer.Content.ReadAsStringAsync(cancellation).ConfigureAwait(false));
        }

        using var reader = new StreamReader(await answer.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false));
        while (await reader.ReadLineAsync(cancellation).ConfigureAwait(false) is { } line)
        {
            yield return line;
        }
    }

    public void Dispose() => _client.Dispose();

    private async Task<JsonElement> SendAsync(HttpRequestMessage request, int[] alsoFine, CancellationToken cancellation)
    {
        using (request)
        {
            using var answer = await Guarded(() => _client.SendAsync(request, cancellation), cancellation).ConfigureAwait(false);
            var text = await answer.Content.ReadAsStringAsync(cancellation).ConfigureAwait(false);
            if (!answer.IsSuccessStatusCode && !alsoFine.Contains((int)answer.StatusCode))
            {
                throw Refusal(text);
            }

            return text.Length == 0 ? default : JsonDocument.Parse(text).RootElement.Clone();
        }
    }

    private async Task<HttpResponseMessage> Guarded(Func<Task<HttpResponseMessage>> send, CancellationToken cancellation)
    {
        try
        {
            return await send().ConfigureAwait(false);
        }
        catch (HttpRequestException e)
        {
            throw new ControlException(false, $"no node answers at {SocketPath}: {e.InnerException?.Message ?? e.Message}", e);
        }
        catch (TaskCanceledException e) when (!cancellation.IsCancellationRequested)
        {
            throw new ControlException(false, $"the node at {SocketPath} does not answer in time", e);
        }
    }

    private static ControlException Refusal(string text)
    {
        try
        {
            var root = JsonDocument.Parse(text).RootElement;
            var allowed = root.TryGetProperty("allowed", out var value) && value.ValueKind == JsonValueKind.String ? $"; allowed: {value.GetString()}" : "";
            return new ControlException(true, root.GetProperty("error").GetString() + allowed);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return new ControlException(true, text);
        }
    }
}
