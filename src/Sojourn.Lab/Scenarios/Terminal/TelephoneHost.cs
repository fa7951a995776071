using System.Globalization;
using System.Security.Cryptography;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Sojourn.Lab.VirtualMachine;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>
/// A host with a system of its own (spec terminal TM-P1): a Linux kernel whose own IPsec protects audio by ESP in transport mode
/// (RFC 4303), entered by hand, and SIPp as its telephone. Nothing of ours runs in it.
/// </summary>
internal sealed class TelephoneHost : IAsyncDisposable
{
    private const string Folder = "/call";

    /// <summary>By number, since the guest has no list of names.</summary>
    private const int Udp = 17;

    /// <summary>SIPp draws on a terminal, be it a file.</summary>
    private const string Terminal = "/lib/terminfo/d/dumb";

    /// <summary>PCMU (RFC 3551 4.5.14), ten seconds, played again and again.</summary>
    private const int AudioOctets = 80_000;

    private readonly LabRun _run;
    private readonly string _node;
    private readonly LinuxVirtualMachine _machine;

    private TelephoneHost(LabRun run, string node, LinuxVirtualMachine machine) => (_run, _node, _machine) = (run, node, machine);

    /// <summary>Boots it in place of a node's interfaces; card <c>ethN</c> is the one at the node's link number N.</summary>
    /// <exception cref="ScenarioException">There can be no virtual machine here.</exception>
    public static async Task<TelephoneHost> StartAsync(LabRun run, string node, CancellationToken cancellation)
    {
        var files = new Dictionary<string, byte[]> { [Folder + "/audio.ul"] = RandomNumberGenerator.GetBytes(AudioOctets), [Terminal] = await File.ReadAllBytesAsync(Terminal, cancellation) };
        foreach (var script in (string[])["caller.xml", "callee.xml", "hang-up.xml"])
        {
            files[$"{Folder}/{script}"] = await File.ReadAllBytesAsync(Path.Combine(ScenarioDefinition.Root, run.Definition.Name, script), cancellation);
        }

        var interfaces = run.Topology.LinksOf(node).Select(l => l.Link.Ends[l.End].Interface).ToList();
        var machine = await LinuxVirtualMachine.StartAsync(
            await GuestKernel.ObtainAsync(cancellation), new Initramfs { Programs = ["sipp"], Files = files }, run.Network.Namespace(node), interfaces, run.Directory.Remember, cancellation,
            Path.Combine(run.Directory.FolderOf(node), "machine"));
        await machine.ExecuteAsync(
            """
            cd /proc/sys/net/ipv6/conf
            echo 0 >all/disable_ipv6
            for card in lo eth*; do echo 0 >$card/disable_ipv6; echo 0 >$card/accept_ra; done
            ip link set lo up
            """,
            cancellation);
        return new TelephoneHost(run, node, machine);
    }

    /// <summary>Gives a card an address that everything goes by that is sent from it.</summary>
    /// <param name="router">The next hop, which lies on the card's link whatever its prefix.</param>
    public Task AddressAsync(int card, string address, string router, CancellationToken cancellation) => _machine.ExecuteAsync(
        string.Create(CultureInfo.InvariantCulture, $"""
            ip -6 address add {address}/128 dev eth{card} nodad
            ip -6 route add default via {router} dev eth{card} onlink table {card + 1}
            ip -6 rule add from {address} table {card + 1}
            """),
        cancellation);

    /// <summary>Enters one direction of the transport-mode associations for UDP between two addresses, as their owners agreed on it, with its policy.</summary>
    /// <param name="outward">True where this host is the source. The request id ties the policy to this one association: of several hosts behind one interface the kernel would take any other's.</param>
    public Task ProtectAsync(HostAssociation association, bool outward, CancellationToken cancellation) => _machine.ExecuteAsync(
        string.Create(CultureInfo.InvariantCulture, $"""
            ip xfrm state add src {association.Source} dst {association.Destination} proto esp spi 0x{association.Spi:x} reqid {association.Spi} mode transport replay-window 32 aead 'rfc4106(gcm(aes))' 0x{Convert.ToHexStringLower(association.Key)} 128
            ip xfrm policy add dir {(outward ? "out" : "in")} src {association.Source}/128 dst {association.Destination}/128 proto {Udp} tmpl proto esp reqid {association.Spi} mode transport
            """),
        cancellation);

    /// <summary>Takes the host's own associations with a peer away; the policies stay, so that nothing leaves in clear.</summary>
    public Task ForgetAsync(HostAssociation association, CancellationToken cancellation) =>
        _machine.ExecuteAsync(string.Create(CultureInfo.InvariantCulture, $"ip xfrm state delete src {association.Source} dst {association.Destination} proto esp spi 0x{association.Spi:x}"), cancellation);

    /// <summary>Packets that the kernel has protected or opened with an association; 0 when there is none.</summary>
    public async Task<long> CarriedAsync(HostAssociation association, CancellationToken cancellation)
    {
        var shown = await _machine.ExecuteAsync(string.Create(CultureInfo.InvariantCulture, $"ip -s xfrm state list nokeys src {association.Source} dst {association.Destination} proto esp spi 0x{association.Spi:x}"), cancellation);
        var words = shown.Split([' ', '\n', '\t'], StringSplitOptions.RemoveEmptyEntries);
        return words.Where(w => char.IsAsciiDigit(w[0]) && w.EndsWith("(packets)", StringComparison.Ordinal)).Select(w => long.Parse(w.AsSpan(0, w.IndexOf('(', StringComparison.Ordinal)), CultureInfo.InvariantCulture)).FirstOrDefault();
    }

