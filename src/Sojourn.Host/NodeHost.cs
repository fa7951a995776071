using System.Globalization;
using System.Net.Sockets;
using System.Reflection;
using System.Security.Cryptography;
using Sojourn.Engine;
using Sojourn.Host.Configuration;
using Sojourn.Host.Control;
using Sojourn.Host.Observation;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Storage;
using Sojourn.WebConsole;

namespace Sojourn.Host;

/// <summary>A node cannot start; the message is for the operator.</summary>
public sealed class NodeStartException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// Everything around a running node: log, events, metrics, health, control API, reload. Reloads come one at a time.
/// </summary>
public sealed class NodeHost : IAsyncDisposable
{
    private static readonly TimeSpan HealthInterval = TimeSpan.FromSeconds(5);

    private readonly TimeProvider _time;
    private readonly JsonLog _log;
    private readonly SemaphoreSlim _reloading = new(1, 1);
    private readonly TaskCompletionSource _stopAsked = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _ended = new();
    private readonly string _file;
    private ControlServer? _control;
    private ConsoleServer? _console;
    private Task _watching = Task.CompletedTask;
    private NodeOptions _loaded;

    private NodeHost(NodeOptions options, TimeProvider time)
    {
        _time = time;
        _file = options.File;
        _loaded = options;
        Loaded = time.GetUtcNow();
        _log = new JsonLog(options.Node, options.Log);
        Events = new EventRing(options.Control.EventBuffer);
        Metrics = new NodeMetrics(options.Node, OptionTypes.NameOf(options.Role.ToString()));
        PrometheusText = new PrometheusText(Metrics.Includes);
        Health = new HealthBoard(time);
    }

    public static string Version { get; } =
        typeof(NodeHost).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0";

    public RunningNode Node { get; private set; } = null!;

    public NodeTables Tables { get; private set; } = null!;

    public EventRing Events { get; }

    public NodeMetrics Metrics { get; }

    public HealthBoard Health { get; }

    internal PrometheusText PrometheusText { get; }

    /// <summary>Cancelled when the node ends.</summary>
    internal CancellationToken Ended => _ended.Token;

    public DateTimeOffset Loaded { get; private set; }

    /// <summary>Changed options that wait for a restart.</summary>
    public IReadOnlyList<string> RestartNeededFor { get; private set; } = [];

    public string SocketPath => _loaded.SocketPath;

    /// <summary>Completed when somebody asked the node to stop.</summary>
    public Task StopAsked => _stopAsked.Task;

    /// <summary>Starts a node from a checked configuration, in the network namespace of the calling thread.</summary>
    /// <exception cref="NodeStartException">It cannot start; nothing is left behind.</exception>
    public static async Task<NodeHost> StartAsync(NodeOptions options, TimeProvider? time = null)
    {
        NodeHost? host = null;
        try
        {
            host = new NodeHost(options, time ?? TimeProvider.System);
            var services = new NodeServices { Time = host._time, Report = host.Report, Count = host.Metrics.Count };

            // The node opens sockets and devices of this thread's namespace, so no await may come before.
            host.Node = new RunningNode(options, services);
            host.Tables = new NodeTables(host.Node, host.Metrics);
            host.Node.Start();
            host._control = new ControlServer(host);
            host._console = options.Console is null ? null : new ConsoleServer(options, services);
            await Task.WhenAll(host._control.StartAsync(), host._console?.StartAsync() ?? Task.CompletedTask).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or SocketException or StorageException or InvalidDataException or UnauthorizedAccessException or ArgumentException or CryptographicException)
        {
            if (host is not null)
            {
                await host.DisposeAsync().ConfigureAwait(false);
            }

            throw new NodeStartException($"node '{options.Node}' cannot start: {e.Message}", e);
        }

        host.Started();
        return host;
    }

    public void AskToStop() => _stopAsked.TrySetResult();

    /// <summary>Records an event: log, ring, health.</summary>
    public void Report(EngineEvent engineEvent)
    {
        var recorded = Events.Add(_time.GetUtcNow(), MessageCatalogue.IdOf(engineEvent), engineEvent);
        _log.Write(recorded);
        if (engineEvent.Kind is "host.engine_fault" or "host.state_not_saved" or "path.not_installed")
        {
            Health.Set(engineEvent.Kind, EventSeverity.Error, engineEvent.Text);
        }
    }

    /// <summary>Writes to the audit trail. A trail that cannot be written is an error, but no reason to stop.</summary>
    internal void Audit(string actor, string action, string @object, string? detail = null)
    {
        try
        {
            Node.Audit.Record(actor, action, @object, detail);
        }
        catch (Exception e) when (e is StorageException or System.Data.Common.DbException)
        {
            Report(new EngineEvent("node.not_audited", EventSeverity.Error, $"{action} {@object} could not be written to the audit trail: {e.Message}"));
        }
    }

