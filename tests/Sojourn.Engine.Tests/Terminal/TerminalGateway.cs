using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sojourn.Engine.Access;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Radius;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.TerminalControl;
using Sojourn.Engine.Tests.Dhcpv6;
using Sojourn.Engine.Tests.Ikev2;
using Sojourn.Engine.Tests.Radius;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Sojourn.Wire.Radius;
using Xunit;

namespace Sojourn.Engine.Tests.Terminal;

/// <summary>The gateway's and the authentication server's engines between a <see cref="TerminalWorld"/>'s links and its home; nothing gets past but by them.</summary>
internal sealed class TerminalGateway : IDisposable
{
    public const string ServerName = "as.home.example", Password = "correct horse battery";
    public static readonly IPAddress Address = IPAddress.Parse("2001:db8:b::1");
    public static readonly IPNetwork Regional = IPNetwork.Parse("2001:db8:b::/64");
    private static readonly IPEndPoint s_radius = new(IPAddress.Parse("2001:db8:c::1"), 40000), s_server = new(IPAddress.Parse("2001:db8:c::2"), RadiusLimits.AuthenticationPort);
    private static readonly TestCredentials s_ca = new();

    private readonly TerminalWorld _world;
    private readonly RadiusServer _server;
    private readonly AccessPacketPath _path;

    public TerminalGateway(TerminalWorld world, bool anchor, TimeSpan? lasts = null)
    {
        _world = world;
        _server = new RadiusServer(
            new RadiusServerOptions
            {
                Clients = [new RadiusClientEntry("gw", new IPNetwork(s_radius.Address, 128), AccessNetwork.Secret)],
                Tls = s_ca.Context(ServerName),
                Users = [new AccessUser("alice", TerminalWorld.Name)],
                SessionLifetime = lasts ?? TimeSpan.FromHours(8),
            },
            new Ikev2.SeededRandom(32));
        var options = new AccessGatewayOptions
        {
            Address = Address,
            Credential = TestAuthority.Home.Issue(Address.ToString()),
            Identity = IkeIdentity.Of(Address),
            Radius = new RadiusClientOptions { Servers = [new RadiusServerAddress("as", s_server, AccessNetwork.Secret)], Local = s_radius, Name = "gw" },
            HomeInterface = DelegationHarness.Link,
            Anchor = anchor ? new MobilityAnchorPointOptions { Address = Address, RegionalPrefix = Regional } : null,
        };
        Engine = new AccessGateway(options, new Ikev2.SeededRandom(33));
        _path = new AccessPacketPath(options, 1500, new Ikev2.SeededRandom(34));
        world.Gateway = this;
        if (anchor)
        {
            world.Advertised.Add(new MobilityAnchorPointOption(1, 10, MobilityAnchorPointOption.RegionalFlag, 3600, Address));
        }

        Tell(new EngineStarted([]));
    }

    public AccessGateway Engine { get; }

    /// <summary>What came to the gateway and what it asked others, in order, repetitions left out.</summary>
    public List<string> Log { get; } = [];

    /// <summary>Passwords that were asked about.</summary>
    public List<string> Passwords { get; } = [];

    /// <summary>Answers to packets that were not let through.</summary>
    public List<byte[]> Prohibited { get; } = [];

    public DateTimeOffset? NextDeadline => new[] { Engine.NextDeadline, _server.NextDeadline }.Min();

    public static TerminalAccessOptions Access(IPAddress? gateway = null, string password = Password, string server = ServerName) => new()
    {
        Gateway = gateway,
        Authorities = new TrustAnchors([.. new[] { s_ca.Anchor, TestAuthority.Home.Trust.Certificates.First() }.Select(c => X509CertificateLoader.LoadCertificate(c.Span))]),
        ServerName = server,
        OuterIdentity = "anonymous@home.example",
        User = "alice",
        Password = new KeyMaterial(Encoding.UTF8.GetBytes(password)),
    };

    public void Wake()
    {
        if (Engine.NextDeadline <= _world.Now)
        {
            Tell(new DeadlineReached());
        }

        if (_server.NextDeadline <= _world.Now)
        {
            ToServer(new DeadlineReached());
        }
    }

