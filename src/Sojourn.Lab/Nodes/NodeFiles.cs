using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.RegularExpressions;
using Sojourn.Lab.Topology;
using Sojourn.Roles.Diameter;
using Sojourn.Storage;
using Sojourn.Storage.Provisioning;

namespace Sojourn.Lab.Nodes;

/// <summary>
/// Writes what the nodes of a run need before they start: configuration files, secrets, certificates and the subscriber
/// database. Everything goes into the run directory, which only its owner can read.
/// </summary>
public static partial class NodeFiles
{
    private const string KeysFolder = "keys", DatabaseFile = "subscribers.db", ForeignFolder = "foreign", StateFolder = "state";

    /// <summary>A foreign system gets the settings of the role in whose place it stands.</summary>
    private const string MachineStandsFor = "gateway";
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>Writes everything for every node of the scenario.</summary>
    public static void Write(ScenarioDefinition scenario, RunDirectory run)
    {
        WriteSecrets(scenario, run);
        using var authority = new LabCertificateAuthority("Sojourn lab", TimeSpan.FromDays(1));
        authority.WriteAuthority(run.Folder);
        foreach (var identity in scenario.ForeignIdentities)
        {
            authority.Write(run.FolderOf(ForeignFolder), identity, identity);
        }

        foreach (var node in scenario.Topology.Nodes.Where(n => n.RunsSojourn || n.Role == LabNode.MachineRole))
        {
            var folder = run.FolderOf(node.Name);
            var settings = node.Settings ?? throw new ScenarioException($"node '{node.Name}' has a role but no settings");
            if (settings["diameter"]["identity"].TextOrNull is { } identity)
            {
                authority.Write(folder, "node", identity);
            }

            if (settings["console"].Exists)
            {
                authority.Write(folder, "console", ConsoleOf(node).Host);
            }

            File.WriteAllText(ConfigurationOf(run, node.Name), Configuration(node, settings));
            if (settings["aaa"]["serves"].TextOrNull == "home")
            {
                WriteDatabase(scenario, run, folder);
            }
        }
    }

    /// <summary>The certificate of a server the lab plays itself.</summary>
    public static X509Certificate2 ForeignCertificate(RunDirectory run, string identity) =>
        X509Certificate2.CreateFromPemFile(Path.Combine(run.FolderOf(ForeignFolder), identity + ".crt"), Path.Combine(run.FolderOf(ForeignFolder), identity + ".key"));

    /// <summary>The lab's own authority, for clients that are to trust its nodes and nobody else.</summary>
    public static X509Certificate2 Authority(RunDirectory run) => X509CertificateLoader.LoadCertificateFromFile(Path.Combine(run.Folder, "ca.crt"));

    /// <summary>The site a home AAA server's web console is; its certificate is for that name.</summary>
    public static Uri ConsoleOf(LabNode node) =>
        new($"https://customer.{node.Settings!["diameter"]["realm"].Text}:{node.Settings["console"]["port"].TextOrNull ?? "8443"}/");

    public static string KeysOf(RunDirectory run) => Path.Combine(run.Folder, KeysFolder);

    public static string ConfigurationOf(RunDirectory run, string node) => Path.Combine(run.FolderOf(node), "config.yaml");

    public static string LogOf(RunDirectory run, string node) => Path.Combine(run.FolderOf(node), "log.jsonl");

    public static string SocketOf(RunDirectory run, string node) => Path.Combine(run.FolderOf(node), "control.sock");

    public static string EspKeysOf(RunDirectory run, string node) => Path.Combine(run.FolderOf(node), "esp_sa");

    public static string IkeKeysOf(RunDirectory run, string node) => Path.Combine(run.FolderOf(node), "ikev2_decryption_table");

    public static string TlsKeysOf(RunDirectory run, string node) => Path.Combine(run.FolderOf(node), "tls_keys.log");

    /// <summary>Where a node keeps what it must not forget.</summary>
    public static string StateOf(RunDirectory run, string node) => Path.Combine(run.FolderOf(node), StateFolder);

    public static string DatabaseOf(RunDirectory run, string node) => Path.Combine(run.FolderOf(node), DatabaseFile);

    /// <summary>Every secret of the run as octets, with the file it stands in: what must never be seen in captures, logs or output.</summary>
    public static IReadOnlyList<(string Name, byte[] Octets)> Secrets(RunDirectory run) =>
        [.. Directory.GetFiles(Path.Combine(run.Folder, KeysFolder)).Select(f => (Path.GetFileName(f), Convert.FromHexString(File.ReadAllText(f).Trim())))];

    private static string Configuration(LabNode node, Tree settings)
    {
        var lab = new StringBuilder()
            .Append("node: ").Append(node.Name).Append('\n')
            .Append("role: ").Append(node.Role == LabNode.MachineRole ? MachineStandsFor : node.Role).Append('\n')
            .Append("state-directory: ").Append(StateFolder).Append('\n')
            .Append("control: { socket: control.sock }\n")
            .Append("log: { level: information, file: log.jsonl }\n");
        if (node.Role is "foreign-agent" or "home-agent" or "gateway" or LabNode.TerminalRole or LabNode.MobileRouterRole or "home-agent6" or "access-gateway" or "anchor-point")
        {
            lab.Append("key-export: { esp: esp_sa, ike: ikev2_decryption_table }\n");
        }

        if (settings["diameter"].Exists)
        {
            lab.Append("diameter: { tls: { certificate-file: node.crt, key-file: node.key, ca-file: ../ca.crt } }\n");
        }

        if (settings["console"].Exists)
        {
            lab.Append("console: { certificate-file: console.crt, key-file: console.key }\n");
        }

        return Tree.Parse(lab.ToString(), "lab").With(settings).ToYaml();
    }

    /// <summary>Makes every file that settings or provisioning name as <c>../keys/NAME</c>.</summary>
    private static void WriteSecrets(ScenarioDefinition scenario, RunDirectory run)
    {
        var folder = run.FolderOf(KeysFolder);
        var names = scenario.Topology.Nodes.Where(n => n.Settings is not null).SelectMany(n => n.Settings!.Texts)
            .Concat(scenario.Provisioning.Texts)
            .Select(t => KeyReference().Match(t.Text)).Where(m => m.Success).Select(m => m.Groups[1].Value).Distinct();
        foreach (var name in names)
        {
            WritePrivate(Path.Combine(folder, name), Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(scenario.KeyLengths.GetValueOrDefault(name, 32))) + "\n");
        }
    }

    private static void WriteDatabase(ScenarioDefinition scenario, RunDirectory run, string folder)
    {
        var import = Path.Combine(folder, "provisioning.yaml");
        var crowd = CrowdUsers.Of(scenario.Provisioning);
        File.WriteAllText(import, (crowd is null ? scenario.Provisioning : scenario.Provisioning.Without("crowd")).ToYaml());
        using var database = Database.Open(Path.Combine(folder, DatabaseFile));
        var subscribers = new SubscriberStore(database, TimeProvider.System, "lab");
        ProvisioningFile.Import(import, subscribers);
        if (crowd is not null)
        {
            var more = Path.Combine(folder, "crowd.yaml");
            File.WriteAllText(more, crowd.ToYaml());
            ProvisioningFile.Import(more, subscribers);
        }
    }

    private static void WritePrivate(string path, string text)
    {
        using var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = OwnerOnly });
        file.Write(Encoding.ASCII.GetBytes(text));
    }

    [GeneratedRegex(@"^\.\./keys/([a-z0-9-]+)$")]
    private static partial Regex KeyReference();
}
