using System.Runtime.InteropServices;

namespace Sojourn.Engine.Ipsec;

/// <summary>The control side: judging and installing changes.</summary>
public sealed partial class PathTable
{
    /// <summary>Associations remembered after their last path went, so that one that comes back goes on counting.</summary>
    private const int MaximumRetired = 16384;

    private const int MostKept = 16384;

    private readonly Dictionary<PathId, InstalledPath> _paths = [];
    private readonly Dictionary<KeyFingerprint, Few<SecurityAssociation>> _byFingerprint = [];
    private readonly Dictionary<(bool Outbound, KeyFingerprint Fingerprint), ulong> _retired = [];
    private readonly Queue<(bool Outbound, KeyFingerprint Fingerprint)> _retiredOrder = new();

    /// <summary>What <see cref="Reserve(IEnumerable{VpnPath})"/> has worked out for the changes to come.</summary>
    private readonly Dictionary<SaParameters, KeyFingerprint> _fingerprints = new(ReferenceEqualityComparer.Instance);
    private ChangePlan _plan = new();
    private ulong _order;
    private int _listed;

    /// <summary>
    /// Installs or replaces paths, then removes others, as one step for every packet (spec S235); or refuses and changes
    /// nothing. An association that is already there (same protocol, SPI, addresses and keys) keeps counter and window
    /// and is shared (spec S234); one whose holders all leave in this change and that appears under other addresses
    /// moves with its counter. Removing an unknown id is not an error.
    /// </summary>
    /// <exception cref="IOException">The first numbers of new associations could not be stored; nothing was changed.</exception>
    public PathChangeResult Change(IReadOnlyList<VpnPath> install, IReadOnlyList<PathId> remove, DateTimeOffset now)
    {
        var ids = new HashSet<PathId>(remove);
        foreach (var path in install)
        {
            if (!ids.Add(path.Id))
            {
                return new PathChangeResult(new PathRefusal(path.Id, PathRefusalReason.DuplicateId, "the same path twice in one change", "S235"));
            }

            if (PathRules.Check(path) is { } refusal)
            {
                return new PathChangeResult(refusal);
            }
        }

        var leaving = new HashSet<InstalledPath>();
        foreach (var id in ids)
        {
            if (_paths.TryGetValue(id, out var path))
            {
                leaving.Add(path);
            }
        }

        var plan = _plan;
        try
        {
            return CarryOut(install, leaving, plan);
        }
        finally
        {
            // Kept for the next change, since its indices are large objects to the collector; not for ever, since clearing costs what the largest did.
            _plan = plan.All.Count > MostKept ? new ChangePlan() : plan;
            _plan.Clear();
        }
    }

    private PathChangeResult CarryOut(IReadOnlyList<VpnPath> install, HashSet<InstalledPath> leaving, ChangePlan plan)
    {
        var halves = new (Planned? Outbound, Planned? Inbound)[install.Count];
        for (var i = 0; i < halves.Length; i++)
        {
            var path = install[i];
            if ((Plan(path, path.Outbound, true, leaving, plan, out halves[i].Outbound) ?? Plan(path, path.Inbound, false, leaving, plan, out halves[i].Inbound)) is { } refusal)
            {
                return new PathChangeResult(refusal);
            }
        }

        Reserve(plan.All);
        Apply(install, halves, leaving, plan);
        if (_fingerprints.Count > 0)
        {
            foreach (var planned in plan.All)
            {
                _fingerprints.Remove(planned.Parameters);
            }
        }

        return PathChangeResult.Done;
    }

    /// <summary>
    /// Stores the first numbers of what <see cref="Change"/> is about to be asked for, all of it in one transaction instead of
    /// one for each change.
    /// </summary>
    /// <exception cref="IOException">Nothing was stored; each change will try by itself.</exception>
    public void Reserve(IEnumerable<VpnPath> paths)
    {
        if (_sequences is null)
        {
            return;
        }

        // What an earlier call named and no change came for.
        _fingerprints.Clear();
        var halves = new List<OneWay>();
        foreach (var path in paths)
        {
            Add(path, path.Outbound, true);
            Add(path, path.Inbound, false);
        }

        _sequences.Reserve(halves);

        void Add(VpnPath path, SaParameters? parameters, bool outbound)
        {
            if (parameters is not null && (_fingerprints[parameters] = FingerprintOf(parameters)) is var fingerprint && !_byFingerprint.ContainsKey(fingerprint))
            {
                halves.Add(new OneWay(path.SecurityType, parameters, outbound, fingerprint));
            }
        }
    }

