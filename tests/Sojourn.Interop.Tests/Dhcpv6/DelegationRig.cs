using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Host.Configuration;
using Sojourn.Interop.Tests.Diameter;
using Sojourn.Roles.Hosting;
using Sojourn.Storage;
using Sojourn.Wire.Dhcpv6;
using Xunit;
using RunningNode = Sojourn.Roles.Hosting.RunningNode;

namespace Sojourn.Interop.Tests.Dhcpv6;

/// <summary>
/// A visited link with a client of another maker and our relay agent, and a delegating router at home, each in a network namespace of its own;
/// needs root. The authority, where there is one, is on this machine's loopback.
/// </summary>
internal sealed class DelegationRig : IDisposable
{
    public const string Mn1 = "mn1.home.example";
    public static readonly Duid Client = Duid.OfLinkLayer(1, [2, 0, 0, 0, 0, 0xC1]);

    /// <summary>dhclient takes the end of the link-layer address as IAID; the others are told this one.</summary>
    public const uint Iaid = 0xC1;

    private static int s_next;

    private readonly List<NetworkNamespace> _hosts = [];
    private readonly Dictionary<string, RunningNode> _nodes = [];

    public DelegationRig(string? folder = null)
    {
        Folder = folder ?? Directory.CreateTempSubdirectory("sojourn-pd-").FullName;
        Relay = Host("ra");
        Terminal = Host("mn");
        Home = Host("dr");
        Join(Relay, "acc0", Terminal, "eth0");
        Join(Relay, "core0", Home, "core0");
        Address(Relay, "core0", "2001:db8:5::1");
        Address(Relay, "acc0", "2001:db8:a::1");
        Address(Home, "core0", "2001:db8:5::2");
        WaitForLinkLocal(Relay, "acc0");
        WaitForLinkLocal(Terminal, "eth0");
        Node(Relay, "ra", "role: relay-agent\nrelay-agent:\n  links:\n    - interface: acc0\n      address: 2001:db8:a::1\n  servers: [ 2001:db8:5::2 ]\n");
    }

    public string Folder { get; }

    public NetworkNamespace Relay { get; }

    public NetworkNamespace Terminal { get; }

    public NetworkNamespace Home { get; }

    public ConcurrentQueue<EngineEvent> Events { get; } = new();

    public ConcurrentDictionary<string, long> Counters { get; } = new();

    /// <summary>Starts the delegating router, or starts it again with what it kept.</summary>
    public RunningNode Router(params string[] options)
    {
        if (_nodes.Remove("dr", out var earlier))
        {
            earlier.Dispose();
        }

        using (var opened = Database.Open(Path.Combine(Folder, "prefixes.db")))
        {
            new PrefixIdentityStore(opened, TimeProvider.System).Put([new PrefixIdentity(new AssociationKey(Client, Iaid), Mn1, IdentityOrigin.Provisioned, [])]);
        }

        return Node(Home, "dr", "role: delegating-router\ndelegating-router:\n  database: prefixes.db\n  relays: [ 2001:db8:5::1 ]\n  routes: next-hop\n  pools:\n    - prefix: 2001:db8:8000::/48\n"
            + string.Concat(options.Select(option => $"  {option}\n")));
    }

    public static Task<IReadOnlyList<LeaseRow>> Leases(RunningNode node) => node.Engine.Query(node.Role.Leases);

    public IReadOnlyList<Route> Routes()
    {
        using var route = Rtnetlink.Open(Home);
        return route.Routes(Route.MainTable);
    }

