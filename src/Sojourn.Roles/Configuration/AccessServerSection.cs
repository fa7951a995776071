using System.Net;

namespace Sojourn.Roles.Configuration;

public sealed class AccessServerSection : OptionSection
{
    [Option("Where RADIUS requests are taken (UDP).", Required = true, Example = "192.0.2.10:1812")]
    public List<IPEndPoint> Listen { get; set; } = [];

    [Option("Certificate shown inside EAP, and the authority that devices' certificates come from. Terminals check its DNS name.", Required = true)]
    public TlsOptions Tls { get; set; } = null!;

    [Option("Access routers and gateways whose requests are answered; anybody else is ignored.", Required = true, Unique = nameof(AccessClientOptions.Name))]
    public List<AccessClientOptions> Clients { get; set; } = [];

    [Option("Who may reach the home network with a password, inside EAP-TTLS.", Reload = true, Unique = nameof(AccessUserOptions.Name))]
    public List<AccessUserOptions> Users { get; set; } = [];

    [Option("Devices that may use access links with a certificate (EAP-TLS).", Reload = true, Unique = nameof(AccessDeviceOptions.Address))]
    public List<AccessDeviceOptions> Devices { get; set; } = [];

    [Option("Let registered devices in by their link-layer address alone, without certificate. Whoever clones the address is in too. Shown in status.")]
    public bool AddressOnlyDevices { get; set; }

    [Option("Take users by RADIUS User-Password, which MD5 and the shared secret hide. Shown in status.")]
    public bool HiddenPasswords { get; set; }

    [Option("How long access lasts before it has to be proved anew (Session-Timeout).", Minimum = "1m", Maximum = "30d")]
    public TimeSpan SessionLifetime { get; set; } = TimeSpan.FromHours(8);
}

public sealed class AccessClientOptions : OptionSection
{
    [Option("Name of the authenticator, as the log shows it.", Required = true, Syntax = TextSyntax.Name, Example = "gw1")]
    public string Name { get; set; } = "";

    [Option("Where its requests come from.", Required = true, Family = AddressFamilies.Either, Example = "192.0.2.1/32")]
    public IPNetwork Address { get; set; }

    [Option("Secret shared with it, 16 octets or more.", Required = true, File = FileUse.Secret, Example = "keys/gw1")]
    public FileReference SecretFile { get; set; } = null!;
}

public sealed class AccessUserOptions : OptionSection
{
    [Option("User name, as inside the tunnel.", Required = true, Example = "alice")]
    public string Name { get; set; } = "";

    [Option("The password as `sojourn access-password` prints it; salted, not to be turned back.", Required = true, Example = "pbkdf2-sha512:210000:c2FsdHNhbHRzYWx0c2FsdA==:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
    public string PasswordHash { get; set; } = "";

    [Option("Identifier of the terminal that the user stands for, as its certificate names it.", Syntax = TextSyntax.Free, Example = "mn1.home.example", Otherwise = "the user's name")]
    public string? Identifier { get; set; }
}

public sealed class AccessDeviceOptions : OptionSection
{
    [Option("Link-layer address of the device.", Required = true, Example = "02:00:00:00:00:01")]
    public string Address { get; set; } = "";

    [Option("DNS name (else common name) in the certificate it proves itself with.", Required = true, Example = "mn1.home.example")]
    public string CertificateName { get; set; } = "";

    [Option("False: known and shut out.")]
    public bool Allowed { get; set; } = true;

    [Option("Names of the authenticators it may come by.", Example = "gw1", Otherwise = "any")]
    public List<string> Clients { get; set; } = [];
}
