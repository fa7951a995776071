using Sojourn.Engine.Dhcpv6;

namespace Sojourn.Roles.PrefixDelegation;

/// <summary>
/// Answers query Q1 from the configuration, in place of a certification authority: identifiers by name, or all names below a
/// domain written <c>*.home.example</c>. On the engine's thread.
/// </summary>
internal sealed class StaticAuthority(IEnumerable<string> approved) : ILocalAuthority
{
    private HashSet<string> _approved = SetOf(approved);

    public PrefixPermission Ask(string identifier, PermissionPurpose purpose) =>
        Allows(identifier) ? new PrefixPermission(true, PermissionReason.Ok) : PrefixPermission.Refused(PermissionReason.FlagClear);

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

    private static HashSet<string> SetOf(IEnumerable<string> approved) => [.. approved.Select(PrefixIdentity.Canonical)];
}
