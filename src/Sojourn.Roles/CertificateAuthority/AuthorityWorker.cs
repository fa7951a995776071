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
    private readonly BlockingCollection<Job> _jobs = new(MostWaiting);
    private readonly EffectSink _effects = new();
    private readonly List<Effect> _signs = [];
    private readonly Thread _thread;
    private bool _storeFails;

    public AuthorityWorker(CertificationAuthority authority, AuthorityStore store, NodeServices services)
    {
        _authority = authority;
        _store = store;
        _services = services;
        _thread = new Thread(Loop) { IsBackground = true, Name = "authority" };
    }

    public void Start() => _thread.Start();

    /// <summary>The response to a CMP message; null when too many wait.</summary>
    /// <param name="source">Where it came from.</param>
    public Task<byte[]?> Answer(ReadOnlyMemory<byte> message, string source)
    {
        var job = new Job(message, source);
        if (!TryAdd(job))
        {
            _services.Count("ca.overloaded", 1);
            job.Response.SetResult(null);
        }

        return job.Response.Task;
    }

    public void Dispose()
    {
        _jobs.CompleteAdding();
        if (_thread.IsAlive && !_thread.Join(StopLimit))
        {
            return;
        }

        _jobs.Dispose();
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
                    responses[i] = _authority.Answer(batch[i].Message, batch[i].Source, _store, _services.Time.GetUtcNow(), _effects);
                    _store.Apply(_effects.Effects);
                    _signs.AddRange(_effects.Effects.Where(effect => effect is not AuthorityChange));
                    _effects.Clear();
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
            batch[0].Response.SetResult(_authority.Unavailable(batch[0].Message, _services.Time.GetUtcNow()));
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
                _store.Apply(_effects.Effects);
                _signs.AddRange(_effects.Effects.Where(effect => effect is not AuthorityChange));
                return _store.ForgetTransactions(now);
            });
            _effects.Clear();
            Tell();
            _storeFails = false;
        }
        catch (Exception e) when (e is StorageException or DbException)
        {
            Forget();
            Fault(e);
        }
    }

    private void Forget()
    {
        _effects.Clear();
        _signs.Clear();
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
        _services.Count("ca.faults", 1);
        if (!_storeFails || e is not (StorageException or DbException))
        {
            _services.Report(new EngineEvent("ca.fault", EventSeverity.Error, $"a request could not be carried out, nothing was changed: {(e is StorageException or DbException ? e.Message : e)}"));
        }

        _storeFails = e is StorageException or DbException;
    }

    private sealed record Job(ReadOnlyMemory<byte> Message, string Source)
    {
        public TaskCompletionSource<byte[]?> Response { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
