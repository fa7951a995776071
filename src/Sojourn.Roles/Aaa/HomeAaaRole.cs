using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Storage;

namespace Sojourn.Roles.Aaa;

/// <summary>Role aaa, home side (AAAH).</summary>
public sealed class HomeAaaRole : Role
{
    private static readonly TimeSpan FirstCleaning = TimeSpan.FromMinutes(1), BetweenCleanings = TimeSpan.FromHours(1);

    private readonly Database _database;
    private readonly SubscriberStore _subscribers;
    private readonly HomeAaaServer _server;
    private readonly TimeProvider _time;
    private readonly Action<EngineEvent> _report;
    private readonly ITimer? _cleaning;

    /// <exception cref="StorageException">The subscriber database cannot be opened.</exception>
    /// <param name="usage">Where accounting records are kept.</param>
    /// <param name="report">Where events go that no engine reports.</param>
    public HomeAaaRole(NodeOptions node, TimeProvider time, IRandomSource random, UsageStore usage, Action<EngineEvent> report)
    {
        (Usage, _time, _report) = (usage, time, report);
        var section = node.Aaa!;
        _database = Database.Open(section.Database!.FullPath, section.DatabaseKeyFile?.FullPath, create: false);
        try
        {
            _subscribers = new SubscriberStore(_database, time);
            _server = new HomeAaaServer(
                new HomeAaaOptions
                {
                    HomeAgents = [.. section.HomeAgents.Select(agent => new HomeAgentEntry(agent.Identity, node.Diameter!.Realm, agent.Address, [agent.Network]))],
                    KeyWrap = EngineOptions.KeyWrap(node),
                    SpiRange = section.SpiRange,
                    PathDecision = new PathDecisionOptions
                    {
                        TosOfClass = [.. section.ClassDscp.Select(dscp => (byte)(dscp << 2))],
                        UnlistedCorrespondents = section.UnlistedCorrespondents,
                    },
                    AuthorizationLifetime = section.AuthorizationLifetime,
                    AccountingInterval = section.AccountingInterval,
                    AnnounceChanges = section.AnnounceChanges,
                    LegacyAuthenticators = node.Interop.LegacyAuthenticators,
                    PlainSessionKeys = node.Interop.PlainSessionKeys,
                },
                EngineOptions.Diameter(node, agent: false),
                _subscribers,
                random,
                usage);
            UsageRetention = section.UsageRetention;
            _cleaning = time.CreateTimer(_ => ForgetUsage(), null, FirstCleaning, BetweenCleanings);
        }
        catch
        {
            _database.Dispose();
            throw;
        }
    }

    public override IEngine Engine => _server;

    /// <summary>How long accounting records are kept after the last one of their session; zero = for ever.</summary>
    private TimeSpan UsageRetention { get; set; }

    public override UsageStore Usage { get; }

    public override IReadOnlyList<CacheRow> Cache() => [.. _server.Sessions.Select(CacheRow.Of)];

    public override TableSizes Sizes => new(_server.SessionCount, 0, 0);

    public override IReadOnlyList<SessionRow> Sessions() => AaaSessions.Of(_server.Sessions);

    public override IReadOnlyList<VpnInstance> VpnDatabase() => _subscribers.VpnInstances();

    public override IReadOnlyList<CorrespondentGatewayRow> CorrespondentGateways() => _server.CorrespondentGateways;

    public override IReadOnlyList<AuditEntry> Audit(int count) => [.. _subscribers.Audit(count).Select(entry => entry with { Trail = "subscribers" })];

    public override IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) =>
        [.. AaaSessions.Matching(_server.Sessions, session, nai, homeAddress).Select(s => new AbortMobilitySession(s.Session))];

    public override void Reconfigure(NodeOptions options, DateTimeOffset now, EffectSink effects)
    {
        _server.AnnounceChanges = options.Aaa!.AnnounceChanges;
        UsageRetention = options.Aaa.UsageRetention;
    }

    private void ForgetUsage()
    {
        if (UsageRetention == TimeSpan.Zero)
        {
            return;
        }

        var forgotten = 0;
        try
        {
            for (var removed = 1; removed > 0; forgotten += removed)
            {
                removed = Usage.Forget(_time.GetUtcNow() - UsageRetention);
            }
        }
        catch (Exception e) when (e is System.Data.Common.DbException or ObjectDisposedException or InvalidOperationException)
        {
            _report(new EngineEvent("accounting.not_forgotten", EventSeverity.Warning, $"old accounting records could not be removed: {e.Message}"));
        }

        if (forgotten > 0)
        {
            _report(new EngineEvent("accounting.forgotten", EventSeverity.Information, FormattableString.Invariant($"{forgotten} accounting record(s) older than {UsageRetention.TotalDays:0.#} days removed")));
        }
    }

    public override void Dispose()
    {
        _cleaning?.Dispose();
        _database.Dispose();
        base.Dispose();
    }
}

internal static class AaaSessions
{
    public static IReadOnlyList<SessionRow> Of(IEnumerable<VpnCacheInstance> sessions) =>
        [.. sessions.Select(s => new SessionRow(s.Session, s.Nai, s.HomeAddress, s.CareOfAddress, s.HomeAgent, s.Expires, s.Profiles.Count, "authorized"))];

    public static IEnumerable<VpnCacheInstance> Matching(IEnumerable<VpnCacheInstance> sessions, string? session, string? nai, IPAddress? homeAddress) =>
        sessions.Where(s => (session is null || s.Session == session) && (nai is null || s.Nai == nai) && (homeAddress is null || s.HomeAddress.Equals(homeAddress)));
}
