using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Enrolment;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.VirtualInternet.Net;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>Certificate and authorities have been written into the credential store.</summary>
internal sealed record CredentialsSaved : Effect;

/// <summary>
/// A terminal's node: two access links, a credential store on the disk, an application. What it says to the authority goes over connections of
/// its own, as CMP protects its messages itself.
/// </summary>
/// <param name="index">Tells terminals apart: link-layer addresses, DUID.</param>
internal sealed class TerminalMachine(TerminalNetwork network, AuthenticationOptions options, string name, byte index) : Machine(network, name)
{
    public const string Wlan = "wlan0", Cell = "cell0";

    private static readonly TimeSpan s_cmpLimit = TimeSpan.FromSeconds(15);

    private (SigningKey Key, X509Certificate2? Certificate, IReadOnlyList<X509Certificate2> Authorities) _store = (SigningKey.From(ECDsa.Create(ECCurve.NamedCurves.nistP256)), null, []);
    private IRandomSource? _random;

    public string Identifier { get; } = $"{name}.home.example";

    public Duid Duid { get; } = Duid.OfLinkLayer(1, [2, 0, 0, 0, 7, index]);

    public KeyMaterial Secret { get; } = new(SHA256.HashData(System.Text.Encoding.ASCII.GetBytes($"enrolment secret of {name}")));

    /// <summary>Whose link each interface is on.</summary>
    public Dictionary<string, AccessRouterMachine?> Links { get; } = new() { [Wlan] = null, [Cell] = null };

    /// <summary>Claims this address, which is somebody else's.</summary>
    public FixedHome? Claims { get; init; }

    public TerminalNode? Terminal => Engine as TerminalNode;

    public X509Certificate2? Certificate => _store.Certificate;

    private AuthorityMachine Authority => (AuthorityMachine)Network["ca"];

    private TrustAnchors? _trust;

    public LinkAddress LinkAddress(string name) => new([2, 0, 0, 0, name == Wlan ? (byte)7 : (byte)8, index]);

    /// <summary>Puts in a certificate that no authority of this network has issued.</summary>
    public void UseForeignStore(SigningKey key, X509Certificate2 certificate, IReadOnlyList<X509Certificate2> authorities) => Use(key, certificate, authorities);

    public override IEngine Build(IRandomSource random)
    {
        _random = random;
        return new TerminalNode(
            new TerminalOptions
            {
                Links = [.. Links.Keys.Select(link => new TerminalLink(link, LinkAddress(link)))],
                Home = Claims,
                PrefixRequest = Claims is null ? new PrefixRequestOptions(Duid.Octets.ToArray(), 1) : null,
                Enrols = true,
                RenewBefore = TimeSpan.FromSeconds(60),
                BindingLifetime = options.Binding,
                ExportKeys = true,
            },
            random);
    }

    public override void PowerOn(IRandomSource random)
    {
        // Carriers are there when the node looks.
        foreach (var (link, router) in Links.Where(l => l.Value is not null))
        {
            Later(TimeSpan.FromMilliseconds(5), () => new LinkChanged(link, Links[link] is not null));
        }
    }

    public override bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case SendIpv6Packet { Interface: { } link, LinkDestination: not null } send:
                Network.FromStation(this, link, send.Packet.ToArray());
                return true;
            case DeliverToHost delivered:
                Network.Delivered(this, delivered.Packet.Span, reply => Later(TimeSpan.Zero, () => new HostPacketSent(reply)));
                return true;
            case ConfigureHostSide:
            case IkeSaUp or IkeKeysDerived:
                return true;
            case ChildSaUp up:
                Network.Ledger.Learn(up.Sa);
                return true;
            case OpenCredentials:
                Later(TimeSpan.Zero, () => new CredentialsOpened(Identifier, Credential(), _trust));
                return true;
            case Enrol:
                Run(
                    CmpExchange.Certificate(CmpRequester.BySecret(Identifier, Secret, _store.Authorities, iterations: 100), new CertificateWish(CertificateRequestKind.Initial, Identifier, _store.Key), _random!),
                    _store.Key);
                return true;
            case RenewCertificate when Credential() is { } old:
                var key = SigningKey.From(ECDsa.Create(ECCurve.NamedCurves.nistP256));
                Run(CmpExchange.Certificate(CmpRequester.ByCertificate(old, _store.Authorities), new CertificateWish(CertificateRequestKind.KeyUpdate, Identifier, key), _random!), key);
                return true;
            case CredentialsSaved:
                return true;
            default:
                return false;
        }
    }

    /// <summary>No two terminals have a home address in the same prefix.</summary>
    public override void Check()
    {
        if (Terminal?.HomeAddress is { } home && Claims is null
            && Network.Nodes.OfType<TerminalMachine>().FirstOrDefault(t => t != this && t.Claims is null && t.Terminal?.HomeAddress is { } other && AuthenticationWorld.PrefixOf(other).Contains(home)) is { } twin)
        {
            throw Network.Violation($"{this} and {twin} both live in {AuthenticationWorld.PrefixOf(home)}");
        }
    }

    private IkeCredential? Credential() => _store.Certificate is { } certificate ? new IkeCredential(certificate, [], _store.Key) : null;

    private void Use(SigningKey key, X509Certificate2 certificate, IReadOnlyList<X509Certificate2> authorities)
    {
        _store = (key, certificate, authorities);
        _trust = new TrustAnchors(authorities);
    }

    /// <summary>Carries a CMP exchange to its end; the store is written before the engine hears of it.</summary>
    private void Run(CmpExchange exchange, SigningKey key)
    {
        Go(exchange.Begin(Now));

        void Go(CmpStep step)
        {
            switch (step)
            {
                case CmpSend send:
                    Network.Ask(this, Authority, AuthorityMachine.Cmp, send.Message, s_cmpLimit, answer => Go(answer is byte[] octets ? exchange.Receive(octets, Now) : new CmpUnreachable("the authority does not answer")));
                    break;
                case CmpIssued issued:
                    AssertConfirmed(issued.Certificate);
                    Use(key, issued.Certificate, issued.Authorities);
                    if (Network.Step(this, new CredentialsSaved()))
                    {
                        Network.Input(this, new EnrolmentEnded(null));
                    }

                    break;
                case CmpRefused refused:
                    Network.Input(this, new EnrolmentEnded(refused.Reason));
                    break;
                case CmpUnreachable unreachable:
                    Network.Input(this, new EnrolmentEnded(unreachable.Reason));
                    break;
            }
        }
    }

    /// <summary>A certificate that a terminal takes stands in the authority's table, once, and confirmed.</summary>
    private void AssertConfirmed(X509Certificate2 certificate)
    {
        var rows = Authority.Store.Certificates.Values.Where(c => c.Encoded.Span.SequenceEqual(certificate.RawData)).ToList();
        if (rows is not [{ Status: not CertificateStatus.Unconfirmed } row] || row.Identifier != Identifier || (row.Status == CertificateStatus.Revoked && row.Reason != RevocationReason.KeyCompromise))
        {
            throw Network.Violation($"{this} takes a certificate of which the authority has {(rows.Count == 0 ? "nothing" : string.Join(", ", rows.Select(r => $"{r.Serial} {r.Status}")))}");
        }
    }
}
