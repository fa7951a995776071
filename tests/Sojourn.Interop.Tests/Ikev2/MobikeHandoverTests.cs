using System.Globalization;
using System.Net;
using Sojourn.Engine;
using Sojourn.Lab;
using Sojourn.Lab.Capture;
using Xunit;
using Xunit.Abstractions;

namespace Sojourn.Interop.Tests.Ikev2;

/// <summary>
/// How long a move under MOBIKE (RFC 4555) interrupts packets: the company's gateway goes back and forth between two addresses behind two links of
/// 10 ms each, and a host on either side sends a datagram every 10 ms. The gap is the longest time between two arrivals, seen on the wires of the hosts.
/// </summary>
[Collection(nameof(MobikeHandoverTests))]
[CollectionDefinition(nameof(MobikeHandoverTests), DisableParallelization = true)]
public class MobikeHandoverTests(ITestOutputHelper output)
{
    private const int Moves = 20;
    private static readonly TimeSpan s_delay = TimeSpan.FromMilliseconds(10), s_interval = TimeSpan.FromMilliseconds(10);

    [StrongSwanFact]
    [Trait("Row", "TA-M14")]
    public async Task Charon_moves_twenty_times_and_our_gateway_follows()
    {
        await using var company = await CompanyGateway.StartAsync(certificates: true, "never", connection: "mobike = yes", twoLinks: true);
        await company.Charon.ControlAsync("--initiate", "--child", "net", "--timeout", "10");

        // charon waits 100 ms after a change of addresses before it acts, and its ESP in user space needs a new child SA after each move.
        await MoveAsync(company, "charon moves", _ => Task.CompletedTask, TimeSpan.FromSeconds(1));
    }

    [StrongSwanFact]
    [Trait("Row", "TA-M14")]
    public async Task Our_gateway_moves_twenty_times_and_another_follows()
    {
        await using var company = await CompanyGateway.StartAsync(certificates: false, "never", twoLinks: true, peer: CompanyPeer.Ours);
        var gaps = await MoveAsync(company, "our gateway moves", address => company.MoveOtherAsync(address), TimeSpan.FromSeconds(0.3));

        // One round trip tells the peer and brings the first packet that goes to the new address; the interval between two packets comes on top.
        Assert.True(gaps[gaps.Count / 2] < 4 * s_delay + s_interval + TimeSpan.FromMilliseconds(30), $"median {gaps[gaps.Count / 2]}");
    }

    private async Task<IReadOnlyList<TimeSpan>> MoveAsync(CompanyGateway company, string what, Func<IPAddress, Task> moved, TimeSpan pause)
    {
        await company.CarriesAsync();
        var network = company.Network;
        using var there = new Flow(network.Namespace("host"), network.Namespace("company"), CompanyGateway.Company, s_interval);
        using var back = new Flow(network.Namespace("company"), network.Namespace("host"), CompanyGateway.Host, s_interval);
        await Task.Delay(500);
        var began = new List<DateTimeOffset>();
        for (var move = 0; move < Moves; move++)
        {
            var address = move % 2 == 0 ? CompanyGateway.Elsewhere : CompanyGateway.CharonAddress;
            began.Add(DateTimeOffset.UtcNow);
            company.Reattach(address);
            await moved(address);
            await company.UntilAsync(async () => (await company.PathsAsync()).Any(p => p.State == PathState.Active && p.RemoteGateway.Equals(address)), $"move {move} is not followed");
            await Task.Delay(pause);
        }

        await there.StopAsync(TimeSpan.FromMilliseconds(500), CancellationToken.None);
        await back.StopAsync(TimeSpan.FromMilliseconds(500), CancellationToken.None);
        List<TimeSpan> gaps = [.. Gaps(network.Wire("lan").Recording, CompanyGateway.Company, began), .. Gaps(network.Wire("home").Recording, CompanyGateway.Host, began)];
        gaps.Sort();
        var lost = there.Sent + back.Sent - there.Taken.Count - back.Taken.Count;
        var said = string.Create(
            CultureInfo.InvariantCulture,
            $"{what} {Moves} times, both directions: gap median {gaps[gaps.Count / 2].TotalMilliseconds:F0} ms = {gaps[gaps.Count / 2] / (2 * s_delay):F1} round trips, worst {gaps[^1].TotalMilliseconds:F0} ms = {gaps[^1] / (2 * s_delay):F1}; {lost} of {there.Sent + back.Sent} datagrams lost");
        output.WriteLine(said);
        Console.WriteLine(said);
        foreach (var link in new[] { "core", "other" })
        {
            Assert.DoesNotContain(network.Wire(link).Recording.Frames(), f => Ipv4Packet.Of(f) is { } packet && Flow.NumberOf(packet) is not null);
        }

        Assert.True(gaps[^1] < TimeSpan.FromSeconds(3), said);
        return gaps;
    }

    /// <summary>Per move the longest time without an arrival that lasts into it or begins in it; not the one that the next move begins.</summary>
    private static IEnumerable<TimeSpan> Gaps(Recording recording, IPAddress destination, List<DateTimeOffset> began)
    {
        var arrivals = recording.Frames().Where(f => Ipv4Packet.Of(f) is { } p && p.Destination.Equals(destination) && Flow.NumberOf(p) is not null).Select(f => f.At).Order().ToList();
        for (var move = 0; move < began.Count; move++)
        {
            var (from, to) = (began[move], move + 1 < began.Count ? began[move + 1] : DateTimeOffset.MaxValue);
            yield return arrivals.Zip(arrivals.Skip(1)).Where(pair => pair.Second > from && pair.First < to - (5 * s_interval)).Max(pair => pair.Second - pair.First);
        }
    }
}