    /// <param name="more"><c>-d</c>: stays and renews; <c>-r</c>: releases.</param>
    /// <param name="duid">Kind of DUID it makes for itself.</param>
    public Stranger Dhclient(string more = "-d", string duid = "LL")
    {
        var script = Write("script.sh", "#!/bin/sh\nexit 0\n");
        File.SetUnixFileMode(script, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return Start($"exec dhclient -6 -P {more} -v -D {duid} -sf {script} -lf {Folder}/leases-{duid} -pf {Folder}/dhclient.pid eth0");
    }

    /// <summary>In the terminal's network and a mount namespace of its own, with the machine's resolver out of reach.</summary>
    public Stranger Start(string command)
    {
        var resolver = Write("resolv.conf", "");
        return Terminal.Run(() => new Stranger("unshare", "-m", "sh", "-c", $"mount --bind {resolver} /etc/resolv.conf; {command}"));
    }

    public string Write(string name, string text)
    {
        var path = Path.Combine(Folder, name);
        File.WriteAllText(path, text);
        return path;
    }

    public static Task Until(Func<Task<bool>> condition, string what, double seconds = 40) => Until(condition, () => what, seconds);

    public static async Task Until(Func<Task<bool>> condition, Func<string> what, double seconds = 40)
    {
        var watch = Stopwatch.StartNew();
        while (!await condition())
        {
            Assert.True(watch.Elapsed < TimeSpan.FromSeconds(seconds), $"not within {seconds} s: {what()}");
            await Task.Delay(50);
        }
    }

    public void Dispose()
    {
        foreach (var node in _nodes.Values)
        {
            node.Dispose();
        }

        foreach (var host in _hosts)
        {
            host.Dispose();
            NetworkNamespace.Delete(host.Name);
        }

        if (Directory.Exists(Folder))
        {
            Directory.Delete(Folder, recursive: true);
        }
    }

    /// <summary>Starts a node in this process, in a network of its own.</summary>
    private RunningNode Node(NetworkNamespace host, string name, string text)
    {
        var read = ConfigurationReader.ReadFile(Write(name + ".yaml", $"node: {name}\nstate-directory: state-{name}\n{text}"));
        Assert.True(read.Node is not null, string.Join('\n', read.Findings));
        var services = new NodeServices { Report = Events.Enqueue, Count = (counter, amount) => Counters.AddOrUpdate(counter, amount, (_, present) => present + amount) };
        var node = host.Run(() =>
        {
            var made = new RunningNode(read.Node, services);
            made.Start();
            return made;
        });
        _nodes.Add(name, node);
        return node;
    }

    private NetworkNamespace Host(string name)
    {
        var host = NetworkNamespace.Create($"sjpd{Environment.ProcessId}-{Interlocked.Increment(ref s_next)}-{name}");
        _hosts.Add(host);

        // Without this a link-local address is tentative for a second or two and clients find no source.
        host.Run(() => Sysctl.Change("0", "ipv6", "conf", "default", "accept_dad"));
        host.Run(() => Sysctl.Change("0", "ipv6", "conf", "all", "accept_dad"));
        return host;
    }

    private static void Join(NetworkNamespace a, string aName, NetworkNamespace b, string bName)
    {
        using (var route = Rtnetlink.Open(a))
        {
            route.CreateVeth(aName, bName, null, b);
            route.SetUp(aName);
        }

        using var far = Rtnetlink.Open(b);
        if (bName == "eth0")
        {
            far.SetLinkAddress(bName, new LinkAddress(Client.Octets[^6..]));
        }

        far.SetUp(bName);
    }

    private static void Address(NetworkNamespace host, string name, string address)
    {
        using var route = Rtnetlink.Open(host);
        route.AddAddress(name, IPAddress.Parse(address), 64, detectDuplicates: false);
    }

    /// <summary>The kernel makes it once it has noticed that the link is up; clients do not wait for it.</summary>
    private static void WaitForLinkLocal(NetworkNamespace host, string name)
    {
        using var route = Rtnetlink.Open(host);
        var watch = Stopwatch.StartNew();
        while (!route.Addresses().Any(address => address.Interface == name && address.Address.IsIPv6LinkLocal))
        {
            Assert.True(watch.Elapsed < TimeSpan.FromSeconds(20), $"no link-local address on {name}");
            Thread.Sleep(10);
        }
    }
}
