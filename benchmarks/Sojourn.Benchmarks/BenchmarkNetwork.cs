using System.Net;
using Sojourn.DataPath.Netlink;

namespace Sojourn.Benchmarks;

/// <summary>
/// Namespaces joined by plain veth pairs, without the lab's recorded wires, which would be measured too:
/// <code>
/// nodes ── acc0 fa up0 ── core (AAAF, AAAH) ── up0 ha        relay (freeDiameter, loopback only)
/// </code>
/// </summary>
internal sealed class BenchmarkNetwork : IDisposable
{
    public static readonly IPAddress ForeignAgent = IPAddress.Parse("10.0.1.2"), VisitedAaa = IPAddress.Parse("10.0.2.2"),
        HomeAgent = IPAddress.Parse("10.0.3.2"), HomeAaa = IPAddress.Parse("10.0.6.2"), Access = IPAddress.Parse("10.1.0.1"), Relay = IPAddress.Parse("10.0.9.1");

    private readonly Dictionary<string, NetworkNamespace> _spaces = [];
    private readonly string _prefix;

    public BenchmarkNetwork(string prefix)
    {
        _prefix = prefix;
        try
        {
            Build();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public NetworkNamespace this[string name] => _spaces[name];

    public void Dispose()
    {
        foreach (var space in _spaces.Values)
        {
            space.Dispose();
        }

        foreach (var name in NetworkNamespace.Names.Where(n => n.StartsWith(_prefix, StringComparison.Ordinal)).ToList())
        {
            NetworkNamespace.Delete(name);
        }
    }

    private void Build()
    {
        foreach (var name in (string[])["core", "fa", "ha", "nodes", "relay"])
        {
            var space = NetworkNamespace.Create($"{_prefix}-{name}");
            _spaces.Add(name, space);
            space.Run(() =>
            {
                Sysctl.Change("1", "ipv6", "conf", "all", "disable_ipv6");
                Sysctl.Change("1", "ipv6", "conf", "default", "disable_ipv6");
                Sysctl.Change("1", "ipv4", "ip_forward");
                using var route = new Rtnetlink();
                route.SetUp("lo");
            });
        }

        Join("core", "to-fa", "10.0.1.1", "fa", "up0", ForeignAgent);
        Join("core", "to-ha", "10.0.3.1", "ha", "up0", HomeAgent);
        Join("fa", "acc0", Access.ToString(), "nodes", "eth0", null);
        _spaces["core"].Run(() =>
        {
            using var route = new Rtnetlink();
            route.AddAddress("lo", VisitedAaa, 32);
            route.AddAddress("lo", HomeAaa, 32);
        });

        // freeDiameter does not count 127.0.0.1 as an address of its own.
        _spaces["relay"].Run(() =>
        {
            using var route = new Rtnetlink();
            route.AddAddress("lo", Relay, 32);
        });
        Default("fa", "10.0.1.1");
        Default("ha", "10.0.3.1");
    }

    private void Join(string left, string leftName, string leftAddress, string right, string rightName, IPAddress? rightAddress)
    {
        using (var route = Rtnetlink.Open(_spaces[left]))
        {
            route.CreateVeth(leftName, rightName, null, _spaces[right]);
            route.AddAddress(leftName, IPAddress.Parse(leftAddress), 24);
            route.SetUp(leftName);
        }

        using (var route = Rtnetlink.Open(_spaces[right]))
        {
            if (rightAddress is not null)
            {
                route.AddAddress(rightName, rightAddress, 24);
            }

            route.SetUp(rightName);
        }
    }

    private void Default(string name, string gateway)
    {
        using var route = Rtnetlink.Open(_spaces[name]);
        route.AddRoute(new Route { Destination = new IPNetwork(IPAddress.Any, 0), Gateway = IPAddress.Parse(gateway), Interface = "up0" });
    }
}
