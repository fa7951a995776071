using System.Text;

namespace Sojourn.Storage;

/// <summary>Network access identifiers (RFC 7542) as stored: the user part as written, the realm in lower case.</summary>
public static class Nai
{
    private const int LongestNai = 253;

    /// <summary>Normal form of <paramref name="text"/>, or null with the reason why it is not an NAI.</summary>
    public static string? TryNormalize(string text, out string reason)
    {
        var at = text.LastIndexOf('@');
        reason = at <= 0 || at == text.Length - 1 ? "must be user@realm"
            : Encoding.UTF8.GetByteCount(text) > LongestNai ? $"is longer than {LongestNai} octets"
            : text.Any(c => char.IsWhiteSpace(c) || char.IsControl(c)) ? "contains white space or control characters"
            : !IsRealm(text.AsSpan(at + 1)) ? "has a realm that is not a domain name"
            : "";
        return reason.Length == 0 ? string.Concat(text.AsSpan(0, at + 1), text[(at + 1)..].ToLowerInvariant()) : null;
    }

    public static bool IsRealm(ReadOnlySpan<char> realm)
    {
        foreach (var range in realm.Split('.'))
        {
            var label = realm[range];
            if (label.Length is 0 or > 63 || label[0] == '-' || label[^1] == '-')
            {
                return false;
            }

            foreach (var c in label)
            {
                if (!char.IsLetterOrDigit(c) && c != '-')
                {
                    return false;
                }
            }
        }

        return !realm.IsEmpty;
    }
}
