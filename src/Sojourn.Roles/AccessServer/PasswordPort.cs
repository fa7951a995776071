using System.Collections.Concurrent;
using System.Text;
using Sojourn.Engine;
using Sojourn.Engine.Radius;
using Sojourn.Roles.Hosting;
using Sojourn.Storage.Customers;

namespace Sojourn.Roles.AccessServer;

/// <summary>
/// Checks passwords away from the engine's thread: deriving one takes a tenth of a second on purpose. A name that nobody has
/// takes as long. What waits beyond <see cref="MostWaiting"/> is refused and counted.
/// </summary>
internal sealed class PasswordPort : IEffectPort, IDisposable
{
    private const int MostWaiting = 256;

    private readonly BlockingCollection<CheckPassword> _waiting = new(MostWaiting);
    private readonly Action<EngineInput> _deliver;
    private readonly Action<string, long> _count;
    private volatile IReadOnlyDictionary<string, string> _hashes;

    public PasswordPort(IReadOnlyDictionary<string, string> hashes, Action<EngineInput> deliver, Action<string, long> count)
    {
        (_hashes, _deliver, _count) = (hashes, deliver, count);
        new Thread(Work) { Name = "passwords", IsBackground = true }.Start();
    }

    /// <summary>Takes over other users.</summary>
    public void Replace(IReadOnlyDictionary<string, string> hashes) => _hashes = hashes;

    public bool TryCarryOut(Effect effect)
    {
        if (effect is not CheckPassword check)
        {
            return false;
        }

        if (!_waiting.TryAdd(check))
        {
            check.Password.Wipe();
            _count("access.passwords_dropped", 1);
            _deliver(new PasswordChecked(check.Number, false));
        }

        return true;
    }

    public void Dispose() => _waiting.CompleteAdding();

    private void Work()
    {
        foreach (var check in _waiting.GetConsumingEnumerable())
        {
            var right = CustomerPassword.Verify(Encoding.UTF8.GetString(check.Password.Octets), _hashes.GetValueOrDefault(check.User));
            check.Password.Wipe();
            _deliver(new PasswordChecked(check.Number, right));
        }

        _waiting.Dispose();
    }
}
