using System.Globalization;
using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine;

/// <summary>
/// An association with a peer whose keys a key exchange makes and renews, in place of typed-in ones. Profiles and standing tunnels
/// use it like a preset one; while it has no keys, what they select is held or dropped, never sent in clear.
/// </summary>
/// <param name="Local">This gateway's tunnel address.</param>
public sealed record KeyedAssociation(string Name, IPAddress Local, IPAddress Peer);

/// <summary>One pair of keys of a <see cref="KeyedAssociation"/>, from its making to its end.</summary>
/// <param name="Number">Never used again by the same association.</param>
/// <param name="Sends">Packets leave under it. One at most does; under the others they are only accepted.</param>
/// <param name="Local">Outer ends as they are now; the peer may have moved from the address it was configured with.</param>
public sealed record AssociationGeneration(
    long Number, bool Sends, IPAddress Local, IPAddress Remote, UdpEncapsulation? Udp, SaParameters Outbound, SaParameters Inbound,
    IReadOnlyList<TrafficSelector> LocalSelectors, IReadOnlyList<TrafficSelector> RemoteSelectors)
{
    /// <summary>Whether both ends have agreed to carry all that a path selects.</summary>
    public bool Covers(VpnPath path) => Holds(LocalSelectors, path.Source) && Holds(RemoteSelectors, path.Destination);

    private static bool Holds(IReadOnlyList<TrafficSelector> selectors, IPNetwork prefix)
    {
        var wanted = TrafficSelector.Of(prefix);
        return selectors.Any(selector => SelectorNarrowing.Covers(selector, wanted));
    }
}

/// <summary>Paths under associations that a key exchange keys.</summary>
public sealed partial class VpnControl
{
    private const string GenerationMark = "/key-";

    private readonly Dictionary<string, IReadOnlyList<AssociationGeneration>> _generations = [];

    /// <summary>Takes the keys that an association has now and makes the paths that use it follow, all in one change.</summary>
    public void SetKeys(string association, IReadOnlyList<AssociationGeneration> generations, EffectSink effects)
    {
        _generations[association] = generations;
        if (_options.Keyed.FirstOrDefault(k => k.Name == association) is not { } keyed)
        {
            return;
        }

        var desired = StandingPaths(_options);
        List<string> owners = [PresetOwner, StandingOwner, ProtectedOwner];
        foreach (var session in _sessions.Values.Where(s => s.Profiles.Any(p => p.Keying is ProfileKeying.Preset && KeyedFor(p) == keyed)))
        {
            owners.Add(session.Session);
            desired.AddRange(Plan(session).Paths);
        }

        Replace([.. owners], desired, effects, keepInbound: null, default, keepLingering: true);
    }

    /// <summary>The association that a path without keys waits for; null when it waits for none.</summary>
    public string? KeysAwaitedBy(PathId id) => _paths.TryGetValue(id, out var path) && path is { State: PathState.Blocked, SecurityType: SecurityType.Esp }
        ? _options.Keyed.FirstOrDefault(k => k.Local.Equals(path.LocalGateway) && k.Peer.Equals(path.RemoteGateway))?.Name
        : null;

    /// <summary>Which pair of keys a path of <see cref="UnderOthers"/> accepts; null for other paths.</summary>
    public static long? GenerationOf(PathId id) =>
        id.Leg.LastIndexOf(GenerationMark, StringComparison.Ordinal) is >= 0 and var at && long.TryParse(id.Leg.AsSpan(at + GenerationMark.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : null;

    private KeyedAssociation? KeyedFor(VpnProfile profile) => profile.SecurityType != SecurityType.Esp ? null : _options.Keyed.FirstOrDefault(
        k => k.Peer.Equals(profile.DestinationGateway) && k.Local.Equals(profile.SourceGateway));

    /// <summary>The path with the keys it sends under, or blocked while there are none for what it selects.</summary>
    private VpnPath UnderCurrent(VpnPath path, KeyedAssociation association) =>
        GenerationsOf(association).FirstOrDefault(g => g.Sends && g.Covers(path)) is { } current
            ? path with { LocalGateway = current.Local, RemoteGateway = current.Remote, Udp = current.Udp, Outbound = current.Outbound, Inbound = current.Inbound }
            : path with { Outbound = null, Inbound = null, State = PathState.Blocked };

    /// <summary>Halves that accept what the peer still sends, or already sends, under other keys than <paramref name="main"/>'s (RFC 7296 2.8).</summary>
    private IEnumerable<VpnPath> UnderOthers(VpnPath main, KeyedAssociation association) =>
        GenerationsOf(association).Where(g => g.Inbound != main.Inbound && g.Covers(main)).Select(g => main with
        {
            Id = main.Id with { Leg = string.Create(CultureInfo.InvariantCulture, $"{main.Id.Leg}{GenerationMark}{g.Number}") },
            State = PathState.ReceiveOnly,
            MarkDscp = null,
            LocalGateway = g.Local,
            RemoteGateway = g.Remote,
            Udp = g.Udp,
            Outbound = null,
            Inbound = g.Inbound,
        });

    private IReadOnlyList<AssociationGeneration> GenerationsOf(KeyedAssociation association) => _generations.GetValueOrDefault(association.Name, []);
}
