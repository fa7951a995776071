using Sojourn.Engine;
using Sojourn.Engine.Access;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.Queries;

/// <summary>
/// Tells delegating routers whose an IAID of this gateway is (spec G6). All are told at once; it is enough that one takes it, since only
/// that one will offer a prefix. One that does not take it, or is silent, is told once more (spec L5).
/// </summary>
public sealed class IdentityPort(IReadOnlyList<IdentityClient> routers, Action<EngineInput> deliver) : IEffectPort, IDisposable
{
    public bool TryCarryOut(Effect effect)
    {
        if (effect is not RegisterIdentity register)
        {
            return false;
        }

        _ = RegisterAsync(register);
        return true;
    }

    public void Dispose()
    {
        foreach (var router in routers)
        {
            router.Dispose();
        }
    }

    private async Task RegisterAsync(RegisterIdentity register)
    {
        var told = await Task.WhenAll(routers.Select(router => TellAsync(router, register))).ConfigureAwait(false);
        deliver(new IdentityRegistered(register.Number, told.Contains(true)));
    }

    private static async Task<bool> TellAsync(IdentityClient router, RegisterIdentity register) =>
        await router.RegisterAsync(register.Client, register.Iaid, register.Identifier).ConfigureAwait(false)
        || await router.RegisterAsync(register.Client, register.Iaid, register.Identifier).ConfigureAwait(false);
}
