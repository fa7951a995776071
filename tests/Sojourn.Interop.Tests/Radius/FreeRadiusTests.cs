using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sojourn.Engine;
using Sojourn.Engine.Eap;
using Sojourn.Engine.Radius;
using Sojourn.Engine.Tls;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Radius;
using Xunit;

namespace Sojourn.Interop.Tests.Radius;

/// <summary>Our peer, authenticator and RADIUS client, asking FreeRADIUS.</summary>
public sealed class FreeRadiusTests : IDisposable
{
    private readonly RadiusRig _rig = new();

    public void Dispose() => _rig.Dispose();

    [RadiusTheory]
    [InlineData(RadiusRig.Password, true)]
    [InlineData("a wrong password", false)]
    public async Task FreeRADIUS_lets_our_peer_in_by_TTLS_with_the_right_password(string password, bool allowed)
    {
        await _rig.StartFreeRadiusAsync();
        using var tls = Context(null);
        var peer = new EapPeer(new EapPeerOptions
        {
            OuterIdentity = "anonymous",
            Methods = [EapType.Ttls],
            Tls = tls,
            ServerName = "as.home.example",
            User = RadiusRig.User,
            Password = new KeyMaterial(Encoding.UTF8.GetBytes(password)),
            FragmentLength = 250,
        });

        var verdict = Converse(peer);

        Assert.True(allowed == verdict.Allowed, peer.Reason);
        Assert.Equal(peer.MasterSessionKey, verdict.MasterSessionKey);
        Assert.Equal(allowed, verdict.MasterSessionKey is not null);
    }

    [RadiusFact]
    public async Task FreeRADIUS_lets_our_peer_in_by_EAP_TLS_after_it_refused_TTLS()
    {
        await _rig.StartFreeRadiusAsync();
        using var own = X509Certificate2.CreateFromPemFile(_rig.At("mn1.crt"), _rig.At("mn1.key"));
        using var key = own.GetECDsaPrivateKey()!;
        using var tls = Context(new TlsIdentity([own.RawDataMemory], new KeyMaterial(key.ExportPkcs8PrivateKey())));
        var peer = new EapPeer(new EapPeerOptions { OuterIdentity = "mn1.home.example", Methods = [EapType.Tls], Tls = tls, ServerName = "as.home.example", FragmentLength = 250 });

        var verdict = Converse(peer);

        Assert.True(verdict.Allowed, peer.Reason);
        Assert.Equal(64, peer.MasterSessionKey!.Length);
        Assert.Equal(peer.MasterSessionKey, verdict.MasterSessionKey);
    }

    [RadiusFact]
    public async Task FreeRADIUS_reads_our_hidden_password()
    {
        await _rig.StartFreeRadiusAsync();
        foreach (var password in new[] { RadiusRig.Password, "a wrong password of more than sixteen octets" })
        {
            using var wire = new Wire(_rig.Port);
            wire.Client.Send([RadiusAttribute.OfText(RadiusAttributeType.UserName, RadiusRig.User)], null, DateTimeOffset.UtcNow, wire.Effects, new KeyMaterial(Encoding.UTF8.GetBytes(password)));
            var (code, outcome) = wire.Exchange();

            // This FreeRADIUS signs answers without EAP by the Response Authenticator alone, and we want both (TA-M51).
            Assert.Equal(password == RadiusRig.Password ? RadiusCode.AccessAccept : RadiusCode.AccessReject, code);
            Assert.Null(outcome);
        }
    }

    private TlsContext Context(TlsIdentity? identity)
    {
        using var anchor = X509CertificateLoader.LoadCertificateFromFile(_rig.At("ca.pem"));
        return new TlsContext(identity, [anchor.RawDataMemory]);
    }

    private AccessVerdict Converse(EapPeer peer)
    {
        using var wire = new Wire(_rig.Port);
        var authenticator = new EapPassThrough(wire.Client);
        var identity = peer.Receive(new EapPacket(EapCode.Request, 1, EapType.Identity, default), DateTimeOffset.UtcNow)!;
        var conversation = authenticator.Begin(identity, [RadiusAttribute.OfText(RadiusAttributeType.CallingStationId, RadiusRig.Station)], DateTimeOffset.UtcNow, wire.Effects)!.Value;
        for (var round = 0; round < 50; round++)
        {
            var relayed = authenticator.Take(wire.Exchange().Outcome ?? throw new InvalidOperationException("FreeRADIUS does not answer"))!;
            var response = relayed.Packet is { } packet ? peer.Receive(packet, DateTimeOffset.UtcNow) : null;
            if (relayed.Verdict is { } verdict)
            {
                return verdict;
            }

            Assert.True(authenticator.Continue(conversation, response!, DateTimeOffset.UtcNow, wire.Effects));
        }

        throw new InvalidOperationException("the conversation does not end");
    }

    /// <summary>A socket under the client.</summary>
    private sealed class Wire : IDisposable
    {
        private readonly UdpClient _socket = new(new IPEndPoint(IPAddress.Loopback, 0));

        public Wire(int port)
        {
            _socket.Client.ReceiveTimeout = 5000;
            Client = new RadiusClient(
                new RadiusClientOptions
                {
                    Servers = [new RadiusServerAddress("freeradius", new IPEndPoint(IPAddress.Loopback, port), new KeyMaterial(Encoding.ASCII.GetBytes(RadiusRig.Secret)))],
                    Local = (IPEndPoint)_socket.Client.LocalEndPoint!,
                    Name = "gw1",
                },
                SystemRandomSource.Instance);
        }

        public RadiusClient Client { get; }

        public EffectSink Effects { get; } = new();

        /// <summary>Sends what is to be sent and takes one answer: its code, and what the client made of it.</summary>
        public (RadiusCode Code, RadiusOutcome? Outcome) Exchange()
        {
            foreach (var datagram in Effects.Effects.OfType<SendDatagram>())
            {
                _socket.Send(datagram.Payload.Span, datagram.Destination);
            }

            Effects.Clear();
            IPEndPoint? from = null;
            var octets = _socket.Receive(ref from);
            var outcome = Client.Receive(new DatagramReceived(from!, (IPEndPoint)_socket.Client.LocalEndPoint!, octets), Effects);
            return ((RadiusCode)octets[0], outcome);
        }

        public void Dispose() => _socket.Dispose();
    }
}
