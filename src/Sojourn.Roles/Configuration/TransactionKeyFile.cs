using System.Security.Cryptography;
using System.Text.RegularExpressions;
using Sojourn.Engine;
using Sojourn.Engine.DynamicDns;
using Sojourn.Wire.Dns;

namespace Sojourn.Roles.Configuration;

/// <summary>
/// A TSIG key in a file as BIND's <c>tsig-keygen</c> writes it and <c>nsupdate -k</c> reads it:
/// <c>key "NAME" { algorithm hmac-sha256; secret "BASE64"; };</c>
/// </summary>
public static partial class TransactionKeyFile
{
    private const int LongestFile = 8192;

    /// <summary>Null when the file cannot be used; <paramref name="reason"/> never quotes the secret.</summary>
    public static TransactionKey? TryRead(string path, out string reason)
    {
        reason = SecretFile.CheckPrivate(path) ?? "";
        if (reason.Length > 0)
        {
            return null;
        }

        try
        {
            if (new FileInfo(path).Length > LongestFile)
            {
                reason = $"'{path}' is longer than any key";
                return null;
            }

            return Parse(File.ReadAllText(path), path, out reason);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            reason = $"cannot read '{path}': {e.Message}";
            return null;
        }
    }

    /// <summary>Reads a key that <c>check</c> has already seen.</summary>
    /// <exception cref="InvalidDataException">It has changed since and cannot be used.</exception>
    public static TransactionKey Read(FileReference file) => TryRead(file.FullPath, out var reason) ?? throw new InvalidDataException(reason);

    private static TransactionKey? Parse(string text, string path, out string reason)
    {
        if (Statement().Match(Comment().Replace(text, found => found.Value[0] == '"' ? found.Value : " ")) is not { Success: true } statement)
        {
            reason = $"'{path}' is no single statement key \"NAME\" {{ algorithm …; secret \"…\"; }};";
            return null;
        }

        var body = statement.Groups["body"].Value;
        var (algorithm, secret) = (Algorithm().Match(body), Secret().Match(body));
        if (DnsName.TryFromText(statement.Groups["name"].Value) is not { IsRoot: false } name)
        {
            reason = $"the key's name in '{path}' is no domain name";
            return null;
        }

        TransactionAlgorithm? known = algorithm.Groups["name"].Value.ToLowerInvariant() switch
        {
            "hmac-sha256" => TransactionAlgorithm.HmacSha256,
            "hmac-sha384" => TransactionAlgorithm.HmacSha384,
            "hmac-sha512" => TransactionAlgorithm.HmacSha512,
            _ => null,
        };
        if (known is not { } chosen)
        {
            reason = $"the algorithm in '{path}' is '{algorithm.Groups["name"].Value}'";
            return null;
        }

        var octets = new byte[LongestFile];
        try
        {
            if (!Convert.TryFromBase64String(secret.Groups["octets"].Value, octets, out var length) || length == 0)
            {
                reason = $"the secret in '{path}' is no base64";
                return null;
            }

            reason = "";
            return new TransactionKey(name, chosen, new KeyMaterial(octets.AsSpan(0, length)));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(octets);
        }
    }

    /// <summary>Or something in quotation marks: a secret may hold two slashes.</summary>
    [GeneratedRegex(@"""[^""\n]*""|//[^\n]*|#[^\n]*|/\*.*?\*/", RegexOptions.Singleline | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Comment();

    [GeneratedRegex("""^\s*key\s+"?(?<name>[^\s"{};]+)"?\s*\{(?<body>[^{}]*)\}\s*;?\s*$""", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Statement();

    [GeneratedRegex("""(^|;)\s*algorithm\s+"?(?<name>[A-Za-z0-9.-]+?)\.?"?\s*;""", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Algorithm();

    [GeneratedRegex("""(^|;)\s*secret\s+"?(?<octets>[A-Za-z0-9+/=]+)"?\s*;""", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Secret();
}
