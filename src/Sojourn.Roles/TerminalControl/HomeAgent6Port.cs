using System.Net;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.TerminalControl;

/// <summary>
/// Between a home agent, or an anchor point, and its virtual device (spec terminal TM-P21, Fig. 35): whatever interface a packet came by, the device
/// steers it to one of its queues by its flow, and the queue's <see cref="HomeAgentServer"/> sends on from its own thread what is to be tunnelled or
/// comes out of a tunnel. Everything else is an input of the engine.
/// </summary>
internal sealed class HomeAgent6Port : IEffectPort, IDisposable
{
    private readonly RoutedDevice _device;
    private readonly HomeTunnel _tunnel;
    private readonly NodeServices _services;
    private readonly HomeAgentServer[] _servers;
    private byte[] _output = new byte[HomeTunnel.OutputFor(2048)];

    /// <param name="device">A server for each of its queues.</param>
    /// <param name="own">The home agent's address.</param>
    /// <param name="cookies">Of its engine; null = it exchanges no keys.</param>
    public HomeAgent6Port(RoutedDevice device, HomeTunnel tunnel, IPAddress own, CookieGate? cookies, Action<EngineInput> deliver, NodeServices services)
    {
        (_device, _tunnel, _services) = (device, tunnel, services);
        _servers = [.. Enumerable.Range(0, device.Queues).Select(number => new HomeAgentServer(number, tunnel, own.GetAddressBytes(), cookies, Write, deliver, services))];
        device.StartEach(number => _servers[number].Take);
    }

    public IReadOnlyList<ServerRow> Servers => [.. _servers.Select(server => server.Row)];

    public bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case SendIpv6Packet packet:
                Send(packet.Packet.Span);
                return true;
            case ChangePaths change:
                if (_tunnel.Change(change, _services.Time.GetUtcNow()).Refusal is { } refusal)
                {
                    _services.Report(refusal.ToEvent());
                }

                return true;
            default:
                return false;
        }
    }

    public void Dispose() => _device.Dispose();

    /// <summary>What the engine sends, on the engine's thread: a terminal may be in a network that moves itself.</summary>
    private void Send(ReadOnlySpan<byte> packet)
    {
        if (_output.Length < HomeTunnel.OutputFor(packet.Length))
        {
            _output = new byte[HomeTunnel.OutputFor(packet.Length)];
        }

        var result = _tunnel.Send(packet, _output, _services.Time.GetUtcNow());
        foreach (var one in new PacketSequence(result.Verdict == HomeTunnelVerdict.Send ? _output.AsSpan(result.Offset, result.Length) : default))
        {
            Write(one);
        }
    }

    private void Write(ReadOnlySpan<byte> packet)
    {
        if (!_device.Write(packet))
        {
            _services.Count("ha6.device.write_failed", 1);
        }
    }
}
