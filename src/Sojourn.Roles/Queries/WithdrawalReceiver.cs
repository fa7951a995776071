using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.TerminalControl;
using Sojourn.Roles.CertificateAuthority;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.Queries;

/// <summary>
/// Where a home agent takes events Q3: of the authority (POST <c>/v1/withdrawal</c>) and of delegating routers (POST
/// <c>/v1/allocation-ended</c>). Opened in the network namespace of the calling thread.
/// </summary>
public sealed class WithdrawalReceiver : IDisposable
{
    private readonly QueryServer _server;

    /// <param name="authorities">DNS names in certificates that may withdraw an identifier's permission.</param>
    /// <param name="routers">DNS names in certificates that may end an allocation.</param>
    /// <exception cref="IOException">An address cannot be bound.</exception>
    public WithdrawalReceiver(
        IReadOnlyList<IPEndPoint> listen, TlsCredentials identity, IReadOnlyCollection<string> authorities, IReadOnlyCollection<string> routers, Action<EngineInput> deliver, NodeServices services)
    {
        _server = new QueryServer(listen, identity, (names, why) =>
        {
            services.Count("query.refused", 1);
            services.Report(new EngineEvent("query.refused", EventSeverity.Warning, $"{names}: {why}") { Rule = "TA-H21" });
        });
        _server.Map("/v1/withdrawal", authorities, QueryJson.Default.WithdrawalEvent, (withdrawal, cancellation) =>
        {
            if (TerminalIdentifier.TryCanonical(withdrawal.Identifier, out _) is not { } identifier)
            {
                return Task.FromResult(QueryReply.Malformed);
            }

            deliver(new AllocationWithdrawn(null, identifier, withdrawal.Reason));
            return Task.FromResult(QueryReply.Done);
        });
        _server.Map("/v1/allocation-ended", routers, AllocationJson.Default.AllocationEndedEvent, (ended, cancellation) =>
        {
            if (!IPNetwork.TryParse(ended.Prefix, out var prefix) || TerminalIdentifier.TryCanonical(ended.Identifier, out _) is not { } identifier)
            {
                return Task.FromResult(QueryReply.Malformed);
            }

            deliver(new AllocationWithdrawn(prefix, identifier, ended.Reason));
            return Task.FromResult(QueryReply.Done);
        });
        _server.Start();
    }

    public void Dispose() => _server.Dispose();
}
