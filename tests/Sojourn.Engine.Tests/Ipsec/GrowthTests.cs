using System.Net;
using Sojourn.Engine.Ipsec;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>What one more user costs must not depend on how many there are. Octets are counted, not time.</summary>
public class GrowthTests
{
    private static readonly IPAddress Local = IPAddress.Parse("10.0.3.2"), Company = IPAddress.Parse("10.0.5.2"), Agent = IPAddress.Parse("10.0.1.2");

    [Fact]
    [Trait("Row", "S235")]
    public void A_registration_costs_a_path_table_the_same_with_twenty_thousand_users_as_with_one_thousand()
    {
        var table = new PathTable(new PathTableOptions { OuterMtu = 1500 }, SystemRandomSource.Instance);
        Register(table, 0, 1000);
        var few = Cost(table, 1000);
        Register(table, 1000 + Measured, 20_000);
        var many = Cost(table, 20_000);
        Assert.True(many < few * 2, $"{few} octets a user at 1,000 users, {many} at 20,000");
    }

    /// <summary>What a table of a million costs to make, and to keep, is what one change of many allocates for each: 3.2 KB were measured, of which it keeps half.</summary>
    [Fact]
    public void A_path_with_two_associations_of_its_own_costs_at_most_four_kilobytes_to_install_among_a_thousand_others()
    {
        var table = new PathTable(new PathTableOptions { OuterMtu = 1500 }, SystemRandomSource.Instance);
        var paths = Enumerable.Range(0, 5000).Select(user => Path(
            $"session {user}", "1", new IPNetwork(new IPAddress([10, (byte)(user >> 16), (byte)(user >> 8), (byte)user]), 32), IPNetwork.Parse("192.168.50.0/24"), Agent,
            Sa(0x10000 + (2 * (uint)user), Local, Agent, Own(user), 1, derived: true), Sa(0x10001 + (2 * (uint)user), Agent, Local, Own(user), 2, derived: true))).ToArray();
        for (var at = 0; at < 4000; at += 1000)
        {
            Assert.Null(table.Change(paths[at..(at + 1000)], [], DateTimeOffset.UnixEpoch).Refusal);
        }

        var last = paths[4000..];
        var before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Null(table.Change(last, [], DateTimeOffset.UnixEpoch).Refusal);
        var each = (GC.GetAllocatedBytesForCurrentThread() - before) / last.Length;
        Assert.True(each <= 4096, $"{each} octets a path");

        static byte[] Own(int user) => [(byte)(user >> 16), (byte)(user >> 8), (byte)user, .. new byte[17]];
    }

    private const int Measured = 64;

    private static long Cost(PathTable table, int first)
    {
        // The median: now and then a map grows, which is spread over the registrations before it.
        var costs = new List<long>();
        for (var user = first; user < first + Measured; user++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            Register(table, user, user + 1);
            costs.Add(GC.GetAllocatedBytesForCurrentThread() - before);
        }

        costs.Sort();
        return costs[Measured / 2];
    }

    /// <summary>Both legs a home agent has for a user: an association of the user's own to the foreign agent, and the preset one to the company, which all share.</summary>
    private static void Register(PathTable table, int from, int to)
    {
        for (var user = from; user < to; user++)
        {
            var home = new IPNetwork(new IPAddress([10, (byte)(128 + (user >> 16)), (byte)(user >> 8), (byte)user]), 32);
            var company = IPNetwork.Parse("192.168.50.0/24");
            var owner = $"session {user}";
            var own = (byte[])[(byte)(user >> 16), (byte)(user >> 8), (byte)user, .. new byte[17]];
            var result = table.Change(
                [
                    Path(owner, "1/fa", company, home, Agent, Sa(0x10000 + (2 * (uint)user), Local, Agent, own, 1, derived: true), Sa(0x10001 + (2 * (uint)user), Agent, Local, own, 2, derived: true)),
                    Path(owner, "1/company", home, company, Company, Sa(0x1001, Local, Company, [], 3, derived: false), Sa(0x1002, Company, Local, [], 4, derived: false)),
                ],
                [], DateTimeOffset.UnixEpoch);
            Assert.Null(result.Refusal);
        }
    }

    private static VpnPath Path(string owner, string leg, IPNetwork source, IPNetwork destination, IPAddress remote, SaParameters outbound, SaParameters inbound) => new()
    {
        Id = new PathId(owner, leg),
        Source = source,
        Destination = destination,
        SecurityType = SecurityType.Esp,
        LocalGateway = Local,
        RemoteGateway = remote,
        Outbound = outbound,
        Inbound = inbound,
        Origin = new PathOrigin("test", "S235"),
    };

    private static SaParameters Sa(uint spi, IPAddress source, IPAddress destination, byte[] own, byte direction, bool derived) => new()
    {
        Spi = spi,
        Source = source,
        Destination = destination,
        Algorithm = derived ? IpsecAlgorithm.Aes128Gcm16 : IpsecAlgorithm.Aes128CbcHmacSha256,
        Keys = derived
            ? new AssociationKeys(new KeyMaterial([.. own[..19], direction]), new KeyMaterial([]))
            : new AssociationKeys(new KeyMaterial([.. new byte[15], direction]), new KeyMaterial([.. new byte[31], direction])),
        StaticKeys = !derived,
        ExtendedSequence = derived,
        ReplayWindow = 64,
    };
}
