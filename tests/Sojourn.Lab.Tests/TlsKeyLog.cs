using System.Globalization;
using System.Runtime.CompilerServices;

namespace Sojourn.Lab.Tests;

/// <summary>The TLS secrets of this process. The runtime reads where to write them once, before its first connection.</summary>
internal static class TlsKeyLog
{
    public static string File { get; } = Path.Combine(Path.GetTempPath(), string.Create(CultureInfo.InvariantCulture, $"lab-test-tls-{Environment.ProcessId}"));

    [ModuleInitializer]
    internal static void Choose()
    {
        AppContext.SetSwitch("System.Net.EnableSslKeyLogging", true);
        Environment.SetEnvironmentVariable("SSLKEYLOGFILE", File);
        AppDomain.CurrentDomain.ProcessExit += (_, _) => System.IO.File.Delete(File);
    }
}
