using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>What came of an attempt to get an association with somebody else's certificate.</summary>
/// <param name="Established">IKE_AUTH succeeded, which it must not.</param>
/// <param name="Sent">Messages sent.</param>
internal sealed record KeylessAttempt(bool Established, string? Reason, int Sent, int Received);

/// <summary>
/// Somebody on an ordinary host who has a terminal's certificate, which is no secret, and another key: speaks IKEv2 with a home agent
/// as far as he gets. Our own engine, since no program that is worth its name signs with a key that is not the certificate's.
/// </summary>
internal static class KeylessTerminal
{
    private const string Peer = "home-agent";

    /// <param name="node">Host with an address of its own on its kernel.</param>
    /// <param name="own">That address.</param>
    /// <param name="home">Home address it claims.</param>
    /// <param name="certificate">PEM, with the authority's behind it or in <paramref name="authority"/>.</param>
    public static async Task<KeylessAttempt> TryAsync(LabRun run, string node, IPAddress own, IPAddress agent, IPAddress home, string identifier, string certificate, string authority, TimeSpan limit, CancellationToken cancellation)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var shown = X509Certificate2.CreateFromPem(certificate);
        var anchors = new X509Certificate2Collection();
        anchors.ImportFromPem(authority);
        var engine = new IkeEngine(
            new IkeOptions
            {
                Peers =
                [
                    new IkePeer
                    {
                        Name = Peer,
                        Address = agent,
                        LocalIdentity = IkeIdentity.Parse(identifier),
                        RemoteIdentity = IkeIdentity.Of(agent),
                        Credential = new IkeCredential(shown, [], SigningKey.FromPkcs8(key.ExportPkcs8PrivateKey(), () => true)),
                        Trust = new TrustAnchors([.. anchors]),
                        Children =
                        [
                            new IkeChildOptions
                            {
                                Name = "signalling",
                                Mode = ChildMode.Transport,
                                LocalSelectors = [SelectorNarrowing.Mobility(home, (byte)MobilityHeaderType.BindingUpdate), SelectorNarrowing.Icmp(home, (byte)Icmpv6MessageType.MobilePrefixSolicitation)],
                                RemoteSelectors = [SelectorNarrowing.Mobility(agent, (byte)MobilityHeaderType.BindingAcknowledgement), SelectorNarrowing.Icmp(agent, (byte)Icmpv6MessageType.MobilePrefixAdvertisement)],
                            },
                        ],
                    },
                ],
            },
            SystemRandomSource.Instance);
        using var socket = run.Network.Namespace(node).Run(() =>
        {
            var made = new Socket(AddressFamily.InterNetworkV6, SocketType.Dgram, ProtocolType.Udp);
            made.Bind(new IPEndPoint(own, Ikev2Limits.Port));
            return made;
        });
        using var time = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        time.CancelAfter(limit);
        var (established, reason, sent, received) = (false, (string?)null, 0, 0);
        var octets = new byte[65_535];
        Tell(new EngineStarted([]));
        Tell(new InitiateIke(Peer, own));
        try
        {
            while (!established && reason is null)
            {
                var datagram = await socket.ReceiveFromAsync(octets, SocketFlags.None, new IPEndPoint(IPAddress.IPv6Any, 0), time.Token);
                received++;
                Tell(new DatagramReceived((IPEndPoint)datagram.RemoteEndPoint, new IPEndPoint(own, Ikev2Limits.Port), octets[..datagram.ReceivedBytes]));
            }
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            reason = "no answer";
        }

        return new KeylessAttempt(established, reason, sent, received);

        void Tell(EngineInput input)
        {
            var effects = new EffectSink();
            engine.Handle(input, DateTimeOffset.UtcNow, effects);
            foreach (var effect in effects.Effects)
            {
                switch (effect)
                {
                    // Port 4500 would be another socket; the engine goes there only behind an address translator.
                    case SendDatagram datagram when datagram.Source.Port == Ikev2Limits.Port:
                        socket.SendTo(datagram.Payload.Span, datagram.Destination);
                        sent++;
                        break;
                    case IkeSaUp:
                        established = true;
                        break;
                    case IkeSaDown down:
                        reason = down.Reason;
                        break;
                }
            }
        }
    }
}
