using System.Text;
using Sojourn.Engine.Accounting;
using Sojourn.Engine.Dhcpv6;

namespace Sojourn.Storage;

/// <summary>What engines save (<see cref="SaveState"/>): bindings, session caches, sequence floors. Values are sealed.</summary>
public sealed class StateStore(Database database)
{
    private const string Upsert = "INSERT INTO engine_state (table_name, key, value_sealed) VALUES (@table, @key, @value) ON CONFLICT (table_name, key) DO UPDATE SET value_sealed = excluded.value_sealed";
    private const string Raise = "INSERT INTO sequence_floor (association, floor) VALUES (@association, @floor) ON CONFLICT (association) DO UPDATE SET floor = max(floor, excluded.floor)";
    private const string Delete = "DELETE FROM engine_state WHERE table_name = @table AND key = @key";

    private readonly PreparedCommand _upsert = new(database, Upsert);
    private readonly PreparedCommand _delete = new(database, Delete);
    private readonly PreparedCommand _raise = new(database, Raise);
    private readonly PreparedCommand _forget = new(database, "DELETE FROM sequence_floor WHERE association = @association");
    private readonly PreparedCommand _load = new(database, "SELECT table_name, key, value_sealed FROM engine_state ORDER BY table_name, key");
    private readonly PreparedCommand _floors = new(database, "SELECT association, floor FROM sequence_floor");
    private readonly UsageRows _usage = new(database);
    private readonly PrefixLeaseStore _leases = new(database);

    /// <summary>Carries out a run of <see cref="SaveState"/>, <see cref="DropState"/>, <see cref="StoreUsage"/> and <see cref="LeaseChange"/> effects in one transaction, which is on disk when this returns.</summary>
    public void Apply(IReadOnlyList<Effect> changes)
    {
        if (changes.Count == 0)
        {
            return;
        }

        lock (database.Gate)
        {
            using var transaction = database.Connection.BeginTransaction();
            foreach (var change in changes)
            {
                switch (change)
                {
                    case SaveState save:
                        _upsert.Execute(save.Key.Table, save.Key.Key, database.Seal.Close(save.Value.Span, Place(save.Key)));
                        break;
                    case DropState drop:
                        _delete.Execute(drop.Key.Table, drop.Key.Key);
                        break;
                    case StoreUsage store:
                        _usage.Insert(store.Usage);
                        break;
                    case LeaseChange lease:
                        _leases.Put(lease);
                        break;
                    default:
                        throw new ArgumentException($"{change.GetType().Name} is not a state change", nameof(changes));
                }
            }

            transaction.Commit();
        }
    }

    public void Save(StateKey key, ReadOnlyMemory<byte> value) => Apply([new SaveState(key, value)]);

    public void Drop(StateKey key) => Apply([new DropState(key)]);

    /// <exception cref="StorageException">A record does not open with this sealing key.</exception>
    public IReadOnlyList<SavedState> LoadAll()
    {
        lock (database.Gate)
        {
            var states = new List<SavedState>();
            using var rows = _load.Read();
            while (rows.Next())
            {
                var key = new StateKey(rows.Text(0)!, rows.Text(1)!);
                states.Add(new SavedState(key, database.Seal.Open(rows.Octets(2)!, Place(key))));
            }

            return states;
        }
    }

    /// <summary>Sequence floors by association name; see <see cref="SaParameters.SequenceFloor"/>.</summary>
    public IReadOnlyDictionary<string, ulong> SequenceFloors()
    {
        lock (database.Gate)
        {
            var floors = new Dictionary<string, ulong>();
            using var rows = _floors.Read();
            while (rows.Next())
            {
                floors.Add(rows.Text(0)!, (ulong)rows.Number(1));
            }

            return floors;
        }
    }

    /// <summary>
    /// Commits new floors, and forgets those of associations that are gone, in one transaction. A lower floor than stored is
    /// ignored, so that a late writer cannot turn a counter back.
    /// </summary>
    public void ChangeSequenceFloors(IReadOnlyCollection<KeyValuePair<string, ulong>> raised, IReadOnlyCollection<string> forgotten)
    {
        lock (database.Gate)
        {
            using var transaction = database.Connection.BeginTransaction();
            foreach (var (association, floor) in raised)
            {
                _raise.Execute(association, (long)floor);
            }

            foreach (var association in forgotten)
            {
                _forget.Execute(association);
            }

            transaction.Commit();
        }
    }

    private static string Place(StateKey key) => new StringBuilder("engine_state/").Append(key.Table).Append('/').Append(key.Key).ToString();
}
