using Sojourn.Engine;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Roles.CertificateAuthority;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.PrefixDelegation;

/// <summary>Carries query Q1 to the certification authority. The engine repeats a question that stays unanswered (spec L5).</summary>
internal sealed class AuthorityPort(PermissionClient authority, Action<EngineInput> deliver) : IEffectPort, IDisposable
{
    private readonly CancellationTokenSource _ended = new();

    public bool TryCarryOut(Effect effect)
    {
        if (effect is not AskPermission ask)
        {
            return false;
        }

        _ = AskAsync(ask);
        return true;
    }

    public void Dispose()
    {
        _ended.Cancel();
        authority.Dispose();
        _ended.Dispose();
    }

    private async Task AskAsync(AskPermission ask)
    {
        try
        {
            if (await authority.AskOnceAsync(ask.Identifier, ask.Purpose, _ended.Token).ConfigureAwait(false) is { } answer)
            {
                deliver(new PermissionAnswered(ask.Number, new PermissionDecision(answer.Allowed, answer.Reason, answer.Serial, answer.NotAfter)));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
            // The node stops.
        }
    }
}
