using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Sojourn.Roles.Enrolment;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>What the scenarios of terminal authentication have in common: what operators prepare, what nodes are asked, what tshark reads.</summary>
public abstract partial class TerminalScenario : Scenario
{
    // Message types of DHCPv6, bodies of CMP, exchanges of IKEv2, ICMPv6 and Mobility Header types, as tshark prints them.
    protected const string Solicit = "1", Advertise = "2", Request = "3", Reply = "7", RelayForward = "12", RelayReply = "13";
    protected const string InitializationRequest = "0", InitializationResponse = "1", CertificateConfirm = "24", PkiConfirm = "19";
    protected const string RouterAdvertisement = "134", DiscoveryRequest = "144", DiscoveryReply = "145", PrefixSolicitation = "146", PrefixAdvertisement = "147";
    protected const string SaInit = "34", Auth = "35", Informational = "37", BindingUpdate = "5", BindingAcknowledgement = "6";

    private readonly List<(string Name, byte[] Octets)> _secrets = [];

    public override bool SpeaksMobileIpv4 => false;

    public override string SecretsRow => "LAB";

    public override IReadOnlyList<(string Name, byte[] Octets)> Secrets => _secrets;

    /// <summary>Fields of tshark that are read of every packet; a scenario adds its own.</summary>
    protected virtual IReadOnlyList<string> Fields =>
    [
        "icmpv6.type", "icmpv6.opt.prefix", "icmpv6.nd.ra.flag.m", "icmpv6.mip6.home_agent_address", "dhcpv6.msgtype", "dhcpv6.option.type", "dhcpv6.duid.bytes", "dhcpv6.iaid",
        "dhcpv6.iaprefix.pref_addr", "cmp.body", "isakmp.exchangetype", "isakmp.flag_r", "isakmp.messageid", "isakmp.typepayload", "isakmp.id.data.fqdn", "isakmp.id.data.ipv6_addr",
        "isakmp.ts.start_ipv6", "isakmp.notify.msgtype", "isakmp.auth.method", "esp.spi", "ipv6.opt.mipv6.home_address", "ipv6.routing.mipv6.home_address", "mip6.mhtype", "mip6.bu.k_flag",
        "mip6.bu.seqnr", "mip6.ba.status", "mip6.ba.seqnr", "mip6.bu.lifetime", "mip6.ba.lifetime",
    ];

    /// <summary>What the links carried, by time.</summary>
    protected IReadOnlyList<DissectedPacket> Packets { get; private set; } = [];

    protected void ReadCaptures(LabRun run)
    {
        var links = run.Topology.Links.Select(link => Dissection.ReadAsync(run.Evidence, link, Fields, CancellationToken.None)).ToList();
        Packets = [.. links.SelectMany(l => l.GetAwaiter().GetResult()).OrderBy(p => p.Time)];
    }

    protected IEnumerable<DissectedPacket> On(string link, long from = 0, long to = long.MaxValue) => Packets.Where(p => p.Link == link && p.Time >= from && p.Time <= to);

    /// <summary>The links that packets of a kind crossed, in the order of their first one on each.</summary>
    protected string Way(Func<DissectedPacket, bool> wanted) => string.Join(' ', Packets.Where(wanted).Select(p => p.Link).Distinct());

    protected static string Ms(long from, long to) => string.Create(CultureInfo.InvariantCulture, $"{(to - from) / 1e6:F1} ms");

    /// <exception cref="ScenarioException">tshark or radvd is not installed.</exception>
    protected static void NeedTools()
    {
        if (!StrictJudge.IsAvailable || !RouterAdvertiser.IsAvailable)
        {
            throw new ScenarioException("this scenario needs tshark and radvd (Debian packages of these names)");
        }
    }

    /// <summary>Runs the command line as an operator would.</summary>
    /// <exception cref="ScenarioException">It fails.</exception>
    protected static async Task OperateAsync(LabRun run, IReadOnlyList<string> arguments, CancellationToken cancellation)
    {
        var result = await run.SojournAsync(arguments, cancellation);
        if (result.ExitCode != 0)
        {
            throw new ScenarioException($"{result}: {result.Errors.Trim()}");
        }
    }

    /// <summary>Makes the certification authority's database; tells where it is.</summary>
    protected static async Task<string> MakeAuthorityAsync(LabRun run, CancellationToken cancellation)
    {
        var database = Path.Combine(run.Directory.FolderOf("ca"), "ca.db");
        await OperateAsync(run, ["ca", "init", "--database", database, "--name", "CN=Home CA,O=Home"], cancellation);
        return database;
    }

