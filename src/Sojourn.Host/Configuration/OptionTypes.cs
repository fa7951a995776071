using System.Globalization;
using System.Net;
using System.Text;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;
using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Configuration;

/// <summary>How values of one CLR type are written: parsing, printing, and the words for what is allowed.</summary>
internal static class OptionTypes
{
    /// <summary>RFC 3339, always in UTC and to the second.</summary>
    private const string MomentFormat = "yyyy-MM-dd'T'HH:mm:ss'Z'";

    /// <summary>Kebab case of a property or enumeration name: <c>CareOfAddress</c> is <c>care-of-address</c>.</summary>
    public static string NameOf(string clrName)
    {
        var name = new StringBuilder();
        for (var i = 0; i < clrName.Length; i++)
        {
            if (i > 0 && char.IsAsciiLetterUpper(clrName[i]))
            {
                name.Append('-');
            }

            name.Append(char.ToLowerInvariant(clrName[i]));
        }

        return name.Replace("cha-cha", "chacha").ToString();
    }

    public static IReadOnlyList<string> EnumNames(Type type) =>
        [.. Enum.GetValues(type).Cast<object>().Where(value => value is not IpsecAlgorithm.None).Select(value => NameOf(value.ToString()!))];

    /// <summary>What may be written, e.g. "a duration from 100ms to 30m".</summary>
    public static string Allowed(Type type, OptionAttribute option)
    {
        var range = (option.Minimum, option.Maximum) switch
        {
            (null, null) => "",
            ({ } low, null) => $" from {low}",
            (null, { } high) => $" up to {high}",
            ({ } low, { } high) => $" from {low} to {high}",
        };
        return Words(type, option) + range;
    }

    public static string Print(object? value) => value switch
    {
        null => "",
        bool flag => flag ? "true" : "false",
        TimeSpan time => PrintDuration(time),
        DateTimeOffset moment => moment.ToString(MomentFormat, CultureInfo.InvariantCulture),
        SpiRange range => $"{new SpiValue(range.First)}-{new SpiValue(range.Last)}",
        Enum member => NameOf(member.ToString()),
        IEnumerable<int> numbers => $"[ {string.Join(", ", numbers)} ]",
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        _ => value.ToString()!,
    };

    /// <summary>Reads one value. On failure the reason stands in <paramref name="reason"/>.</summary>
    public static object? TryParse(Type type, OptionAttribute option, string text, string directory, out string reason)
    {
        var value = Parse(type, option, text, directory, out reason);
        if (value is IComparable comparable and not string)
        {
            if (option.Minimum is { } low && comparable.CompareTo(Parse(type, option, low, directory, out _)) < 0)
            {
                reason = $"'{text}' is too small";
                return null;
            }

            if (option.Maximum is { } high && comparable.CompareTo(Parse(type, option, high, directory, out _)) > 0)
            {
                reason = $"'{text}' is too large";
                return null;
            }
        }

        return value;
    }

    private static object? Parse(Type type, OptionAttribute option, string text, string directory, out string reason)
    {
        reason = $"'{Shorten(text)}' is not {Words(type, option)}";
        if (type == typeof(string))
        {
            return ParseText(option.Syntax, text);
        }

        if (type == typeof(bool))
        {
            return text switch { "true" => true, "false" => false, _ => null };
        }

        if (type == typeof(int) || type == typeof(uint))
        {
            if (!long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number))
            {
                return null;
            }

            // Out of the CLR type's range means out of the option's range too: let the range message say so.
            return type == typeof(int)
                ? (int)Math.Clamp(number, int.MinValue, int.MaxValue)
                : (object)(uint)Math.Clamp(number, uint.MinValue, uint.MaxValue);
        }

        if (type == typeof(SpiValue))
        {
            return ParseSpi(text) is { } spi ? new SpiValue(spi) : null;
        }

        if (type == typeof(SpiRange))
        {
            var dash = text.IndexOf('-', StringComparison.Ordinal);
            return dash > 0 && ParseSpi(text[..dash].Trim()) is { } first && ParseSpi(text[(dash + 1)..].Trim()) is { } last
                && first >= SpiValue.First && first < last
                ? new SpiRange(first, last)
                : null;
        }

        if (type == typeof(AddressRange))
        {
            var dash = text.IndexOf('-', StringComparison.Ordinal);
            return dash > 0 && ParseAddress(text[..dash].Trim()) is { } first && ParseAddress(text[(dash + 1)..].Trim()) is { } last
                && first.GetAddressBytes().AsSpan().SequenceCompareTo(last.GetAddressBytes()) <= 0
                ? new AddressRange(first, last)
                : null;
        }

