using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;

namespace Sojourn.Roles.PrefixDelegation;

/// <summary>
/// Answers query Q1 from the configuration, in place of a certification authority: identifiers by name, or all names below a
/// domain written <c>*.home.example</c>. On the engine's thread.
/// </summary>
public sealed class StaticAuthority(IEnumerable<string> approved) : ILocalAuthority
{
    private HashSet<string> _approved = SetOf(approved);

    public PermissionDecision Ask(string identifier, PermissionPurpose purpose) =>
        Allows(identifier) ? new PermissionDecision(true, PermissionReason.Ok) : PermissionDecision.Refused(PermissionReason.FlagClear);

    /// <summary>Takes over another list.</summary>
    public void Replace(IEnumerable<string> approved) => _approved = SetOf(approved);

    private bool Allows(string identifier)
    {
        if (_approved.Contains(identifier))
        {
            return true;
        }

        // A distinguished name is never below a domain.
        for (var dot = identifier.Contains('=', StringComparison.Ordinal) ? -1 : identifier.IndexOf('.', StringComparison.Ordinal); dot > 0; dot = identifier.IndexOf('.', dot + 1))
        {
            if (_approved.Contains(string.Concat("*", identifier.AsSpan(dot))))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Canonical form of an entry of the list, an identifier or <c>*.DOMAIN</c>; null with the reason when it is neither.</summary>
    public static string? TryEntry(string text, out string reason)
    {
        const string below = "*.";
        var isDomain = text.StartsWith(below, StringComparison.Ordinal);

        // A domain alone may have one label, a host name may not: one more stands for the terminal's.
        var canonical = TerminalIdentifier.TryCanonical(isDomain ? string.Concat("x.", text.AsSpan(below.Length)) : text, out reason);
        return isDomain && canonical is not null ? string.Concat("*", canonical.AsSpan(1)) : canonical;
    }

    private static HashSet<string> SetOf(IEnumerable<string> approved) => [.. approved.Select(entry => TryEntry(entry, out _)).OfType<string>()];
}
