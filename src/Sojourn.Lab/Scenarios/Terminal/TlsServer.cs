using System.Globalization;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>openssl s_server on a node: a TLS server of somebody else's making.</summary>
internal static class TlsServer
{
    /// <param name="end">Address and port, as <c>[2001:db8::1]:443</c>.</param>
    /// <param name="certificate">PEM, its key in <paramref name="key"/>.</param>
    /// <param name="folder">Where it runs; with <c>-WWW</c> the folder whose files it serves.</param>
    /// <exception cref="ScenarioException">It does not start.</exception>
    public static Task<ForeignProgram> StartAsync(LabRun run, string node, string end, string certificate, string key, string folder, string[] options, CancellationToken cancellation) =>
        ForeignProgram.StartAsync(
            run, node, ["openssl", "s_server", "-accept", end, "-cert", certificate, "-key", key, .. options],
            ForeignProgram.Listens(run, node, int.Parse(end[(end.LastIndexOf(':') + 1)..], CultureInfo.InvariantCulture), cancellation), cancellation, folder: folder);
}
