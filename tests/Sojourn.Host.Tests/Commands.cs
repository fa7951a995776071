using System.CommandLine;
using Sojourn.Cli;

namespace Sojourn.Host.Tests;

/// <summary>Runs the command line as a user would, in this process.</summary>
internal static class Commands
{
    public static async Task<(int Status, string Output, string Error)> Run(params string[] arguments)
    {
        var output = new StringWriter();
        var error = new StringWriter();
        var status = await CommandLine.Create().Parse(arguments).InvokeAsync(new InvocationConfiguration { Output = output, Error = error });
        return (status, output.ToString(), error.ToString());
    }
}
