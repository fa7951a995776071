using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Sojourn.Engine;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Roles.CertificateAuthority;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.Queries;

/// <summary>Asks a delegating router about an allocation (Q2) over HTTPS with mutual TLS 1.3. Connections are kept.</summary>
public sealed class AllocationClient : IDisposable
{
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(2);

    private readonly HttpClient _http;
    private readonly Uri _address;

    /// <param name="router">e.g. <c>https://dr1.home.example:8445</c>; the host must be in the router's server certificate.</param>
    public AllocationClient(Uri router, TlsCredentials identity)
    {
        _address = new Uri(router, "/v1/allocation");
        _http = QueryHttp.Client(router.DnsSafeHost, identity, AnswerLimit);
    }

    /// <summary>Asks once. Null = no answer in two seconds, or one that means nothing: nothing new is allowed (spec L5).</summary>
    public async Task<PrefixAllocation?> AskAsync(IPAddress address, string identifier, CancellationToken cancellation = default)
    {
        try
        {
            using var response = await _http.PostAsJsonAsync(_address, new AllocationRequest(address.ToString(), identifier), AllocationJson.Default.AllocationRequest, cancellation).ConfigureAwait(false);
            var answer = response.IsSuccessStatusCode ? await response.Content.ReadFromJsonAsync(AllocationJson.Default.AllocationAnswer, cancellation).ConfigureAwait(false) : null;
            return answer?.ToAllocation();
        }
        catch (Exception e) when (e is HttpRequestException or JsonException or IOException or OperationCanceledException)
        {
            return null;
        }
    }

    public void Dispose() => _http.Dispose();
}

/// <summary>Carries a home agent's Q2 to delegating routers: all are asked at once, and the one that knows the allocation counts (spec G26).</summary>
public sealed class AllocationPort(IReadOnlyList<AllocationClient> routers, Action<EngineInput> deliver) : IEffectPort, IDisposable
{
    public bool TryCarryOut(Effect effect)
    {
        if (effect is not AskAllocation ask)
        {
            return false;
        }

        _ = AskAsync(ask);
        return true;
    }

    public void Dispose()
    {
        foreach (var router in routers)
        {
            router.Dispose();
        }
    }

    private async Task AskAsync(AskAllocation ask)
    {
        var asked = routers.Select(router => router.AskAsync(ask.HomeAddress, ask.Identifier)).ToList();
        PrefixAllocation? best = null;
        await foreach (var answer in Task.WhenEach(asked).ConfigureAwait(false))
        {
            var allocation = await answer.ConfigureAwait(false);
            best = allocation is { OwnerMatches: true } || best is null ? allocation ?? best : best;
            if (best is { OwnerMatches: true })
            {
                break;
            }
        }

        deliver(new AllocationAnswered(ask.Request, best));
    }
}
