namespace Sojourn.Roles.Configuration;

/// <summary>How it is asked whether a certificate was withdrawn.</summary>
public enum RevocationMethod : byte
{
    /// <summary>RFC 6960.</summary>
    Ocsp,

    /// <summary>RFC 5280 section 5.</summary>
    Crl,
}

/// <summary>Whether peers' certificates have been withdrawn (spec authentication 7.6).</summary>
public sealed class RevocationSection : OptionSection
{
    [Option("How a certificate's status is asked for, in this order, until somebody knows it.", Otherwise = "`[ocsp, crl]`")]
    public List<RevocationMethod> Methods { get; set; } = [];

    [Option("OCSP responder, over HTTP.", Example = "http://ca.home.example/ocsp", Otherwise = "those the certificate names")]
    public string? OcspUri { get; set; }

    [Option("CRL, over HTTP.", Example = "http://ca.home.example/ca.crl", Otherwise = "those the certificate names")]
    public string? CrlUri { get; set; }

    [Option("Take OCSP responses without the nonce that was asked for: from responders that sign them beforehand.")]
    public bool NonceOptional { get; set; }

    [Option("Let a peer in when nobody can say whether its certificate is revoked (spec TA-N16). Each time is logged.")]
    public bool AllowUnknown { get; set; }

    [Option("How long each method may take.", Minimum = "100ms", Maximum = "10s")]
    public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(2);

    [Option("How long a CRL is used before it is fetched again; never beyond its own end.", Minimum = "1s", Maximum = "30d")]
    public TimeSpan CrlRefresh { get; set; } = TimeSpan.FromHours(1);

    /// <summary>In their order.</summary>
    public IReadOnlyList<RevocationMethod> Order => Methods.Count > 0 ? Methods : [RevocationMethod.Ocsp, RevocationMethod.Crl];
}