    private KeyFingerprint FingerprintOf(SaParameters parameters) =>
        _fingerprints.Count > 0 && _fingerprints.TryGetValue(parameters, out var fingerprint) ? fingerprint : KeyFingerprint.Of(parameters);

    private void Reserve(IEnumerable<Planned> planned)
    {
        if (_sequences is null)
        {
            return;
        }

        var made = planned.Where(p => p.Existing is null).ToList();
        var reservations = _sequences.Reserve([.. made.Select(p => new OneWay(p.Key.Protocol, p.Parameters, p.Outbound, p.Fingerprint))]);
        for (var i = 0; i < made.Count; i++)
        {
            made[i].Reservation = reservations[i];
        }
    }

    private static AssociationKey KeyOf(SecurityType protocol, SaParameters parameters) => new(
        protocol, parameters.Spi, AddressNumber.IsIPv6(parameters.Source),
        AddressNumber.Of(parameters.Source), AddressNumber.Of(parameters.Destination));

    private PathRefusal? Plan(
        VpnPath path, SaParameters? parameters, bool outbound, HashSet<InstalledPath> leaving, ChangePlan plan, out Planned? half)
    {
        half = null;
        if (parameters is null)
        {
            return null;
        }

        var key = KeyOf(path.SecurityType, parameters);
        var fingerprint = FingerprintOf(parameters);
        if (plan.Find(outbound, key, fingerprint) is not { } planned)
        {
            planned = new Planned(key, outbound, parameters, fingerprint) { Existing = FindExisting(key, outbound, fingerprint, leaving) };
            plan.Add(planned);
        }

        half = planned;
        planned.AddOwner(path.Id.Owner);
        if ((planned.Existing?.Parameters.ExtendedSequence ?? planned.Parameters.ExtendedSequence) != parameters.ExtendedSequence)
        {
            return new PathRefusal(path.Id, PathRefusalReason.AssociationMismatch, $"SPI {parameters.Spi:x8} is in use with another sequence number size", "RFC 4303 2.2.1");
        }

        return CheckKeyUse(path, planned) ?? CheckClash(path, planned, leaving, plan);
    }

    private SecurityAssociation? FindExisting(AssociationKey key, bool outbound, KeyFingerprint fingerprint, HashSet<InstalledPath> leaving)
    {
        if (!_byFingerprint.TryGetValue(fingerprint, out var same))
        {
            return null;
        }

        SecurityAssociation? moving = null;
        foreach (var association in same)
        {
            if (association.Outbound == outbound && association.Key == key)
            {
                return association;
            }

            if (association.Outbound == outbound && association.Key.Protocol == key.Protocol && association.Key.Spi == key.Spi && association.Holders.All(leaving.Contains))
            {
                moving ??= association;
            }
        }

        return moving;
    }

    /// <summary>A counter-mode key serves one association: two counters under one key repeat nonces.</summary>
    private PathRefusal? CheckKeyUse(VpnPath path, Planned planned)
    {
        if (planned.Parameters.Algorithm.AllowsStaticKey())
        {
            return null;
        }

        var serves = _byFingerprint.GetValueOrDefault(planned.Fingerprint);
        var live = serves.Count > 1 || (serves.Count == 1 && serves.First != planned.Existing);
        return live || planned.OthersWithKeys
            ? new PathRefusal(path.Id, PathRefusalReason.KeyInUse, $"the key of SPI {planned.Key.Spi:x8} already serves another association", "RFC 4106 3")
            : null;
    }

