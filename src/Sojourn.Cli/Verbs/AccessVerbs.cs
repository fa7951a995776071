using System.CommandLine;
using Sojourn.Storage;
using Sojourn.Storage.Customers;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn access-password</c>: a password in the form that an access server's configuration holds.</summary>
internal static class AccessVerbs
{
    public static Command Password()
    {
        var file = new Option<string?>("--password-file") { Description = "File whose first line is the password, closed to group and others; none = asked for, or one line of standard input" };
        var command = new Command("access-password", "Print a password as the option password-hash of an access server wants it; it is never an argument") { file };
        command.SetAction(result =>
        {
            try
            {
                var password = result.GetValue(file) is { } path ? CustomerVerbs.FromFile(path) : CustomerVerbs.Ask("access");
                if (CustomerPassword.Fault(password) is { } fault)
                {
                    throw new StorageException($"the password {fault}");
                }

                result.InvocationConfiguration.Output.WriteLine(CustomerPassword.Hash(password));
                return ExitCode.Success;
            }
            catch (StorageException e)
            {
                result.InvocationConfiguration.Error.WriteLine($"sojourn: {e.Message}");
                return ExitCode.Usage;
            }
        });
        return command;
    }
}
