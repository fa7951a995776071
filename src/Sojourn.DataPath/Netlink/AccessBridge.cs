using System.Net;
using Sojourn.Engine;

namespace Sojourn.DataPath.Netlink;

/// <summary>
/// The access links of a router behind one bridge whose ports the kernel keeps locked: a station's frames pass when it was admitted, and
/// only on its port (spec TA1.104x). The bridge outlives the process: who is not admitted stays out while nobody decides.
/// Lives in the namespace of the thread that made it.
/// </summary>
public sealed class AccessBridge : IDisposable
{
    private readonly Rtnetlink _route = new();

    /// <summary>Makes the bridge where it is not there, shuts every port and puts everybody out.</summary>
    /// <param name="addresses">The router's on the access link.</param>
    /// <param name="isolated">Stations of different ports hear the router alone: neither advertisements of routers nor answers of neighbours that a station makes up reach another (RFC 6105, row TA-M55).</param>
    /// <exception cref="IOException">A port is not there or belongs to another bridge, or the system refuses.</exception>
    public AccessBridge(string bridge, IReadOnlyList<string> ports, IEnumerable<(IPAddress Address, int PrefixLength)> addresses, bool isolated)
    {
        try
        {
            if (_route.FindLink(bridge) is null)
            {
                _route.CreateBridge(bridge);
            }

            var index = _route.Link(bridge).Index;
            foreach (var port in ports)
            {
                Shut(port, bridge, index, isolated);
            }

            _route.SetUp(bridge);
            foreach (var (address, length) in addresses)
            {
                _route.AddAddress(bridge, address, length, detectDuplicates: false);
            }
        }
        catch
        {
            _route.Dispose();
            throw;
        }
    }

    public void Admit(string port, LinkAddress station) => _route.AddForwarding(port, station);

    public void Expel(string port, LinkAddress station) => _route.RemoveForwarding(port, station);

    public void Dispose() => _route.Dispose();

    private void Shut(string port, string bridge, int index, bool isolated)
    {
        var link = _route.Link(port);
        if (link.Master != index)
        {
            if (link.Master != 0)
            {
                throw new IOException($"{port} belongs to another bridge");
            }

            // Down until it is locked, so that nothing passes in between.
            _route.SetUp(port, up: false);
            _route.SetMaster(port, bridge);
        }

        _route.LockBridgePort(port, isolated);
        _route.SetUp(port);
        foreach (var station in _route.Forwardings(port))
        {
            _route.RemoveForwarding(port, station);
        }
    }
}
