using System.Net;
using Sojourn.DataPath.Interception;
using Sojourn.Engine;
using Sojourn.Engine.Accounting;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Roles.Agents;

/// <summary>Role foreign-agent.</summary>
public sealed class ForeignAgentRole : Role
{
    /// <summary>224.0.0.11, all mobility agents (RFC 5944 2.4).</summary>
    private static readonly byte[] AgentGroups = [11];

    private readonly ForeignAgent _agent;
    private readonly ForeignAgentSection _section;

    public ForeignAgentRole(NodeOptions node, IRandomSource random)
    {
        _section = node.ForeignAgent!;
        _agent = new ForeignAgent(
            new ForeignAgentOptions
            {
                CareOfAddress = _section.CareOfAddress,
                Access = [.. _section.Access.Select(link => new AccessLink(link.Interface, link.Address, link.PrefixLength) { AdvertisementInterval = link.AdvertisementInterval })],
                Vpn = EngineOptions.Vpn(node, GatewayRole.ForeignAgent),
                RegistrationLifetime = _section.RegistrationLifetime,
                KeyWrap = EngineOptions.KeyWrap(node),
                MaximumVisitors = _section.MaximumVisitors,
                OldAgentWait = _section.OldAgentWait,
                HandOffTime = _section.HandoffTunnelTime,
                Neighbours = _section.Neighbours.ToDictionary(n => n.Agent, n => new BindingAssociation(AuthenticationKind.ForeignForeign, n.Spi.Value, SecretFile.Read(n.KeyFile))),
                MaximumPending = _section.MaximumPending,
                LegacyAuthenticators = node.Interop.LegacyAuthenticators,
                PlainSessionKeys = node.Interop.PlainSessionKeys,
                Accounting = _section.Accounting ? new AccountingOptions() : null,
                EnterpriseNumber = node.EnterpriseNumber,
            },
            EngineOptions.Diameter(node, agent: false),
            random);
    }

    public override IEngine Engine => _agent;

    public override VpnControl Vpn => _agent.Vpn;

    public override PortNeeds Ports => new()
    {
        MobileIp = true,
        PacketPath = true,
        LinkReception = LinkReception.OwnAddresses,
        Links = [.. _section.Access.Select(link => link.Interface)],
        Groups = AgentGroups,
        LinkChanges = true,
    };

    public override IReadOnlyList<VisitorRow> Visitors() =>
    [
        .. _agent.Visitors.OrderBy(v => v.Nai, StringComparer.Ordinal).Select(v => new VisitorRow(
            v.Session, v.Nai, v.HomeAddress, v.HomeAgent, v.Interface, v.LinkAddress.ToString(), v.Expires, v.AuthorizedUntil)),
    ];

    public override IReadOnlyList<SessionRow> Sessions() =>
    [
        .. _agent.Visitors.OrderBy(v => v.Nai, StringComparer.Ordinal).Select(v => new SessionRow(
            v.Session, v.Nai, v.HomeAddress, _section.CareOfAddress, v.HomeAgent, v.Expires, _agent.Vpn.Find(v.Session)?.Profiles.Count ?? 0, "visiting")),
    ];

    public override TableSizes Sizes => new(_agent.Visitors.Count, 0, _agent.Visitors.Count);

    public override IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) => [new ClearSession(session, nai, homeAddress)];

    public override void Reconfigure(NodeOptions options, DateTimeOffset now, EffectSink effects) =>
        _agent.Vpn.Configure(EngineOptions.Vpn(options, GatewayRole.ForeignAgent), effects);
}