    private PathRefusal? CheckClash(VpnPath path, Planned planned, HashSet<InstalledPath> leaving, ChangePlan plan)
    {
        _ = Current.Of(planned.Outbound).TryGet(planned.Key, out var others);
        var clash = false;
        foreach (var other in others)
        {
            clash |= other.Fingerprint != planned.Fingerprint && other.Holders.Any(holder => !leaving.Contains(holder) && holder.Path.Id.Owner != path.Id.Owner);
        }

        for (var other = plan.FirstWithHashOf(planned); other is not null; other = other.SameHash)
        {
            clash |= other.IsAt(planned.Outbound, planned.Key) && other.Fingerprint != planned.Fingerprint && other.HasOwnerBeside(path.Id.Owner);
        }

        return clash
            ? new PathRefusal(path.Id, PathRefusalReason.SpiClash, $"SPI {planned.Key.Spi:x8} between these gateways belongs to another owner with other keys", "RFC 4301 4.1")
            : null;
    }

    private void Apply(IReadOnlyList<VpnPath> install, (Planned? Outbound, Planned? Inbound)[] halves, HashSet<InstalledPath> leaving, ChangePlan plan)
    {
        // Nobody sees the tables that this change makes before it is done. A single path comes to no table twice.
        var (snapshot, owner) = (Current, install.Count + leaving.Count > 1 ? new object() : null);
        foreach (var planned in plan.All)
        {
            planned.Association = planned.Existing is { } existing ? Keep(existing, planned, ref snapshot, owner) : Create(planned, ref snapshot, owner);
        }

        // What holds an association, put in place at once for each: a packet must find the path before or the one after. One by one, so
        // that an association that all users share changes by its few differences, not as a whole.
        var touched = new List<SecurityAssociation>(plan.All.Count);
        foreach (var planned in plan.All)
        {
            Touch(planned.Association!);
        }

        foreach (var path in leaving)
        {
            Take(path.Outbound, path);
            Take(path.Inbound, path);
        }

        var installed = new List<InstalledPath>(install.Count);
        for (var i = 0; i < install.Count; i++)
        {
            var path = install[i];
            ref var place = ref CollectionsMarshal.GetValueRefOrAddDefault(_paths, path.Id, out _);
            var fresh = new InstalledPath(
                path, place?.Counters ?? new PathCounters(), halves[i].Outbound?.Association, halves[i].Inbound?.Association,
                TunnelOf(path, ref snapshot, owner), _options.RoundAhTo8, ++_order)
            { Meter = MeterOf(path) };
            fresh.Tunnel.Holders++;
            snapshot = snapshot.With(fresh, owner);
            place = fresh;
            installed.Add(fresh);
            ActivePaths += path.State == PathState.Active ? 1 : 0;
        }

        foreach (var path in installed)
        {
            Give(path.Outbound, path);
            Give(path.Inbound, path);
        }

        var unheld = new List<SecurityAssociation>();
        foreach (var association in touched)
        {
            association.Holders = association.NextHolders!;
            association.NextHolders = null;
            if (association.Holders.Count == 0)
            {
                unheld.Add(association);
            }
        }

        foreach (var path in leaving)
        {
            ActivePaths -= path.Path.State == PathState.Active ? 1 : 0;
            snapshot = snapshot.Without(path, owner);
            if (path.Meter is { } meter)
            {
                meter.Holders--;
            }

            if (--path.Tunnel.Holders == 0)
            {
                snapshot = snapshot with { Tunnels = snapshot.Tunnels.Without(path.TunnelKey, owner) };
            }

            if (_paths[path.Path.Id] == path)
            {
                _paths.Remove(path.Path.Id);
            }
        }

        unheld.ForEach(association => Unlist(association, ref snapshot, owner));
        Volatile.Write(ref _snapshot, snapshot);

        // Only now: packets that still hold the old snapshot find the path retired and look again.
        foreach (var path in leaving)
        {
            path.Retired = true;
        }

        unheld.ForEach(Remember);
        foreach (var path in installed.Where(path => path is { Inbound.SilentSinceRestart: true, Outbound: not null, Path.State: PathState.Active }))
        {
            _announcements.Enqueue(path);
        }

        void Touch(SecurityAssociation association)
        {
            if (association.NextHolders is null)
            {
                association.NextHolders = association.Holders;
                touched.Add(association);
            }
        }

        void Take(SecurityAssociation? association, InstalledPath path)
        {
            if (association is not null)
            {
                Touch(association);
                association.NextHolders = association.NextHolders!.Without(path);
            }
        }

        static void Give(SecurityAssociation? association, InstalledPath path)
        {
            if (association is not null)
            {
                association.NextHolders = association.NextHolders!.With(path);
            }
        }
    }

