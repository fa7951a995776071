using System.Net;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// The inner links of a mobile router: the kernel forwards between them and into the virtual device, and takes from them only what
/// comes from the networks that are on them (ingress filtering, RFC 3963 9). The router's own address is no exception: whoever is
/// on an inner link cannot use it. Lives in the namespace of the thread that made it.
/// </summary>
public sealed class MobileNetworkLinks : IDisposable
{
    /// <summary>Before the rules of the virtual device, which lead whatever comes into it.</summary>
    private const uint MachinePriority = 1240, TunnelPriority = 1241, LastPriority = 1249;

    private readonly Rtnetlink _route = new();
    private readonly NetworkNamespace _network = NetworkNamespace.Current();
    private readonly List<PolicyRule> _rules = [];
    private readonly string? _forwarding;

    /// <exception cref="IOException">The system refuses.</exception>
    public MobileNetworkLinks(IEnumerable<string> links, IReadOnlyList<IPNetwork> networks)
    {
        try
        {
            foreach (var name in links)
            {
                foreach (var network in networks)
                {
                    Add(new PolicyRule { Priority = MachinePriority, Source = network, InboundInterface = name, Table = Route.MainTable, SuppressedLength = 0 });
                    Add(new PolicyRule { Priority = TunnelPriority, Source = network, InboundInterface = name, Table = HostDevice.HostTable });
                }

                Add(new PolicyRule { Priority = LastPriority, InboundInterface = name, Action = RuleAction.Blackhole, IPv6 = true });
            }

            _forwarding = Sysctl.Change("1", "ipv6", "conf", "all", "forwarding");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        try
        {
            _rules.ForEach(_route.RemoveRule);
            if (_forwarding is { } before)
            {
                _network.Run(() => Sysctl.Change(before, "ipv6", "conf", "all", "forwarding"));
            }
        }
        catch (IOException)
        {
            // The namespace is going.
        }

        _rules.Clear();
        _route.Dispose();
        _network.Dispose();
    }

    private void Add(PolicyRule rule)
    {
        _route.AddRule(rule);
        _rules.Add(rule);
    }
}
