using System.Globalization;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;
using Sojourn.Wire.Ikev2;
using static Sojourn.Lab.Scenarios.TableQuestions;

namespace Sojourn.Lab.Scenarios;

/// <summary>What changes when home agent and company gateway agree on their keys by IKEv2 (<c>--gateway keyed</c>): nobody knows the SPIs beforehand.</summary>
public sealed partial class NetworkVpn1
{
    private static string ButTheKeyExchange(ScenarioOptions options) => options.Gateway == GatewayPeer.Keyed ? " but the key exchange of the two gateways" : "";

    /// <summary>Waits for the tunnel that both gateways set up by themselves.</summary>
    private static async Task KeyedAsync(LabRun run, CancellationToken cancellation)
    {
        if (run.Definition.Options.Gateway != GatewayPeer.Keyed)
        {
            return;
        }

        run.Progress.Step("Home agent and company gateway agree on keys by IKEv2");
        if (!await LabRun.UntilAsync(
            async () => PathLines.Rows(await run.ShowAsync("sgw", "paths", cancellation)).Any(p => Text(p, "state") == "active" && Is(p, "remoteGateway", Home)), TimeSpan.FromSeconds(20), cancellation))
        {
            throw new ScenarioException("the company's gateway has agreed on no keys with the home agent");
        }
    }

    private void KeyExchange(CaptureSet captures, RowBook rows, ScenarioOptions options)
    {
        if (options.Gateway != GatewayPeer.Keyed)
        {
            return;
        }

        var messages = captures.On("core-sgw").Where(IsKeyExchange).ToList();
        var headers = messages.Select(p => IkeHeader.TryParse(Message(p.Packet), out var header, out _) ? header : default).ToList();
        var (to, from) = AgreedSpis();
        var carried = captures.On("core-sgw").During(_up!).Where(p => p.Protection == SeenProtection.Esp && p.Between(Home, Company)).ToList();
        rows.Check("NV1.2", "the keys of the company's tunnel were agreed on by IKEv2 before anybody registered, between the two gateways and nobody else",
            headers.Any(h => h.Exchange == IkeExchange.IkeSaInit) && headers.Count(h => h.Exchange == IkeExchange.IkeAuth) >= 2 && messages[0].Time < _before!.From && messages.All(p => p.Between(Home, Company) || p.Between(Company, Home)),
            $"{messages.Count} IKE messages: {string.Join(", ", headers.Select(h => h.Exchange).Distinct())}");
        rows.Check("NV1.2", "the tunnel's SPIs are those of that agreement, and no other ones are seen between the two",
            to > 0 && from > 0 && carried.Count >= _up!.Sent && captures.On("core-sgw").Where(p => p.Protection == SeenProtection.Esp && p.Frame.Comment is null).All(p => p.Spi == (p.SenderNode == "sgw" ? from : to)),
            string.Create(CultureInfo.InvariantCulture, $"HA > SGW 0x{to:x8}, SGW > HA 0x{from:x8}; {carried.Count} ESP packets for {_up!.Sent} pings"));
    }

    /// <summary>As the home agent's path table has them; 0 = none.</summary>
    private (uint ToCompany, uint FromCompany) AgreedSpis()
    {
        var path = _tables.Rows("alice", "ha", "paths").FirstOrDefault(p => Is(p, "localGateway", Home) && Is(p, "remoteGateway", Company) && Text(p, "state") == "active");
        uint Value(string half) => path.ValueKind == System.Text.Json.JsonValueKind.Object && Spi(path, half) is ['0', 'x', .. var digits] && uint.TryParse(digits, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var spi) ? spi : 0;
        return (Value("outbound"), Value("inbound"));
    }

    /// <summary>IKE on its own port, or behind the non-ESP marker on that of NAT traversal; only the variant with a key exchange has any.</summary>
    private static bool IsKeyExchange(Sighting seen) => seen.Packet is { IsUdp: true } packet && (packet.Source.Equals(Home) || packet.Source.Equals(Company))
        && (packet.DestinationPort == Ikev2Limits.Port || (packet.DestinationPort == Ikev2Limits.NatTraversalPort && packet.UdpData.Span.StartsWith(new byte[Ikev2Limits.NonEspMarkerLength])));

    private static ReadOnlySpan<byte> Message(Ipv4Packet packet) => packet.DestinationPort == Ikev2Limits.NatTraversalPort ? packet.UdpData.Span[Ikev2Limits.NonEspMarkerLength..] : packet.UdpData.Span;
}
