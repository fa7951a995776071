using System.CommandLine;
using System.Text.Json;
using Sojourn.Host.Configuration;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn check FILE|DIRECTORY…</c></summary>
internal static class CheckVerb
{
    public static Command Create()
    {
        var paths = new Argument<string[]>("path") { Description = "Configuration files, or directories of *.yaml files", Arity = ArgumentArity.OneOrMore };
        var json = new Option<bool>("--json") { Description = "Print findings as JSON (sojourn/check/1)" };
        var command = new Command("check", "Find what is wrong with configuration files; exit status 1 when they would be refused") { paths, json };
        command.SetAction(result => Run(result.GetValue(paths)!, result.GetValue(json), result.InvocationConfiguration.Output));
        return command;
    }

    private static int Run(IReadOnlyList<string> paths, bool json, TextWriter output)
    {
        var results = paths.SelectMany(path => Directory.Exists(path) ? ConfigurationReader.ReadDirectory(path) : [ConfigurationReader.ReadFile(path)]).ToList();
        var findings = results.SelectMany(result => result.Findings).ToList();
        var refused = results.Exists(result => result.HasErrors);
        if (json)
        {
            output.WriteLine(JsonSerializer.Serialize(
                new
                {
                    schema = "sojourn/check/1",
                    ok = !refused,
                    files = results.Count,
                    findings = findings.Select(f => new { file = f.File, line = f.At.Line, column = f.At.Column, severity = f.Severity.ToString().ToLowerInvariant(), text = f.Text, allowed = f.Allowed }),
                },
                CliJson.Indented));
            return refused ? ExitCode.Refused : ExitCode.Success;
        }

        foreach (var finding in findings)
        {
            output.WriteLine(finding);
        }

        var errors = findings.Count(finding => finding.Severity == FindingSeverity.Error);
        output.WriteLine(refused ? $"{errors} error{(errors == 1 ? "" : "s")}" : $"{results.Count} file{(results.Count == 1 ? "" : "s")} in order");
        return refused ? ExitCode.Refused : ExitCode.Success;
    }
}
