using System.CommandLine;
using Sojourn.Host.Configuration;
using Sojourn.Roles.Configuration;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn sample ROLE</c>; <c>sojourn sample --reference</c> prints docs/configuration.md.</summary>
internal static class SampleVerb
{
    private static readonly Dictionary<string, NodeRole> Roles = new()
    {
        ["foreign-agent"] = NodeRole.ForeignAgent,
        ["home-agent"] = NodeRole.HomeAgent,
        ["gateway"] = NodeRole.Gateway,
        ["aaa"] = NodeRole.Aaa,
        ["mobile-node"] = NodeRole.MobileNode,
        ["diameter-relay"] = NodeRole.DiameterRelay,
        ["ca"] = NodeRole.Ca,
        ["delegating-router"] = NodeRole.DelegatingRouter,
        ["relay-agent"] = NodeRole.RelayAgent,
        ["access-server"] = NodeRole.AccessServer,
        ["access-gateway"] = NodeRole.AccessGateway,
        ["access-router"] = NodeRole.AccessRouter,
        ["access-authenticator"] = NodeRole.AccessAuthenticator,
        ["terminal"] = NodeRole.Terminal,
        ["mobile-router"] = NodeRole.MobileRouter,
        ["home-agent6"] = NodeRole.HomeAgent6,
        ["correspondent"] = NodeRole.Correspondent,
        ["anchor-point"] = NodeRole.AnchorPoint,
        ["tls-gateway"] = NodeRole.TlsGateway,
    };

    public static Command Create()
    {
        var role = new Argument<string>("role") { Description = string.Join(" | ", Roles.Keys), Arity = ArgumentArity.ZeroOrOne };
        role.AcceptOnlyFromAmong([.. Roles.Keys]);
        var reference = new Option<bool>("--reference") { Description = "Print the reference of all options (Markdown)" };
        var command = new Command("sample", "Print an annotated configuration file with every option of a role") { role, reference };
        command.SetAction(result =>
        {
            if (result.GetValue(reference))
            {
                result.InvocationConfiguration.Output.Write(ConfigurationReference.Markdown());
                return ExitCode.Success;
            }

            if (result.GetValue(role) is not { } name)
            {
                result.InvocationConfiguration.Error.WriteLine($"sojourn: which role? {string.Join(" | ", Roles.Keys)}");
                return ExitCode.Usage;
            }

            result.InvocationConfiguration.Output.Write(ConfigurationReference.Sample(Roles[name]));
            return ExitCode.Success;
        });
        return command;
    }
}
