using System.Globalization;
using System.Net;
using Sojourn.Engine;
using Sojourn.Lab.Network;
using Sojourn.Storage.Provisioning;

namespace Sojourn.Lab.Topology;

/// <summary>Who is the company's or partner's gateway.</summary>
public enum GatewayPeer
{
    /// <summary>Our own node, with keys that somebody has typed in.</summary>
    Own,

    /// <summary>A Linux kernel in a virtual machine, with keys that somebody has typed in.</summary>
    Linux,

    /// <summary>Our own node, with keys that it agrees on by IKEv2.</summary>
    Keyed,

    /// <summary>Our own node in a virtual machine, whose Linux kernel protects the packets (<c>data-path: kernel</c>).</summary>
    Kernel,
}

/// <summary>The variants of a scenario, chosen on the command line.</summary>
public sealed record ScenarioOptions
{
    /// <summary>Security type of the profiles (spec NV9.3).</summary>
    public SecurityType Security { get; init; } = SecurityType.Esp;

    /// <summary>vpnshare 1 (user) or 0 (shared), spec NV9.2.</summary>
    public bool UserSpecific { get; init; } = true;

    /// <summary>One-way delay of every core link; null = what the scenario says.</summary>
    public TimeSpan? Delay { get; init; }

    public GatewayPeer Gateway { get; init; }

    /// <summary>Tunnels pass the outer interfaces of our nodes by AF_XDP.</summary>
    public bool Xdp { get; init; }

    public override string ToString() => string.Join(", ", new[]
    {
        Security switch { SecurityType.Ah => "AH", SecurityType.Esp => "ESP", _ => "encapsulation only" },
        UserSpecific ? "user-specific associations" : "shared associations",
        Delay is { } delay ? string.Create(CultureInfo.InvariantCulture, $"core delay {delay.TotalMilliseconds} ms") : null,
        Gateway switch { GatewayPeer.Linux => "Linux kernel gateway", GatewayPeer.Keyed => "gateway keyed by IKEv2", GatewayPeer.Kernel => "gateway with the kernel's data path", _ => null },
        Xdp ? "AF_XDP" : null,
    }.Where(p => p is not null));

    /// <summary>Security type in the words of provisioning.</summary>
    public string SecurityName => Words.Name(Security);

    public string Share => UserSpecific ? "user" : "shared";

    /// <summary>Suite of associations made for users.</summary>
    public string Algorithm => Words.Name(Security == SecurityType.Ah ? IpsecAlgorithm.HmacSha256 : IpsecAlgorithm.Aes128Gcm16);

    internal IReadOnlyDictionary<string, string> Variables => new Dictionary<string, string>
    {
        ["security"] = SecurityName,
        ["share"] = Share,
        ["gateway"] = Gateway switch { GatewayPeer.Linux => "linux", GatewayPeer.Keyed => "keyed", GatewayPeer.Kernel => "kernel", _ => "own" },
        ["algorithm"] = Algorithm,
    };
}

/// <summary>A scenario as written in <c>scenarios/NAME/scenario.yaml</c>, with its variant applied.</summary>
public sealed class ScenarioDefinition
{
    private ScenarioDefinition(string name, Tree tree, ScenarioOptions options)
    {
        Name = name;
        Options = options;
        Title = tree["title"].Text;
        Demonstrates = tree["demonstrates"].Text.ReplaceLineEndings(" ").Trim();
        Provisioning = tree["provisioning"];
        ForeignIdentities = [.. tree["foreign-identities"].Items.Select(i => i.Text)];
        KeyLengths = tree["keys"].Members.ToDictionary(m => m.Key, m => int.Parse(m.Value.Text, CultureInfo.InvariantCulture));
        var nodes = tree["nodes"].Members.Select(m => Node(m.Key, m.Value)).ToList();
        Topology = new LabTopology(nodes, [.. tree["links"].Members.Select(m => Link(m.Key, m.Value, options))]);
        foreach (var end in Topology.Links.SelectMany(l => l.Ends))
        {
            _ = Topology.Node(end.Node);
        }

        foreach (var node in nodes.Where(n => n.On is not null))
        {
            if (Topology.Node(node.On!).On is not null || node.Routes.Count + node.MoreAddresses.Count > 0 || Topology.LinksOf(node.Name).Any())
            {
                throw new ScenarioException($"node '{node.Name}' runs on the host of '{node.On}': links, addresses and routes belong there, and '{node.On}' has a host of its own");
            }
        }
    }

    /// <summary>E.g. <c>network-vpn/1</c>.</summary>
    public string Name { get; }

