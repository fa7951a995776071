using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.Roles.AccessRouters;

/// <summary>
/// Role access-router (spec authentication P3): router advertisements on access links, with the MAP option where there is an anchor
/// point, be it configured, commanded or heard of (spec terminal TM0.9). Packets are forwarded by the kernel.
/// </summary>
public sealed class AccessRouterRole : Role
{
    private readonly AccessRouterSection _section;
    private readonly KeyExportOptions? _keys;
    private readonly List<AdvertisedLink> _links;
    private readonly ChildSa? _station;
    private readonly AdvertisingRouter _router;
    private Action<EngineInput> _deliver = _ => { };
    private LinkPort? _monitor;

    /// <exception cref="InvalidDataException">A key cannot be read.</exception>
    public AccessRouterRole(NodeOptions node, IRandomSource random)
    {
        (_section, _keys) = (node.AccessRouter!, node.KeyExport);
        _links = _section.Links.ConvertAll(LinkOf);
        _station = _section.Renumbering is { } renumbering ? EngineOptions.Transport(node.Associations.First(a => a.Name == renumbering.Association), renumbering.Address, 1) : null;
        _router = new AdvertisingRouter(_links, random, _section.LearnAnchorsFrom, _station is null ? null : new RouterCommands(_station, random));
    }

    public override IEngine Engine => _router;

    public override IReadOnlyList<ChildSaRow> ChildSas() => [.. _router.AssociationUses.Select(ChildSaRow.Of)];

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services)
    {
        _deliver = deliver;
        yield return new RouterAdvertisementPort(_links.Select(link => link.Interface), deliver, services.Count);
        if (_section.LearnAnchorsFrom.Count > 0)
        {
            yield return new RoutersAbovePort(_section.LearnAnchorsFrom, deliver);
        }

        if (_station is not null)
        {
            if (_keys is { } keys)
            {
                new EspKeyExport(keys.Esp.FullPath).WriteTransport(_station);
            }

            yield return new RouterCommandPort(_section.Renumbering!.Address, deliver, services.Count);
        }
    }

    public override void Start() => _monitor = new LinkPort([.. _links.Select(link => link.Interface)], _deliver);

    public override void Dispose()
    {
        _monitor?.Dispose();
        _router.Dispose();
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
