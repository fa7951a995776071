using System.CommandLine;
using Sojourn.Host.Configuration;

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
