using System.Runtime.InteropServices;

namespace Sojourn.Engine.Ipsec;

/// <summary>The associations that a change needs, found as fast in a change of many thousand paths.</summary>
internal sealed class ChangePlan
{
    private readonly List<Planned> _all = [];

    /// <summary>By hash, which makes an entry a third as long as the key would; those of one hash are chained.</summary>
    private readonly Dictionary<int, Planned> _byKey = [];
    private readonly Dictionary<KeyFingerprint, Planned> _byFingerprint = [];

    public IReadOnlyList<Planned> All => _all;

    public Planned? Find(bool outbound, AssociationKey key, KeyFingerprint fingerprint)
    {
        for (var planned = _byKey.GetValueOrDefault(HashOf(outbound, key)); planned is not null; planned = planned.SameHash)
        {
            if (planned.Fingerprint == fingerprint && planned.IsAt(outbound, key))
            {
                return planned;
            }
        }

        return null;
    }

    /// <summary>Leads to all of the same direction, SPI and addresses, and to others of the same hash.</summary>
    public Planned? FirstWithHashOf(Planned planned) => _byKey.GetValueOrDefault(HashOf(planned.Outbound, planned.Key));

    public void Add(Planned planned)
    {
        _all.Add(planned);
        ref var sameHash = ref CollectionsMarshal.GetValueRefOrAddDefault(_byKey, HashOf(planned.Outbound, planned.Key), out _);
        (planned.SameHash, sameHash) = (sameHash, planned);
        ref var sameKeys = ref CollectionsMarshal.GetValueRefOrAddDefault(_byFingerprint, planned.Fingerprint, out var others);
        sameKeys ??= planned;
        if (others)
        {
            sameKeys.OthersWithKeys = planned.OthersWithKeys = true;
        }
    }

    public void Clear()
    {
        _all.Clear();
        _byKey.Clear();
        _byFingerprint.Clear();
    }

    private static int HashOf(bool outbound, in AssociationKey key) => outbound ? ~key.GetHashCode() : key.GetHashCode();
}

/// <summary>One association a change needs: an existing one or one to be made.</summary>
internal sealed class Planned(AssociationKey key, bool outbound, SaParameters parameters, KeyFingerprint fingerprint)
{
    private HashSet<string>? _others;

    /// <summary>Nearly always there is one.</summary>
    private string? _owner;

    public AssociationKey Key { get; } = key;

    public bool Outbound { get; } = outbound;

    public SaParameters Parameters { get; } = parameters;

    public KeyFingerprint Fingerprint { get; } = fingerprint;

    public SecurityAssociation? Existing { get; init; }

    public SequenceReservation? Reservation { get; set; }

    public SecurityAssociation? Association { get; set; }

    /// <summary>The change has another one of the same suite and keys.</summary>
    public bool OthersWithKeys { get; set; }

    /// <summary>One planned before it, whose hash is the same.</summary>
    public Planned? SameHash { get; set; }

    public bool IsAt(bool outbound, in AssociationKey key) => Outbound == outbound && Key == key;

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
