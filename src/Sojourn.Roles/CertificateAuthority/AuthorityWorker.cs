using System.Collections.Concurrent;
using System.Data.Common;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Roles.Hosting;
using Sojourn.Storage;

namespace Sojourn.Roles.CertificateAuthority;

/// <summary>
/// Has an authority decide, one batch of requests at a time. Requests that wait together are committed together, and no response
/// leaves before the changes it promises are on disk (spec TA-M32): a crash at any point leaves all of a request's changes or none.
/// </summary>
/// <remarks>
/// There is no thread of its own: who comes first serves all that wait, and who comes meanwhile waits for the next batch. A request that
/// is alone is answered without ever changing threads. Whoever has served hands what has gathered since to another thread, so that its own
/// response does not wait for those of others.
/// </remarks>
internal sealed class AuthorityWorker : IDisposable
{
    private const int MostWaiting = 1024;
    private const int MostTogether = 64;
    private static readonly TimeSpan UpkeepInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(3);

    private readonly CertificationAuthority _authority;
    private readonly AuthorityStore _store;
    private readonly NodeServices _services;
    private readonly TimeSpan _crlInterval;
    private readonly ConcurrentQueue<Job> _jobs = new();
    private int _waiting;
    private int _serving;
    private volatile bool _ended;
    private ITimer? _upkeep;

    // Of whoever serves.
    private readonly List<Job> _batch = new(MostTogether);
    private readonly EffectSink _effects = new();
    private readonly List<Effect> _signs = [];
    private (byte[] Octets, long Revocations, DateTimeOffset Made)? _crl;
    private bool _storeFails;

    /// <param name="crlInterval">Age at which a CRL is made anew though nothing was revoked.</param>
    public AuthorityWorker(CertificationAuthority authority, AuthorityStore store, NodeServices services, TimeSpan crlInterval)
    {
        _authority = authority;
        _store = store;
        _services = services;
        _crlInterval = crlInterval;
    }

    private delegate byte[] Work(DateTimeOffset now, EffectSink effects);

    /// <summary>Revokes from now on what is not confirmed in time.</summary>
    public void Start() => _upkeep = _services.Time.CreateTimer(_ => Do(Upkeep), null, UpkeepInterval, UpkeepInterval);

    /// <summary>The response to a CMP message; null when too many wait.</summary>
    /// <param name="source">Where it came from.</param>
    public Task<byte[]?> Answer(ReadOnlyMemory<byte> message, string source) => Do(
        (now, effects) => _authority.Answer(message, source, _store, now, effects),
        () => _authority.Unavailable(message, _services.Time.GetUtcNow()));

    /// <summary>The response to an OCSP request; null when too many wait or the store fails.</summary>
    public Task<byte[]?> Status(ReadOnlyMemory<byte> request) => Do((now, effects) => _authority.Status(request, _store, now, effects));

    /// <summary>The current CRL; null when too many wait or the store fails.</summary>
    public Task<byte[]?> RevocationList() => Do((now, _) => CurrentCrl(now));

    /// <summary>The answer to Q1 (TA1.110), as written by <paramref name="write"/>; null when too many wait or the store fails.</summary>
    public Task<byte[]?> Permission(string identifier, Func<Permission, byte[]> write) => Do((now, effects) =>
    {
        var permission = Engine.CertificateAuthority.Permission.Of(identifier, _store, now);
        effects.Count(permission.Allowed ? "ca.permission.allowed" : "ca.permission.refused");
        return write(permission);
    });

    /// <summary>A certificate that was issued here, DER; null when there is none of this number. Reads what is committed.</summary>
    /// <param name="serial">Lower-case hexadecimal.</param>
    public ReadOnlyMemory<byte>? Certificate(string serial) => _store.InOneTransaction(() => _store.Certificate(serial))?.Encoded;

    /// <summary>Whether a certificate was issued here and is revoked or not confirmed. Reads what is committed.</summary>
    /// <param name="serial">Lower-case hexadecimal.</param>
    public bool IsWithdrawn(string serial) => _store.InOneTransaction(() => _store.Certificate(serial)) is { Status: not CertificateStatus.Good };

    public void Dispose()
    {
        _ended = true;
        _upkeep?.Dispose();

        // Serving is never given back: nobody touches the store any more.
        if (SpinWait.SpinUntil(() => Interlocked.CompareExchange(ref _serving, 1, 0) == 0, StopLimit))
        {
            while (_jobs.TryDequeue(out var job))
            {
                job.Response.TrySetResult(null);
            }
        }
    }

