using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sojourn.Wire.Cmp;

namespace Sojourn.Engine.CertificateAuthority;

/// <summary>
/// Identifiers of terminals, home agents and other parts, in the one form that every table is searched with (spec
/// authentication 7.6, G35): a host name in lower case without trailing dot, or a distinguished name as RFC 4514 text,
/// innermost part first, values in lower case with single spaces.
/// </summary>
/// <remarks>Reading: a name that consists of a single commonName which is a host name is that host name, since openssl and
/// others put it there when there is no subjectAltName.</remarks>
public static class TerminalIdentifier
{
    private const int LongestHostName = 253;
    private const int LongestName = 512;

    private static readonly Dictionary<string, string> AttributeNames = new()
    {
        ["2.5.4.3"] = "CN",
        ["2.5.4.5"] = "SERIALNUMBER",
        ["2.5.4.6"] = "C",
        ["2.5.4.7"] = "L",
        ["2.5.4.8"] = "ST",
        ["2.5.4.10"] = "O",
        ["2.5.4.11"] = "OU",
        ["0.9.2342.19200300.100.1.25"] = "DC",
        ["0.9.2342.19200300.100.1.1"] = "UID",
    };

    /// <summary>Canonical form of what an operator wrote, or null with the reason why it is no identifier.</summary>
    public static string? TryCanonical(string text, out string reason)
    {
        reason = "";
        if (!text.Contains('='))
        {
            var host = HostName(text.Trim());
            reason = host is null ? "is neither a host name with a domain nor a distinguished name (CN=…,O=…)" : "";
            return host;
        }

        try
        {
            var name = OfName(new X500DistinguishedName(text.Trim()).RawData);
            reason = name is null ? "has attributes that cannot be compared" : "";
            return name;
        }
        catch (CryptographicException)
        {
            reason = "is no distinguished name (CN=…,O=…)";
            return null;
        }
    }

    /// <summary>The Name in DER of an identifier that is a distinguished name, as an operator wrote it; the host name as commonName otherwise.</summary>
    /// <exception cref="CryptographicException">Not a name.</exception>
    public static byte[] ToName(string text)
    {
        if (text.Contains('='))
        {
            return new X500DistinguishedName(text).RawData;
        }

        // 64 characters is the upper bound of a common name (RFC 5280 appendix A); a longer one stands in the subjectAltName only.
        var builder = new X500DistinguishedNameBuilder();
        if (text.Length <= 64)
        {
            builder.AddCommonName(text);
        }

        return builder.Build().RawData;
    }

    public static bool IsHostName(string identifier) => !identifier.Contains('=');

    /// <summary>What a certificate is for: its only DNS name, or its subject. Null = it names nobody in particular.</summary>
    public static string? Of(CertificateFields certificate) => Of(certificate.Subject, certificate.Extensions, out _);

    /// <summary>The identifier that subject and extensions of a request or a certificate name.</summary>
    /// <param name="names">Its alternative names; null = none, or unreadable together with the result null.</param>
    internal static string? Of(ReadOnlyMemory<byte> subject, IReadOnlyList<CertificateExtension> extensions, out GeneralNames? names)
    {
        names = null;
        foreach (var extension in extensions)
        {
            if (extension.Oid == CmpOids.SubjectAlternativeName)
            {
                if (names is not null || !GeneralNames.TryParse(extension.Value, out names, out _))
                {
                    return null;
                }
            }
        }

        return names switch
        {
            { DnsNames.Count: > 1 } => null,
            { DnsNames.Count: 1 } => HostName(names.DnsNames[0]),
            _ => subject.IsEmpty ? null : OfName(subject),
        };
    }

    /// <summary>Canonical form of a Name in DER; null when it is empty or has values that cannot be compared.</summary>
    public static string? OfName(ReadOnlyMemory<byte> name)
    {
        if (!DistinguishedName.TryParse(name, out var parsed, out _) || parsed.Parts.Count == 0)
        {
            return null;
        }

        if (parsed.Parts is [[{ Oid: CmpOids.CommonName, Text: { } only }]] && HostName(only) is { } host)
        {
            return host;
        }

        var text = new StringBuilder();
        for (var i = parsed.Parts.Count - 1; i >= 0; i--)
        {
            var attributes = parsed.Parts[i].Select(a => a.Text is null ? null : $"{AttributeNames.GetValueOrDefault(a.Oid, a.Oid)}={Value(a.Text)}").ToList();
            if (attributes.Count == 0 || attributes.Contains(null))
            {
                return null;
            }

            attributes.Sort(StringComparer.Ordinal);
            text.Append(text.Length == 0 ? "" : ",").AppendJoin('+', attributes);
        }

        return text.Length <= LongestName ? text.ToString() : null;
    }

    private static string Value(string text)
    {
        var value = new StringBuilder();
        foreach (var word in text.ToLowerInvariant().Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            value.Append(value.Length == 0 ? "" : " ");
            foreach (var c in word)
            {
                value.Append(c is ',' or '+' or '"' or '\\' or '<' or '>' or ';' or '=' or '#' ? "\\" : "").Append(c);
            }
        }

        return value.ToString();
    }

    private static string? HostName(string text)
    {
        var name = text.EndsWith('.') ? text[..^1] : text;
        if (name.Length is 0 or > LongestHostName || !name.Contains('.'))
        {
            return null;
        }

        foreach (var label in name.Split('.'))
        {
            if (label.Length is 0 or > 63 || label[0] == '-' || label[^1] == '-' || label.Any(c => !char.IsAsciiLetterOrDigit(c) && c != '-'))
            {
                return null;
            }
        }

        return name.ToLowerInvariant();
    }
}
