// Readings:
// - An entry holds in both directions, for the peer on the far side of it; where several fit, the first decides (spec terminal 3.8).
// - Signalling is not asked here: SP1 and SP3 are the mobile node's policy, SP7 is in front of everything. Home tests (SP2) have a
//   treatment of their own, since they go by way of home whatever the treatment of the peer's data is.
using System.Net;
using Sojourn.Wire.Ip;

namespace Sojourn.Engine.Terminal;

/// <summary>What is done with packets of applications (steps 105, 109, 126).</summary>
public enum DataTreatment : byte
{
    /// <summary>As without an entry.</summary>
    Bypass,

    /// <summary>Only under ESP: in tunnel mode by way of home, in transport mode by the short way.</summary>
    Protect,

    Discard,
}

/// <summary>An entry of the guest's policy database (spec terminal SP4, SP5, SP8).</summary>
/// <param name="Peers">Addresses of the far side.</param>
/// <param name="Protocol">Upper-layer protocol; null = any.</param>
public sealed record DataPolicyEntry(IPNetwork Peers, DataTreatment Treatment, byte? Protocol = null);

/// <summary>The policy database of mobile-IP IPsec (the second one of the terminal, TM-M4).</summary>
public sealed class GuestSecurityPolicy(IReadOnlyList<DataPolicyEntry> entries, DataTreatment homeTests)
{
    public IReadOnlyList<DataPolicyEntry> Entries { get; } = entries;

    public DataTreatment HomeTests { get; } = homeTests;

    /// <summary>Whether any packet of an application needs an association with the home agent.</summary>
    public bool ProtectsData => Entries.Any(e => e.Treatment == DataTreatment.Protect);

    /// <summary>Far sides of what is to be protected, none inside another: what the home agent is asked to make an association for (SP4).</summary>
    public IReadOnlyList<IPNetwork> ProtectedPeers
    {
        get
        {
            var peers = Entries.Where(e => e.Treatment == DataTreatment.Protect).Select(e => e.Peers).Distinct().ToList();
            return [.. peers.Where(p => !peers.Exists(wider => wider.PrefixLength < p.PrefixLength && wider.Contains(p.BaseAddress)))];
        }
    }

    /// <summary>Steps 104, 108 and 129: null = no policy exists.</summary>
    /// <param name="protocol">Of the user's packet, behind its extension headers.</param>
    public DataTreatment? Find(IPAddress peer, byte protocol) =>
        protocol == IpProtocol.Mobility ? HomeTests
        : Entries.FirstOrDefault(e => (e.Protocol is null || e.Protocol == protocol) && e.Peers.Contains(peer))?.Treatment;
}
