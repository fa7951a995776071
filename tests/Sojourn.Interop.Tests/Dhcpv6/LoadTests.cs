using System.Globalization;
using System.Text.RegularExpressions;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Interop.Tests.Diameter;
using Sojourn.Lab.Nodes;
using Sojourn.Roles.Hosting;
using Sojourn.Storage;
using Sojourn.Wire.Dhcpv6;
using Xunit;
using Xunit.Abstractions;
using static Sojourn.Interop.Tests.Dhcpv6.DelegationRig;

namespace Sojourn.Interop.Tests.Dhcpv6;

/// <summary>Kea's load generator at our delegating router, through our relay agent. How fast it can go is measured in benchmarks/.</summary>
public sealed partial class LoadTests(ITestOutputHelper output)
{
    private const int Clients = 1000, Rate = 200, Seconds = 5;

    [PackagedFact("kea-admin", "/usr/sbin/perfdhcp")]
    public async Task Perfdhcp_is_refused_nothing_and_what_it_was_promised_is_kept()
    {
        using var rig = new DelegationRig();
        using (var opened = Database.Open(Path.Combine(rig.Folder, "prefixes.db")))
        {
            // Its clients have a DUID of a link-layer address that counts up, and IAID 1.
            new PrefixIdentityStore(opened, TimeProvider.System).Put([.. Enumerable.Range(0, Clients).Select(number => new PrefixIdentity(
                new AssociationKey(Duid.OfLinkLayer(1, [2, 0, 0, 0, (byte)(number >> 8), (byte)number]), 1), string.Create(CultureInfo.InvariantCulture, $"c{number}.home.example"), IdentityOrigin.Provisioned, []))]);
        }

        const string approved = "approved: [ '*.home.example' ]";
        var node = rig.Router(approved);
        var result = await LabCommand.RunAsync(
            LabCommand.Inside(rig.Terminal.Name,
            [
                "perfdhcp", "-6", "-l", "eth0", "-e", "prefix-only", "-b", "duid=00030001020000000000", "-b", "mac=02:00:00:00:00:00", "-R", Text(Clients), "-r", Text(Rate), "-p", Text(Seconds),

                // A reply is late after five seconds: this is no race. The last exchanges have two to end in.
                "-d", "5", "-W", "2000000", "all",
            ]),
            CancellationToken.None, TimeSpan.FromSeconds(60));
        var figures = Figure().Matches(result.Output).ToLookup(m => m.Groups[1].Value, m => long.Parse(m.Groups[2].ValueSpan, CultureInfo.InvariantCulture));
        var (sent, received) = (figures["sent packets"].ToList(), figures["received packets"].ToList());
        Assert.True(result.ExitCode == 0 && sent.Count == 2 && received.Count == 2, result.Output + result.Errors);

        // Solicit and Advertise, Request and Reply.
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{sent[0]} Solicits, {received[0]} Advertises, {sent[1]} Requests, {received[1]} Replies in {Seconds} s"));
        Assert.True(sent[0] >= Rate * Seconds * 0.8, result.Output);
        Assert.True(received[0] == sent[0] && sent[1] == sent[0] && received[1] == sent[1], result.Output);
        Assert.All(figures["rejected leases"].Concat(figures["drops"]).Concat(figures["orphans"]), figure => Assert.Equal(0, figure));
        var leases = await Leases(node);
        Assert.All(leases, lease => Assert.Equal("allocated", lease.State));
        Assert.Equal(leases.Count, leases.Select(lease => lease.Prefix).Distinct().Count());
        Assert.InRange(leases.Count, Clients / 2, Clients);

        // Committed before they were promised: a router that starts again has them all.
        var again = rig.Router(approved);
        await Until(async () => (await Leases(again)).Count > 0, "the leases are restored");
        Assert.Equal(leases.Select(lease => Text(lease)).Order(StringComparer.Ordinal), (await Leases(again)).Select(lease => Text(lease)).Order(StringComparer.Ordinal));
    }

    private static string Text(LeaseRow lease) => $"{lease.Identifier} {lease.Prefix}";

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^([a-z ]+): (\d+)\s*$", RegexOptions.Multiline)]
    private static partial Regex Figure();
}
