using System.CommandLine;
using Sojourn.Cli;

// Commands that clean up after themselves (run, lab) get the time for it when they are told to end.
return await CommandLine.Create().Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromSeconds(30) });
