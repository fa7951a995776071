using System.Collections.Concurrent;
using System.Data.Common;
using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Roles.CertificateAuthority;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.Queries;
using Sojourn.Storage;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.Roles.PrefixDelegation;

/// <summary>
/// What others ask and tell the delegating router over HTTPS: home agents ask Q2 (POST <c>/v1/allocation</c>), the authority tells of
/// withdrawals (Q3, POST <c>/v1/withdrawal</c>), gateways say whose an IAID is (POST <c>/v1/identity</c>). All are answered when what they
/// change is committed.
/// </summary>
internal sealed class DelegationQueries : IEffectPort, IDisposable
{
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<long, TaskCompletionSource<PrefixAllocation?>> _waiting = new();
    private readonly Action<EngineInput> _deliver;
    private readonly PrefixIdentityStore _identities;
    private readonly Dictionary<string, Duid> _gateways;
    private readonly QueryServer _server;
    private long _number;

    /// <param name="authority">DNS name in the authority's certificate; null = no authority tells anything.</param>
    /// <exception cref="IOException">An address cannot be bound.</exception>
    public DelegationQueries(DelegationQueriesSection section, TlsCredentials identity, string? authority, PrefixIdentityStore identities, Action<EngineInput> deliver, NodeServices services)
    {
        _deliver = deliver;
        _identities = identities;
        _gateways = section.Gateways.ToDictionary(gateway => gateway.Name, gateway => Duid.TryParseText(gateway.Duid, out var duid) ? duid : default);
        _server = new QueryServer(section.Listen, identity, (names, why) =>
        {
            services.Count("query.refused", 1);
            services.Report(new EngineEvent("query.refused", EventSeverity.Warning, $"{names}: {why}") { Rule = "TA-H21" });
        });
        _server.Map("/v1/allocation", [.. section.Askers.Select(asker => asker.Name)], AllocationJson.Default.AllocationRequest, AllocationAsync);
        _server.Map("/v1/identity", _gateways.Keys, AllocationJson.Default.IdentityRegistration, (request, name, _) => Task.FromResult(Register(request, name)));
        if (authority is not null)
        {
            _server.Map("/v1/withdrawal", [authority], QueryJson.Default.WithdrawalEvent, WithdrawalAsync);
        }

        _server.Start();
    }

    public bool TryCarryOut(Effect effect)
    {
        var (number, allocation) = effect switch
        {
            AllocationFound found => (found.Number, found.Allocation),
            PermissionWithdrawn withdrawn => (withdrawn.Receipt, null),
            _ => (0, null),
        };
        if (number == 0)
        {
            return false;
        }

        if (_waiting.TryRemove(number, out var waiting))
        {
            waiting.SetResult(allocation);
        }

        return true;
    }

    public void Dispose() => _server.Dispose();

    private async Task<QueryReply> AllocationAsync(AllocationRequest request, CancellationToken cancellation)
    {
        if (!IPAddress.TryParse(request.Address, out var address) || TerminalIdentifier.TryCanonical(request.Identifier, out _) is not { } identifier)
        {
            return QueryReply.Malformed;
        }

        var (answered, allocation) = await AskAsync(number => new AllocationQueried(number, address, identifier), cancellation).ConfigureAwait(false);
        return answered ? QueryReply.Of(AllocationAnswer.Of(allocation!), AllocationJson.Default.AllocationAnswer) : QueryReply.Unavailable;
    }

    private async Task<QueryReply> WithdrawalAsync(WithdrawalEvent withdrawal, CancellationToken cancellation)
    {
        var reason = withdrawal.Reason == "revoked" ? PermissionReason.Revoked : PermissionReason.FlagClear;
        var (answered, _) = await AskAsync(number => new WithdrawPermission(withdrawal.Identifier, reason, withdrawal.Serial, number), cancellation).ConfigureAwait(false);
        return answered ? QueryReply.Done : QueryReply.Unavailable;
    }

    /// <summary>A gateway writes rows of its own DUID, and none that the operator wrote.</summary>
    private QueryReply Register(IdentityRegistration request, string gateway)
    {
        if (!Duid.TryParseText(request.Duid, out var duid) || TerminalIdentifier.TryCanonical(request.Identifier, out _) is not { } identifier)
        {
            return QueryReply.Malformed;
        }

        if (duid != _gateways[gateway])
        {
            return QueryReply.Forbidden;
        }

        try
        {
            var key = new AssociationKey(duid, request.Iaid);
            var present = _identities.Find(key);
            if (present?.Identifier == identifier)
            {
                return QueryReply.Done;
            }

            if (present is { Origin: IdentityOrigin.Provisioned })
            {
                return QueryReply.Conflict;
            }

            _identities.Put([new PrefixIdentity(key, identifier, IdentityOrigin.Gateway, [])]);
            return QueryReply.Done;
        }
        catch (Exception e) when (e is StorageException or DbException)
        {
            return QueryReply.Unavailable;
        }
    }

    private async Task<(bool Answered, PrefixAllocation? Allocation)> AskAsync(Func<long, EngineInput> input, CancellationToken cancellation)
    {
        var number = Interlocked.Increment(ref _number);
        var waiting = new TaskCompletionSource<PrefixAllocation?>(TaskCreationOptions.RunContinuationsAsynchronously);
        _waiting[number] = waiting;
        _deliver(input(number));
        try
        {
            return (true, await waiting.Task.WaitAsync(AnswerLimit, cancellation).ConfigureAwait(false));
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            _waiting.TryRemove(number, out _);
            return (false, null);
        }
    }
}
