using System.Net;
using Sojourn.DataPath.Native;
using Sojourn.Engine;

namespace Sojourn.DataPath.Xfrm;

/// <summary>What one path wants of one policy.</summary>
/// <param name="Rank">Of several paths with the same selector the lowest decides, then the newest.</param>
/// <param name="Dscp">What packets that it selects are marked with.</param>
internal sealed record PolicyClaim(PathId Path, int Rank, ulong Order, XfrmPolicy Policy, byte? Dscp = null);

/// <summary>
/// Policies in the kernel, from what paths claim. Order as in the user-space path: most specific first, by the sum of both prefix lengths,
/// then the source's. What comes in under an association is judged by the policies that bear its mark, and by no others; what comes
/// in clear falls through to one that blocks.
/// </summary>
/// <param name="marks">Null = packets are not marked.</param>
internal sealed class KernelPolicies(XfrmDatabase database, KernelMarks? marks = null)
{
    private const uint FirstPriority = 0x530000, LastPriority = 0x55FFFF, Unmarked = 0x10000;

    private readonly Dictionary<XfrmPolicyKey, List<PolicyClaim>> _claims = [];
    private int _marked;

    /// <summary>Takes away what an earlier life has left. What it selected leads nowhere meanwhile.</summary>
    public void TakeOver()
    {
        foreach (var (key, _) in database.Policies().Where(p => p.Priority is >= FirstPriority and <= LastPriority))
        {
            database.Delete(key);
        }

        marks?.TakeOver();
    }

    /// <summary>Lets packets of this node that bear the mark leave as they are: its signalling.</summary>
    public void Exempt(uint mark, bool ipv6)
    {
        var everything = new IPNetwork(ipv6 ? IPAddress.IPv6Any : IPAddress.Any, 0);
        database.Put(new XfrmPolicy(new XfrmPolicyKey(XfrmDirection.Out, everything, everything, mark), FirstPriority, null));
    }

    /// <param name="waiting">Request id that no association has, for a path that is not ready: the kernel then says that a packet waits.</param>
    public static IEnumerable<PolicyClaim> ClaimsOf(VpnPath path, ulong order, KernelAssociation? outbound, KernelAssociation? inbound, uint waiting)
    {
        if (path.State != PathState.ReceiveOnly)
        {
            var key = new XfrmPolicyKey(XfrmDirection.Out, path.Source, path.Destination, 0);
            var template = path.State switch
            {
                PathState.Active => TemplateOf(outbound!),
                PathState.Blocked => new XfrmTemplate(SecurityType.Esp, path.LocalGateway, path.RemoteGateway, 0, waiting),
                _ => null,
            };
            yield return new PolicyClaim(path.Id, path.State switch { PathState.Active => 0, PathState.Blocked => 1, _ => 2 }, order, new XfrmPolicy(key, PriorityOf(path), template, Blocks: template is null), path.MarkDscp);
        }

        if (inbound is null || path.State == PathState.Blocked)
        {
            yield break;
        }

        foreach (var direction in (XfrmDirection[])[XfrmDirection.In, XfrmDirection.Forward])
        {
            var key = new XfrmPolicyKey(direction, path.Destination, path.Source, inbound.Number);
            yield return new PolicyClaim(path.Id, 0, order, new XfrmPolicy(key, PriorityOf(path), TemplateOf(inbound)));
            yield return new PolicyClaim(path.Id, 0, order, new XfrmPolicy(key with { Mark = 0 }, PriorityOf(path) + Unmarked, null, Blocks: true));
        }
    }

    /// <summary>Adds claims and takes others back. Every single policy changes as one step for every packet; on failure all is as before.</summary>
    public void Change(IReadOnlyList<PolicyClaim> add, IReadOnlyList<PolicyClaim> drop)
    {
        var before = add.Concat(drop).Select(c => c.Policy.Key).Distinct().ToDictionary(key => key, Decided);
        Record(add, drop);
        try
        {
            // The first packet that a policy takes is marked already.
            marks?.Set(Marks());

            // What is there first, what is gone afterwards: nothing is without a policy in between.
            var deleted = new List<XfrmPolicyKey>();
            foreach (var (key, was) in before)
            {
                if (Decided(key) is not { } now)
                {
                    deleted.Add(key);
                }
                else if (now != was)
                {
                    database.Put(now);
                }
            }

            deleted.ForEach(database.Delete);
        }
        catch (SystemCallException)
        {
            Record(drop, add);
            foreach (var (key, was) in before)
            {
                if (was is null)
                {
                    database.Delete(key);
                }
                else
                {
                    database.Put(was);
                }
            }

            marks?.Set(Marks());
            throw;
        }
    }

    private void Record(IReadOnlyList<PolicyClaim> add, IReadOnlyList<PolicyClaim> drop)
    {
        foreach (var claim in add)
        {
            if (!_claims.TryGetValue(claim.Policy.Key, out var claims))
            {
                _claims[claim.Policy.Key] = claims = [];
            }

            claims.Add(claim);
            _marked += claim.Dscp is null ? 0 : 1;
        }

        foreach (var claim in drop)
        {
            if (!_claims.TryGetValue(claim.Policy.Key, out var claims) || !claims.Remove(claim))
            {
                continue;
            }

            _marked -= claim.Dscp is null ? 0 : 1;
            if (claims.Count == 0)
            {
                _claims.Remove(claim.Policy.Key);
            }
        }
    }

    private XfrmPolicy? Decided(XfrmPolicyKey key) => _claims.TryGetValue(key, out var claims) ? Decisive(claims).Policy : null;

    private static PolicyClaim Decisive(List<PolicyClaim> claims) => claims.OrderBy(c => c.Rank).ThenByDescending(c => c.Order).First();

    /// <summary>Of everything that leaves, in the order in which the kernel looks for policies; nothing if nothing is marked.</summary>
    private IEnumerable<KernelMark> Marks() => _marked == 0 ? [] : _claims.Where(c => c.Key.Direction == XfrmDirection.Out).Select(c => Decisive(c.Value))
        .OrderBy(c => c.Policy.Priority).ThenBy(c => c.Order).Select(c => new KernelMark(c.Policy.Key.Source, c.Policy.Key.Destination, c.Dscp));

    private static XfrmTemplate TemplateOf(KernelAssociation association) => new(
        association.Protocol, association.Parameters.Source, association.Parameters.Destination, association.Parameters.Spi, association.Number);

    private static uint PriorityOf(VpnPath path)
    {
        const uint mostSpecific = (256 * 129) + 128;
        var rank = ((path.Source.PrefixLength + path.Destination.PrefixLength) * 129) + path.Source.PrefixLength;
        return FirstPriority + 1 + mostSpecific - (uint)rank;
    }
}