    private SecurityAssociation Create(Planned planned, ref Snapshot snapshot, object? owner)
    {
        var floor = Math.Max(planned.Parameters.SequenceFloor, _retired.GetValueOrDefault((planned.Outbound, planned.Fingerprint)));
        if (planned.Reservation is { } reservation)
        {
            // An association that comes back in the same life finds the reservation it left, and its counter in what is retired.
            reservation.Hold();
            floor = Math.Max(floor, reservation.Floor);
        }

        var association = new SecurityAssociation(planned.Key, planned.Parameters, planned.Outbound, planned.Fingerprint, floor, planned.Reservation, _options.Ciphers);
        List(association, ref snapshot, owner);
        Watch(association, snapshot);
        return association;
    }

    private SecurityAssociation Keep(SecurityAssociation association, Planned planned, ref Snapshot snapshot, object? owner)
    {
        if (association.Key != planned.Key)
        {
            Unlist(association, ref snapshot, owner);
            association.Key = planned.Key;
            List(association, ref snapshot, owner);
        }

        if (association.Renew(planned.Parameters))
        {
            Watch(association, snapshot);
        }

        return association;
    }

    private void List(SecurityAssociation association, ref Snapshot snapshot, object? owner)
    {
        // Newest first: after a change of generation most packets come under the new keys.
        _ = snapshot.Of(association.Outbound).TryGet(association.Key, out var others);
        Publish(association, others.WithFirst(association), ref snapshot, owner);
        ref var same = ref CollectionsMarshal.GetValueRefOrAddDefault(_byFingerprint, association.Fingerprint, out _);
        same = same.WithFirst(association);
        _listed++;
    }

    private void Unlist(SecurityAssociation association, ref Snapshot snapshot, object? owner)
    {
        _ = snapshot.Of(association.Outbound).TryGet(association.Key, out var atKey);
        Publish(association, atKey.Without(association), ref snapshot, owner);
        _listed--;
        var rest = _byFingerprint[association.Fingerprint].Without(association);
        if (rest.IsEmpty)
        {
            _byFingerprint.Remove(association.Fingerprint);
        }
        else
        {
            _byFingerprint[association.Fingerprint] = rest;
        }
    }

    private static void Publish(SecurityAssociation association, Few<SecurityAssociation> atKey, ref Snapshot snapshot, object? owner)
    {
        var map = snapshot.Of(association.Outbound);
        var before = map;
        map = atKey.IsEmpty ? map.Without(association.Key, owner) : map.With(association.Key, atKey, owner);
        snapshot = map == before ? snapshot : association.Outbound ? snapshot with { Outbound = map } : snapshot with { Inbound = map };
    }

    private void Remember(SecurityAssociation association)
    {
        var name = (association.Outbound, association.Fingerprint);
        var last = association.Close();
        if (!_retired.TryGetValue(name, out var before))
        {
            _retiredOrder.Enqueue(name);
        }

        _retired[name] = Math.Max(last, before);
        if (_retiredOrder.Count > MaximumRetired)
        {
            _retired.Remove(_retiredOrder.Dequeue());
        }
    }

    private TunnelMtu TunnelOf(VpnPath path, ref Snapshot snapshot, object? owner)
    {
        var isIPv6 = AddressNumber.IsIPv6(path.LocalGateway);
        var key = new TunnelKey(isIPv6, AddressNumber.Of(path.LocalGateway), AddressNumber.Of(path.RemoteGateway));
        if (!snapshot.Tunnels.TryGet(key, out var tunnel))
        {
            tunnel = new TunnelMtu(_options.OuterMtu, key);
            snapshot = snapshot with { Tunnels = snapshot.Tunnels.With(key, tunnel, owner) };
        }

        return tunnel;
    }
}
