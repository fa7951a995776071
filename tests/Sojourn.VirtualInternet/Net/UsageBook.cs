using Sojourn.Engine.Accounting;

namespace Sojourn.VirtualInternet.Net;

/// <summary>What the packet paths handed over to be accounted, and what the home AAA server has stored of it.</summary>
internal sealed class UsageBook : IUsageLedger
{
    private readonly Dictionary<string, UsageFigures> _handedOver = [];
    private readonly Dictionary<(string Host, string Session, uint Number), UsageRecord> _stored = [];

    public IEnumerable<UsageRecord> Stored => _stored.Values;

    public bool Holds(string originHost, string session, uint number) => _stored.ContainsKey((originHost, session, number));

    public bool KnowsSession(string originHost, string session) => _stored.Values.Any(u => u.OriginHost == originHost && u.Record.Session == session && u.SessionKnown);

    public void HandedOver(VirtualNode node, IReadOnlyList<(string Session, ProfileUsage Usage)> carried) =>
        _handedOver[node.Identity!] = carried.Aggregate(_handedOver.GetValueOrDefault(node.Identity!), (sum, row) => sum + row.Usage.Figures);

    public void Store(UsageRecord usage) => _stored.TryAdd((usage.OriginHost, usage.Record.Session, usage.Record.Number), usage);

    /// <summary>Once everybody has left: everything is told, closed and acknowledged, and adds up. Empty when it is so.</summary>
    /// <param name="exact">No node died in the midst of a call, so that not even a reading was cut in two.</param>
    public IEnumerable<string> Check(VirtualNetwork network, bool exact)
    {
        foreach (var node in network.Nodes)
        {
            foreach (var key in node.State.Keys.Where(k => k.Table.StartsWith("accounting", StringComparison.Ordinal)))
            {
                yield return $"{node} still keeps {key.Table} {key.Key}";
            }
        }

        foreach (var session in _stored.Values.GroupBy(u => (u.OriginHost, u.Record.Session)).Where(s => s.MaxBy(u => u.Record.Number)!.Record.Type != AccountingRecordType.Stop))
        {
            yield return $"the accounting session {session.Key.Session} has no end";
        }

        foreach (var (host, handed) in _handedOver)
        {
            var told = _stored.Values.Where(u => u.OriginHost == host).GroupBy(u => u.Record.Session)
                .Aggregate(default(UsageFigures), (sum, session) => sum + session.MaxBy(u => u.Record.Number)!.Record.Total);
            var unclaimed = (ulong)network.Counters.GetValueOrDefault(host.StartsWith("ha", StringComparison.Ordinal) ? "ha.accounting.unclaimed_octets" : "fa.accounting.unclaimed_octets");
            var (octetsHanded, octetsTold) = (handed.OctetsUp + handed.OctetsDown, told.OctetsUp + told.OctetsDown);
            if (octetsTold > octetsHanded || (exact && octetsTold + unclaimed < octetsHanded))
            {
                yield return $"{host} carried {handed} and told {told}; {unclaimed} octets were nobody's";
            }
        }
    }
}
