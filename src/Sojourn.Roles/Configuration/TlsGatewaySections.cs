using System.Net;

namespace Sojourn.Roles.Configuration;

public sealed class TlsGatewaySection : OptionSection
{
    [Option("Where terminals open TLS sessions.", Required = true, Example = "\"[2001:db8:9::1]:4433\"")]
    public List<IPEndPoint> Listen { get; set; } = [];

    [Option("Certificate shown to terminals, and the authorities that terminals' certificates come from. TLS 1.3, both sides authenticated.", Required = true)]
    public TlsOptions Tls { get; set; } = null!;

    [Option("What terminals reach through their sessions. Whatever else they send is dropped.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:6::/48")]
    public List<IPNetwork> InnerNetworks { get; set; } = [];

    [Option("Links of the inner network. What comes by them for a terminal goes through its session, and no other way.", Required = true, Syntax = TextSyntax.Interface, Example = "in0")]
    public List<string> InnerLinks { get; set; } = [];

    [Option("Terminals that are let in.", Required = true, Reload = true, Unique = nameof(CarriedTerminalOptions.Name))]
    public List<CarriedTerminalOptions> Terminals { get; set; } = [];

    [Option("Name of the virtual device that carried packets come out of.", Syntax = TextSyntax.Interface)]
    public string Device { get; set; } = "tlsgw0";

    [Option("Largest packet that is carried, octets.", Minimum = "1280", Maximum = "65535")]
    public int Mtu { get; set; } = 1500;

    [Option("Connections at a time, those that have not proved themselves yet included.", Minimum = "1", Maximum = "100000")]
    public int MaximumConnections { get; set; } = 4096;
}

public sealed class CarriedTerminalOptions : OptionSection
{
    [Option("DNS name in the terminal's certificate.", Required = true, Syntax = TextSyntax.Fqdn, Example = "mn1.home.example")]
    public string Name { get; set; } = "";

    [Option("Its addresses: home address, delegated home prefix, or an address that is given to it here. It sends from no others.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:a:1::77/128")]
    public List<IPNetwork> Addresses { get; set; } = [];
}

/// <summary>What a terminal knows of such a gateway.</summary>
public sealed class TerminalTlsGatewaySection : OptionSection
{
    [Option("The gateway.", Required = true, Example = "\"[2001:db8:9::1]:4433\"")]
    public IPEndPoint Gateway { get; set; } = null!;

    [Option("DNS name that the gateway's certificate has to hold.", Required = true, Syntax = TextSyntax.Fqdn, Example = "gw.home.example")]
    public string Name { get; set; } = "";

    [Option("Authorities (PEM) that may vouch for the gateway.", File = FileUse.Read, Otherwise = "the authorities of the credential store")]
    public FileReference? CaFile { get; set; }

    [Option("What lies behind the gateway. It is reached through the TLS session, and not at all without.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:6::/48")]
    public List<IPNetwork> Networks { get; set; } = [];

    [Option("Which of the terminal's addresses the session is bound to.")]
    public TlsSessionAddress Binds { get; set; }

    [Option("Address that applications have towards those networks, as the gateway lists it.", Family = AddressFamilies.IPv6, Example = "2001:db8:6:ff::77", Otherwise = "the home address")]
    public IPAddress? Address { get; set; }

    [Option("TUN device that those networks are routed into.", Syntax = TextSyntax.Interface)]
    public string Device { get; set; } = "tls0";

    [Option("Largest packet that is carried, octets.", Minimum = "1280", Maximum = "65535")]
    public int Mtu { get; set; } = 1500;
}

public enum TlsSessionAddress : byte
{
    /// <summary>Home address; where no session comes about from it, care-of address and home address in turn.</summary>
    Automatic,

    /// <summary>The session stands through moves.</summary>
    HomeAddress,

    /// <summary>The session is resumed after a move.</summary>
    CareOfAddress,
}
