using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>
/// Which peers lead to a destination, best first (RFC 6733 sections 2.7 and 6.1.4 to 6.1.6): the Destination-Host itself
/// when it is a peer; the routes of the realm, those of the application first; peers of the realm itself; the routes for
/// every realm. With a Destination-Host only that host, or whoever an explicit route names, can help.
/// </summary>
internal sealed class RoutingTable
{
    private const string AnyRealm = "*";

    private readonly Dictionary<string, DiameterPeer> _peers;
    private readonly IReadOnlyList<DiameterRoute> _routes;

    public RoutingTable(IEnumerable<DiameterPeer> peers, IReadOnlyList<DiameterRoute> routes)
    {
        _peers = peers.ToDictionary(p => p.Identity, StringComparer.OrdinalIgnoreCase);
        _routes = routes;
        foreach (var name in routes.SelectMany(r => r.Peers).Where(n => !_peers.ContainsKey(n)))
        {
            throw new ArgumentException($"a route names '{name}', which is not a configured peer", nameof(routes));
        }
    }

    public IReadOnlyCollection<DiameterPeer> Peers => _peers.Values;

    public DiameterPeer? Find(string identity) => _peers.GetValueOrDefault(identity);

    public IReadOnlyList<DiameterPeer> Candidates(DiameterMessage request)
    {
        var candidates = new List<DiameterPeer>();
        if (request.DestinationHost is { } host && Find(host) is { } direct)
        {
            Add(direct);
        }

        if (request.DestinationRealm is { } realm)
        {
            AddRoutes(realm, request.ApplicationId);
            if (request.DestinationHost is null)
            {
                foreach (var peer in _peers.Values)
                {
                    if (Same(peer.Options.Realm, realm))
                    {
                        Add(peer);
                    }
                }
            }

            AddRoutes(AnyRealm, request.ApplicationId);
        }

        return candidates;

        void AddRoutes(string name, uint application)
        {
            AddThose(name, application);
            AddThose(name, null);
        }

        void AddThose(string name, uint? application)
        {
            foreach (var route in _routes)
            {
                if (route.ApplicationId == application && Same(route.Realm, name))
                {
                    foreach (var peer in route.Peers)
                    {
                        Add(_peers[peer]);
                    }
                }
            }
        }

        void Add(DiameterPeer peer)
        {
            if (!candidates.Contains(peer))
            {
                candidates.Add(peer);
            }
        }
    }

    private static bool Same(string a, string b) => string.Equals(a, b, StringComparison.OrdinalIgnoreCase);
}
