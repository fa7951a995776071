using System.Globalization;
using System.Net;

namespace Sojourn.Engine;

/// <summary>The table of desired paths: changes as differences, halves that outlive a change, and who holds which inbound SPI.</summary>
public sealed partial class VpnControl
{
    private VpnRefusal? ClashOf(string owner, List<VpnPath> desired)
    {
        foreach (var path in desired)
        {
            if (path.Inbound is { } inbound
                && _inbound.TryGetValue(InboundKey.Of(path.SecurityType, inbound), out var use)
                && !use.Keys.Equals(inbound.Keys) && use.Owners.Keys.Any(o => o != owner))
            {
                return new VpnRefusal(VpnRefusalKind.SpiClash, path.Origin.ProfileNumber ?? 0,
                    string.Create(CultureInfo.InvariantCulture, $"SPI 0x{inbound.Spi:x8} from {inbound.Source} is in use by {use.Owners.Keys.First(o => o != owner)}"), "M13, NV-A21");
            }
        }

        return null;
    }

    /// <summary>Makes the paths of <paramref name="owners"/> exactly <paramref name="desired"/>, emitting only the difference.</summary>
    /// <param name="keepRemoved">Inbound halves live on also of paths that nothing takes the place of; hand-off tunnels have none.</param>
    /// <param name="keepLingering">Halves that already linger stay, though no new ones are made.</param>
    private void Replace(ReadOnlySpan<string> owners, List<VpnPath> desired, EffectSink effects, TimeSpan? keepInbound, DateTimeOffset now, bool keepRemoved = false, bool keepLingering = false)
    {
        var install = new List<VpnPath>();
        var remove = new HashSet<PathId>();
        foreach (var owner in owners)
        {
            if (_pathsOf.TryGetValue(owner, out var ids))
            {
                remove.UnionWith(ids);
            }
        }

        foreach (var path in desired)
        {
            remove.Remove(path.Id);
            var stands = _paths.GetValueOrDefault(path.Id);
            if (path == stands)
            {
                continue;
            }

            if (stands is not null && keepInbound is { } keep && Receives(stands) && !SameInbound(stands, path))
            {
                install.Add(Linger(stands, now + keep));
            }

            install.Add(path);
        }

        if (keepInbound is not null || keepLingering)
        {
            // Halves that already linger run out by their own time.
            remove.RemoveWhere(id => IsLingering(id));
        }

        if (keepInbound is { } time && keepRemoved)
        {
            install.AddRange(remove.Where(id => !id.Leg.EndsWith(HandOffLeg, StringComparison.Ordinal) && Receives(_paths[id])).Select(id => Linger(_paths[id], now + time) with { Meter = null }));
        }

        foreach (var id in remove)
        {
            Forget(id);
        }

        foreach (var path in install)
        {
            Forget(path.Id);
            Remember(path);
        }

        if (install.Count > 0 || remove.Count > 0)
        {
            effects.Emit(new ChangePaths(install, [.. remove]));
        }
    }

    private VpnPath Linger(VpnPath replaced, DateTimeOffset until)
    {
        var half = replaced with
        {
            Id = replaced.Id with { Leg = string.Create(CultureInfo.InvariantCulture, $"{replaced.Id.Leg}/old-{++_lingeringSerial}") },
            State = PathState.InboundOnly,
            Outbound = null,
            MarkDscp = null,
        };
        _lingering.Enqueue(half.Id, until);
        return half;
    }

    /// <summary>Whether a path is what is left of one that was replaced: an inbound half of an earlier place or key.</summary>
    internal static bool IsLingering(PathId id) => id.Leg.Contains("/old-", StringComparison.Ordinal);

    private static bool Receives(VpnPath path) => path.State != PathState.Blocked && (path.Inbound is not null || path.SecurityType == SecurityType.EncapsulationOnly);

    private static bool SameInbound(VpnPath left, VpnPath right) =>
        left.SecurityType == right.SecurityType && left.Inbound == right.Inbound
        && left.RemoteGateway.Equals(right.RemoteGateway) && left.LocalGateway.Equals(right.LocalGateway);

    private void Remember(VpnPath path)
    {
        _paths[path.Id] = path;
        if (!_pathsOf.TryGetValue(path.Id.Owner, out var ids))
        {
            _pathsOf[path.Id.Owner] = ids = [];
        }

        ids.Add(path.Id);
        if (path.Inbound is { } inbound)
        {
            var key = InboundKey.Of(path.SecurityType, inbound);
            if (!_inbound.TryGetValue(key, out var use))
            {
                _inbound[key] = use = new SaUse(inbound.Keys);
            }

            use.Keys = inbound.Keys;
            use.Owners[path.Id.Owner] = use.Owners.GetValueOrDefault(path.Id.Owner) + 1;
        }
    }

    private bool Forget(PathId id)
    {
        if (!_paths.Remove(id, out var path))
        {
            return false;
        }

        var ids = _pathsOf[id.Owner];
        ids.Remove(id);
        if (ids.Count == 0)
        {
            _pathsOf.Remove(id.Owner);
        }

        if (path.Inbound is { } inbound)
        {
            var key = InboundKey.Of(path.SecurityType, inbound);
            var use = _inbound[key];
            if (--use.Owners[id.Owner] == 0)
            {
                use.Owners.Remove(id.Owner);
            }

            if (use.Owners.Count == 0)
            {
                _inbound.Remove(key);
            }
        }

        return true;
    }

    private readonly record struct InboundKey(SecurityType Protocol, uint Spi, IPAddress Source, IPAddress Destination)
    {
        public static InboundKey Of(SecurityType protocol, SaParameters association) => new(protocol, association.Spi, association.Source, association.Destination);
    }

    private sealed class SaUse(AssociationKeys keys)
    {
        public AssociationKeys Keys { get; set; } = keys;

        public Dictionary<string, int> Owners { get; } = [];
    }
}
