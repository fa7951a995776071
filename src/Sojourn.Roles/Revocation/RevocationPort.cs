using Sojourn.Engine;
using Sojourn.Engine.Revocation;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.Revocation;

/// <summary>Carries an engine's <see cref="AskRevocation"/> to responders and CRLs; the engine's thread does not wait.</summary>
internal sealed class RevocationPort(RevocationChecker checker, Action<EngineInput> deliver) : IEffectPort, IDisposable
{
    private readonly CancellationTokenSource _stop = new();

    public bool TryCarryOut(Effect effect)
    {
        if (effect is not AskRevocation ask)
        {
            return false;
        }

        _ = AskAsync(ask);
        return true;
    }

    public void Dispose()
    {
        _stop.Cancel();
        checker.Dispose();
        _stop.Dispose();
    }

    private async Task AskAsync(AskRevocation ask)
    {
        // Away from the engine's thread at once: reading certificate and issuer costs a signature check.
        await Task.Yield();
        try
        {
            deliver(new RevocationAnswered(ask.Request, await checker.AskAsync(ask.Certificate, _stop.Token).ConfigureAwait(false)));
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
            // The node ends.
        }
    }
}
