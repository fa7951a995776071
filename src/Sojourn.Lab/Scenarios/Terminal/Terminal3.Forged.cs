using System.Net;
using System.Text.Json;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios.Terminal;

/// <summary>Acknowledgements and data that nobody may send, put on the access links as the router would hand them on.</summary>
public sealed partial class Terminal3
{
    // In a frame with routing header: the header's address, and the SPI where ESP stands behind it.
    private const int EthernetHeader = 14, RoutingAddress = 14 + 40 + 8, SpiBehindRouting = 14 + 40 + 24;

    private readonly List<(string Row, string What, string Counter, long Rise, bool Unchanged)> _forged = [];

    /// <summary>TM3.9, TM3.50: each is discarded with its counter, and no table changes.</summary>
    private async Task ForgeAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Somebody sends the terminals acknowledgements and data of his own making");
        var (agent, careOf, home) = (IPAddress.Parse(HomeAgent), IPAddress.Parse(Text(_shown["mn3 tunnels registered"][0], "start")), IPAddress.Parse(Home3));

        // The home agent's own acknowledgement: the only packet to the third terminal with ESP behind a routing header.
        var genuine = run.Network.Wire("access-3").Recording.Frames().Last(f => f.Sender == 1 && f.Comment is null && IsRouted(f.Data) && f.Data[EthernetHeader + 40] == IpProtocol.Esp);
        byte[] Acknowledgement(IPAddress source) => [
            .. genuine.Data.AsSpan(0, EthernetHeader),
            .. new MobileIpv6Packet { Source = source, Destination = careOf, RoutingHomeAddress = home, Protocol = IpProtocol.Mobility, Payload = new BindingAcknowledgement { Status = BindingStatus.Accepted, SequenceNumber = 1, Lifetime = 100 }.ToArray(source, home) }.ToArray(),
        ];

        await ForgeAsync(run, "TM3.9", "an acknowledgement in clear", "mn3", "access-3", "spd.mismatch_in", Acknowledgement(agent), cancellation);
        await ForgeAsync(run, "TM3.9", "an acknowledgement of somebody who was sent no update", "mn3", "access-3", "ba.bul_failed", Acknowledgement(IPAddress.Parse(Plain)), cancellation);
        await ForgeAsync(run, "TM3.9", "an acknowledgement under an unknown SPI", "mn3", "access-3", "ipsec.sa_not_found_in", Changed(genuine.Data, SpiBehindRouting), cancellation);
        await ForgeAsync(run, "TM3.9", "an acknowledgement with a changed check value", "mn3", "access-3", "ipsec.failed_in", Changed(genuine.Data, genuine.Data.Length - 1), cancellation);
        await ForgeAsync(run, "TM3.9", "the genuine acknowledgement once more", "mn3", "access-3", "ipsec.failed_in", genuine.Data, cancellation);

        var routed = run.Network.Wire("access-1").Recording.Frames().Last(f => f.Sender == 1 && f.Comment is null && IsRouted(f.Data) && f.Data[EthernetHeader + 40] == IpProtocol.Icmpv6);
        await ForgeAsync(run, "TM3.50", "data with another address in the routing header", "mn", "access-1", "rx.rh_home_addr_bad", Changed(routed.Data, RoutingAddress + 15), cancellation);
    }

    private async Task ForgeAsync(LabRun run, string row, string what, string node, string link, string counter, byte[] frame, CancellationToken cancellation)
    {
        var before = await SnapshotAsync(run, node, cancellation);
        var counted = await CounterAsync(run, node, counter, cancellation);
        run.Network.Wire(link).Inject(1, frame, "forged by the scenario: " + what);
        await LabRun.UntilAsync(async () => await CounterAsync(run, node, counter, cancellation) > counted, TimeSpan.FromSeconds(2), cancellation);
        _forged.Add((row, what, counter, await CounterAsync(run, node, counter, cancellation) - counted, await SnapshotAsync(run, node, cancellation) == before));
    }

    /// <summary>Everything that an acknowledgement could change.</summary>
    private static async Task<string> SnapshotAsync(LabRun run, string node, CancellationToken cancellation)
    {
        List<JsonElement> rows = [];
        foreach (var table in (string[])["binding-list", "tunnels", "scenarios"])
        {
            rows.AddRange(await TableAsync(run, node, table, cancellation));
        }

        // When an entry was used last is no concern of an acknowledgement.
        rows.AddRange(await TableAsync(run, node, "translation", cancellation) is { } entries ? entries.Where(e => Text(e, "kind") == "own") : []);
        return string.Join('\n', rows) + await AddressesAsync(run, node, cancellation);
    }

    private static bool IsRouted(byte[] frame) => frame.Length > SpiBehindRouting + 8 && frame[EthernetHeader + 6] == IpProtocol.Routing && frame[EthernetHeader + 42] == 2;

    private static byte[] Changed(byte[] frame, int at)
    {
        var changed = frame.ToArray();
        changed[at] ^= 1;
        return changed;
    }

    private void JudgeForged(RowBook rows)
    {
        foreach (var row in (string[])["TM3.9", "TM3.50"])
        {
            foreach (var (_, what, counter, rise, unchanged) in _forged.Where(f => f.Row == row).DefaultIfEmpty((row, "nothing was sent", "", 0, false)))
            {
                rows.Check(row, $"{what} is discarded and counted, and no table changes", rise == 1 && unchanged, $"{counter} +{rise}, tables {(unchanged ? "as before" : "changed")}");
            }
        }
    }
}
