using System.Net;
using Sojourn.Engine.TerminalControl;

namespace Sojourn.Roles.Configuration;

public sealed class HomeAgent6Section : OptionSection
{
    [Option("Address of the home agent. It is nobody else's: the node takes everything sent to it out of the kernel's hands.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:a::1")]
    public IPAddress Address { get; set; } = null!;

    [Option("Home prefixes that are routed to this node; home addresses lie in them, each terminal's in a prefix of its own that a delegating router allots, or in one of `preset-prefixes`.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:8000::/40")]
    public List<IPNetwork> HomePrefixes { get; set; } = [];

    [Option("Certificate by which terminals know this home agent, PEM, with those between it and the authority behind it.", Otherwise = "that of `store`", File = FileUse.Read, Example = "tls/ha1.crt")]
    public FileReference? CertificateFile { get; set; }

    [Option("Private key of the certificate, PEM.", Otherwise = "that of `store`", File = FileUse.Private, Example = "tls/ha1.key")]
    public FileReference? KeyFile { get; set; }

    [Option("Credential store in place of the two files, as `sojourn enrol` makes one: a directory, or a PKCS#12 file.", File = FileUse.Written, Example = "credentials", Otherwise = "`certificate-file` and `key-file`")]
    public FileReference? Store { get; set; }

    [Option("Certification authority that is asked for the certificate of `store`: when it has none and the first terminal is to be answered, and before it ends.", Otherwise = "the certificate has to be there, and is renewed by the operator")]
    public EnrolmentSection? Enrolment { get; set; }

    [Option("Where the authority has certificates by serial number, over HTTP; a terminal that can fetch this home agent's there is sent its address in place of the certificate.", Example = "http://ca.home.example/certificates", Otherwise = "the certificate is always sent whole")]
    public string? CertificateStore { get; set; }

    [Option("Certificates of the authorities that terminals' certificates must come from, PEM.", Required = true, File = FileUse.Read, Example = "tls/ca.crt")]
    public FileReference CaFile { get; set; } = null!;

    [Option("What this home agent calls itself in the key exchange; the certificate has to contain it.", Example = "ha1.home.example", Otherwise = "the address")]
    public string? Identity { get; set; }

    [Option("Longest binding; never longer than the terminal's prefix lasts.", Minimum = "4s", Maximum = "262140s")]
    public TimeSpan MaximumLifetime { get; set; } = TimeSpan.FromHours(1);

    [Option("Most bindings at one time.", Minimum = "1", Maximum = "10000000")]
    public int MaximumBindings { get; set; } = 100_000;

    [Option("Preference in answers to home agent discovery; higher comes first.", Minimum = "0", Maximum = "65535")]
    public int Preference { get; set; }

    [Option("Other home agents for the same home prefixes, which answers to discovery name too.", Unique = nameof(OtherHomeAgentSection.Address))]
    public List<OtherHomeAgentSection> HomeAgents { get; set; } = [];

    [Option("Mobile routers and the networks that move with them (prefix table of RFC 3963 6.1.2). A terminal that is not listed cannot register as router, and no router more than stands here.", Unique = nameof(MobileRouterEntrySection.HomeAddress))]
    public List<MobileRouterEntrySection> MobileRouters { get; set; } = [];

    [Option("Take a care-of address that neither sent the binding update nor is the key exchange's peer (spec TA-H7): lets a terminal direct its traffic at others.")]
    public bool ForeignCareOfAddresses { get; set; }

    [Option("Delegating routers elsewhere that say whose a prefix is (spec Q2): HTTPS with TLS 1.3 and certificates on both sides.", Otherwise = "this node's own, of the section delegating-router; or home addresses are preset")]
    public AllocationQueriesSection? Allocations { get; set; }

    [Option("Prefixes in which terminals have preset home addresses (embodiment 4). Nobody is delegated a prefix: who proves himself first for an address keeps it, with his certificate. To replace one, give it `until`, add the new one and reload.", Reload = true, Unique = nameof(PresetPrefixSection.Prefix), Otherwise = "home addresses lie in delegated prefixes")]
    public List<PresetPrefixSection> PresetPrefixes { get; set; } = [];

