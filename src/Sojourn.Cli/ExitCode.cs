namespace Sojourn.Cli;

/// <summary>Exit codes of every verb; listed in docs/cli.md.</summary>
internal static class ExitCode
{
    public const int Success = 0;

    /// <summary>The answer is no: errors in a configuration, nothing found, a refused reload.</summary>
    public const int Refused = 1;

    /// <summary>The command line makes no sense.</summary>
    public const int Usage = 2;

    /// <summary>The node cannot be reached: not running, wrong socket, no permission.</summary>
    public const int Unreachable = 3;

    /// <summary>The node could not start or broke down.</summary>
    public const int Failed = 4;
}