    public void FromTerminal(byte[] packet)
    {
        var result = Carry(packet, fromTerminal: true, out var sent);
        if (result.Verdict == HomeTunnelVerdict.Control)
        {
            Note(TerminalWorld.UpperOf(packet).Protocol switch
            {
                IpProtocol.Mobility => "local update in clear",
                IpProtocol.Esp => "local update",
                _ => "key exchange",
            });
            Tell(new Ipv6PacketReceived(packet));
        }
        else if (sent.Length > 0 && Address.Equals(new IPAddress(sent.AsSpan(8, 16))))
        {
            Prohibited.Add(sent);
            _world.ToTerminal(sent);
        }
        else if (sent.Length > 0)
        {
            _world.AtHome(sent);
        }
    }

    /// <summary>What is for a regional address goes through the tunnel.</summary>
    public byte[] TowardsTerminal(byte[] packet)
    {
        if (!Regional.Contains(new IPAddress(packet.AsSpan(24, 16))))
        {
            return packet;
        }

        Carry(packet, fromTerminal: false, out var sent);
        return sent;
    }

    public void Dispose()
    {
        _server.Dispose();
        Engine.Dispose();
    }

    private HomeTunnelResult Carry(byte[] packet, bool fromTerminal, out byte[] sent)
    {
        var output = new byte[AccessPacketPath.OutputFor(packet.Length)];
        var result = fromTerminal ? _path.FromTerminal(packet, output, _world.Now) : _path.FromHome(packet, output, _world.Now);
        sent = result.Verdict == HomeTunnelVerdict.Send ? output.AsSpan(result.Offset, result.Length).ToArray() : [];
        return result;
    }

    public void Tell(EngineInput input)
    {
        var sink = new EffectSink();
        Engine.Handle(input, _world.Now, sink);
        foreach (var effect in sink.Effects.ToArray())
        {
            switch (effect)
            {
                case PermitSource permit:
                    _path.Permit(permit.Source);
                    break;
                case ForbidSource forbid:
                    _path.Forbid(forbid.Source);
                    break;
                case ChangePaths change:
                    Assert.Null(_path.Change(change, _world.Now).Refusal);
                    break;
                case SendDatagram datagram when datagram.Destination.Equals(s_server):
                    Note("authentication server");
                    ToServer(new DatagramReceived(datagram.Source, datagram.Destination, datagram.Payload));
                    break;
                case SendDatagram { Destination.Port: 547 } datagram:
                    Note("delegating router");
                    var client = new IPEndPoint(TerminalWorld.RouterAddress, 546);
                    foreach (var answer in _world.Delegation.Tell(new DatagramReceived(client, datagram.Destination, datagram.Payload, DelegationHarness.Link)).OfType<SendDatagram>())
                    {
                        var received = new DatagramReceived(new IPEndPoint(IPAddress.Parse("fe80::2"), 547), client, answer.Payload, DelegationHarness.Link);
                        _world.At(TimeSpan.FromMilliseconds(1), () => Tell(received));
                    }

                    break;
                case RegisterIdentity register:
                    var key = new Engine.Dhcpv6.AssociationKey(register.Client, register.Iaid);
                    _world.Delegation.Identities[key] = new PrefixIdentity(key, register.Identifier, IdentityOrigin.Gateway, []);
                    _world.At(TimeSpan.FromMilliseconds(1), () => Tell(new IdentityRegistered(register.Number, true)));
                    break;
                case SendIpv6Packet sent:
                    _world.ToTerminal(sent.Packet.ToArray());
                    break;
            }
        }
    }

    private void Note(string what)
    {
        if (Log.Count == 0 || Log[^1] != what)
        {
            Log.Add(what);
        }
    }

    private void ToServer(EngineInput input)
    {
        var sink = new EffectSink();
        _server.Handle(input, _world.Now, sink);
        foreach (var effect in sink.Effects.ToArray())
        {
            switch (effect)
            {
                case SendDatagram datagram:
                    _world.At(TimeSpan.FromMilliseconds(1), () => Tell(new DatagramReceived(datagram.Source, datagram.Destination, datagram.Payload)));
                    break;
                case CheckPassword check:
                    var said = Encoding.UTF8.GetString(check.Password.Octets);
                    Passwords.Add(said);
                    _world.At(TimeSpan.FromMilliseconds(1), () => ToServer(new PasswordChecked(check.Number, said == Password)));
                    break;
            }
        }
    }
}
