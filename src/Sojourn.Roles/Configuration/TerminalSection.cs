using System.Net;
using Sojourn.Engine.Terminal;

namespace Sojourn.Roles.Configuration;

public sealed class TerminalSection : OptionSection
{
    [Option("Access links, the preferred first. The kernel's own IPv6 is switched off on them.", Required = true, Example = "wlan0")]
    public List<string> Links { get; set; } = [];

    [Option("Which of several usable access links carries the care-of address: listed, the first of `links`; newest, the one that became usable last, so that the terminal moves there while the former is still in reach.")]
    public LinkPreference LinkPreference { get; set; }

    [Option("TUN device that applications use. It has the home address.", Syntax = TextSyntax.Interface)]
    public string Device { get; set; } = "mip0";

    [Option("Prefixes that packets of this machine never reach through the terminal, the local network's printers for instance: only the machine's own routes lead there, its default route too, and none counts as unreachable.", Family = AddressFamilies.Either, Example = "192.168.1.0/24", Otherwise = "what no route of the machine but its default route leads to goes through the terminal")]
    public List<IPNetwork> Exclude { get; set; } = [];

    [Option("Credential store with identifier, key and certificate (spec D13): a directory, or a PKCS#12 file. It may lie on a medium that is taken out; nothing is signed without it.", Required = true, File = FileUse.Written, Example = "credentials")]
    public FileReference Store { get; set; } = null!;

    [Option("File whose first line opens the store's key.", File = FileUse.Private, Otherwise = "the key is not encrypted")]
    public FileReference? StorePasswordFile { get; set; }

    [Option("How the device proves itself to access links (IEEE 802.1X). Without success on a link neither the store is opened nor anything else sent there.", Otherwise = "access links are not asked")]
    public SupplicantSection? Supplicant { get; set; }

    [Option("Certification authority that is asked for a certificate when the store has none.", Otherwise = "the certificate has to be in the store")]
    public EnrolmentSection? Enrolment { get; set; }

    [Option("What is asked for by DHCPv6 prefix delegation, where no home address is configured.", Otherwise = "a prefix for IAID 1, with the first link's DUID-LL")]
    public PrefixRequestSection? PrefixRequest { get; set; }

    [Option("How to get past a gateway between visited and home network: EAP-TTLS inside IKEv2. It gives the home prefix too, and may be an anchor point.", Otherwise = "no gateway has to be passed, and anchor points are not used")]
    public TerminalAccessSection? Access { get; set; }

    [Option("Mobility anchor points that access routers advertise (RFC 5380) and that are no gateway: HMIPv6 in the guest, spec terminal embodiment 6. One of the scenarios 10021 to 10023 has to be valid for each way of registration that may come.", Otherwise = "anchor points are used only as gateways, with `access`")]
    public TerminalAnchorsSection? AnchorPoints { get; set; }

    [Option("Home address, where no prefix is delegated (embodiment 4). It follows when the home agent tells of another home prefix, over restarts too.", Family = AddressFamilies.IPv6, Example = "2001:db8:a:1::77", Otherwise = "delegated prefix and interface identifier make it")]
    public IPAddress? HomeAddress { get; set; }

    [Option("Name that the home agent is asked to register for the home address (RFC 5026); it has to be the identifier of the certificate.", Syntax = TextSyntax.Fqdn, Example = "mn1.home.example", Otherwise = "the home agent is not asked; it may register names unasked")]
    public string? RegisteredName { get; set; }

    [Option("Home agent.", Family = AddressFamilies.IPv6, Example = "2001:db8:a::1", Otherwise = "the home link is asked (RFC 6275 11.4.1)")]
    public IPAddress? HomeAgent { get; set; }

    [Option("Name that the home agent's certificate has to hold.", Example = "ha1.home.example", Otherwise = "the address it is found at")]
    public string? HomeAgentIdentity { get; set; }

    [Option("Hosts that a home agent's certificate may be fetched from over HTTP when it names a URL in its place (hash-and-URL, RFC 7296 3.6).", Example = "ca.home.example", Otherwise = "certificates come in messages only")]
    public List<string> CertificateHosts { get; set; } = [];

    [Option("How the terminal names itself in IKE: by its identifier, or by its home address (spec authentication G3).")]
    public IdentityMode IdentityMode { get; set; }

    [Option("Take the key exchange along when moving (K bit). Without it every move runs IKEv2 anew.")]
    public bool KeyManagementMoves { get; set; } = true;

    [Option("Gateway before an inner network, which is reached through a TLS session with it (spec terminal embodiment 8).", Otherwise = "no network is reached that way")]
    public TerminalTlsGatewaySection? TlsGateway { get; set; }

    [Option("Lifetime asked for a binding.", Minimum = "8s", Maximum = "18h")]
    public TimeSpan BindingLifetime { get; set; } = TimeSpan.FromMinutes(30);

