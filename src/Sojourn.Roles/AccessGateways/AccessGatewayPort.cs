using System.Net;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Access;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Roles.Hosting;

namespace Sojourn.Roles.AccessGateways;

/// <summary>
/// Between an access gateway and its virtual devices, one for each side: what may pass, is prohibited or goes through a tunnel goes on
/// from the device's own thread, what is for the gateway itself is an input of the engine.
/// </summary>
internal sealed class AccessGatewayPort : IEffectPort, IDisposable
{
    private readonly RoutedDevice _home;
    private readonly AccessLinkDevice _access;
    private readonly AccessPacketPath _path;
    private readonly byte[] _own;
    private readonly CookieGate _cookies;
    private readonly Action<EngineInput> _deliver;
    private readonly NodeServices _services;

    /// <param name="own">The gateway's address.</param>
    /// <param name="cookies">Of its engine.</param>
    public AccessGatewayPort(
        RoutedDevice home, AccessLinkDevice access, AccessPacketPath path, IPAddress own, CookieGate cookies, Action<EngineInput> deliver, NodeServices services)
    {
        (_home, _access, _path, _deliver, _services) = (home, access, path, deliver, services);
        (_own, _cookies) = (own.GetAddressBytes(), cookies);
        var (fromHome, fromTerminals) = (new Side(FromTerminals: false), new Side(FromTerminals: true));
        home.Start(packet => Carry(packet, fromHome));
        access.Start(packet => Carry(packet, fromTerminals));
    }

    /// <summary>What the thread of one device has for itself.</summary>
    private sealed record Side(bool FromTerminals)
    {
        public byte[] Output { get; set; } = new byte[AccessPacketPath.OutputFor(2048)];

        public byte[] Answer { get; } = new byte[CookieGate.AnswerPacketLength];
    }

    public bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case SendIpv6Packet packet:
                Write(packet.Packet.Span);
                return true;
            case PermitSource permit:
                _path.Permit(permit.Source);
                return true;
            case ForbidSource forbid:
                _path.Forbid(forbid.Source);
                return true;
            case ChangePaths change:
                if (_path.Change(change, _services.Time.GetUtcNow()).Refusal is { } refusal)
                {
                    _services.Report(refusal.ToEvent());
                }

                return true;
            default:
                return false;
        }
    }

    public void Dispose()
    {
        _access.Dispose();
        _home.Dispose();
    }

    private void Carry(ReadOnlySpan<byte> packet, Side side)
    {
        if (side.Output.Length < AccessPacketPath.OutputFor(packet.Length))
        {
            side.Output = new byte[AccessPacketPath.OutputFor(packet.Length)];
        }

        var (output, now) = (side.Output, _services.Time.GetUtcNow());
        var result = side.FromTerminals ? _path.FromTerminal(packet, output, now) : _path.FromHome(packet, output, now);
        switch (result.Verdict)
        {
            case HomeTunnelVerdict.Send:
                foreach (var one in new PacketSequence(output.AsSpan(result.Offset, result.Length)))
                {
                    Write(one);
                }

                break;
            case HomeTunnelVerdict.Control when _cookies.StopsPacket(result.ForEngine(packet, output), _own, side.Answer, out var answer):
                _services.Count(answer > 0 ? "ike.init.cookie_demanded" : "ike.init.malformed", 1);
                if (answer > 0)
                {
                    Write(side.Answer.AsSpan(0, answer));
                }

                break;
            case HomeTunnelVerdict.Control:
                _deliver(new Ipv6PacketReceived(result.ForEngine(packet, output).ToArray()));
                break;
        }
    }

    /// <summary>By the home side's device, past the rules for the access links.</summary>
    private void Write(ReadOnlySpan<byte> packet)
    {
        if (!_home.Write(packet))
        {
            _services.Count("access.gateway.write_failed", 1);
        }
    }
}
