using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.Correspondents;

/// <summary>Role correspondent: a host whose applications talk with mobile nodes by the short way without knowing of it (RFC 6275 9).</summary>
public sealed class CorrespondentRole : Role
{
    private readonly CorrespondentSection _section;
    private readonly KeyExportOptions? _keys;
    private readonly CorrespondentNode _node;
    private readonly int _mtu;
    private Action<EngineInput> _deliver = _ => { };
    private LinkPort? _links;

    /// <exception cref="IOException">The link is not there.</exception>
    /// <exception cref="InvalidDataException">A key cannot be read.</exception>
    public CorrespondentRole(NodeOptions node, IRandomSource random)
    {
        (_section, _keys) = (node.Correspondent!, node.KeyExport);
        using var route = new Rtnetlink();
        var link = route.Link(_section.Link);
        _mtu = link.Mtu;
        _node = new CorrespondentNode(
            new CorrespondentNodeOptions
            {
                Interface = link.Name,
                LinkAddress = link.Address ?? throw new IOException($"{link.Name} has no link-layer address"),
                LinkMtu = link.Mtu,
                Correspondent = new CorrespondentOptions { Address = _section.Address, MaximumBindings = _section.MaximumBindings },
                Associations = [.. node.Associations.Select((association, number) => EngineOptions.Transport(association, _section.Address, number + 1))],
            },
            random);
    }

    public override IEngine Engine => _node;

    public override IReadOnlyList<BindingRow> Bindings() =>
        [.. _node.Bindings.OrderBy(b => b.HomeAddress.ToString(), StringComparer.Ordinal).Select(b => new BindingRow(b.HomeAddress.ToString(), null, b.HomeAddress, b.CareOfAddress, b.Expires, null, null, null, false))];

    /// <summary>Forgets bindings, as a restart would; mobile nodes learn it from the binding error that answers their next packet.</summary>
    public override IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) =>
        [.. _node.Bindings.Where(b => nai is null && (session is null || session == b.HomeAddress.ToString()) && (homeAddress is null || homeAddress.Equals(b.HomeAddress))).Select(b => new ClearBinding(b.HomeAddress))];

    public override IEnumerable<IEffectPort> OpenPorts(Action<EngineInput> deliver, NodeServices services)
    {
        _deliver = deliver;
        yield return new CorrespondentPort(_section.Link, _section.Device, _mtu, deliver, services);
        if (_keys is { } keys)
        {
            var export = new EspKeyExport(keys.Esp.FullPath);
            foreach (var association in _node.Associations)
            {
                export.WriteTransport(association);
            }
        }
    }

    /// <summary>How the link is is told once the engine runs.</summary>
    public override void Start() => _links = new LinkPort([_section.Link], _deliver);

    public override void Dispose()
    {
        _links?.Dispose();
        _node.Dispose();
        base.Dispose();
    }
}
