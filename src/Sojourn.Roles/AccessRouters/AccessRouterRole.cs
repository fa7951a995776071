using Sojourn.Engine;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.Roles.AccessRouters;

/// <summary>
/// Role access-router (spec authentication P3): router advertisements on access links, with the MAP option where there is an anchor
/// point. Packets are forwarded by the kernel.
/// </summary>
public sealed class AccessRouterRole : Role
{
    private readonly List<AdvertisedLink> _links;
    private readonly AdvertisingRouter _router;
    private Action<EngineInput> _deliver = _ => { };
    private LinkPort? _monitor;

    public AccessRouterRole(NodeOptions node, IRandomSource random)
    {
        _links = node.AccessRouter!.Links.ConvertAll(LinkOf);
        _router = new AdvertisingRouter(_links, random);
    }

    public override IEngine Engine => _router;

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services)
    {
        _deliver = deliver;
        return [new RouterAdvertisementPort(_links.Select(link => link.Interface), deliver, services.Count)];
    }

    public override void Start() => _monitor = new LinkPort([.. _links.Select(link => link.Interface)], _deliver);

    public override void Dispose()
    {
        _monitor?.Dispose();
        base.Dispose();
    }

    internal static AdvertisedLink LinkOf(AdvertisedLinkSection link) => new()
    {
        Interface = link.Interface,
        Prefixes = link.Prefixes,
        Managed = link.Managed,
        Interval = link.Interval,
        RouterLifetime = link.RouterLifetime,
        ValidLifetime = link.ValidLifetime,
        PreferredLifetime = link.PreferredLifetime,
        Anchors = [.. link.Anchors.Select(a => new MobilityAnchorPointOption((byte)a.Distance, (byte)a.Preference, a.Flags, (uint)a.Lifetime.TotalSeconds, a.Address))],
    };
}