    /// <summary>
    /// Reads the file again and takes over what a reload can. An invalid file, or one that makes this another node,
    /// leaves everything as it is.
    /// </summary>
    public async Task<ReloadDocument> ReloadAsync(bool dryRun)
    {
        await _reloading.WaitAsync().ConfigureAwait(false);
        try
        {
            var read = ConfigurationReader.ReadFile(_file);
            List<Finding> findings = [.. read.Findings];
            if (read.Node is { } next && (next.Node != _loaded.Node || next.Role != _loaded.Role))
            {
                findings.Add(new Finding(_file, next.MarkOf(nameof(NodeOptions.Role)), "a reload cannot make this another node", $"node: {_loaded.Node}, role: {OptionTypes.NameOf(_loaded.Role.ToString())}; or a restart"));
            }

            var views = findings.Select(f => new FindingView(f.File, f.At.Line, f.At.Column, f.Severity, f.Text, f.Allowed)).ToList();
            if (read.Node is not { } options || findings.Exists(finding => finding.Severity == FindingSeverity.Error))
            {
                if (!dryRun)
                {
                    Report(new EngineEvent("node.reload_refused", EventSeverity.Error, $"the configuration has errors, the old one stays: {string.Join(" | ", findings)}"));
                }

                return new ReloadDocument(_loaded.Node, dryRun, false, [], views);
            }

            var changes = ConfigurationDiff.Between(_loaded, options);
            if (!dryRun)
            {
                if (await TakeOverAsync(options, changes).ConfigureAwait(false) is { } refusal)
                {
                    views.Add(new FindingView(_file, 1, 1, FindingSeverity.Error, refusal, null));
                    return new ReloadDocument(_loaded.Node, dryRun, false, changes, views);
                }
            }

            return new ReloadDocument(_loaded.Node, dryRun, true, changes, views);
        }
        finally
        {
            _reloading.Release();
        }
    }

    /// <summary>Stops the node: goodbyes, paths and routes removed, control socket gone.</summary>
    public async ValueTask DisposeAsync()
    {
        await _ended.CancelAsync().ConfigureAwait(false);
        await _watching.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (Node is not null)
        {
            Report(new EngineEvent("node.stopping", EventSeverity.Information, "stopping"));
            await Task.Run(Node.Dispose).ConfigureAwait(false);
        }

        if (_console is not null)
        {
            await _console.DisposeAsync().ConfigureAwait(false);
        }

        if (_control is not null)
        {
            await _control.DisposeAsync().ConfigureAwait(false);
        }

        Tables?.Dispose();
        if (Node is not null)
        {
            Report(new EngineEvent("node.stopped", EventSeverity.Information, "stopped"));
        }

        PrometheusText.Dispose();
        Metrics.Dispose();
        _log.Dispose();
        _ended.Dispose();
    }

    private void Started()
    {
        Report(new EngineEvent("node.started", EventSeverity.Information, $"{OptionTypes.NameOf(_loaded.Role.ToString())} {_loaded.Node}, version {Version}, control socket {SocketPath}{(_console is null ? "" : $", web console {_console.Address}")}"));
        ReportKeyExport();
        _watching = WatchAsync(_ended.Token);
    }

    /// <summary>Null when everything was taken over, else why nothing was.</summary>
    private async Task<string?> TakeOverAsync(NodeOptions options, IReadOnlyList<ConfigurationChange> changes)
    {
        try
        {
            if (changes.Any(change => change.Applied && !change.Option.StartsWith("log.", StringComparison.Ordinal)))
            {
                await Node.ReconfigureAsync(options).ConfigureAwait(false);
            }

            // Always: a rotated log file is opened anew.
            _log.Reconfigure(options.Log);
        }
        catch (Exception e) when (e is IOException or InvalidDataException or ArgumentException or UnauthorizedAccessException)
        {
            Report(new EngineEvent("node.reload_refused", EventSeverity.Error, $"the change cannot be taken over: {e.Message}"));
            return e.Message;
        }

        var exported = _loaded.KeyExport?.Esp.FullPath;
        Loaded = _time.GetUtcNow();
        RestartNeededFor = [.. RestartNeededFor.Union(changes.Where(change => !change.Applied).Select(change => change.Option))];
        _loaded = options;
        Audit("reload", "configuration.reload", _file, string.Join(" | ", changes));
        Report(new EngineEvent("node.reloaded", EventSeverity.Information, changes.Count == 0 ? "nothing changed" : string.Join(" | ", changes)));
        if (exported != options.KeyExport?.Esp.FullPath)
        {
            ReportKeyExport();
        }

        return null;
    }

    private void ReportKeyExport()
    {
        if (Node.KeyExportPath is { } path)
        {
            Audit("configuration", "key-export.on", path);
            Report(new EngineEvent("node.key_export", EventSeverity.Warning, $"keys of associations are written to {path}"));
            Health.Set("key-export", EventSeverity.Information, $"keys of associations are written to {path}");
        }
        else
        {
            Health.Clear("key-export");
        }
    }

    /// <summary>Keeps health and the metrics' snapshot up to date.</summary>
    private async Task WatchAsync(CancellationToken ended)
    {
        using var timer = new PeriodicTimer(HealthInterval, _time);
        do
        {
            try
            {
                await RefreshAsync().ConfigureAwait(false);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or IOException)
            {
                // The node is stopping.
            }
        }
        while (await timer.WaitForNextTickAsync(ended).ConfigureAwait(false));
    }

    /// <summary>Takes a fresh snapshot for health and metrics.</summary>
    internal async Task RefreshAsync()
    {
        var snapshot = await Tables.Metrics().ConfigureAwait(false);
        Metrics.Take(snapshot);
        Health.Replace("down.", snapshot.Things.Where(thing => !thing.Up).Select(thing => (
            $"down.{thing.Kind}.{thing.Name}", EventSeverity.Warning, string.Create(CultureInfo.InvariantCulture, $"{thing.Kind.Replace('-', ' ')} {thing.Name} is down"))));
    }
}
