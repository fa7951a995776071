using System.Globalization;
using System.Net;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>Full-sized and replayed packets on every kind of path, and what end hosts never see (NV-A33, NV-A34).</summary>
public sealed partial class NetworkVpn9
{
    private readonly List<Sized> _sized = [];
    private IReadOnlyList<string> _aliceSockets = [];

    private async Task SizesAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Packets of 1500 octets on every kind of path, and one of each sent again");
        foreach (var (host, link, protection) in ((IPAddress, string, SeenProtection)[])
            [(Host, "core-pcn", SeenProtection.Esp), (AuthenticatedHost, "core-pcn", SeenProtection.Ah), (EncapsulatedHost, "core-pcn2", SeenProtection.Encapsulation)])
        {
            var whole = await run.PingAsync("alice", host.ToString(), new PingOptions(3) { Size = 1472, DontFragment = false }, cancellation);
            var tooBig = await run.PingAsync("alice", host.ToString(), new PingOptions(3) { Size = 1472, DontFragment = true }, cancellation);
            PingResult? fits = null;
            for (var (told, tries) = (tooBig.MtuTold, 0); told is { } mtu && fits is not { Received: > 0 } && tries < 4; (told, tries) = (fits.MtuTold, tries + 1))
            {
                fits = await run.PingAsync("alice", host.ToString(), new PingOptions(3) { Size = mtu - 28, DontFragment = true }, cancellation);
            }

            // The newest packet from the agent to the gateway on this path, sent again by the core.
            var wire = run.Network.Wire(link);
            var recorded = wire.Recording.Frames().LastOrDefault(f => f is { Sender: 1, Comment: null } && Ipv4Packet.Of(f) is { } p && p.Protocol == Number(protection) && p.Source.Equals(Agent));
            var again = LabRun.Now;
            if (recorded is not null)
            {
                wire.Inject(1, recorded.Data, "sent again by the scenario");
            }

            await Task.Delay(300, cancellation);
            _sized.Add(new Sized(host, protection, whole, tooBig, fits, recorded is not null, again, LabRun.Now));
        }

        _aliceSockets = run.Sockets("alice");
    }

    private void Sizes(CaptureSet captures, RowBook rows)
    {
        foreach (var sized in _sized)
        {
            var name = $"{sized.Protection.Name()} straight to the partner's gateway";
            rows.Check("NV-A33", $"{name}: 1500-octet packets without DF are delivered whole", sized.Whole.AllArrived, sized.Whole.Summary);
            var largest = sized.Fits is null ? 0 : captures.On(LinkKind.Core).During(sized.Fits).Where(p => p.Protection == sized.Protection && p.Host is { } h && h.Destination.Equals(sized.To)).Select(p => p.Packet.Octets.Length).DefaultIfEmpty().Max();
            rows.Check("NV-A33", $"{name}: with DF they are answered with a size that passes and fills the link", sized.TooBig is { Received: 0, MtuTold: not null } && sized.Fits is { AllArrived: true } && largest is > 1484 and <= 1500,
                string.Create(CultureInfo.InvariantCulture, $"MTU told: {sized.TooBig.MtuTold}; {sized.Fits?.Summary ?? "not sent"}; largest outer packet {largest} octets"));
            var delivered = captures.On(sized.To.Equals(EncapsulatedHost) ? "partner-2" : "partner").Count(p => p.Time >= sized.Again && p.Time <= sized.Until && p.Packet.Source.Equals(Alice) && p.Packet.Destination.Equals(sized.To));
            rows.Check("NV-A33", sized.Protection == SeenProtection.Encapsulation ? $"{name}: a repeated packet is delivered again, there being nothing to tell it by" : $"{name}: a repeated packet is dropped",
                sized.Repeated && delivered == (sized.Protection == SeenProtection.Encapsulation ? 1 : 0), $"sent again: {sized.Repeated}; {delivered} delivered");
        }

        var tall = captures.Packets.Where(p => p.Packet.Octets.Length > 1500).ToList();
        rows.Check("NV-A33", "no packet on any link is longer than 1500 octets, in the whole run", tall.Count == 0, tall.Count("packets"));
        var vpn = captures.On(LinkKind.Access).Concat(captures.On(LinkKind.Partner)).Concat(captures.On(LinkKind.Company)).VpnTraffic();
        rows.Check("NV-A34", "no IPsec, IKE or tunnelled packet to or from any terminal or host, in the whole run", vpn.Count == 0, vpn.Count("such packets"));
        var foreign = _aliceSockets.Where(s => !s.EndsWith(":434", StringComparison.Ordinal) && !s.StartsWith("raw", StringComparison.Ordinal)).ToList();
        rows.Check("NV-A34", "the mobile node has no transport socket but UDP 434", _aliceSockets.Count > 0 && foreign.Count == 0, string.Join(", ", _aliceSockets));
    }

    private static byte Number(SeenProtection protection) => protection switch
    {
        SeenProtection.Esp => 50,
        SeenProtection.Ah => 51,
        _ => 4,
    };

    private sealed record Sized(IPAddress To, SeenProtection Protection, PingResult Whole, PingResult TooBig, PingResult? Fits, bool Repeated, long Again, long Until);
}
