using System.Globalization;

namespace Sojourn.Cli.Terminals;

/// <summary>What the system lets this process do (capabilities(7)).</summary>
internal static class ProcessCapabilities
{
    private static readonly (int Bit, string Name) s_administer = (12, "CAP_NET_ADMIN"), s_raw = (13, "CAP_NET_RAW"), s_system = (21, "CAP_SYS_ADMIN");

    /// <summary>What a terminal needs and this process has not.</summary>
    /// <param name="here">It comes up in the namespace of this process; another one is entered with CAP_SYS_ADMIN.</param>
    public static IReadOnlyList<string> Missing(bool here)
    {
        var line = File.ReadLines("/proc/self/status").FirstOrDefault(l => l.StartsWith("CapEff:", StringComparison.Ordinal));
        if (line is null || !ulong.TryParse(line.AsSpan(7).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var effective))
        {
            // A kernel that does not tell: the system calls will.
            return [];
        }

        return [.. new[] { s_administer, s_raw, s_system }.Where(c => (effective >> c.Bit & 1) == 0 && (!here || c != s_system)).Select(c => c.Name)];
    }
}
