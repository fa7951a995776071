using System.Runtime.InteropServices;

namespace Sojourn.Engine.Ipsec;

/// <summary>The control side: judging and installing changes.</summary>
public sealed partial class PathTable
{
    /// <summary>Associations remembered after their last path went, so that one that comes back goes on counting.</summary>
    private const int MaximumRetired = 16384;

    private readonly Dictionary<PathId, InstalledPath> _paths = [];
    private readonly Dictionary<string, List<SecurityAssociation>> _byFingerprint = [];
    private readonly Dictionary<(bool Outbound, string Fingerprint), ulong> _retired = [];
    private readonly Queue<(bool Outbound, string Fingerprint)> _retiredOrder = new();
    private readonly Dictionary<SaParameters, string> _fingerprints = new(ReferenceEqualityComparer.Instance);
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

        var leaving = ids.Select(id => _paths.GetValueOrDefault(id)).OfType<InstalledPath>().ToHashSet();
        var plan = new ChangePlan();
        foreach (var path in install)
        {
            if ((Plan(path, path.Outbound, true, leaving, plan) ?? Plan(path, path.Inbound, false, leaving, plan)) is { } refusal)
            {
                return new PathChangeResult(refusal);
            }
        }

        Reserve(plan.All);
        Apply(install, leaving, plan);
        foreach (var path in install)
        {
            Forget(path.Outbound);
            Forget(path.Inbound);
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
        // What an earlier call named and no change came for.
        _fingerprints.Clear();
        var halves = new List<OneWay>();
        foreach (var path in paths)
        {
            Add(path, path.Outbound, true);
            Add(path, path.Inbound, false);
        }

        _sequences?.Reserve(halves);

        void Add(VpnPath path, SaParameters? parameters, bool outbound)
        {
            if (parameters is not null && FingerprintOf(parameters) is var fingerprint && !_byFingerprint.ContainsKey(fingerprint))
            {
                halves.Add(new OneWay(path.SecurityType, parameters, outbound, fingerprint));
            }
        }
    }

    /// <summary>Worked out once for a change, which asks for it again and again.</summary>
    private string FingerprintOf(SaParameters parameters)
    {
        if (!_fingerprints.TryGetValue(parameters, out var fingerprint))
        {
            _fingerprints[parameters] = fingerprint = SecurityAssociation.FingerprintOf(parameters);
        }

        return fingerprint;
    }

