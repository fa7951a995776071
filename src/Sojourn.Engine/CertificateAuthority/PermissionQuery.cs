namespace Sojourn.Engine.CertificateAuthority;

/// <summary>Why a delegating router or home agent asks about an identifier (Q1, spec 7.9).</summary>
public enum PermissionPurpose : byte
{
    Delegate,
    Renew,

    /// <summary>To tell a registered terminal a new home prefix (embodiment 4).</summary>
    Advertise,
}

/// <summary>Answer to Q1.</summary>
public enum PermissionReason : byte
{
    Ok,

    /// <summary>No row in table D4, or no identifier at all.</summary>
    Unknown,

    /// <summary>The flag is clear, or its certificate is not confirmed.</summary>
    FlagClear,
    Expired,
    Revoked,
}

/// <param name="Serial">Certificate the flag goes with; null when there is no row.</param>
public sealed record Permission(string Identifier, PermissionReason Reason, string? Serial, DateTimeOffset? NotAfter)
{
    public bool Allowed => Reason == PermissionReason.Ok;

    /// <summary>Looks the identifier up in table D4 (TA1.110) and checks the flag (TA1.111, 111x).</summary>
    /// <param name="identifier">As asked; it is brought into canonical form first.</param>
    public static Permission Of(string identifier, IAuthorityView view, DateTimeOffset now)
    {
        var canonical = TerminalIdentifier.TryCanonical(identifier, out _);
        var row = canonical is null ? null : view.Permission(canonical);
        if (row is null)
        {
            return new Permission(canonical ?? identifier, PermissionReason.Unknown, null, null);
        }

        var reason = !row.Allowed ? (row.ClearedFor == "revoked" ? PermissionReason.Revoked : PermissionReason.FlagClear)
            : !row.Effective ? PermissionReason.FlagClear
            : row.NotAfter <= now ? PermissionReason.Expired
            : view.Identifier(row.Identifier) is not { Eligible: true } ? PermissionReason.FlagClear
            : PermissionReason.Ok;
        return new Permission(row.Identifier, reason, row.Serial, row.NotAfter);
    }
}
