namespace Sojourn.Engine.CertificateAuthority;

/// <summary>How the authority decides.</summary>
public sealed record AuthorityOptions
{
    public TimeSpan CertificateLifetime { get; init; } = TimeSpan.FromDays(90);

    /// <summary>How far a certificate's notBefore lies back, for clocks that are late.</summary>
    public TimeSpan Backdate { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How far messageTime may be off (RFC 9810 5.1.1).</summary>
    public TimeSpan TimeTolerance { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long the authority waits for certConf before it revokes (TA-M32).</summary>
    public TimeSpan ConfirmationWait { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>Whether implicit confirmation is granted to whoever asks for it.</summary>
    public bool ImplicitConfirmation { get; init; } = true;

    /// <summary>Where the CRL is; null = not stated in certificates.</summary>
    public Uri? CrlUri { get; init; }

    public Uri? OcspUri { get; init; }

    /// <summary>How long a CRL says it is good for.</summary>
    public TimeSpan CrlLifetime { get; init; } = TimeSpan.FromDays(1);

    /// <summary>How long an OCSP response says it is good for.</summary>
    public TimeSpan OcspLifetime { get; init; } = TimeSpan.FromMinutes(5);
}
