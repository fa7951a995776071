using System.Collections.Concurrent;
using System.Data.Common;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Roles.Hosting;
using Sojourn.Storage;

namespace Sojourn.Roles.CertificateAuthority;

/// <summary>
/// The one thread that decides and writes for an authority. Requests that wait together are committed together, and no response
/// leaves before the changes it promises are on disk (spec TA-M32): a crash at any point leaves all of a request's changes or none.
/// </summary>
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
    private readonly BlockingCollection<Job> _jobs = new(MostWaiting);
    private readonly EffectSink _effects = new();
    private readonly List<Effect> _signs = [];
    private readonly Thread _thread;
    private (byte[] Octets, long Revocations, DateTimeOffset Made)? _crl;
    private bool _storeFails;

    /// <param name="crlInterval">Age at which a CRL is made anew though nothing was revoked.</param>
    public AuthorityWorker(CertificationAuthority authority, AuthorityStore store, NodeServices services, TimeSpan crlInterval)
    {
        _authority = authority;
        _store = store;
        _services = services;
        _crlInterval = crlInterval;
        _thread = new Thread(Loop) { IsBackground = true, Name = "authority" };
    }

    private delegate byte[] Work(DateTimeOffset now, EffectSink effects);

    public void Start() => _thread.Start();

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

    /// <summary>Whether a certificate was issued here and is revoked or not confirmed. Reads what is committed.</summary>
    /// <param name="serial">Lower-case hexadecimal.</param>
    public bool IsWithdrawn(string serial) => _store.InOneTransaction(() => _store.Certificate(serial)) is { Status: not CertificateStatus.Good };

    public void Dispose()
    {
        _jobs.CompleteAdding();
        if (_thread.IsAlive && !_thread.Join(StopLimit))
        {
            return;
        }

        _jobs.Dispose();
    }

    private Task<byte[]?> Do(Work work, Func<byte[]?>? otherwise = null)
    {
        var job = new Job(work, otherwise ?? (() => null));
        if (!TryAdd(job))
        {
            _services.Count("ca.overloaded", 1);
            job.Response.SetResult(null);
        }

        return job.Response.Task;
    }

    private bool TryAdd(Job job)
    {
        try
        {
            return _jobs.TryAdd(job);
        }
        catch (InvalidOperationException)
        {
            return false;
        }
    }

    private void Loop()
    {
        var batch = new List<Job>(MostTogether);
        var upkeep = _services.Time.GetTimestamp();
        while (!_jobs.IsCompleted)
        {
            if (_jobs.TryTake(out var job, UpkeepInterval))
            {
                do
                {
                    batch.Add(job);
                }
                while (batch.Count < MostTogether && _jobs.TryTake(out job));

                Serve(batch);
                batch.Clear();
            }

            if (_services.Time.GetElapsedTime(upkeep) >= UpkeepInterval)
            {
                Upkeep();
                upkeep = _services.Time.GetTimestamp();
            }
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

    private void Upkeep()
    {
        try
        {
            _ = _store.InOneTransaction(() =>
            {
                var now = _services.Time.GetUtcNow();
                CertificationAuthority.RevokeOverdue(_store, now, _effects);
                Keep();
                return _store.ForgetTransactions(now);
            });
            Tell();
            _storeFails = false;
        }
        catch (Exception e) when (e is StorageException or DbException)
        {
            Forget();
            Fault(e);
        }
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
