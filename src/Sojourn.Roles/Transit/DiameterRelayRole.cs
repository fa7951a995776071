using Sojourn.Engine;
using Sojourn.Engine.Diameter;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.Transit;

/// <summary>Role diameter-relay.</summary>
public sealed class DiameterRelayRole(NodeOptions node, IRandomSource random) : Role
{
    public override IEngine Engine { get; } = new DiameterRelay(EngineOptions.Diameter(node, agent: true), random);
}