    [Option("Interface of the home link, where other hosts have addresses of `preset-prefixes` too: the home agent tests home addresses for duplicates there, and answers for terminals that are away. The interface needs an address of each of these prefixes, and the home agent's own may be of them.", Syntax = TextSyntax.Interface, Example = "eth1", Otherwise = "home prefixes are routed to this node, and nobody shares them")]
    public string? HomeLink { get; set; }

    [Option("The certification authority that is asked about a terminal before it is told another home prefix (query Q1); for `preset-prefixes`.", Otherwise = "nobody is asked")]
    public HomeAgentAuthoritySection? Authority { get; set; }

    [Option("Name service that terminals' names are registered with, by DNS UPDATE signed with TSIG.", Otherwise = "names are not registered")]
    public NameServiceSection? NameService { get; set; }

    [Option("Whether terminals' certificates are revoked: how that is asked, and what holds when nobody knows.", Otherwise = "OCSP, then CRL, where certificates say; a terminal nobody knows about is refused")]
    public RevocationSection? Revocation { get; set; }

    [Option("How often a terminal's allocation is looked after at the delegating router.", Minimum = "1s", Maximum = "60s")]
    public TimeSpan AllocationPolling { get; set; } = TimeSpan.FromSeconds(60);

    [Option("Silence after which a terminal is asked whether it is there.", Minimum = "5s", Maximum = "1d")]
    public TimeSpan Liveness { get; set; } = TimeSpan.FromSeconds(30);

    [Option("What is asked of the packets of terminals between them and here: none, go through the tunnel as they are; offered, are protected once a terminal makes a child SA for them; esp, only under ESP.")]
    public DataProtection DataProtection { get; set; } = DataProtection.Offered;

    [Option("The mobile tunnel's header inside an ESP tunnel with the same ends: drop, leave it out of what is sent (40 octets less); keep, send it. Both forms are taken.")]
    public TunnelHeader MobileTunnelHeader { get; set; }

    [Option("Half-open key exchanges above which a cookie is asked for.", Minimum = "0", Maximum = "100000")]
    public int CookieThreshold { get; set; } = 100;

    [Option("Name of the virtual device that address and home prefixes are routed into.", Syntax = TextSyntax.Interface)]
    public string Tun { get; set; } = "home0";

    [Option("Largest packet the links towards terminals carry, octets.", Minimum = "1280", Maximum = "65535")]
    public int OuterMtu { get; set; } = 1500;

    [Option("Servers that carry packets, each a thread with a queue of the virtual device. A flow stays with one of them; which one is decided by its addresses and ports, under ESP by the SPI.", Minimum = "1", Maximum = "64", Otherwise = "as many as there are processors")]
    public int? Servers { get; set; }
}

public enum TunnelHeader : byte
{
    Drop,
    Keep,
}

public sealed class OtherHomeAgentSection : OptionSection
{
    [Option("Its address.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:a::2")]
    public IPAddress Address { get; set; } = null!;

    [Option("Its preference; higher comes first.", Minimum = "0", Maximum = "65535")]
    public int Preference { get; set; }
}

public sealed class MobileRouterEntrySection : OptionSection
{
    [Option("Home address of the router, in `home-prefixes`.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:8000:1::200")]
    public IPAddress HomeAddress { get; set; } = null!;

    [Option("Its networks, whether or not they lie in `home-prefixes`: they are routed to this node.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:9::/64")]
    public List<IPNetwork> Networks { get; set; } = [];
}

public sealed class AllocationQueriesSection : OptionSection
{
    [Option("Where they are asked, all of them; the host must be in the router's certificate.", Required = true, Example = "https://dr1.home.example:8445")]
    public List<string> Routers { get; set; } = [];

    [Option("Certificate of this node for queries and withdrawals, and the authority of the others'.", Required = true)]
    public TlsOptions Tls { get; set; } = null!;

    [Option("Where routers and authorities tell of ends and withdrawals (spec Q3): POST /v1/allocation-ended and /v1/withdrawal.", Example = "192.0.2.12:8446", Otherwise = "one counts when the allocation is looked after the next time")]
    public List<IPEndPoint> Listen { get; set; } = [];

    [Option("DNS names in certificates that may withdraw an identifier's permission.", Syntax = TextSyntax.Fqdn, Example = "ca.home.example")]
    public List<string> Authorities { get; set; } = [];
}