    /// <summary>Answers calls to an address from now on.</summary>
    public async Task AnswerAsync(string address, int port, CancellationToken cancellation)
    {
        await LaunchAsync("callee-" + address, $"-sf {Folder}/callee.xml -i {address} -mi {address} -p 5060 -mp {port}", cancellation);
        var bound = string.Concat(System.Net.IPAddress.Parse(address).GetAddressBytes().Chunk(4).Select(word => Convert.ToHexString([.. word.Reverse()]))) + ":13C4";
        if (!await LabRun.UntilAsync(async () => (await _machine.RunAsync("grep -c " + bound + " /proc/net/udp6", cancellation)).ExitCode == 0, TimeSpan.FromSeconds(20), cancellation))
        {
            throw new ScenarioException($"sipp on {_node} does not listen: {await SaidAsync("callee-" + address, cancellation)}");
        }
    }

    /// <summary>Calls somebody by way of a proxy; the call lasts until somebody hangs up.</summary>
    /// <param name="call">Its Call-ID.</param>
    public Task CallAsync(string call, string from, int port, string callee, string proxy, int audio, CancellationToken cancellation) => LaunchAsync(
        call, string.Create(CultureInfo.InvariantCulture, $"-sf {Folder}/caller.xml -i {from} -mi {from} -p {port} -mp {audio} -m 1 -cid_str {call} -rsa [{proxy}]:5060 [{callee}]:5060"), cancellation);

    public Task HangUpAsync(string call, string from, int port, CancellationToken cancellation) => _machine.ExecuteAsync(
        string.Create(CultureInfo.InvariantCulture, $"TERM=dumb /usr/bin/sipp -sf {Folder}/hang-up.xml -i {from} -p {port + 500} -m 1 -nostdin -cid_str {call} [{from}]:{port}"), cancellation);

    /// <summary>Exit status of a call's SIPp: 0 = everything as the script has it. Null while it lasts.</summary>
    public async Task<int?> OutcomeAsync(string call, CancellationToken cancellation)
    {
        var status = await _machine.RunAsync($"cat /tmp/{call}.status", cancellation);
        return status.ExitCode == 0 && int.TryParse(status.Output, CultureInfo.InvariantCulture, out var code) ? code : null;
    }

    /// <summary>Leaves in the evidence what the system and its programs tell.</summary>
    public async Task CollectAsync(CancellationToken cancellation)
    {
        var folder = Directory.CreateDirectory(Path.Combine(_run.Evidence, "nodes", _node)).FullName;
        foreach (var (file, script) in ((string, string)[])
            [("kernel.txt", "uname -a; cat /proc/uptime"), ("xfrm-state.txt", "ip -s xfrm state list nokeys"), ("xfrm-policy.txt", "ip -s xfrm policy"), ("xfrm-stat.txt", "cat /proc/net/xfrm_stat"), ("udp.txt", "grep Udp6 /proc/net/snmp6"),
             ("links.txt", "ip -s address; ip -6 rule; ip -6 route show table all"), ("sipp.txt", "for log in /tmp/*.log; do echo \"== $log\"; tail -n 60 $log; done")])
        {
            await File.WriteAllTextAsync(Path.Combine(folder, file), (await _machine.RunAsync(script, cancellation)).Output, cancellation);
        }

        await File.WriteAllTextAsync(Path.Combine(folder, "console.txt"), _machine.Console, cancellation);
    }

    public ValueTask DisposeAsync() => _machine.DisposeAsync();

    private Task LaunchAsync(string name, string arguments, CancellationToken cancellation) =>
        _machine.ExecuteAsync($"cd /tmp; ( TERM=dumb /usr/bin/sipp {arguments} -nostdin >{name}.log 2>&1; echo $? >{name}.status ) >/dev/null 2>&1 &", cancellation);

    private async Task<string> SaidAsync(string name, CancellationToken cancellation) => (await _machine.RunAsync($"tail -n 5 /tmp/{name}.log", cancellation)).Output;
}

/// <summary>One direction of transport-mode ESP between two hosts: AES-GCM with a 16 octet ICV (RFC 4106).</summary>
/// <param name="Key">Key and salt.</param>
internal sealed record HostAssociation(string Source, string Destination, uint Spi, byte[] Key)
{
    public static HostAssociation Make(string source, string destination, uint spi) => new(source, destination, spi, RandomNumberGenerator.GetBytes(20));

    /// <summary>As Wireshark's <c>esp_sa</c> has it.</summary>
    public string Exported => string.Create(
        CultureInfo.InvariantCulture, $"\"IPv6\",\"{Source}\",\"{Destination}\",\"0x{Spi:x8}\",\"AES-GCM with 16 octet ICV [RFC4106]\",\"0x{Convert.ToHexStringLower(Key)}\",\"NULL\",\"\"");
}
