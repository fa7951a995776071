using System.CommandLine;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json;
using Sojourn.Host.Configuration;
using Sojourn.Host.Control;

namespace Sojourn.Cli;

/// <summary>A command cannot be done; <paramref name="status"/> is the exit code.</summary>
internal sealed class CommandException(int status, string message) : Exception(message)
{
    public int Status { get; } = status;
}

/// <summary>Which node a command is for: <c>--socket</c>, <c>--config</c>, <c>--node</c>, or SOJOURN_SOCKET.</summary>
internal sealed class NodeChoice
{
    /// <summary>Where the unit of packaging/ keeps its configurations.</summary>
    private const string ConfigurationFolder = "/etc/sojourn";

    private readonly Option<string?> _socket = new("--socket") { Description = "Control socket of the node", HelpName = "PATH" };
    private readonly Option<string?> _config = new("--config") { Description = "Configuration file of the node", HelpName = "FILE" };
    private readonly Option<string?> _node = new("--node") { Description = $"Name of the node, configured in {ConfigurationFolder}/NAME.yaml", HelpName = "NAME" };

    public void AddTo(Command command)
    {
        command.Options.Add(_socket);
        command.Options.Add(_config);
        command.Options.Add(_node);
    }

    /// <exception cref="CommandException">Nothing says which node.</exception>
    public string SocketOf(ParseResult parse)
    {
        if (parse.GetValue(_socket) is { } socket)
        {
            return Path.GetFullPath(socket);
        }

        if (parse.GetValue(_config) is { } file)
        {
            return SocketIn(file);
        }

        if (parse.GetValue(_node) is { } name)
        {
            return SocketIn(Path.Combine(ConfigurationFolder, name + ".yaml"));
        }

        if (Environment.GetEnvironmentVariable("SOJOURN_SOCKET") is { Length: > 0 } variable)
        {
            return Path.GetFullPath(variable);
        }

        var known = Directory.Exists(ConfigurationFolder) ? Directory.GetFiles(ConfigurationFolder, "*.yaml") : [];
        return known.Length == 1
            ? SocketIn(known[0])
            : throw new CommandException(ExitCode.Usage, "which node? Use --node NAME, --config FILE, --socket PATH or SOJOURN_SOCKET");
    }

    private static string SocketIn(string file)
    {
        var read = ConfigurationReader.ReadFile(file);
        return read.Node?.SocketPath
            ?? throw new CommandException(ExitCode.Usage, $"{file} does not tell the control socket: {read.Findings.FirstOrDefault()}");
    }
}

/// <summary>A node's control API.</summary>
internal sealed class ControlClient : IDisposable
{
    private readonly string _socket;
    private readonly HttpClient _client;

    public ControlClient(string socket)
    {
        _socket = socket;
        _client = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var connection = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await connection.ConnectAsync(new UnixDomainSocketEndPoint(socket), cancellation).ConfigureAwait(false);
                    return new NetworkStream(connection, ownsSocket: true);
                }
                catch
                {
                    connection.Dispose();
                    throw;
                }
            },
        })
        {
            BaseAddress = new Uri("http://node/v1/"),
            Timeout = TimeSpan.FromSeconds(30),
        };
    }

    public Task<JsonElement> GetAsync(string path, CancellationToken cancellation) =>
        SendAsync(new HttpRequestMessage(HttpMethod.Get, path), [], cancellation);

    /// <param name="alsoFine">Refusals whose answer the caller shows itself.</param>
    public Task<JsonElement> PostAsync<T>(string path, T body, int[] alsoFine, CancellationToken cancellation) =>
        SendAsync(new HttpRequestMessage(HttpMethod.Post, path) { Content = JsonContent.Create(body, options: ControlJson.Options) }, alsoFine, cancellation);

    /// <summary>Lines as they come, until the node ends or the caller cancels.</summary>
    public async IAsyncEnumerable<string> LinesAsync(string path, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation)
    {
        using var answer = await Guarded(() => _client.GetAsync(new Uri(path, UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, cancellation), cancellation).ConfigureAwait(false);
        if (!answer.IsSuccessStatusCode)
        {
            throw Refused(await answer.Content.ReadAsStringAsync(cancellation).ConfigureAwait(false));
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
            return answer.IsSuccessStatusCode || alsoFine.Contains((int)answer.StatusCode)
                ? JsonDocument.Parse(text).RootElement.Clone()
                : throw Refused(text);
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
            throw new CommandException(ExitCode.Unreachable, $"no node answers at {_socket}: {e.InnerException?.Message ?? e.Message}");
        }
        catch (TaskCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new CommandException(ExitCode.Unreachable, $"the node at {_socket} does not answer in time");
        }
    }

    private static CommandException Refused(string text)
    {
        try
        {
            var root = JsonDocument.Parse(text).RootElement;
            var allowed = root.TryGetProperty("allowed", out var value) && value.ValueKind == JsonValueKind.String ? $"; allowed: {value.GetString()}" : "";
            return new CommandException(ExitCode.Refused, root.GetProperty("error").GetString() + allowed);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return new CommandException(ExitCode.Refused, text);
        }
    }
}
