namespace Sojourn.Storage.Provisioning;

/// <summary>The YAML form of everything provisioning knows; <c>import</c> reads it, <c>export</c> writes it. Secrets stay in files beside it.</summary>
public sealed class ProvisioningDocument
{
    public List<UserEntry> Users { get; set; } = [];

    public List<GatewayEntry> Gateways { get; set; } = [];

    public List<string> Partners { get; set; } = [];
}

public sealed class UserEntry
{
    public string Nai { get; set; } = "";

    public string? MnAaaSpi { get; set; }

    /// <summary>File with the MN-AAA secret in hexadecimal.</summary>
    public string? MnAaaKeyFile { get; set; }

    public string? HomeAddress { get; set; }

    public string? HomeAgent { get; set; }

    public bool Enabled { get; set; } = true;

    /// <summary>File with the hash of the customer page's password; absent = what is stored stays.</summary>
    public string? PasswordHashFile { get; set; }

    /// <summary>What the user may choose on the customer page; absent = what is stored stays.</summary>
    public AllowedEntry? Allowed { get; set; }

    public List<ProfileEntry> Profiles { get; set; } = [];
}

/// <summary>What a subscriber may choose on the customer page.</summary>
public sealed class AllowedEntry
{
    public List<string> Destinations { get; set; } = [];

    /// <summary>Of <c>esp</c>, <c>ah</c>, <c>encapsulation</c>.</summary>
    public List<string> Security { get; set; } = [];

    public int HighestClass { get; set; }
}

/// <summary>One VPN database instance (spec network-vpn 3.1).</summary>
public sealed class ProfileEntry
{
    public uint Number { get; set; }

    /// <summary><c>user</c> (vpnshare 1) or <c>shared</c> (vpnshare 0).</summary>
    public string Share { get; set; } = "shared";

    public string Destination { get; set; } = "";

    public int UpClass { get; set; }

    public int DownClass { get; set; }

    /// <summary><c>esp</c>, <c>ah</c> or <c>encapsulation</c>.</summary>
    public string Security { get; set; } = "esp";

    public string? Algorithm { get; set; }

    /// <summary><c>direct</c> or <c>home</c>.</summary>
    public string Route { get; set; } = "direct";

    /// <summary><c>registration</c> or <c>first-packet</c>.</summary>
    public string Trigger { get; set; } = "registration";

    public bool Enabled { get; set; } = true;

    public ContractEntry? Contract { get; set; }
}

/// <summary>SPIs and keys agreed with a company whose gateway is set by hand.</summary>
public sealed class ContractEntry
{
    public string Algorithm { get; set; } = "";

    public string UpSpi { get; set; } = "";

    public string DownSpi { get; set; } = "";

    public string? UpEncryptionKeyFile { get; set; }

    public string? UpAuthenticationKeyFile { get; set; }

    public string? DownEncryptionKeyFile { get; set; }

    public string? DownAuthenticationKeyFile { get; set; }
}

/// <summary>One row of the CN-GW address table (spec network-vpn 3.3).</summary>
public sealed class GatewayEntry
{
    public string Correspondents { get; set; } = "";

    public string Gateway { get; set; } = "";

    /// <summary><c>static</c> or <c>dynamic</c>.</summary>
    public string Type { get; set; } = "static";

    public string? Name { get; set; }
}
