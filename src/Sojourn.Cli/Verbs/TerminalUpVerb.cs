using System.CommandLine;
using System.Net;
using Sojourn.Cli.Terminals;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine.Translation;
using Sojourn.Host;
using Sojourn.Host.Configuration;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Enrolment;
using Spectre.Console;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn terminal up</c>: a terminal for the person in front of it. Ctrl-C takes it down and leaves the machine as it was.</summary>
internal static class TerminalUpVerb
{
    private const string ConfigurationFolder = "/etc/sojourn";

    /// <summary>Between two looks at the terminal.</summary>
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(250);

    /// <summary>For the home agent's answer that the binding has ended.</summary>
    private static readonly TimeSpan s_goodbye = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan s_stopLimit = TimeSpan.FromSeconds(5);

    private sealed record Wishes(string? Config, string? Namespace, string? Interface, bool Json, TextWriter Output, TextWriter Error);

    public static Command Create()
    {
        var config = new Option<string?>("--config") { Description = $"Configuration file of the terminal; left out: the only one of a terminal in {ConfigurationFolder}", HelpName = "FILE" };
        var space = new Option<string?>("--namespace") { Description = "Network namespace to bring it up in, with the access link there (`ip netns list`)", HelpName = "NAME" };
        var link = new Option<string?>("--interface") { Description = "Access link, in place of the configured ones", HelpName = "NAME" };
        var json = new Option<bool>("--json") { Description = "Print the status as a line of JSON whenever it changes" };
        var command = new Command("up", "Bring a terminal up on this machine or in a namespace and show how it is; Ctrl-C takes it down") { config, space, link, json };
        command.SetAction(async (parse, cancellation) =>
        {
            var error = parse.InvocationConfiguration.Error;
            try
            {
                return await RunAsync(new Wishes(parse.GetValue(config), parse.GetValue(space), parse.GetValue(link), parse.GetValue(json), parse.InvocationConfiguration.Output, error), cancellation).ConfigureAwait(false);
            }
            catch (CommandException e)
            {
                error.WriteLine($"sojourn: {e.Message}");
                return e.Status;
            }
        });
        return command;
    }

    private static async Task<int> RunAsync(Wishes wishes, CancellationToken stop)
    {
        var options = Read(wishes);
        var terminal = options.Terminal!;
        Enter(wishes.Namespace);
        if (wishes.Interface is { } link)
        {
            terminal.Links = [link];
        }

        CheckLinks(terminal.Links, wishes.Namespace);
        CheckStore(terminal);
        NodeHost host;
        try
        {
            KeepLogOffScreen(options);
            host = await NodeHost.StartAsync(options).ConfigureAwait(false);
        }
        catch (Exception e) when (e is NodeStartException or IOException or UnauthorizedAccessException)
        {
            throw new CommandException(ExitCode.Failed, e.Message);
        }

        var status = ExitCode.Success;
        try
        {
            using var names = ShowNames(wishes, terminal);
            using var ended = CancellationTokenSource.CreateLinkedTokenSource(stop);
            var showing = ShowAsync(wishes, new TerminalWatch(host), ended.Token);
            await Task.WhenAny(showing, host.StopAsked).ConfigureAwait(false);
            await ended.CancelAsync().ConfigureAwait(false);
            await showing.ConfigureAwait(false);
            await SayGoodbyeAsync(host).ConfigureAwait(false);
        }
        finally
        {
            var disposing = host.DisposeAsync().AsTask();
            if (await Task.WhenAny(disposing, Task.Delay(s_stopLimit, CancellationToken.None)).ConfigureAwait(false) != disposing)
            {
                wishes.Error.WriteLine($"sojourn: the terminal did not end within {s_stopLimit.TotalSeconds} s");
                status = ExitCode.Failed;
            }
        }

        return status;
    }

    /// <summary>The configuration of a terminal. What is wrong with it is said as <c>sojourn check</c> says it.</summary>
    private static NodeOptions Read(Wishes wishes)
    {
        var file = wishes.Config ?? OnlyTerminal();
        if (!File.Exists(file))
        {
            throw new CommandException(ExitCode.Usage, $"there is no configuration file {Path.GetFullPath(file)}; `sojourn sample terminal` prints one to start from");
        }

        var read = ConfigurationReader.ReadFile(file);
        foreach (var finding in read.Findings)
        {
            wishes.Error.WriteLine(finding);
        }

        var options = read.Node ?? throw new CommandException(ExitCode.Refused, $"{file} cannot be used");
        return options.Role == NodeRole.Terminal
            ? options
            : throw new CommandException(ExitCode.Refused, $"{file} is not the configuration of a terminal (`role: terminal`); `sojourn run` runs it");
    }

    private static string OnlyTerminal()
    {
        var files = Directory.Exists(ConfigurationFolder) ? Directory.GetFiles(ConfigurationFolder, "*.yaml") : [];
        var terminals = files.Where(file => ConfigurationReader.ReadFile(file).Node is { Role: NodeRole.Terminal }).ToList();
        return terminals switch
        {
            [var only] => only,
            [] => throw new CommandException(ExitCode.Usage, $"no configuration: say --config FILE, or put one of a terminal into {ConfigurationFolder}; `sojourn sample terminal` prints one to start from"),
            _ => throw new CommandException(ExitCode.Usage, $"which of {string.Join(", ", terminals)}? Say --config FILE"),
        };
    }

