using System.Net;
using Sojourn.Engine.Gateway;

namespace Sojourn.Roles.Configuration;

public sealed class KeyExchangeOptions : OptionSection
{
    [Option("Name of the association, used by standing tunnels.", Required = true, Syntax = TextSyntax.Name, Example = "company")]
    public string Name { get; set; } = "";

    [Option("Address of the other gateway; profiles that lead there without keys of their own use this association.", Required = true, Example = "10.0.5.2")]
    public IPAddress Peer { get; set; } = null!;

    [Option("Who this gateway says it is: a domain name, an address, user@domain or a distinguished name (CN=...).", Required = true, Example = "ha.home.example")]
    public string LocalIdentity { get; set; } = "";

    [Option("Who the peer must prove to be.", Required = true, Example = "vpn.company.example")]
    public string PeerIdentity { get; set; } = "";

    [Option("Pre-shared key of 16 or more octets with which both prove themselves.", File = FileUse.Secret, Example = "keys/company", Otherwise = "certificates")]
    public FileReference? PreSharedKeyFile { get; set; }

    [Option("This gateway's certificate (PEM; further certificates in it lead to the authority). It must carry local-identity.", File = FileUse.Read, Otherwise = "the pre-shared key")]
    public FileReference? CertificateFile { get; set; }

    [Option("Its private key (PEM): ECDSA, Ed25519 or RSA.", File = FileUse.Private, Otherwise = "the pre-shared key")]
    public FileReference? PrivateKeyFile { get; set; }

    [Option("Authorities whose certificates are believed (PEM).", File = FileUse.Read, Otherwise = "the pre-shared key")]
    public FileReference? CaFile { get; set; }

    [Option("Networks on this side that the association carries.", Required = true, Example = "10.99.0.0/24")]
    public List<IPNetwork> LocalNetworks { get; set; } = [];

    [Option("Networks behind the peer.", Required = true, Example = "192.168.50.0/24")]
    public List<IPNetwork> PeerNetworks { get; set; } = [];

    [Option("When this gateway begins: at-once and again whenever the association has gone, on-demand with the first packet that waits for it, or never.")]
    public KeyExchangeStart Start { get; set; }

    [Option("ESP in UDP even where there is no NAT (RFC 3948): for peers that take nothing else, and between Sojourn gateways for speed, since many packets then leave and come with one call.")]
    public bool UdpEncapsulation { get; set; }

    [Option("Let the peer move to other addresses (MOBIKE, RFC 4555).")]
    public bool Mobike { get; set; } = true;

    [Option("Make new ESP keys by a key exchange of their own (perfect forward secrecy). The peer must do the same.")]
    public bool ForwardSecrecy { get; set; }

    [Option("Age at which ESP keys are renewed.", Minimum = "10s", Maximum = "1d")]
    public TimeSpan RekeyAfter { get; set; } = TimeSpan.FromHours(1);

    [Option("Age at which the IKE SA is renewed.", Minimum = "10s", Maximum = "1d")]
    public TimeSpan IkeRekeyAfter { get; set; } = TimeSpan.FromHours(4);

    [Option("Silence after which the peer is asked whether it lives.", Minimum = "1s", Maximum = "1h")]
    public TimeSpan Liveness { get; set; } = TimeSpan.FromSeconds(30);
}