        if (type == typeof(IPAddress))
        {
            return option.Family == AddressFamilies.IPv6 || (option.Family == AddressFamilies.Either && text.Contains(':', StringComparison.Ordinal)) ? ParseAddress6(text) : ParseAddress(text);
        }

        if (type == typeof(IPEndPoint))
        {
            // The platform's parser also takes 10.1, octal and no port; what it prints is the one way to write it.
            return IPEndPoint.TryParse(text, out var end) && end.Port > 0 && end.ToString() == text ? end : null;
        }

        if (type == typeof(IPNetwork))
        {
            var six = option.Family == AddressFamilies.IPv6 || (option.Family == AddressFamilies.Either && text.Contains(':', StringComparison.Ordinal));
            return six ? ParsePrefix6(text, ref reason) : ParsePrefix(text, ref reason);
        }

        if (type == typeof(TimeSpan))
        {
            return ParseDuration(text);
        }

        if (type == typeof(DateTimeOffset))
        {
            return DateTimeOffset.TryParseExact(text, MomentFormat, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var moment) ? moment : null;
        }

        if (type == typeof(BitRate))
        {
            return ParseRate(text);
        }

        if (type == typeof(FileReference))
        {
            return text.Length == 0 || text.Contains('\0') ? null : new FileReference(text, Path.GetFullPath(text, directory));
        }

        if (type.IsEnum)
        {
            return Enum.GetValues(type).Cast<object>().FirstOrDefault(value => value is not IpsecAlgorithm.None && NameOf(value.ToString()!) == text);
        }

