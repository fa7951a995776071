using Sojourn.DataPath.Interception;
using Sojourn.Engine;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Roles.Hosting;
using Sojourn.Wire.Ip;

namespace Sojourn.Roles.Correspondents;

/// <summary>Frames of a correspondent's link and packets of its applications.</summary>
internal sealed class CorrespondentPort : IEffectPort, IDisposable
{
    private readonly AccessLinkSocket _link;
    private readonly HostDevice _device;
    private readonly NodeServices _services;

    /// <param name="mtu">Of the link, octets; the engine says by ICMPv6 what headers take of it.</param>
    public CorrespondentPort(string link, string device, int mtu, Action<EngineInput> deliver, NodeServices services)
    {
        _services = services;
        _link = new AccessLinkSocket(link, (source, packet, segmentSize) => Deliver(packet, segmentSize, cut => new Ipv6PacketReceived(cut, link, source), deliver));
        try
        {
            _device = new HostDevice(device, mtu, (packet, segmentSize) => Deliver(packet, segmentSize, cut => new HostPacketSent(cut), deliver));
        }
        catch
        {
            _link.Dispose();
            throw;
        }
    }

    public bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case SendIpv6Packet { LinkDestination: { } destination } sent:
                if (!_link.Send(destination, sent.Packet))
                {
                    _services.Count("correspondent.link.send_failed", 1);
                }

                return true;
            case DeliverToHost delivered:
                if (!_device.Deliver(delivered.Packet.Span))
                {
                    _services.Count("correspondent.host.deliver_failed", 1);
                }

                return true;
            case ConfigureHostSide side:
                try
                {
                    _device.Configure(side.HomeAddress, side.CareOfAddress);
                }
                catch (IOException e)
                {
                    _services.Report(new EngineEvent("host.not_configured", EventSeverity.Error, $"the system refuses an address or route of {_device.Name}: {e.Message}"));
                }

                return true;
            default:
                return false;
        }
    }

    /// <summary>The engine puts headers in front of packets one by one.</summary>
    private static void Deliver(ReadOnlyMemory<byte> packet, int segmentSize, Func<ReadOnlyMemory<byte>, EngineInput> input, Action<EngineInput> deliver)
    {
        foreach (var cut in Segmentation.Cut(packet, segmentSize))
        {
            deliver(input(cut));
        }
    }

    public void Dispose()
    {
        _link.Dispose();
        _device.Dispose();
    }
}
