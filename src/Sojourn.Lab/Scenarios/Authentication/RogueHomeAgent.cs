using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Icmpv6;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>
/// Somebody to whom the home prefix is led: answers home agent discovery with its own address first, and key exchanges with a
/// certificate of an authority of its own (rows TA-H13, N18).
/// </summary>
internal sealed class RogueHomeAgent : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Socket _icmp;
    private readonly Task _discovery;
    private readonly Task<int> _keys;

    /// <param name="named">What discovery is answered with.</param>
    public RogueHomeAgent(NetworkNamespace space, IPAddress address, IReadOnlyList<IPAddress> named, IkePeer peer)
    {
        _icmp = space.Run(() => new Socket(AddressFamily.InterNetworkV6, SocketType.Raw, ProtocolType.IcmpV6));
        _icmp.ReceiveTimeout = 100;
        _icmp.Bind(new IPEndPoint(IPAddress.IPv6Any, 0));
        _discovery = Task.Run(() => Answer(address, named));
        _keys = KeyExchangeProbe.RespondAsync(space, address, peer, _stop.Token);
    }

    /// <summary>Discovery requests that were answered.</summary>
    public int Answered { get; private set; }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _discovery;
        await _keys;
        _icmp.Dispose();
        _stop.Dispose();
    }

    private void Answer(IPAddress address, IReadOnlyList<IPAddress> named)
    {
        var buffer = new byte[2048];
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                EndPoint from = new IPEndPoint(IPAddress.IPv6Any, 0);
                var length = _icmp.ReceiveFrom(buffer, ref from);
                var terminal = ((IPEndPoint)from).Address;
                if (length > 0 && buffer[0] == (byte)Icmpv6MessageType.HomeAgentAddressDiscoveryRequest && Icmpv6Message.TryParse(buffer.AsSpan(0, length), out var message, out _) && message is HomeAgentAddressDiscoveryRequest request)
                {
                    // The kernel puts the checksum in, over what stands in its place.
                    var reply = new HomeAgentAddressDiscoveryReply(request.Identifier, named).ToArray(address, terminal);
                    reply.AsSpan(2, 2).Clear();
                    _icmp.SendTo(reply, new IPEndPoint(terminal, 0));
                    Answered++;
                }
            }
            catch (SocketException)
            {
                // Nothing came within the time, and it is looked whether this is to end.
            }
        }
    }
}