    public ScenarioOptions Options { get; }

    public string Title { get; }

    public string Demonstrates { get; }

    public LabTopology Topology { get; }

    /// <summary>What <c>sojourn user|profile|gateway|partner import</c> takes.</summary>
    public Tree Provisioning { get; }

    /// <summary>Diameter identities of servers the lab plays itself; they get certificates too.</summary>
    public IReadOnlyList<string> ForeignIdentities { get; }

    /// <summary>Octets of keys that are not 32 long, by file name.</summary>
    public IReadOnlyDictionary<string, int> KeyLengths { get; }

    /// <summary>Folder with the scenarios: beside the program, or in a source tree above it.</summary>
    public static string Root
    {
        get
        {
            for (var directory = new DirectoryInfo(AppContext.BaseDirectory); directory is not null; directory = directory.Parent)
            {
                var candidate = Path.Combine(directory.FullName, "scenarios");
                if (Directory.Exists(candidate))
                {
                    return candidate;
                }
            }

            throw new ScenarioException($"no 'scenarios' folder beside {AppContext.BaseDirectory} or above it");
        }
    }

    /// <summary>Names of all scenarios, in natural order.</summary>
    public static IReadOnlyList<string> Names =>
    [
        .. Directory.GetFiles(Root, "scenario.yaml", SearchOption.AllDirectories)
            .Select(f => Path.GetRelativePath(Root, Path.GetDirectoryName(f)!).Replace('\\', '/'))
            .OrderBy(n => n.Split('/')[0], StringComparer.Ordinal)
            .ThenBy(n => int.TryParse(n.Split('/')[^1], CultureInfo.InvariantCulture, out var number) ? number : int.MaxValue),
    ];

    /// <exception cref="ScenarioException">Not there, or not well formed.</exception>
    public static ScenarioDefinition Load(string name, ScenarioOptions? options = null)
    {
        var path = Path.Combine(Root, name, "scenario.yaml");
        if (!File.Exists(path))
        {
            throw new ScenarioException($"there is no scenario '{name}'; scenarios: {string.Join(", ", Names)}");
        }

        return Read(name, Tree.Load(path), options ?? new ScenarioOptions());
    }

    /// <summary>Takes a tree; parts under <c>variants</c> that the options name are laid over it, those of two options together after those of each.</summary>
    public static ScenarioDefinition Read(string name, Tree tree, ScenarioOptions options)
    {
        var (security, share, gateway) = (options.Variables["security"], options.Variables["share"], options.Variables["gateway"]);
        if (options.Gateway != GatewayPeer.Own && !tree["variants"][gateway].Exists)
        {
            throw new ScenarioException($"scenario '{name}' has no variant with --gateway {gateway}");
        }

        if (options.Xdp && !tree["variants"]["xdp"].Exists)
        {
            throw new ScenarioException($"scenario '{name}' has no variant with --transport xdp");
        }

        if (options is { Gateway: GatewayPeer.Keyed, Security: not SecurityType.Esp })
        {
            throw new ScenarioException("IKEv2 makes keys for ESP only: --gateway keyed goes with --security esp");
        }

        if (options is { Gateway: GatewayPeer.Kernel, Security: SecurityType.EncapsulationOnly })
        {
            throw new ScenarioException("the kernel back end has no tunnels without IPsec: --gateway kernel goes with --security esp or ah");
        }

        foreach (var variant in (string[])[security, share, $"{share}-{security}", gateway, $"{gateway}-{security}", options.Xdp ? "xdp" : "raw"])
        {
            tree = tree["variants"][variant].Exists ? tree.With(tree["variants"][variant]) : tree;
        }

        return new ScenarioDefinition(name, (tree["variants"].Exists ? tree.Without("variants") : tree).Expand(options.Variables), options);
    }

    private static LabNode Node(string name, Tree tree) => new()
    {
        Name = name,
        Role = tree["role"].Text,
        Label = tree["label"].TextOrNull ?? name,
        On = tree["on"].TextOrNull,
        HomeAddress = tree["home-address"].TextOrNull is { } home ? Address(home, tree["home-address"].Where) : null,
        StartAtOnce = tree["start"].TextOrNull switch
        {
            null or "at-once" => true,
            "by-scenario" => false,
            var other => throw new ScenarioException($"{tree["start"].Where}: '{other}' is not allowed; allowed: at-once, by-scenario"),
        },
        Order = tree["order"].TextOrNull is { } order ? int.Parse(order, CultureInfo.InvariantCulture) : 0,
        Routes = [.. tree["routes"].Items.Select(Route)],
        MoreAddresses = [.. tree["more-addresses"].Items.Select(t => End(t, name + " " + t.Text))],
        Settings = tree["settings"].Exists ? tree["settings"] : null,
        Forwards = tree["role"].Text == LabNode.RouterRole || tree["forwards"].TextOrNull == "true",
    };

