return await Sojourn.Cli.CommandLine.Create().Parse(args).InvokeAsync();