    private void Forget(SaParameters? parameters)
    {
        if (parameters is not null)
        {
            _fingerprints.Remove(parameters);
        }
    }

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
        VpnPath path, SaParameters? parameters, bool outbound, HashSet<InstalledPath> leaving, ChangePlan plan)
    {
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

        planned.AddOwner(path.Id.Owner);
        if ((planned.Existing?.Parameters.ExtendedSequence ?? planned.Parameters.ExtendedSequence) != parameters.ExtendedSequence)
        {
            return new PathRefusal(path.Id, PathRefusalReason.AssociationMismatch, $"SPI {parameters.Spi:x8} is in use with another sequence number size", "RFC 4303 2.2.1");
        }

        return CheckKeyUse(path, planned, leaving, plan) ?? CheckClash(path, planned, leaving, plan);
    }

    private SecurityAssociation? FindExisting(AssociationKey key, bool outbound, string fingerprint, HashSet<InstalledPath> leaving)
    {
        if (!_byFingerprint.TryGetValue(fingerprint, out var same))
        {
            return null;
        }

        return same.Find(a => a.Outbound == outbound && a.Key == key)
            ?? same.Find(a => a.Outbound == outbound && a.Key.Protocol == key.Protocol && a.Key.Spi == key.Spi && a.Holders.All(leaving.Contains));
    }

    /// <summary>A counter-mode key serves one association: two counters under one key repeat nonces.</summary>
    private PathRefusal? CheckKeyUse(VpnPath path, Planned planned, HashSet<InstalledPath> leaving, ChangePlan plan)
    {
        if (planned.Parameters.Algorithm.AllowsStaticKey())
        {
            return null;
        }

        var live = _byFingerprint.GetValueOrDefault(planned.Fingerprint)?.Exists(a => a != planned.Existing) ?? false;
        return live || plan.WithKeysOf(planned).Count > 1
            ? new PathRefusal(path.Id, PathRefusalReason.KeyInUse, $"the key of SPI {planned.Key.Spi:x8} already serves another association", "RFC 4106 3")
            : null;
    }

    private PathRefusal? CheckClash(VpnPath path, Planned planned, HashSet<InstalledPath> leaving, ChangePlan plan)
    {
        _ = Current.Of(planned.Outbound).TryGet(planned.Key, out var others);
        var clash = (others ?? []).Any(other => other.Fingerprint != planned.Fingerprint
                && other.Holders.Any(holder => !leaving.Contains(holder) && holder.Path.Id.Owner != path.Id.Owner))
            || plan.At(planned).Exists(other => other.Fingerprint != planned.Fingerprint && other.HasOwnerBeside(path.Id.Owner));
        return clash
            ? new PathRefusal(path.Id, PathRefusalReason.SpiClash, $"SPI {planned.Key.Spi:x8} between these gateways belongs to another owner with other keys", "RFC 4301 4.1")
            : null;
    }

    private void Apply(IReadOnlyList<VpnPath> install, HashSet<InstalledPath> leaving, ChangePlan plan)
    {
        // Nobody sees the tables that this change makes before it is done. A single path comes to no table twice.
        var (snapshot, owner) = (Current, install.Count + leaving.Count > 1 ? new object() : null);
        foreach (var planned in plan.All)
        {
            planned.Association = planned.Existing is { } existing ? Keep(existing, planned, ref snapshot, owner) : Create(planned, ref snapshot, owner);
        }

        // What holds an association, put in place at once for each: a packet must find the path before or the one after. One by one, so
        // that an association that all users share changes by its few differences, not as a whole.
        var holders = plan.All.Select(planned => planned.Association!).Distinct().ToDictionary(association => association, association => association.Holders);
        foreach (var path in leaving)
        {
            foreach (var association in path.Associations)
            {
                holders[association] = (holders.GetValueOrDefault(association) ?? association.Holders).Without(path);
            }
        }

        var installed = new List<InstalledPath>(install.Count);
        foreach (var path in install)
        {
            var before = _paths.GetValueOrDefault(path.Id);
            var fresh = new InstalledPath(
                path, before?.Counters ?? new PathCounters(), Planned(path, path.Outbound, true), Planned(path, path.Inbound, false),
                TunnelOf(path, ref snapshot, owner), _options.RoundAhTo8, ++_order)
            { Meter = MeterOf(path) };
            fresh.Tunnel.Holders++;
            snapshot = snapshot.With(fresh, owner);
            _paths[path.Id] = fresh;
            installed.Add(fresh);
            ActivePaths += path.State == PathState.Active ? 1 : 0;
        }

        foreach (var path in installed)
        {
            foreach (var association in path.Associations)
            {
                holders[association] = holders[association].With(path);
            }
        }

        foreach (var (association, held) in holders)
        {
            association.Holders = held;
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

        var unheld = holders.Keys.Where(association => association.Holders.Count == 0).ToList();
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

        SecurityAssociation? Planned(VpnPath path, SaParameters? parameters, bool outbound) => parameters is null
            ? null
            : plan.Find(outbound, KeyOf(path.SecurityType, parameters), FingerprintOf(parameters))!.Association;
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
        Publish(association, [association, .. others ?? []], ref snapshot, owner);
        ref var same = ref CollectionsMarshal.GetValueRefOrAddDefault(_byFingerprint, association.Fingerprint, out _);
        (same ??= new List<SecurityAssociation>(1)).Add(association);
        _listed++;
    }

    private void Unlist(SecurityAssociation association, ref Snapshot snapshot, object? owner)
    {
        _ = snapshot.Of(association.Outbound).TryGet(association.Key, out var atKey);
        Publish(association, Array.FindAll(atKey!, other => other != association), ref snapshot, owner);
        _listed--;
        var same = _byFingerprint[association.Fingerprint];
        same.Remove(association);
        if (same.Count == 0)
        {
            _byFingerprint.Remove(association.Fingerprint);
        }
    }

    private static void Publish(SecurityAssociation association, SecurityAssociation[] atKey, ref Snapshot snapshot, object? owner)
    {
        var map = snapshot.Of(association.Outbound);
        map = atKey.Length == 0 ? map.Without(association.Key, owner) : map.With(association.Key, atKey, owner);
        snapshot = association.Outbound ? snapshot with { Outbound = map } : snapshot with { Inbound = map };
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
            tunnel = new TunnelMtu(_options.OuterMtu, isIPv6);
            snapshot = snapshot with { Tunnels = snapshot.Tunnels.With(key, tunnel, owner) };
        }

        return tunnel;
    }

    /// <summary>The associations that a change needs, found as fast in a change of many thousand paths.</summary>
    private sealed class ChangePlan
    {
        private readonly List<Planned> _all = [];
        private readonly Dictionary<(bool Outbound, AssociationKey Key), List<Planned>> _byKey = [];
        private readonly Dictionary<string, List<Planned>> _byFingerprint = [];

        public IReadOnlyList<Planned> All => _all;

        public Planned? Find(bool outbound, AssociationKey key, string fingerprint) =>
            _byKey.GetValueOrDefault((outbound, key))?.Find(planned => planned.Fingerprint == fingerprint);

        /// <summary>Those of the same direction, SPI and addresses, itself included.</summary>
        public List<Planned> At(Planned planned) => _byKey[(planned.Outbound, planned.Key)];

        /// <summary>Those of the same suite and keys, itself included.</summary>
        public List<Planned> WithKeysOf(Planned planned) => _byFingerprint[planned.Fingerprint];

        public void Add(Planned planned)
        {
            _all.Add(planned);
            Add(_byKey, (planned.Outbound, planned.Key), planned);
            Add(_byFingerprint, planned.Fingerprint, planned);
        }

        private static void Add<TKey>(Dictionary<TKey, List<Planned>> index, TKey key, Planned planned)
            where TKey : notnull
        {
            ref var list = ref CollectionsMarshal.GetValueRefOrAddDefault(index, key, out _);
            (list ??= new List<Planned>(1)).Add(planned);
        }
    }

    /// <summary>One association a change needs: an existing one or one to be made.</summary>
    private sealed class Planned(AssociationKey key, bool outbound, SaParameters parameters, string fingerprint)
    {
        public AssociationKey Key { get; } = key;

        public bool Outbound { get; } = outbound;

        public SaParameters Parameters { get; } = parameters;

        public string Fingerprint { get; } = fingerprint;

        public SecurityAssociation? Existing { get; init; }

        public SequenceReservation? Reservation { get; set; }

        public SecurityAssociation? Association { get; set; }

        /// <summary>Nearly always there is one.</summary>
        private string? _owner;
        private HashSet<string>? _others;

        public void AddOwner(string owner)
        {
            _owner ??= owner;
            if (owner != _owner)
            {
                (_others ??= []).Add(owner);
            }
        }

        public bool HasOwnerBeside(string owner) => _others is not null || (_owner is not null && _owner != owner);
    }
}