    /// <summary>Certifies a server that takes part before the authority runs, or is the authority itself: <c>credentials</c> in the node's folder.</summary>
    /// <param name="addresses">In the certificate beside the name.</param>
    /// <param name="kind">As <c>sojourn ca identifier add --kind</c> has it.</param>
    protected static async Task IssueAsync(LabRun run, string database, string node, string name, IReadOnlyList<string> addresses, CancellationToken cancellation, string kind = "node")
    {
        await ListAsync(run, database, name, kind, addresses, cancellation);
        await OperateAsync(run, ["ca", "issue", name, "--store", StoreOf(run, node), "--database", database], cancellation);
    }

    /// <summary>As above, with one address.</summary>
    protected static Task IssueAsync(LabRun run, string database, string node, string name, string address, CancellationToken cancellation) =>
        IssueAsync(run, database, node, name, [address], cancellation);

    private static Task ListAsync(LabRun run, string database, string name, string kind, IReadOnlyList<string> addresses, CancellationToken cancellation) =>
        OperateAsync(run, ["ca", "identifier", "add", name, "--kind", kind, .. addresses.SelectMany(a => (string[])["--address", a]), "--database", database], cancellation);

    /// <summary>
    /// What the kernels of these nodes do of IPsec and tunnels in IPv6; empty where user space does everything, whatever the kernel could do
    /// (spec terminal TM-M2, AC41).
    /// </summary>
    protected static async Task<string> AskKernelAsync(LabRun run, IReadOnlyList<string> nodes, CancellationToken cancellation)
    {
        var found = new List<string>();
        foreach (var node in nodes)
        {
            foreach (var command in (string[][])[["ip", "xfrm", "state"], ["ip", "xfrm", "policy"], ["ip", "-o", "link", "show", "up", "type", "ip6tnl"]])
            {
                if ((await run.ExecuteAsync(node, command, cancellation)).Output.Trim() is { Length: > 0 } output)
                {
                    found.Add($"{node}: {output.Split('\n')[0]}");
                }
            }
        }

        return string.Join("; ", found);
    }

    /// <summary>AC41 for what the scenario has shown otherwise: no kernel took part, and none answered with a Parameter Problem.</summary>
    protected void JudgeKernel(RowBook rows, string kernel, string what)
    {
        var problems = Packets.Count(p => p.Is("icmpv6.type", "4"));
        foreach (var row in (string[])["TM-AC41", "TM-M2"])
        {
            rows.Check(row, $"{what} without IPsec or a tunnel of the kernel, and no Parameter Problem on any link", kernel.Length == 0 && problems == 0 && Packets.Count > 0,
                $"{(kernel.Length == 0 ? "the kernels have no association, policy or tunnel" : kernel)}; {problems} Parameter Problems among {Packets.Count} packets");
        }
    }

    protected static string StoreOf(LabRun run, string node) => Path.Combine(run.Directory.FolderOf(node), "credentials");

    /// <summary>Lists a terminal with the authority and makes its card: <c>credentials</c>, and <c>REFERENCE.secret</c> to enrol with, in the node's folder.</summary>
    /// <returns>Private and public key of the card.</returns>
    protected async Task<(byte[] Private, byte[] Public)> WriteCardAsync(LabRun run, string database, string node, string name, string reference, CancellationToken cancellation)
    {
        var secret = Path.Combine(run.Directory.FolderOf(node), reference + ".secret");
        await OperateAsync(run, ["ca", "identifier", "add", name, "--database", database], cancellation);
        await OperateAsync(run, ["ca", "secret", name, "--reference", reference, "--out", secret, "--database", database], cancellation);
        using var store = CredentialStore.Create(StoreOf(run, node), name);
        using var key = ECDsa.Create();
        key.ImportFromPem(await File.ReadAllTextAsync(Path.Combine(StoreOf(run, node), "key.pem"), cancellation));
        var octets = key.ExportParameters(true).D!;
        Guard($"the private key of {node}", octets);
        Guard($"the enrolment secret of {node}", Encoding.ASCII.GetBytes((await File.ReadAllTextAsync(secret, cancellation)).Trim()));
        return (octets, store.PublicKey.ToArray());
    }

    /// <summary>From now on these octets must show nowhere.</summary>
    protected void Guard(string name, byte[] octets)
    {
        lock (_secrets)
        {
            _secrets.Add((name, octets));
        }
    }

