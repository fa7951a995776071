using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.Aaa;

/// <summary>Role aaa, visited side (AAAF).</summary>
public sealed class VisitedAaaRole : Role
{
    private readonly VisitedAaaServer _server;

    public VisitedAaaRole(NodeOptions node, IRandomSource random)
    {
        var section = node.Aaa!;
        _server = new VisitedAaaServer(
            new VisitedAaaOptions
            {
                ForeignAgents = [.. section.ForeignAgents.Select(agent => new ForeignAgentEntry(agent.Identity, agent.CareOfAddresses))],
                KeyWrap = EngineOptions.KeyWrap(node),
                AnswerMovesFromCache = section.AnswerMovesFromCache,
                MaximumAuthorization = section.AuthorizationLifetime,
                PlainSessionKeys = node.Interop.PlainSessionKeys,
                LegacyAuthenticators = node.Interop.LegacyAuthenticators,
            },
            EngineOptions.Diameter(node, agent: true),
            random);
    }

    public override IEngine Engine => _server;

    public override IReadOnlyList<CacheRow> Cache() => [.. _server.Sessions.Select(CacheRow.Of)];

    public override TableSizes Sizes => new(_server.SessionCount, 0, 0);

    public override IReadOnlyList<SessionRow> Sessions() => AaaSessions.Of(_server.Sessions);

    public override IReadOnlyList<EngineCommand> Clear(string? session, string? nai, IPAddress? homeAddress) =>
        [.. AaaSessions.Matching(_server.Sessions, session, nai, homeAddress).Select(s => new ClearVisitedCache(s.Session))];
}
