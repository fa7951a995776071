using Sojourn.DataPath.Interception;
using Sojourn.Engine;
using Sojourn.Engine.MobileRouter;
using Sojourn.Roles.AccessRouters;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.Terminals;

namespace Sojourn.Roles.MobileRouters;

/// <summary>
/// Role mobile-router (spec terminal TM-P23): a terminal whose home agent knows networks that move with it, and a router on the links of
/// these networks. Packets between the links and the tunnel are forwarded by the kernel.
/// </summary>
public sealed class MobileRouterRole : TerminalRole
{
    private readonly MobileRouterSection _section;
    private readonly MobileRouterNode _router;
    private MobileNetworkLinks? _links;

    /// <inheritdoc/>
    public MobileRouterRole(NodeOptions node, IRandomSource random)
        : base(node, random)
    {
        _section = node.MobileRouter!;
        _router = new MobileRouterNode(Terminal, _section.Registered, _section.Links.ConvertAll(AccessRouterRole.LinkOf), random);
    }

    public override IEngine Engine => _router;

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services)
    {
        _links = new MobileNetworkLinks(_section.Links.Select(link => link.Interface), _section.Registered);
        foreach (var port in base.OpenPorts(deliver, services))
        {
            yield return port;
        }

        yield return new RouterAdvertisementPort(_section.Links.Select(link => link.Interface), deliver, services.Count);
    }

    public override void Dispose()
    {
        _links?.Dispose();
        base.Dispose();
    }
}