    /// <summary>Lists a server of the home network with the authority, so that it can enrol: <c>REFERENCE.secret</c> in the node's folder.</summary>
    /// <param name="kind">As <c>sojourn ca identifier add --kind</c> has it.</param>
    /// <param name="addresses">In the certificate beside the name.</param>
    protected static async Task ListServerAsync(LabRun run, string database, string node, string name, string kind, IReadOnlyList<string> addresses, string reference, CancellationToken cancellation)
    {
        await ListAsync(run, database, name, kind, addresses, cancellation);
        await OperateAsync(run, ["ca", "secret", name, "--reference", reference, "--out", Path.Combine(run.Directory.FolderOf(node), reference + ".secret"), "--database", database], cancellation);
    }

    /// <summary>Enrols a node of the lab beforehand (TA1.181, 182): <c>credentials</c> in the node's folder.</summary>
    /// <param name="url">Of the authority, which has to run.</param>
    /// <param name="reference">Its secret is <c>REFERENCE.secret</c> in the node's folder.</param>
    /// <exception cref="ScenarioException">It gets no certificate.</exception>
    protected static async Task EnrolAsync(LabRun run, string node, string name, string url, string reference, CancellationToken cancellation)
    {
        var secret = Path.Combine(run.Directory.FolderOf(node), reference + ".secret");
        var enrolled = await run.ExecuteAsync(
            node, [.. LabCommand.Sojourn, "enrol", "--identifier", name, "--store", StoreOf(run, node), "--url", url, "--reference", reference, "--secret-file", secret], cancellation);
        if (enrolled.ExitCode != 0)
        {
            throw new ScenarioException($"{enrolled}: {enrolled.Errors.Trim()}");
        }
    }

    /// <summary>Lists a server and enrols it at once, where nothing else is to be done meanwhile.</summary>
    protected static async Task EnrolServerAsync(LabRun run, string database, string node, string name, string kind, string url, string? address, CancellationToken cancellation)
    {
        await ListServerAsync(run, database, node, name, kind, address is null ? [] : [address], node, cancellation);
        await EnrolAsync(run, node, name, url, node, cancellation);
    }

    /// <summary>Lets a delegating router give prefixes to a DUID and IAID, at any link.</summary>
    protected static Task AllowPrefixAsync(LabRun run, string router, string duid, string iaid, string name, CancellationToken cancellation) =>
        OperateAsync(run, ["prefix", "add", duid, iaid, name, "--at", "*", "--database", Path.Combine(run.Directory.FolderOf(router), "prefixes.db")], cancellation);

    /// <summary>Waits for something that the judgement is about. That it did not come is noted here, and the rows tell what is missing.</summary>
    /// <param name="what">For whoever reads the note.</param>
    protected static async Task<bool> AwaitAsync(LabRun run, string what, Func<Task<bool>> question, TimeSpan limit, CancellationToken cancellation)
    {
        var seen = await LabRun.UntilAsync(question, limit, cancellation);
        if (!seen)
        {
            run.Progress.Note(string.Create(CultureInfo.InvariantCulture, $"waited {limit.TotalSeconds} s in vain: {what}"));
        }

        return seen;
    }

    /// <summary>Waits until a node has told of an event.</summary>
    protected static Task<bool> AwaitEventAsync(LabRun run, string node, string kind, TimeSpan limit, CancellationToken cancellation) =>
        AwaitAsync(run, $"{node} tells of {kind}", async () => (await EventsAsync(run, node, kind, cancellation)).Count > 0, limit, cancellation);

    protected static async Task<JsonElement> SessionAsync(LabRun run, string node, CancellationToken cancellation) =>
        PathLines.Rows(await run.ShowAsync(node, "sessions", cancellation)).FirstOrDefault();

    protected static async Task<string> StateAsync(LabRun run, string node, CancellationToken cancellation) => TableQuestions.Text(await SessionAsync(run, node, cancellation), "state");

    /// <summary>Waits until a terminal has come to a state of section 5, or is there already.</summary>
    /// <returns>Its row then.</returns>
    /// <exception cref="ScenarioException">It does not come to it in time.</exception>
    protected static async Task<JsonElement> ReachAsync(LabRun run, string node, string state, TimeSpan limit, CancellationToken cancellation)
    {
        var reached = await LabRun.UntilAsync(async () => await StateAsync(run, node, cancellation) == state, limit, cancellation);
        var session = await SessionAsync(run, node, cancellation);
        return reached ? session
            : throw new ScenarioException($"{node} came to {TableQuestions.Text(session, "state")} only: {string.Join("; ", (await EventsAsync(run, node, "", cancellation)).TakeLast(6))}");
    }

