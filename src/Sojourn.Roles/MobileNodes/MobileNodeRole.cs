using System.Net;
using Sojourn.DataPath.Interception;
using Sojourn.Engine;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.MobileNodes;

/// <summary>Role mobile-node: a Mobile IP client without any VPN function (goal G1).</summary>
public sealed class MobileNodeRole : Role
{
    private readonly MobileNode _node;
    private readonly MobileNodeSection _section;

    public MobileNodeRole(NodeOptions node, IRandomSource random)
    {
        _section = node.MobileNode!;
        _node = new MobileNode(
            new MobileNodeOptions
            {
                Interface = _section.Interface,
                Nai = _section.Nai,
                MnAaaSpi = _section.MnAaa.Spi.Value,
                MnAaaKey = SecretFile.Read(_section.MnAaa.KeyFile),
                HomeAddress = _section.HomeAddress,
                HomeAgent = _section.HomeAgent,
                Lifetime = (ushort)_section.Lifetime.TotalSeconds,
                FirstRetransmission = _section.FirstRetransmission,
                LegacyAuthenticators = node.Interop.LegacyAuthenticators,
                Enterprise = node.EnterpriseNumber,
            },
            random);
    }

    public override IEngine Engine => _node;

    public override PortNeeds Ports => new()
    {
        MobileIp = true,
        HomeAttachment = true,
        LinkReception = LinkReception.AnyAddress,
        Links = [_section.Interface],
        LinkChanges = true,
    };

    public override IReadOnlyList<SessionRow> Sessions()
    {
        var registration = _node.Registration;
        return
        [
            new SessionRow(
                _section.Nai, _section.Nai, registration?.HomeAddress ?? _section.HomeAddress, registration?.CareOfAddress, registration?.HomeAgent ?? _section.HomeAgent,
                registration is null || registration.Expires == DateTimeOffset.MaxValue ? null : registration.Expires, 0, Name(_node.State)),
        ];
    }

    /// <summary>Deregisters; the node stays silent until it is told to register again.</summary>
    public override IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) => [new DeregisterNode()];

    public override EngineCommand Register(bool serviceUpdate) => serviceUpdate ? new RequestServiceUpdate() : new RegisterNode();

    private static string Name(MobileNodeState state) => string.Concat(state.GetType().Name.Select((c, i) => char.IsUpper(c) ? (i == 0 ? "" : "-") + char.ToLowerInvariant(c) : c.ToString()));
}
