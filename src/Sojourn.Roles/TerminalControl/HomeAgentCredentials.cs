using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.TerminalControl;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Enrolment;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.KeyExchange;

namespace Sojourn.Roles.TerminalControl;

/// <summary>
/// Where a home agent has its certificate from (spec authentication P7, D14): two files, or a credential store that the
/// certification authority fills during the run (TA1.183) and keeps filled.
/// </summary>
internal sealed class HomeAgentCredentials : IDisposable
{
    private readonly HomeAgent6Section _section;
    private readonly CredentialStore? _store;

    /// <exception cref="InvalidDataException">Files or store cannot be read or do not belong together.</exception>
    public HomeAgentCredentials(HomeAgent6Section section)
    {
        _section = section;
        try
        {
            _store = section.Store is { } store ? CredentialStore.Open(store.FullPath) : null;
        }
        catch (CredentialStoreException e)
        {
            throw new InvalidDataException(e.Message, e);
        }

        Current = _store is null ? WithUrl(IkeCredentialFiles.Read(section.CertificateFile!.FullPath, section.KeyFile!.FullPath)) : FromStore();
    }

    /// <summary>Null while the store has no certificate that is in force.</summary>
    public IkeCredential? Current { get; private set; }

    /// <summary>When the certificate is to be renewed; null = not by this node.</summary>
    public DateTimeOffset? RenewAt => _store is null || _section.Enrolment is not { } enrolment || Current?.Certificate is not { } certificate ? null
        : new DateTimeOffset(certificate.NotAfter.ToUniversalTime()) - (enrolment.RenewBefore ?? ((certificate.NotAfter - certificate.NotBefore) / 3));

    /// <summary>The first certificate, or a new one for a new key. One at a time.</summary>
    public async Task<CredentialObtained> ObtainAsync(CancellationToken cancellation)
    {
        if (_store is null || _section.Enrolment is not { } enrolment)
        {
            return new CredentialObtained(null, "no authority is configured to ask");
        }

        try
        {
            using var client = new CmpClient(new Uri(enrolment.Url));
            var end = Current is null
                ? await client.EnrolAsync(_store, enrolment.Reference ?? _store.Identifier, SecretLine.Read(enrolment.SecretFile), cancellation: cancellation).ConfigureAwait(false)
                : await client.UpdateAsync(_store, cancellation: cancellation).ConfigureAwait(false);
            if (CmpClient.RefusalOf(end) is { } refusal)
            {
                return new CredentialObtained(null, refusal);
            }

            Current = FromStore();
            return new CredentialObtained(Current, "the certificate that was issued is not in force");
        }
        catch (Exception e) when (e is CredentialStoreException or InvalidDataException)
        {
            return new CredentialObtained(null, e.Message);
        }
    }

    public void Dispose() => _store?.Dispose();

    private IkeCredential? FromStore() => _store!.ToCredential() is { } credential && credential.Certificate.NotAfter > DateTime.Now ? WithUrl(credential) : null;

    private IkeCredential WithUrl(IkeCredential credential) => _section.CertificateStore is { } place ? credential with { Url = UrlOf(place, credential.Certificate) } : credential;

    private static Uri UrlOf(string place, X509Certificate2 certificate) => new($"{place.TrimEnd('/')}/{Convert.ToHexStringLower(certificate.SerialNumberBytes.Span)}.cer");
}

/// <summary>Asks the authority for the home agent's certificate when the engine wants one, and again before it ends.</summary>
internal sealed class HomeAgentCredentialPort : IEffectPort, IDisposable
{
    /// <summary>After a refusal, and the shortest time between two renewals.</summary>
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(10);

    private readonly HomeAgentCredentials _credentials;
    private readonly Action<EngineInput> _deliver;
    private readonly NodeServices _services;
    private readonly CancellationTokenSource _stop = new();
    private readonly SemaphoreSlim _one = new(1);

    public HomeAgentCredentialPort(HomeAgentCredentials credentials, Action<EngineInput> deliver, NodeServices services)
    {
        (_credentials, _deliver, _services) = (credentials, deliver, services);
        _ = RenewAsync();
    }

    public bool TryCarryOut(Effect effect)
    {
        if (effect is not ObtainCredential)
        {
            return false;
        }

        _ = ObtainAsync();
        return true;
    }

    public void Dispose()
    {
        _stop.Cancel();
        _stop.Dispose();
    }

    private async Task ObtainAsync()
    {
        try
        {
            await _one.WaitAsync(_stop.Token).ConfigureAwait(false);
            try
            {
                _deliver(_credentials.Current is { } there ? new CredentialObtained(there) : await _credentials.ObtainAsync(_stop.Token).ConfigureAwait(false));
            }
            finally
            {
                _one.Release();
            }
        }
        catch (OperationCanceledException)
        {
            // The node ends.
        }
    }

    private async Task RenewAsync()
    {
        try
        {
            while (true)
            {
                var wait = _credentials.RenewAt - _services.Time.GetUtcNow();
                await Task.Delay(wait is null || wait < s_pause ? s_pause : wait > TimeSpan.FromDays(1) ? TimeSpan.FromDays(1) : wait.Value, _services.Time, _stop.Token).ConfigureAwait(false);
                if (_credentials.RenewAt is not { } at || at > _services.Time.GetUtcNow())
                {
                    continue;
                }

                await _one.WaitAsync(_stop.Token).ConfigureAwait(false);
                try
                {
                    var obtained = await _credentials.ObtainAsync(_stop.Token).ConfigureAwait(false);

                    // What is there counts to its end; the engine says that there is no other.
                    _deliver(obtained);
                }
                finally
                {
                    _one.Release();
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The node ends.
        }
    }
}
