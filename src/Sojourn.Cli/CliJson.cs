using System.Text.Encodings.Web;
using System.Text.Json;

namespace Sojourn.Cli;

internal static class CliJson
{
    /// <summary>For terminals and files, not for HTML: only what JSON itself needs is escaped.</summary>
    public static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
}
