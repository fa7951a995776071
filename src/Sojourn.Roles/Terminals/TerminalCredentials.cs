using System.Net;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine;
using Sojourn.Engine.Enrolment;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Terminal;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Enrolment;

namespace Sojourn.Roles.Terminals;

/// <param name="Certificate">With its key.</param>
internal sealed record TerminalTlsIdentity(X509Certificate2 Certificate, X509Certificate2Collection Intermediates, X509Certificate2Collection Authorities) : IDisposable
{
    public void Dispose() => Certificate.Dispose();
}

/// <summary>A terminal's credential store and its way to the certification authority. Used by the engine's thread and by one enrolment at a time.</summary>
internal sealed class TerminalCredentials(TerminalSection section) : IDisposable
{
    private readonly Lock _gate = new();
    private CredentialStore? _store;

    /// <summary>Looks whether the store is there now, and what is in it.</summary>
    public EngineInput Open()
    {
        try
        {
            var store = Present();
            return new CredentialsOpened(store.Identifier, store.ToCredential(), store.Authorities.Count > 0 ? new TrustAnchors(store.Authorities) : null);
        }
        catch (CredentialStoreException e)
        {
            return new CredentialsMissing(e.Message);
        }
    }

    /// <summary>Null when the certificate is in the store; else why not.</summary>
    public async Task<string?> EnrolAsync(IPAddress careOf, CancellationToken cancellation)
    {
        var enrolment = section.Enrolment!;
        try
        {
            var store = Present();
            using var client = new CmpClient(new Uri(enrolment.Url), careOf);
            return CmpClient.RefusalOf(await client.EnrolAsync(store, enrolment.Reference ?? store.Identifier, SecretLine.Read(enrolment.SecretFile), cancellation: cancellation).ConfigureAwait(false));
        }
        catch (Exception e) when (e is CredentialStoreException or InvalidDataException)
        {
            return e.Message;
        }
    }

    /// <summary>A new key and certificate in place of those in the store (TA-M36). Null when they are in it; else why not.</summary>
    public async Task<string?> RenewAsync(IPAddress careOf, CancellationToken cancellation)
    {
        try
        {
            using var client = new CmpClient(new Uri(section.Enrolment!.Url), careOf);
            return CmpClient.RefusalOf(await client.UpdateAsync(Present(), cancellation: cancellation).ConfigureAwait(false));
        }
        catch (CredentialStoreException e)
        {
            return e.Message;
        }
    }

    /// <summary>What the terminal proves itself with in TLS, read anew each time; null before it has a certificate. The caller disposes of it.</summary>
    /// <exception cref="CredentialStoreException">The store is not there, or cannot be used for TLS.</exception>
    public TerminalTlsIdentity? ForTls()
    {
        var store = Present();
        return store.WithKey() is { } certificate ? new TerminalTlsIdentity(certificate, [.. store.Intermediates], [.. store.Authorities]) : null;
    }

    public void Dispose() => _store?.Dispose();

    /// <exception cref="CredentialStoreException">It is not there, or cannot be used.</exception>
    private CredentialStore Present()
    {
        lock (_gate)
        {
            // Another card may have been put in. The former one's key may still be named by an exchange, so it is left to the collector.
            if (_store is null || !_store.IsPresent())
            {
                _store = CredentialStore.Open(section.Store.FullPath, section.StorePasswordFile?.FullPath);
            }

            return _store;
        }
    }
}
