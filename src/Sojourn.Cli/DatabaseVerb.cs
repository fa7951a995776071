using System.CommandLine;
using System.Text.Json;
using Sojourn.Roles.Enrolment;
using Sojourn.Storage;

namespace Sojourn.Cli;

/// <summary>What verbs that work on a database have in common: how they fail, and how they print a table.</summary>
internal static class DatabaseVerb
{
    public static Option<bool> Json { get; } = new("--json") { Description = "Print JSON", Recursive = true };

    /// <summary>A verb whose work may be refused with a <see cref="StorageException"/> or <see cref="CredentialStoreException"/>: its text goes to the error output.</summary>
    public static Command Create(string name, string description, IEnumerable<Symbol> symbols, Action<ParseResult> work)
    {
        var command = new Command(name, description);
        foreach (var symbol in symbols)
        {
            if (symbol is Argument argument)
            {
                command.Add(argument);
            }
            else
            {
                command.Add((Option)symbol);
            }
        }

        command.SetAction(parse =>
        {
            try
            {
                work(parse);
                return ExitCode.Success;
            }
            catch (Exception e) when (e is StorageException or CredentialStoreException or IOException or UnauthorizedAccessException)
            {
                parse.InvocationConfiguration.Error.WriteLine($"sojourn: {e.Message}");
                return ExitCode.Refused;
            }
        });
        return command;
    }

    /// <summary>Prints rows, one a line, or as JSON under the name of a schema.</summary>
    public static void List<T>(ParseResult parse, TextWriter output, string schema, IReadOnlyList<T> rows, Func<T, object> json, Func<T, string> text)
    {
        if (parse.GetValue(Json))
        {
            output.WriteLine(JsonSerializer.Serialize(new { schema, rows = rows.Select(json) }, CliJson.Indented));
            return;
        }

        foreach (var row in rows)
        {
            output.WriteLine(text(row).TrimEnd());
        }
    }

    /// <exception cref="StorageException">The condition does not hold.</exception>
    public static void Require(bool condition, string message)
    {
        if (!condition)
        {
            throw new StorageException(message);
        }
    }
}
