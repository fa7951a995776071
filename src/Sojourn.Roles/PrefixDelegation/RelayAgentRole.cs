using Sojourn.DataPath.Interception;
using Sojourn.Engine;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Roles.PrefixDelegation;

/// <summary>Role relay-agent: brings terminals of a visited link to the delegating router of their home network (spec TA-M22).</summary>
public sealed class RelayAgentRole : Role
{
    private readonly RelayAgentSection _section;
    private readonly RelayAgent _agent;

    public RelayAgentRole(NodeOptions node)
    {
        _section = node.RelayAgent!;
        _agent = new RelayAgent(new RelayAgentOptions
        {
            Links = [.. _section.Links.Select(link => new RelayedLink(link.Interface, link.Address))],
            Servers = _section.Servers,
            Relays = _section.Relays,
            RemoteId = _section.RemoteId is { } text ? (node.EnterpriseNumber, text) : null,
        });
    }

    public override IEngine Engine => _agent;

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services) =>
    [
        new DatagramPort(Dhcpv6Ports.Server([.. _section.Links.Select(link => link.Interface)]), deliver, services.Count),
    ];
}
