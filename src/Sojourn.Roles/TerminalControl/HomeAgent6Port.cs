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
/// Between a home agent, or an anchor point, and its virtual device: what is to be tunnelled or comes out of a tunnel goes on from the device's own
/// thread, so does the answer to first requests of IKEv2 when there are too many, and everything else is an input of the engine.
/// </summary>
internal sealed class HomeAgent6Port : IEffectPort, IDisposable
{
    private readonly RoutedDevice _device;
    private readonly HomeTunnel _tunnel;
    private readonly Action<EngineInput> _deliver;
    private readonly NodeServices _services;
    private readonly CookieGate? _cookies;
    private readonly byte[] _own, _answer = new byte[CookieGate.AnswerPacketLength];
    private byte[] _output = new byte[HomeTunnel.OutputFor(2048)], _ownOutput = new byte[HomeTunnel.OutputFor(2048)];

    /// <param name="own">The home agent's address.</param>
    /// <param name="cookies">Of its engine; null = it exchanges no keys.</param>
    public HomeAgent6Port(RoutedDevice device, HomeTunnel tunnel, IPAddress own, CookieGate? cookies, Action<EngineInput> deliver, NodeServices services)
    {
        (_device, _tunnel, _deliver, _services) = (device, tunnel, deliver, services);
        (_own, _cookies) = (own.GetAddressBytes(), cookies);
        device.Start(OnPacket);
    }

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

    private void OnPacket(ReadOnlySpan<byte> received)
    {
        var now = _services.Time.GetUtcNow();
        var packet = _tunnel.Assemble(received, now);
        if (packet.IsEmpty)
        {
            return;
        }

        var output = Room(ref _output, packet.Length);
        var result = _tunnel.Forward(packet, output, now);
        if (result.Verdict == HomeTunnelVerdict.Send)
        {
            Write(output, result);
        }
        else if (result.Verdict == HomeTunnelVerdict.Control)
        {
            var signal = result.ForEngine(packet, output);
            var answer = 0;
            if (_cookies?.StopsPacket(signal, _own, _answer, out answer) != true)
            {
                _deliver(new Ipv6PacketReceived(signal.ToArray()));
                return;
            }

            _services.Count(answer > 0 ? "ike.init.cookie_demanded" : "ike.init.malformed", 1);
            if (answer > 0)
            {
                Write(output, _tunnel.Send(_answer.AsSpan(0, answer), output, _services.Time.GetUtcNow()));
            }
        }
    }

    /// <summary>What the engine sends, on the engine's thread: a terminal may be in a network that moves itself.</summary>
    private void Send(ReadOnlySpan<byte> packet)
    {
        var output = Room(ref _ownOutput, packet.Length);
        Write(output, _tunnel.Send(packet, output, _services.Time.GetUtcNow()));
    }

    private static byte[] Room(ref byte[] output, int packet) => output.Length >= HomeTunnel.OutputFor(packet) ? output : output = new byte[HomeTunnel.OutputFor(packet)];

    private void Write(byte[] output, in HomeTunnelResult result)
    {
        foreach (var one in new PacketSequence(result.Verdict == HomeTunnelVerdict.Send ? output.AsSpan(result.Offset, result.Length) : default))
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
