using System.Net;

namespace Sojourn.Roles.Configuration;

public sealed class AccessAuthenticatorSection : OptionSection
{
    [Option("Ports of the access link. Each is shut: a station's frames pass only when it was let in, and only on its port.", Required = true, Example = "acc0")]
    public List<string> Ports { get; set; } = [];

    [Option("Bridge that joins the ports and is the router's interface on the access link. Made when it is not there. It outlives the node, with its ports shut.", Syntax = TextSyntax.Interface)]
    public string Bridge { get; set; } = "access0";

    [Option("The router's addresses on the access link; the bridge has them.", Otherwise = "whoever sets up the bridge gives them")]
    public List<RouterAddressOptions> Addresses { get; set; } = [];

    [Option("Stations of different ports hear the router alone, so that none can pass for a router or a neighbour to another (RA guard). False: they reach each other directly.")]
    public bool IsolatePorts { get; set; } = true;

    [Option("RADIUS servers that have the device registry, the preferred first; all of one IP version.", Unique = nameof(RadiusServerSection.Address), Otherwise = "the registry is `devices`")]
    public List<RadiusServerSection> Servers { get; set; } = [];

    [Option("What this router calls itself to the servers (NAS-Identifier).", Syntax = TextSyntax.Name, Example = "ar1", Otherwise = "the node's name")]
    public string? NasIdentifier { get; set; }

    [Option("Certificate shown inside EAP, and the authority that devices' certificates come from. Needed where `devices` decide by certificate.", Otherwise = "the server shows one")]
    public TlsOptions? Tls { get; set; }

    [Option("Device registry, where no server has it.", Reload = true, Unique = nameof(PortDeviceOptions.Address))]
    public List<PortDeviceOptions> Devices { get; set; } = [];

    [Option("Let registered devices in by their link-layer address alone, without certificate; with `servers` they have to allow it too. Whoever clones the address is in too. Shown in status.")]
    public bool AddressOnlyDevices { get; set; }

    [Option("How long a device stays in before it has to prove itself anew, where no server says otherwise.", Minimum = "1m", Maximum = "30d")]
    public TimeSpan SessionLifetime { get; set; } = TimeSpan.FromHours(8);

    [Option("How long a refused station is left alone.", Minimum = "1s", Maximum = "1h")]
    public TimeSpan QuietPeriod { get; set; } = TimeSpan.FromSeconds(60);
}

public sealed class RouterAddressOptions : OptionSection
{
    [Option("Address.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:f1::1")]
    public IPAddress Address { get; set; } = null!;

    [Option("Prefix length of the link's network.", Minimum = "1", Maximum = "128")]
    public int PrefixLength { get; set; } = 64;
}

public sealed class PortDeviceOptions : OptionSection
{
    [Option("Link-layer address of the device.", Required = true, Example = "02:00:00:00:00:01")]
    public string Address { get; set; } = "";

    [Option("DNS name (else common name) in the certificate it proves itself with; a label only where addresses alone count.", Required = true, Example = "mn1.home.example")]
    public string CertificateName { get; set; } = "";

    [Option("False: known and shut out.")]
    public bool Allowed { get; set; } = true;

    [Option("Ports it may come by.", Example = "acc0", Otherwise = "any")]
    public List<string> Ports { get; set; } = [];
}