    /// <summary>Looks whether the system will let a terminal come up, and goes into the namespace: with the whole program, since enrolment and control connections run on threads of the pool.</summary>
    private static void Enter(string? name)
    {
        try
        {
            using var space = name is null ? null : NetworkNamespace.Names.Contains(name)
                ? NetworkNamespace.Open(name)
                : throw new CommandException(ExitCode.Refused, $"there is no network namespace '{name}'; there are: {Listed(NetworkNamespace.Names)} (`ip netns add {name}` makes one)");
            if (ProcessCapabilities.Missing(space is null) is { Count: > 0 } missing)
            {
                throw new CommandException(ExitCode.Refused, $"no permission: {string.Join(" and ", missing)} {(missing.Count > 1 ? "are" : "is")} needed for addresses, routes, the TUN device and packets of the access link; run it as root (sudo sojourn terminal up …)");
            }

            if (space is not null && space.Identity != NetworkNamespace.OwnIdentity)
            {
                space.RestartProgramInside();
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CommandException(ExitCode.Refused, $"cannot enter the network namespace '{name}': {e.Message}");
        }
    }

    private static void CheckLinks(IReadOnlyList<string> links, string? space)
    {
        using var route = new Rtnetlink();
        var there = route.Links();
        var where = space is null ? "on this machine" : $"in the network namespace '{space}'";
        foreach (var name in links)
        {
            var link = there.FirstOrDefault(l => l.Name == name)
                ?? throw new CommandException(ExitCode.Refused, $"there is no interface '{name}' {where}; there are: {Listed(there.Select(l => l.Name).Where(l => l != "lo"))}. Say --interface NAME, or correct `links`");
            if (link.Address is null)
            {
                throw new CommandException(ExitCode.Refused, $"'{name}' {where} is no Ethernet link: it has no link-layer address");
            }

            if (!link.Up)
            {
                route.SetUp(name);
            }
        }
    }

    /// <summary>A node that runs unattended waits for its store; who stands in front of it wants to hear that it is not there.</summary>
    private static void CheckStore(TerminalSection terminal)
    {
        try
        {
            using var store = CredentialStore.Open(terminal.Store.FullPath, terminal.StorePasswordFile?.FullPath);
            if (store.Certificate is null && terminal.Enrolment is null)
            {
                throw new CommandException(ExitCode.Refused, $"the credential store {terminal.Store.FullPath} has no certificate, and no `enrolment` says whom to ask for one (`sojourn enrol`)");
            }
        }
        catch (CredentialStoreException e)
        {
            throw new CommandException(ExitCode.Refused, $"{e.Message} (`store` of the configuration; `sojourn enrol` makes one)");
        }
    }

    /// <summary>Standard output, where the log goes if no file is configured, is for the status.</summary>
    private static void KeepLogOffScreen(NodeOptions options)
    {
        Directory.CreateDirectory(options.StateDirectory.FullPath, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        options.Log.File ??= new FileReference("log.jsonl", Path.Combine(options.StateDirectory.FullPath, "log.jsonl"));
    }

    /// <summary>In a namespace its resolver file leads to the terminal's resolver; the machine's own is its owner's.</summary>
    private static NamespaceResolver? ShowNames(Wishes wishes, TerminalSection terminal)
    {
        if (terminal.Translation is not { NameServers.Count: > 0 } translation)
        {
            return null;
        }

        var server = new TranslationTable(new TranslationOptions { Ipv4Pool = translation.Ipv4Pool }).ResolverAddress;
        if (wishes.Namespace is not { } space)
        {
            if (!wishes.Json)
            {
                wishes.Error.WriteLine($"IPv4 applications find names by {server} (`nameserver {server}` in /etc/resolv.conf, which is left as it is)");
            }

            return null;
        }

        try
        {
            return new NamespaceResolver(space, server);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            wishes.Error.WriteLine($"sojourn: the resolver file of '{space}' is left as it is: {e.Message}");
            return null;
        }
    }

    private static async Task ShowAsync(Wishes wishes, TerminalWatch watch, CancellationToken ended)
    {
        if (wishes.Json || Console.IsOutputRedirected || !AnsiConsole.Profile.Capabilities.Interactive)
        {
            await FollowAsync(watch, new TerminalLines(wishes.Output, wishes.Json).Show, ended).ConfigureAwait(false);
            return;
        }

        var screen = new TerminalScreen();
        await AnsiConsole.Live(new Text("starting")).StartAsync(live => FollowAsync(watch, status => live.UpdateTarget(screen.Draw(status)), ended)).ConfigureAwait(false);
    }

    private static async Task FollowAsync(TerminalWatch watch, Action<TerminalStatus> show, CancellationToken ended)
    {
        using var timer = new PeriodicTimer(s_interval);
        try
        {
            do
            {
                show(await watch.ReadAsync().ConfigureAwait(false));
            }
            while (await timer.WaitForNextTickAsync(ended).ConfigureAwait(false));
        }
        catch (OperationCanceledException) when (ended.IsCancellationRequested)
        {
            // Ctrl-C, or somebody said stop.
        }
    }

    /// <summary>Takes the binding back, so that the home agent sends nothing to where nobody is any more.</summary>
    private static async Task SayGoodbyeAsync(NodeHost host)
    {
        if ((await host.Tables.BindingList().ConfigureAwait(false)).Bindings.Count == 0)
        {
            return;
        }

        await host.Node.ClearAsync(null, null, null).ConfigureAwait(false);
        using var limit = new CancellationTokenSource(s_goodbye);
        while (!limit.IsCancellationRequested && (await host.Tables.BindingList().ConfigureAwait(false)).Bindings.Any(b => b.List == "registration"))
        {
            await Task.Delay(s_interval / 5, CancellationToken.None).ConfigureAwait(false);
        }
    }

    private static string Listed(IEnumerable<string> names) => string.Join(", ", names) is { Length: > 0 } text ? text : "none";
}