        throw new InvalidOperationException($"no syntax for options of type {type.Name}");
    }

    private static string Words(Type type, OptionAttribute option)
    {
        if (type.IsEnum)
        {
            return string.Join(" | ", EnumNames(type));
        }

        return type.Name switch
        {
            nameof(String) => option.Syntax switch
            {
                TextSyntax.Name => "a name of lower-case letters, digits, '.' and '-'",
                TextSyntax.Fqdn => "a fully qualified lower-case host name",
                TextSyntax.Nai => "user@realm",
                TextSyntax.Interface => "an interface name of 1 to 15 characters",
                _ => "a text",
            },
            nameof(Boolean) => "true | false",
            nameof(Int32) or nameof(UInt32) => "a whole number",
            nameof(SpiValue) => "an SPI (decimal or 0x…)",
            nameof(SpiRange) => "two SPIs LOW-HIGH of 0x100 or more, low before high",
            nameof(AddressRange) => "two IPv4 addresses FIRST-LAST",
            nameof(IPAddress) when option.Family == AddressFamilies.Either => "an IP address",
            nameof(IPAddress) when option.Family == AddressFamilies.IPv6 => "an IPv6 address",
            nameof(IPNetwork) when option.Family == AddressFamilies.Either => "an IP prefix ADDRESS/LENGTH",
            nameof(IPNetwork) when option.Family == AddressFamilies.IPv6 => "an IPv6 prefix ADDRESS/LENGTH",
            nameof(IPAddress) => "an IPv4 address",
            nameof(IPEndPoint) => "an address and port (192.0.2.1:80, [2001:db8::1]:80)",
            nameof(IPNetwork) => "an IPv4 prefix A.B.C.D/LENGTH",
            nameof(TimeSpan) => "a duration (500ms, 10s, 5m, 2h, 7d)",
            nameof(DateTimeOffset) => "a time in UTC (2026-12-01T00:00:00Z)",
            nameof(BitRate) => "a rate (64kbit, 10mbit, 1gbit)",
            nameof(FileReference) => option.File switch
            {
                FileUse.Secret => "a file with the secret in hex or base64, mode 0600",
                FileUse.Private => "an existing file, mode 0600",
                FileUse.Read => "an existing file",
                _ => "a file name",
            },
            _ => type.Name,
        };
    }

    private static string? ParseText(TextSyntax syntax, string text) => syntax switch
    {
        TextSyntax.Name => text.Length is > 0 and <= 63 && char.IsAsciiLetterOrDigit(text[0]) && text.All(IsNameCharacter) ? text : null,
        TextSyntax.Fqdn => IsHostName(text) ? text : null,
        TextSyntax.Nai => text.IndexOf('@', StringComparison.Ordinal) is > 0 and var at && text.Length <= 253
            && !text[..at].Any(c => char.IsWhiteSpace(c) || char.IsControl(c)) && IsHostName(text[(at + 1)..]) ? text : null,
        TextSyntax.Interface => text.Length is > 0 and <= 15 && text is not ("." or "..") && !text.Any(c => c is '/' or ':' || char.IsWhiteSpace(c) || c > 126) ? text : null,
        _ => text.Length > 0 ? text : null,
    };

    private static bool IsNameCharacter(char c) => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '.' or '-';

    private static bool IsHostName(string text) =>
        text.Length is > 0 and <= 253 && text.Contains('.')
        && text.Split('.').All(label => label.Length is > 0 and <= 63 && label[0] != '-' && label[^1] != '-' && label.All(c => IsNameCharacter(c) && c != '.'));

    private static uint? ParseSpi(string text) =>
        text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
            ? uint.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var hex) ? hex : null
            : uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;

    /// <summary>Four decimal octets and nothing else: the platform's parser also takes 10.1 and octal.</summary>
    private static IPAddress? ParseAddress(string text)
    {
        var parts = text.Split('.');
        return parts.Length == 4
            && parts.All(part => part.Length is 1 or 2 or 3 && part.All(char.IsAsciiDigit) && (part.Length == 1 || part[0] != '0') && int.Parse(part, CultureInfo.InvariantCulture) <= 255)
            ? IPAddress.Parse(text)
            : null;
    }

    private static object? ParsePrefix(string text, ref string reason)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0 || ParseAddress(text[..slash]) is not { } address
            || !int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var length) || length > 32)
        {
            return null;
        }

        var bits = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(address.GetAddressBytes());
        var mask = length == 0 ? 0 : uint.MaxValue << (32 - length);
        if ((bits & ~mask) == 0)
        {
            return new IPNetwork(address, length);
        }

        var octets = new byte[4];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(octets, bits & mask);
        reason = $"'{text}' has bits behind the prefix length set (the prefix is {new IPAddress(octets)}/{length})";
        return null;
    }

    /// <summary>RFC 4291 text without zone.</summary>
    private static IPAddress? ParseAddress6(string text) =>
        text.Contains(':', StringComparison.Ordinal) && text.All(c => char.IsAsciiHexDigit(c) || c is ':' or '.') && IPAddress.TryParse(text, out var address)
        && address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? address : null;

    private static object? ParsePrefix6(string text, ref string reason)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0 || ParseAddress6(text[..slash]) is not { } address || !int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var length) || length > 128)
        {
            return null;
        }

        var octets = address.GetAddressBytes();
        for (var bit = length; bit < 128; bit++)
        {
            if ((octets[bit >> 3] & (0x80 >> (bit & 7))) != 0)
            {
                reason = $"'{text}' has bits behind the prefix length set";
                return null;
            }
        }

        return new IPNetwork(address, length);
    }

    private static object? ParseDuration(string text)
    {
        var digits = text.TakeWhile(char.IsAsciiDigit).Count();
        if (digits is 0 or > 9)
        {
            return null;
        }

        var number = long.Parse(text.AsSpan(0, digits), NumberStyles.None, CultureInfo.InvariantCulture);
        return text[digits..] switch
        {
            "ms" => TimeSpan.FromMilliseconds(number),
            "s" => TimeSpan.FromSeconds(number),
            "m" => TimeSpan.FromMinutes(number),
            "h" => number < 10_000_000 ? TimeSpan.FromHours((int)number) : null,
            "d" => number < 1_000_000 ? TimeSpan.FromDays((int)number) : null,
            _ => null,
        };
    }

    private static string PrintDuration(TimeSpan time)
    {
        var milliseconds = (long)time.TotalMilliseconds;
        var (number, unit) = milliseconds switch
        {
            0 => (0, "s"),
            _ when milliseconds % 86_400_000 == 0 => (milliseconds / 86_400_000, "d"),
            _ when milliseconds % 3_600_000 == 0 => (milliseconds / 3_600_000, "h"),
            _ when milliseconds % 60_000 == 0 => (milliseconds / 60_000, "m"),
            _ when milliseconds % 1000 == 0 => (milliseconds / 1000, "s"),
            _ => (milliseconds, "ms"),
        };
        return number.ToString(CultureInfo.InvariantCulture) + unit;
    }

    private static object? ParseRate(string text)
    {
        var digits = text.TakeWhile(char.IsAsciiDigit).Count();
        if (digits is 0 or > 9)
        {
            return null;
        }

        var number = long.Parse(text.AsSpan(0, digits), NumberStyles.None, CultureInfo.InvariantCulture);
        var unit = text[digits..] switch { "bit" => 1L, "kbit" => 1_000L, "mbit" => 1_000_000L, "gbit" => 1_000_000_000L, _ => 0L };
        return unit > 0 && number > 0 ? new BitRate(number * unit) : null;
    }

    private static string Shorten(string text) => text.Length <= 60 ? text : text[..57] + "…";
}
