using System.Net;
using Sojourn.DataPath.Netlink;

namespace Sojourn.Benchmarks;

/// <summary>
/// The nodes of a network-provisioned VPN:
/// <code>
/// nodes ── acc0 fa up0 ── core (AAAF, AAAH) ── up0 ha        relay (freeDiameter, loopback only)
/// </code>
/// </summary>
internal sealed class BenchmarkNetwork : IDisposable
{
    public static readonly IPAddress ForeignAgent = IPAddress.Parse("10.0.1.2"), VisitedAaa = IPAddress.Parse("10.0.2.2"),
        HomeAgent = IPAddress.Parse("10.0.3.2"), HomeAaa = IPAddress.Parse("10.0.6.2"), Access = IPAddress.Parse("10.1.0.1"), Relay = IPAddress.Parse("10.0.9.1");

    public BenchmarkNetwork()
    {
        string[] names = ["core", "fa", "ha", "nodes", "relay"];
        Hosts = new BenchmarkHosts(names);
        try
        {
            foreach (var name in names)
            {
                Hosts.WithoutIpv6(name, "all", "default");
            }

            Hosts.Join("core", "to-fa", "fa", "up0", ["10.0.1.1/24"], [$"{ForeignAgent}/24"]);
            Hosts.Join("core", "to-ha", "ha", "up0", ["10.0.3.1/24"], [$"{HomeAgent}/24"]);
            Hosts.Join("fa", "acc0", "nodes", "eth0", [$"{Access}/24"], []);
            Hosts.Address("core", "lo", $"{VisitedAaa}/32");
            Hosts.Address("core", "lo", $"{HomeAaa}/32");

            // freeDiameter does not count 127.0.0.1 as an address of its own.
            Hosts.Address("relay", "lo", $"{Relay}/32");
            Hosts.Via("fa", "0.0.0.0/0", "10.0.1.1", "up0");
            Hosts.Via("ha", "0.0.0.0/0", "10.0.3.1", "up0");
        }
        catch
        {
            Hosts.Dispose();
            throw;
        }
    }

    public BenchmarkHosts Hosts { get; }

    public NetworkNamespace this[string name] => Hosts[name];

    public void Dispose() => Hosts.Dispose();
}
