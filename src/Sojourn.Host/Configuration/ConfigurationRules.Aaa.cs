using System.Net;
using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Configuration;

/// <summary>The AAA server's sections.</summary>
internal sealed partial class ConfigurationRules
{
    private void Aaa()
    {
        if (_node.Aaa is not { } aaa)
        {
            return;
        }

        if (aaa.Serves == AaaSide.Visited)
        {
            string[] homeOnly = [nameof(aaa.Database), nameof(aaa.DatabaseKeyFile), nameof(aaa.HomeAgents), nameof(aaa.SpiRange), nameof(aaa.ClassDscp), nameof(aaa.UnlistedCorrespondents)];
            foreach (var option in homeOnly.Where(aaa.Has))
            {
                Error(aaa.MarkOf(option), $"'{OptionTypes.NameOf(option)}' is for the home side", "serves, foreign-agents, answer-moves-from-cache, authorization-lifetime");
            }

            if (aaa.ForeignAgents.Count == 0)
            {
                Error(aaa.Mark, "the visited side needs 'foreign-agents'", "at least one");
            }

            return;
        }

        if (aaa.Database is null)
        {
            Error(aaa.Mark, "the home side needs a 'database'", "a subscriber database (sojourn user add …)");
        }

        if (aaa.HomeAgents.Count == 0)
        {
            Error(aaa.Mark, "the home side needs 'home-agents'", "at least one");
        }

        if (aaa.ClassDscp.Count != 6)
        {
            Error(aaa.MarkOf(nameof(aaa.ClassDscp)), $"'class-dscp' has {aaa.ClassDscp.Count} values", "six, for classes 0 to 5");
        }

        Pairwise(aaa.HomeAgents, agent => agent.Address, (agent, first) =>
            Error(agent.MarkOf(nameof(AaaHomeAgentOptions.Address)), $"{agent.Address} is also the address of '{first.Identity}'", "an address per home agent"));
        foreach (var option in new[] { nameof(aaa.ForeignAgents), nameof(aaa.AnswerMovesFromCache) }.Where(aaa.Has))
        {
            Error(aaa.MarkOf(option), $"'{OptionTypes.NameOf(option)}' is for the visited side", "leave it out");
        }
    }

    private void Console()
    {
        if (_node.Console is not { } console)
        {
            return;
        }

        if (_node.Aaa is { Serves: AaaSide.Visited })
        {
            Error(console.Mark, "the web server needs the subscriber database, which is at the home side", "leave it out");
        }

        if (console.PlainHttp && !IPAddress.IsLoopback(console.Address))
        {
            Error(console.MarkOf(nameof(console.PlainHttp)), $"HTTP without TLS on {console.Address} would send passwords in clear", "address: 127.0.0.1, or certificate-file and key-file");
        }

        if (console.Port == _node.Control.MetricsPort && (IPAddress.IsLoopback(console.Address) || IPAddress.Any.Equals(console.Address)))
        {
            Error(console.MarkOf(nameof(console.Port)), $"port {console.Port} is also control.metrics-port", "different ports");
        }

        if (console.IdleTimeout > console.SessionLifetime)
        {
            Error(console.MarkOf(nameof(console.IdleTimeout)), "'idle-timeout' is longer than 'session-lifetime'", $"up to {OptionTypes.Print(console.SessionLifetime)}");
        }

        if (console.PlainHttp)
        {
            foreach (var option in new[] { nameof(console.CertificateFile), nameof(console.KeyFile) }.Where(console.Has))
            {
                Error(console.MarkOf(option), $"'{OptionTypes.NameOf(option)}' has no use with plain-http", "leave out one of the two");
            }
        }
        else if (console.CertificateFile is null || console.KeyFile is null)
        {
            Error(console.Mark, "the web server has no certificate", "certificate-file and key-file; or, on a loopback address, plain-http: true");
        }
        else
        {
            Certificate(console, nameof(console.CertificateFile), console.CertificateFile, console.KeyFile, name: null);
        }
    }
}
