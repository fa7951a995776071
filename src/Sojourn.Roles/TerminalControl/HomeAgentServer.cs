using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.TerminalControl;

/// <summary>
/// One server of a home agent (spec terminal TM-P21, servers 311): on the thread of its queue it receives a packet, runs IPsec and mobile tunnel
/// as often as the packet needs, and sends what comes of it. The tables are the other servers' too: each packet sees the bindings and associations of the
/// moment, and sequence numbers and windows are the association's, under its gate, whichever server uses it. What is no data goes to the one
/// engine of the node; first requests of IKEv2 are answered here when there are too many.
/// </summary>
/// <param name="own">The home agent's address.</param>
/// <param name="cookies">Of its engine; null = it exchanges no keys.</param>
/// <param name="write">Sends a packet.</param>
internal sealed class HomeAgentServer(
    int number, HomeTunnel tunnel, byte[] own, CookieGate? cookies, PacketWriter write, Action<EngineInput> deliver, NodeServices services)
{
    private readonly byte[] _answer = new byte[CookieGate.AnswerPacketLength];
    private byte[] _output = new byte[HomeTunnel.OutputFor(2048)];
    private long _received, _sent, _tunnels, _nested, _control, _dropped;

    /// <summary>What it has done until now. Any thread may ask.</summary>
    public ServerRow Row => new(
        number, Volatile.Read(ref _received), Volatile.Read(ref _sent), Volatile.Read(ref _tunnels), Volatile.Read(ref _nested), Volatile.Read(ref _control), Volatile.Read(ref _dropped));

    /// <summary>On the thread of its queue alone.</summary>
    public void Take(ReadOnlySpan<byte> received)
    {
        _received++;
        var now = services.Time.GetUtcNow();
        var packet = tunnel.Assemble(received, now);
        if (packet.IsEmpty)
        {
            return;
        }

        if (_output.Length < HomeTunnel.OutputFor(packet.Length))
        {
            _output = new byte[HomeTunnel.OutputFor(packet.Length)];
        }

        var result = tunnel.Forward(packet, _output, now);
        _tunnels += result.Levels;
        switch (result.Verdict)
        {
            case HomeTunnelVerdict.Send:
                _nested += result.Levels > 1 ? 1 : 0;
                Send(result);
                break;
            case HomeTunnelVerdict.Control:
                _control++;
                Control(result.ForEngine(packet, _output));
                break;
            default:
                _dropped++;
                break;
        }
    }

    private void Control(ReadOnlySpan<byte> signal)
    {
        var answer = 0;
        if (cookies?.StopsPacket(signal, own, _answer, out answer) != true)
        {
            deliver(new Ipv6PacketReceived(signal.ToArray()));
            return;
        }

        services.Count(answer > 0 ? "ike.init.cookie_demanded" : "ike.init.malformed", 1);
        if (answer > 0)
        {
            Send(tunnel.Send(_answer.AsSpan(0, answer), _output, services.Time.GetUtcNow()));
        }
    }

    private void Send(in HomeTunnelResult result)
    {
        foreach (var one in new PacketSequence(result.Verdict == HomeTunnelVerdict.Send ? _output.AsSpan(result.Offset, result.Length) : default))
        {
            _sent++;
            write(one);
        }
    }
}

/// <summary>Sends a packet to where routing leads. Any thread.</summary>
internal delegate void PacketWriter(ReadOnlySpan<byte> packet);
