using System.Buffers.Binary;
using Sojourn.Engine;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Network;

namespace Sojourn.Lab.Scenarios;

/// <summary>R32: ESP that arrives inside IP-in-IP.</summary>
public sealed partial class NetworkVpn1
{
    private const string Wrapped = "wrapped in IP-in-IP by the scenario";

    private PingResult? _wrapped;

    /// <summary>The wire puts an IP header around what the foreign agent sends, as a sender does whose tunnel device wraps what its IPsec has made.</summary>
    private async Task WrappedAsync(LabRun run, CancellationToken cancellation)
    {
        if (run.Definition.Options.Security != SecurityType.Esp)
        {
            return;
        }

        run.Progress.Step("The foreign agent's ESP arrives at the home agent inside IP-in-IP");
        var wire = run.Network.Wire("core-ha");
        wire.Tap = frame => frame.Sender == 1 && Ipv4Packet.Of(frame) is { Protocol: 50 } packet && packet.Source.Equals(Agent) && packet.Destination.Equals(Home) ? Wrap(frame, packet) : WireVerdict.Pass;
        _wrapped = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
        wire.Tap = null;
        run.Progress.Note(_wrapped.Summary);
    }

    private static WireVerdict.Replace Wrap(CapturedFrame frame, Ipv4Packet packet)
    {
        const int link = 14, header = 20;
        var changed = new byte[link + header + packet.Octets.Length];
        frame.Data.AsSpan(0, link).CopyTo(changed);
        packet.Octets[..header].CopyTo(changed.AsSpan(link));
        packet.Octets.CopyTo(changed.AsSpan(link + header));
        var outer = changed.AsSpan(link, header);
        outer[0] = 0x45;
        outer[9] = 4;
        BinaryPrimitives.WriteUInt16BigEndian(outer[2..], (ushort)(header + packet.Octets.Length));
        outer[10] = outer[11] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(outer[10..], (ushort)Ipv4Packet.Sum(outer));
        return new WireVerdict.Replace(changed, Wrapped);
    }

    private void JudgeWrapped(CaptureSet captures, RowBook rows)
    {
        if (_wrapped is not { } ping)
        {
            return;
        }

        var link = captures.On("core-ha").During(ping).ToList();
        var wrapped = link.Count(p => p.Frame.Comment == Wrapped && p.Packet.Protocol == 4 && p.Inner is { Protocol: 50 });
        var back = link.Where(p => p.SenderNode == "ha" && p.Between(Home, Agent)).ToList();
        rows.Check("R32", "ESP that arrives inside IP-in-IP is taken; what is sent is ESP in tunnel mode and nothing around it",
            ping.AllArrived && wrapped >= ping.Sent && back.Count >= ping.Sent && back.All(p => p.Protection == SeenProtection.Esp), $"{ping.Summary}; {wrapped} packets FA > HA wrapped, {back.Count} HA > FA as ESP");
    }
}
