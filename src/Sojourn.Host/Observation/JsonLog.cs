using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using Sojourn.Engine;
using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Observation;

/// <summary>
/// The log: one JSON object per line with the fixed fields time, level, id, event, node, session, peer, nai, hoa, coa,
/// spi, rule, text, phases (docs/messages.md). Fields that do not apply are left out.
/// </summary>
public sealed class JsonLog : IDisposable
{
    private readonly Lock _gate = new();
    private readonly ArrayBufferWriter<byte> _line = new(1024);
    private readonly string _node;
    private string? _path;
    private Stream _output;

    /// <exception cref="IOException">The file cannot be opened.</exception>
    public JsonLog(string node, LogOptions options)
    {
        _node = node;
        Threshold = options.Level;
        _path = options.File?.FullPath;
        _output = Open(_path);
    }

    public LogThreshold Threshold { get; private set; }

    public void Write(RecordedEvent recorded)
    {
        if ((byte)recorded.Event.Severity < (byte)Threshold)
        {
            return;
        }

        lock (_gate)
        {
            _line.ResetWrittenCount();
            using (var json = new Utf8JsonWriter(_line, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            {
                var e = recorded.Event;
                json.WriteStartObject();
                json.WriteString("time", recorded.Time.UtcDateTime);
                json.WriteString("level", e.Severity switch { EventSeverity.Debug => "debug", EventSeverity.Information => "information", EventSeverity.Warning => "warning", _ => "error" });
                json.WriteString("id", recorded.Id);
                json.WriteString("event", e.Kind);
                json.WriteString("node", _node);
                Optional(json, "session", e.Session);
                Optional(json, "peer", e.Peer);
                Optional(json, "nai", e.Nai);
                Optional(json, "hoa", e.HomeAddress?.ToString());
                Optional(json, "coa", e.CareOfAddress?.ToString());
                Optional(json, "spi", e.Spi is { } spi ? new SpiValue(spi).ToString() : null);
                Optional(json, "rule", e.Rule);
                json.WriteString("text", e.Text);
                if (e.Phases is { } phases)
                {
                    json.WriteStartObject("phases");
                    foreach (var phase in phases)
                    {
                        json.WriteNumber(phase.Name, Math.Round(phase.Milliseconds, 3));
                    }

                    json.WriteEndObject();
                }

                json.WriteEndObject();
            }

            _line.Write("\n"u8);
            try
            {
                _output.Write(_line.WrittenSpan);
                _output.Flush();
            }
            catch (IOException)
            {
                // A full disk must not stop the node; the events stay in the ring.
            }
        }
    }

    /// <summary>Takes over level and file; also reopens the file, so that logs can be rotated.</summary>
    /// <exception cref="IOException">The file cannot be opened; the old one stays.</exception>
    public void Reconfigure(LogOptions options)
    {
        var output = Open(options.File?.FullPath);
        lock (_gate)
        {
            (var old, _output) = (_output, output);
            _path = options.File?.FullPath;
            Threshold = options.Level;
            old.Dispose();
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _output.Dispose();
        }
    }

    private static Stream Open(string? path)
    {
        if (path is null)
        {
            return Console.OpenStandardOutput();
        }

        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        return new FileStream(path, new FileStreamOptions
        {
            Mode = FileMode.Append,
            Access = FileAccess.Write,
            Share = FileShare.ReadWrite | FileShare.Delete,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead,
        });
    }

    private static void Optional(Utf8JsonWriter json, string name, string? value)
    {
        if (value is not null)
        {
            json.WriteString(name, value);
        }
    }
}
