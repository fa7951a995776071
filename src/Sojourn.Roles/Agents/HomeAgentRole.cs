using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.Accounting;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Engine.MobileIpv4.Agents;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.KeyExchange;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Roles.Agents;

/// <summary>Role home-agent.</summary>
public sealed class HomeAgentRole : Role
{
    private readonly HomeAgent _agent;
    private readonly IPAddress _address;
    private readonly bool _keyed;

    public HomeAgentRole(NodeOptions node, IRandomSource random)
    {
        var section = node.HomeAgent!;
        _address = section.Address;
        _agent = new HomeAgent(
            new HomeAgentOptions
            {
                Address = section.Address,
                HomeNetwork = section.HomeNetwork,
                HomeInterface = section.HomeInterface,
                Vpn = EngineOptions.Vpn(node, GatewayRole.HomeAgent),
                Pool = section.AddressPool is { } pool ? (pool.First, pool.Last) : null,
                RegistrationLifetime = section.MaximumLifetime,
                TimestampTolerance = section.TimestampTolerance,
                KeyWrap = EngineOptions.KeyWrap(node),
                BindingContracts = section.BindingContracts.ToDictionary(
                    contract => contract.Gateway,
                    contract => new BindingAssociation(AuthenticationKind.HomeCorrespondent, contract.Spi.Value, SecretFile.Read(contract.KeyFile))),
                UnansweredUpdate = section.UnansweredUpdate,
                TriggerFromMobileNode = section.TriggerFromMobileNode,
                ProfilesInReply = section.ProfilesInReply,
                Revocation = section.Revocation,
                HandoffTime = section.HandoffTunnelTime,
                MaximumBindings = section.MaximumBindings,
                LegacyAuthenticators = node.Interop.LegacyAuthenticators,
                PlainSessionKeys = node.Interop.PlainSessionKeys,
                Accounting = section.Accounting ? new AccountingOptions() : null,
                EnterpriseNumber = node.EnterpriseNumber,
            },
            EngineOptions.Diameter(node, agent: false),
            random);
        _keyed = node.KeyExchange.Count > 0;
        Engine = KeyedAssociations.Wrap(node, _agent, _agent.Vpn, random);
    }

    public override IEngine Engine { get; }

    public override VpnControl Vpn => _agent.Vpn;

    public override PortNeeds Ports => new() { MobileIp = true, PacketPath = true, KeyExchange = _keyed };

    public override IReadOnlyList<BindingRow> Bindings() =>
    [
        .. _agent.Bindings.OrderBy(b => b.Nai, StringComparer.Ordinal).Select(b => new BindingRow(
            b.Session, b.Nai, b.HomeAddress, b.CareOfAddress, b.Expires, null, null, null, false)),
    ];

    public override IReadOnlyList<SessionRow> Sessions() =>
    [
        .. _agent.Bindings.OrderBy(b => b.Nai, StringComparer.Ordinal).Select(b => new SessionRow(
            b.Session, b.Nai, b.HomeAddress, b.CareOfAddress, _address, b.Expires, b.Profiles.Count, "bound")),
    ];

    public override TableSizes Sizes => new(_agent.Bindings.Count, _agent.Bindings.Count, 0);

    public override IReadOnlyList<CacheRow> Cache()
    {
        var bindings = _agent.Bindings.ToDictionary(b => b.Session);
        return [.. base.Cache().Select(row => bindings.TryGetValue(row.Session, out var b) ? row with { CareOfAddress = b.CareOfAddress, HomeAgent = _address, Expires = b.Expires } : row)];
    }

    public override IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) => [new ClearSession(session, nai, homeAddress)];

    public override void Reconfigure(NodeOptions options, DateTimeOffset now, EffectSink effects)
    {
        _agent.Vpn.Configure(EngineOptions.Vpn(options, GatewayRole.HomeAgent), effects);
        _agent.TriggerFromMobileNode = options.HomeAgent!.TriggerFromMobileNode;
    }
}