    private Task<byte[]?> Do(Work work, Func<byte[]?>? otherwise = null)
    {
        if (_ended || Volatile.Read(ref _waiting) >= MostWaiting)
        {
            _services.Count("ca.overloaded", 1);
            return Task.FromResult<byte[]?>(null);
        }

        var job = new Job(work, otherwise ?? (() => null));
        Interlocked.Increment(ref _waiting);
        _jobs.Enqueue(job);
        ServeWaiting();
        return job.Response.Task;
    }

    /// <summary>Serves a batch of those who wait, unless somebody is at it, who then looks for them afterwards.</summary>
    private void ServeWaiting()
    {
        if (Interlocked.CompareExchange(ref _serving, 1, 0) != 0)
        {
            return;
        }

        try
        {
            while (_batch.Count < MostTogether && _jobs.TryDequeue(out var job))
            {
                _batch.Add(job);
            }

            if (_batch.Count > 0)
            {
                Interlocked.Add(ref _waiting, -_batch.Count);
                Serve(_batch);
            }
        }
        finally
        {
            _batch.Clear();
            Interlocked.Exchange(ref _serving, 0);
        }

        if (!_jobs.IsEmpty)
        {
            ThreadPool.UnsafeQueueUserWorkItem(static worker => worker.ServeWaiting(), this, preferLocal: false);
        }
    }

    /// <summary>Answers a batch in one transaction. What fails as a batch is tried again one by one, so that nobody suffers from another's fault.</summary>
    private void Serve(IReadOnlyList<Job> batch)
    {
        var responses = new byte[batch.Count][];
        try
        {
            _ = _store.InOneTransaction(() =>
            {
                for (var i = 0; i < batch.Count; i++)
                {
                    responses[i] = batch[i].Work(_services.Time.GetUtcNow(), _effects);
                    Keep();
                }

                return true;
            });
            _storeFails = false;
        }
        catch (Exception e) when (batch.Count > 1)
        {
            Forget();
            _services.Count("ca.batch_split", 1);
            _services.Report(new EngineEvent("ca.batch_split", EventSeverity.Warning, $"{batch.Count} requests could not be committed together: {e.Message}"));
            foreach (var job in batch)
            {
                Serve([job]);
            }

            return;
        }
        catch (Exception e)
        {
            Forget();
            Fault(e);
            batch[0].Response.SetResult(batch[0].Otherwise());
            return;
        }

        Tell();
        for (var i = 0; i < batch.Count; i++)
        {
            batch[i].Response.SetResult(responses[i]);
        }
    }

    private byte[] Upkeep(DateTimeOffset now, EffectSink effects)
    {
        CertificationAuthority.RevokeOverdue(_store, now, effects);
        _store.ForgetTransactions(now);
        return [];
    }

    /// <summary>Made anew after every revocation, whoever did it, and when it gets old.</summary>
    private byte[] CurrentCrl(DateTimeOffset now)
    {
        var revocations = _store.Revocations();
        if (_crl is not { } crl || crl.Revocations != revocations || now - crl.Made >= _crlInterval)
        {
            var (number, revoked) = _store.NextCrl(now);
            crl = (_authority.RevocationList(number, revoked, now), revocations, now);
            _crl = crl;
        }

        return crl.Octets;
    }

    /// <summary>Applies the changes of one request and keeps what is told about it until they are committed.</summary>
    private void Keep()
    {
        _store.Apply(_effects.Effects);
        _signs.AddRange(_effects.Effects.Where(effect => effect is not AuthorityChange));
        _effects.Clear();
    }

    private void Forget()
    {
        _effects.Clear();
        _signs.Clear();
        _crl = null;
    }

    /// <summary>Counters and events of what is committed.</summary>
    private void Tell()
    {
        foreach (var sign in _signs)
        {
            switch (sign)
            {
                case CountEvent count:
                    _services.Count(count.Counter, count.Amount);
                    break;
                case Report report:
                    _services.Report(report.Event);
                    break;
            }
        }

        _signs.Clear();
    }

    private void Fault(Exception e)
    {
        var stores = e is StorageException or DbException;
        _services.Count("ca.faults", 1);
        if (!_storeFails || !stores)
        {
            _services.Report(new EngineEvent("ca.fault", EventSeverity.Error, $"a request could not be carried out, nothing was changed: {(stores ? e.Message : e)}"));
        }

        _storeFails = stores;
    }

    /// <param name="Otherwise">The response when the work fails.</param>
    private sealed record Job(Work Work, Func<byte[]?> Otherwise)
    {
        public TaskCompletionSource<byte[]?> Response { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