    private static LabRoute Route(Tree tree)
    {
        var words = tree.Text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return words is [var destination, "via", var gateway]
            ? Route(destination, Address(gateway, tree.Where), tree.Where)
            : throw new ScenarioException($"{tree.Where}: '{tree.Text}' is no route; write 'PREFIX via ADDRESS' or 'default via ADDRESS'");
    }

    private static LabRoute Route(string destination, IPAddress gateway, string where) =>
        new(destination == "default" ? new IPNetwork(gateway.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any, 0) : Network(destination, where), gateway);

    private static LabLink Link(string name, Tree tree, ScenarioOptions options)
    {
        var kind = Enum.TryParse<LinkKind>(tree["kind"].Text, ignoreCase: true, out var parsed)
            ? parsed
            : throw new ScenarioException($"{tree["kind"].Where}: '{tree["kind"].Text}' is not allowed; allowed: {string.Join(", ", Enum.GetNames<LinkKind>()).ToLowerInvariant()}");
        var ends = tree["ends"].Items.Select(t => End(t, t.Text)).ToList();
        if (ends.Count != 2)
        {
            throw new ScenarioException($"{tree["ends"].Where}: a link has two ends, not {ends.Count}");
        }

        var delay = tree["delay"].TextOrNull is { } text ? Duration(text, tree["delay"].Where) : TimeSpan.Zero;
        return new LabLink(name, kind, ends[0], ends[1], new WireCharacter(
            kind == LinkKind.Core && options.Delay is { } chosen ? chosen : delay,
            tree["rate"].TextOrNull is { } rate ? Rate(rate, tree["rate"].Where) : 0));
    }

    private static LinkEnd End(Tree tree, string text)
    {
        var words = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words.Length is not (2 or 3))
        {
            throw new ScenarioException($"{tree.Where}: '{tree.Text}' is no link end; write 'NODE INTERFACE [ADDRESS/LENGTH]'");
        }

        if (words.Length == 2)
        {
            return new LinkEnd(words[0], words[1], null, 0);
        }

        var slash = words[2].IndexOf('/', StringComparison.Ordinal);
        return slash > 0 && int.TryParse(words[2].AsSpan(slash + 1), CultureInfo.InvariantCulture, out var length) && length is >= 0 and <= 128
            ? new LinkEnd(words[0], words[1], Address(words[2][..slash], tree.Where), length)
            : throw new ScenarioException($"{tree.Where}: '{words[2]}' is no address with prefix length");
    }

    /// <summary>Reads <c>500us</c>, <c>20ms</c>, <c>2s</c>.</summary>
    public static TimeSpan Duration(string text, string where)
    {
        var unit = text.TrimStart("0123456789.".ToCharArray());
        return double.TryParse(text.AsSpan(0, text.Length - unit.Length), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value)
            ? unit switch
            {
                "us" => TimeSpan.FromMicroseconds(value),
                "ms" => TimeSpan.FromMilliseconds(value),
                "s" => TimeSpan.FromSeconds(value),
                _ => throw new ScenarioException($"{where}: '{text}' has no unit; allowed: us, ms, s"),
            }
            : throw new ScenarioException($"{where}: '{text}' is no duration");
    }

    private static long Rate(string text, string where)
    {
        var unit = text.TrimStart("0123456789.".ToCharArray());
        var factor = unit switch
        {
            "kbit" => 1_000L,
            "mbit" => 1_000_000L,
            "gbit" => 1_000_000_000L,
            _ => throw new ScenarioException($"{where}: '{text}' has no unit; allowed: kbit, mbit, gbit"),
        };
        return double.TryParse(text.AsSpan(0, text.Length - unit.Length), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value)
            ? (long)(value * factor)
            : throw new ScenarioException($"{where}: '{text}' is no rate");
    }

    private static IPAddress Address(string text, string where) =>
        IPAddress.TryParse(text, out var address) ? address : throw new ScenarioException($"{where}: '{text}' is no address");

    private static IPNetwork Network(string text, string where) =>
        IPNetwork.TryParse(text, out var network) ? network : throw new ScenarioException($"{where}: '{text}' is no prefix");
}