    [Option("Communication methods that are valid at the start, by scenario number: 10012 for IPv6 applications, 10013 the same by the short way, 10010 and 10011 for IPv4 applications. 10021, 10022 and 10023 for the three ways of registration behind an anchor point. 10000 and 10001 leave binding updates unprotected and are for laboratories. `sojourn terminal scenario` changes them in a running terminal.")]
    public List<int> Scenarios { get; set; } = [10012, 10013];

    [Option("Translation for IPv4 applications, while one of the scenarios that have it is valid.", Otherwise = "addresses 198.18.0.0/16, and IPv4 destinations are refused")]
    public TranslationSection? Translation { get; set; }

    [Option("What is done with packets of applications, the first entry that fits deciding.", Otherwise = "they go through the tunnel as they are")]
    public List<DataPolicySection> DataPolicy { get; set; } = [];

    [Option("Under ESP, leave the mobile tunnel's own header out or keep it; both forms are taken at any time. Leaving it out saves 40 octets.")]
    public MobileTunnelHeader MobileTunnelHeader { get; set; }

    [Option("Correspondents that are spoken to by the short way, where they can do route optimisation.", Family = AddressFamilies.IPv6, Example = "2001:db8:2::/64", Otherwise = "everything goes by way of home")]
    public List<IPNetwork> RouteOptimisation { get; set; } = [];

    [Option("Protect home tests with ESP between terminal and home agent (RFC 6275 5.2.7).")]
    public bool ProtectHomeTests { get; set; } = true;
}

public sealed class TerminalAccessSection : OptionSection
{
    [Option("The gateway.", Family = AddressFamilies.IPv6, Example = "2001:db8:b::1", Otherwise = "the anchor point that the access router advertises (RFC 5380), if it does")]
    public IPAddress? Gateway { get; set; }

    [Option("Name that the gateway's certificate has to hold.", Example = "gw.visited.example", Otherwise = "the address it is found at")]
    public string? GatewayIdentity { get; set; }

    [Option("User name for access to the home network.", Required = true, Syntax = TextSyntax.Free, Example = "alice")]
    public string User { get; set; } = "";

    [Option("File whose first line is the password.", Required = true, File = FileUse.Private, Example = "alice.password")]
    public FileReference PasswordFile { get; set; } = null!;

    [Option("What is said in clear, before the tunnel to the authentication server. It need not name the user.", Syntax = TextSyntax.Free, Example = "anonymous@home.example")]
    public string Identity { get; set; } = "anonymous";

    [Option("DNS name of the authentication server. The password goes to nobody else.", Required = true, Example = "as.home.example")]
    public string ServerName { get; set; } = "";

    [Option("Authority (PEM) that vouches for gateway and authentication server.", File = FileUse.Read, Otherwise = "the authorities of the credential store")]
    public FileReference? CaFile { get; set; }
}

public sealed class SupplicantSection : OptionSection
{
    [Option("Certificate of the device with its key (EAP-TLS), and the authority of the access network's. It is not the store's: that one is opened later.", Otherwise = "the device says its link-layer address, and takes the network's word")]
    public TlsOptions? Tls { get; set; }

    [Option("Identity that is said in clear; it need not name anybody.", Example = "device@visited.example", Otherwise = "the link-layer address of the first link")]
    public string? Identity { get; set; }

    [Option("DNS name of the access network's certificate.", Syntax = TextSyntax.Fqdn, Example = "as.visited.example", Otherwise = "any that the authority vouches for")]
    public string? ServerName { get; set; }

    [Option("False: a link on which nobody asks may be used.")]
    public bool Required { get; set; } = true;
}

public sealed class EnrolmentSection : OptionSection
{
    [Option("Address of the authority, without a path the well-known one.", Required = true, Example = "http://ca.home.example")]
    public string Url { get; set; } = "";

    [Option("What the authority knows the enrolment secret by.", Example = "mn1.home.example", Otherwise = "the store's identifier")]
    public string? Reference { get; set; }

    [Option("File whose first line is the enrolment secret.", Required = true, File = FileUse.Private, Example = "mn1.secret")]
    public FileReference SecretFile { get; set; } = null!;

    [Option("How long before its end a certificate is renewed for a new key.", Minimum = "1s", Maximum = "365d", Otherwise = "when a third of its lifetime is left")]
    public TimeSpan? RenewBefore { get; set; }
}

public sealed class PrefixRequestSection : OptionSection
{
    [Option("DUID in hexadecimal, as the delegating router's table has it (spec TA-M29).", Example = "00:03:00:01:02:00:00:00:00:01", Otherwise = "DUID-LL of the first link")]
    public string? Duid { get; set; }

    [Option("IAID of the prefix.", Minimum = "0", Maximum = "4294967295")]
    public uint Iaid { get; set; } = 1;
}
