namespace Sojourn.Engine.Aaa;

/// <summary>Network access identifiers (RFC 7542): the realm compares without regard to case, the user part as it stands.</summary>
internal static class Nai
{
    /// <summary>The same NAI with its realm in lower case; the form subscribers and caches are searched by.</summary>
    public static string Normalise(string nai)
    {
        var at = nai.LastIndexOf('@');
        return at < 0 ? nai : string.Concat(nai.AsSpan(0, at + 1), nai[(at + 1)..].ToLowerInvariant());
    }

    /// <summary>Null without a realm.</summary>
    public static string? RealmOf(string nai)
    {
        var at = nai.LastIndexOf('@');
        return at <= 0 || at == nai.Length - 1 ? null : nai[(at + 1)..];
    }

    public static bool AreEqual(string left, string right) => string.Equals(Normalise(left), Normalise(right), StringComparison.Ordinal);
}