    /// <summary>Texts of a node's events of a kind, oldest first; "" = of all kinds.</summary>
    protected static async Task<IReadOnlyList<string>> EventsAsync(LabRun run, string node, string kind, CancellationToken cancellation)
    {
        var events = PathLines.Rows(await run.ShowAsync(node, "events", cancellation));
        return [.. events.Where(e => kind.Length == 0 || TableQuestions.Text(e, "event") == kind).Select(e => TableQuestions.Text(e, "text"))];
    }

    /// <summary>Sum of a node's counters whose names begin so.</summary>
    protected static async Task<long> CounterAsync(LabRun run, string node, string beginning, CancellationToken cancellation)
    {
        var counters = (await run.ShowAsync(node, "counters", cancellation)).GetProperty("counters");
        return counters.EnumerateObject().Where(c => c.Name.StartsWith(beginning, StringComparison.Ordinal)).Sum(c => c.Value.GetInt64());
    }

    /// <summary>Edits a node's configuration file.</summary>
    protected static void Change(LabRun run, string node, string yaml)
    {
        var path = NodeFiles.ConfigurationOf(run.Directory, node);
        File.WriteAllText(path, Tree.Load(path).With(Tree.Parse(yaml, "change")).ToYaml());
    }

    /// <summary>What a terminal and the network say to each other, the first message of each kind on each link.</summary>
    /// <param name="ends">Nodes by address; who is none of them is reached through the link's router.</param>
    /// <param name="routers">Nodes by link.</param>
    protected IEnumerable<LadderStep> SignallingSteps(string terminal, IReadOnlyDictionary<string, string> ends, IReadOnlyDictionary<string, string> routers, long from)
    {
        var seen = new HashSet<string>();
        foreach (var packet in Packets.Where(p => p.Time >= from && routers.ContainsKey(p.Link)))
        {
            var (name, kind) = packet switch
            {
                _ when packet.First("cmp.body") is { } body => ($"CMP {body}", LadderKind.Diameter),
                _ when packet.First("dhcpv6.msgtype") is { } type => (type switch { Solicit => "Solicit", Advertise => "Advertise", Request => "Request", Reply => "Reply", _ => $"DHCPv6 {type}" }, LadderKind.Diameter),
                _ when packet.First("isakmp.exchangetype") is { } exchange => (exchange switch { SaInit => "IKE_SA_INIT", Auth => "IKE_AUTH", _ => "INFORMATIONAL" }, LadderKind.Diameter),
                _ when packet.Is("icmpv6.type", DiscoveryRequest) => ("discovery request", LadderKind.MobileIp),
                _ when packet.Is("icmpv6.type", DiscoveryReply) => ("discovery reply", LadderKind.MobileIp),
                _ when packet.First("mip6.mhtype") is { } message => (message == BindingUpdate ? "BU" : "BA", LadderKind.Binding),
                _ => (null, LadderKind.Clear),
            };
            var outward = packet.Sender == terminal;
            var other = ends.GetValueOrDefault($"{(outward ? packet.Destination : packet.Source)}", routers[packet.Link]);
            if (name is not null && seen.Add($"{packet.Link} {outward} {other} {name}"))
            {
                yield return new LadderStep((packet.Time - from) / 1e6, outward ? terminal : other, outward ? other : terminal, name, $"{packet.Source} > {packet.Destination}", kind);
            }
        }
    }

    /// <summary>Headers from the first IPv6 header on, outermost first.</summary>
    protected static string Stack(DissectedPacket? packet) => packet is null ? "none" : string.Join(' ', packet.Protocols.SkipWhile(p => p != "ipv6"));

    /// <summary>Sources and destinations of all IPv6 headers, outermost first.</summary>
    protected static string Ends(DissectedPacket? packet) => packet is null ? "none" : Ends([.. packet.Of("ipv6.src").Zip(packet.Of("ipv6.dst"))]);

    /// <summary>As <see cref="Ends(DissectedPacket?)"/> writes them.</summary>
    protected static string Ends(params (string From, string To)[] headers) => string.Join(" | ", headers.Select(h => $"{h.From} > {h.To}"));

    protected static string Payloads(DissectedPacket packet) => string.Join(",", packet.Of("isakmp.typepayload"));
}
