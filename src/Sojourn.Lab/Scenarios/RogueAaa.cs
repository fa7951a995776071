using System.Buffers.Binary;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;
using Sojourn.Lab.Nodes;
using Sojourn.Roles.Diameter;
using Sojourn.Wire;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Lab.Scenarios;

/// <summary>
/// A Diameter server in the lab's own process that authorizes everybody and answers with the profile it is told to,
/// right or wrong: how a foreign agent meets an AAA server it must not trust blindly (NV-A21).
/// </summary>
internal sealed class RogueAaa : IAsyncDisposable
{
    private const int Port = 5658;
    private readonly Socket _listener;
    private readonly X509Certificate2 _certificate;
    private readonly KeyMaterial _wrappingKey;
    private readonly IPAddress _address;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _serving;

    /// <param name="run">Lab with a namespace <paramref name="node"/>.</param>
    /// <param name="node">Where it lives.</param>
    /// <param name="address">Its address there.</param>
    /// <param name="wrapKey">Name of the secret it shares with the foreign agent.</param>
    public RogueAaa(LabRun run, string node, IPAddress address, string wrapKey)
    {
        _address = address;
        _wrappingKey = new KeyMaterial(NodeFiles.Secrets(run.Directory).Single(s => s.Name == wrapKey).Octets);
        _certificate = NodeFiles.ForeignCertificate(run.Directory, Identity);
        _listener = run.Network.Namespace(node).Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        _listener.Bind(new IPEndPoint(address, Port));
        _listener.Listen();
        _serving = Task.Run(() => ServeAsync(_stop.Token));
    }

    public const string Identity = "aaa.rogue.example";

    /// <summary>The profile the next answers carry.</summary>
    public VpnProfile? Profile { get; set; }

    /// <summary>Authentication requests answered so far.</summary>
    public int Answered { get; private set; }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        try
        {
            await _serving;
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or SocketException or ObjectDisposedException)
        {
            // That is how it ends.
        }

        _certificate.Dispose();
        _stop.Dispose();
    }

    private async Task ServeAsync(CancellationToken cancellation)
    {
        while (true)
        {
            using var socket = await _listener.AcceptAsync(cancellation);
            await using var tls = new SslStream(new NetworkStream(socket, ownsSocket: false));
            try
            {
                await tls.AuthenticateAsServerAsync(
                    new SslServerAuthenticationOptions { ServerCertificate = _certificate, ClientCertificateRequired = true, RemoteCertificateValidationCallback = (_, _, _, _) => true }, cancellation);
                await ConverseAsync(tls, cancellation);
            }
            catch (Exception e) when (e is IOException or System.Security.Authentication.AuthenticationException)
            {
                // The agent hung up; it will dial again.
            }
        }
    }

    private async Task ConverseAsync(SslStream tls, CancellationToken cancellation)
    {
        var head = new byte[4];
        while (true)
        {
            await tls.ReadExactlyAsync(head, cancellation);
            var octets = new byte[BinaryPrimitives.ReadUInt32BigEndian(head) & 0xFFFFFF];
            head.CopyTo(octets, 0);
            await tls.ReadExactlyAsync(octets.AsMemory(4), cancellation);
            if (DiameterMessage.TryParse(octets, DiameterLimits.Default, out var request, out WireError _) && request.IsRequest)
            {
                await tls.WriteAsync(Answer(request).ToArray(), cancellation);
            }
        }
    }

    private DiameterMessage Answer(DiameterMessage request)
    {
        var answer = DiameterDictionary.Default.Answer(request, DiameterResult.Success);
        answer.Add(AvpKeys.OriginHost, Identity).Add(AvpKeys.OriginRealm, "rogue.example");
        if (request.CommandCode == DiameterCommands.CapabilitiesExchange.Code)
        {
            answer.Add(AvpKeys.HostIpAddress, _address).Add(AvpKeys.VendorId, 32473).Add(AvpKeys.ProductName, "rogue")
                .Add(AvpKeys.SupportedVendorId, 32473).Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4);
        }
        else if (request.CommandCode == DiameterCommands.AaMobileNode.Code && Profile is { } profile
            && request.Avps.TryGetOctets(AvpKeys.MipRegRequest, out var inner) && MobileIpMessage.TryParse(inner.Span, out RegistrationRequest? registration, out _))
        {
            Answered++;
            var reply = new RegistrationReply
            {
                Code = RegistrationReplyCode.Accepted,
                Lifetime = registration.Lifetime,
                HomeAddress = registration.HomeAddress,
                HomeAgent = registration.HomeAgent,
                Identification = registration.Identification,
            };
            answer.Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4).Add(AvpKeys.AcctMultiSessionId, $"{Identity};{Answered}").Add(AvpKeys.AuthorizationLifetime, 600)
                .Add(AvpKeys.AuthSessionState, 0).Add(AvpKeys.MipRegReply, reply.ToArray()).Add(AvpKeys.MipHomeAgentAddress, registration.HomeAgent)
                .Add(AvpKeys.MipMobileNodeAddress, registration.HomeAddress)
                .Add(new VpnProfileAvps(DiameterDictionary.Default).WriteAll([profile], _wrappingKey));
        }
        else if (request.CommandCode == DiameterCommands.SessionTermination.Code)
        {
            answer.Add(AvpKeys.UserName, "trudy@rogue.example");
        }

        return answer.Build();
    }

    /// <summary>A profile as a careful AAA server would send it to the second foreign agent.</summary>
    public static VpnProfile GoodProfile(IPAddress home, IPAddress agent, IPAddress homeAgent) => new()
    {
        ProfileNumber = 900,
        View = ProfileView.Up,
        Source = new IPNetwork(home, 32),
        Destination = IPNetwork.Parse("192.168.70.0/24"),
        SecurityType = SecurityType.Esp,
        SourceGateway = agent,
        DestinationGateway = homeAgent,
        GatewayType = GatewayType.Static,
        UpSpi = 0x2f000000,
        DownSpi = 0x2f000100,
        Algorithm = IpsecAlgorithm.Aes128Gcm16,
        Keying = new ProfileKeying.Derived(new KeyMaterial(RandomNumberGenerator.GetBytes(32)), 1),
        Revision = 1,
    };
}
