using System.Globalization;
using System.Net;

namespace Sojourn.Storage.Provisioning;

/// <summary>The words provisioning files and commands use for values; each failure names what is allowed.</summary>
public static class Words
{
    private static readonly Dictionary<string, IpsecAlgorithm> AlgorithmsByName = new(StringComparer.Ordinal)
    {
        ["aes128-gcm"] = IpsecAlgorithm.Aes128Gcm16,
        ["aes256-gcm"] = IpsecAlgorithm.Aes256Gcm16,
        ["chacha20-poly1305"] = IpsecAlgorithm.ChaCha20Poly1305,
        ["aes128-cbc-hmac-sha256"] = IpsecAlgorithm.Aes128CbcHmacSha256,
        ["aes256-cbc-hmac-sha256"] = IpsecAlgorithm.Aes256CbcHmacSha256,
        ["hmac-sha256"] = IpsecAlgorithm.HmacSha256,
        ["aes128-gmac"] = IpsecAlgorithm.Aes128Gmac,
        ["aes256-gmac"] = IpsecAlgorithm.Aes256Gmac,
    };

    public static IReadOnlyCollection<string> AlgorithmNames => AlgorithmsByName.Keys;

    public static string Name(IpsecAlgorithm algorithm) =>
        AlgorithmsByName.FirstOrDefault(p => p.Value == algorithm).Key ?? "none";

    public static string Name(SecurityType type) => type switch
    {
        SecurityType.Ah => "ah",
        SecurityType.Esp => "esp",
        _ => "encapsulation",
    };

    public static string Name(RoutePreference route) => route == RoutePreference.ViaHome ? "home" : "direct";

    /// <summary>The suite of a profile that names none.</summary>
    public static IpsecAlgorithm DefaultAlgorithm(SecurityType type) => type == SecurityType.Ah ? IpsecAlgorithm.HmacSha256 : IpsecAlgorithm.Aes128Gcm16;

    public static IpsecAlgorithm Algorithm(string text, string where) =>
        AlgorithmsByName.TryGetValue(text, out var algorithm) ? algorithm : throw Wrong(where, text, "algorithm", AlgorithmsByName.Keys);

    public static SecurityType Security(string text, string where) => text switch
    {
        "esp" => SecurityType.Esp,
        "ah" => SecurityType.Ah,
        "encapsulation" => SecurityType.EncapsulationOnly,
        _ => throw Wrong(where, text, "security type", ["esp", "ah", "encapsulation"]),
    };

    public static GatewayType Gateway(string text, string where) => text switch
    {
        "static" => GatewayType.Static,
        "dynamic" => GatewayType.Dynamic,
        _ => throw Wrong(where, text, "gateway type", ["static", "dynamic"]),
    };

    public static bool UserSpecific(string text, string where) => text switch
    {
        "user" => true,
        "shared" => false,
        _ => throw Wrong(where, text, "share", ["user", "shared"]),
    };

    public static RoutePreference Route(string text, string where) => text switch
    {
        "direct" => RoutePreference.Direct,
        "home" => RoutePreference.ViaHome,
        _ => throw Wrong(where, text, "route", ["direct", "home"]),
    };

    public static ProfileTrigger Trigger(string text, string where) => text switch
    {
        "registration" => ProfileTrigger.Registration,
        "first-packet" => ProfileTrigger.FirstPacket,
        _ => throw Wrong(where, text, "trigger", ["registration", "first-packet"]),
    };

    /// <summary>Decimal or 0x-hexadecimal.</summary>
    public static uint Spi(string text, string where)
    {
        var hexadecimal = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
        var digits = hexadecimal ? text[2..] : text;
        var style = hexadecimal ? NumberStyles.AllowHexSpecifier : NumberStyles.None;
        return uint.TryParse(digits, style, CultureInfo.InvariantCulture, out var spi) && spi >= 256
            ? spi
            : throw new StorageException($"{where}: '{text}' is not an SPI; allowed: 256 to 4294967295, decimal or 0x-hexadecimal");
    }

    public static string Spi(uint spi) => string.Create(CultureInfo.InvariantCulture, $"0x{spi:x8}");

    public static IPAddress Address(string text, string where) =>
        IPAddress.TryParse(text, out var address) && text.AsSpan().IndexOfAny('.', ':') >= 0
            ? address
            : throw new StorageException($"{where}: '{text}' is not an IP address");

    /// <summary>A prefix, or one address meaning that address alone. Host bits must be zero.</summary>
    public static IPNetwork Prefix(string text, string where)
    {
        // IPNetwork clears host bits silently; 10.0.0.1/24 is more likely a slip than meant.
        if (IPNetwork.TryParse(text, out var network) && IPAddress.TryParse(text.AsSpan(0, text.IndexOf('/', StringComparison.Ordinal)), out var written) && written.Equals(network.BaseAddress))
        {
            return network;
        }

        if (!text.Contains('/', StringComparison.Ordinal) && IPAddress.TryParse(text, out var address))
        {
            return new IPNetwork(address, address.GetAddressBytes().Length * 8);
        }

        throw new StorageException($"{where}: '{text}' is not a prefix such as 192.168.50.0/24 with zero host bits");
    }

    public static KeyMaterial Key(string path, string where)
    {
        if (!File.Exists(path))
        {
            throw new StorageException($"{where}: key file {path} does not exist");
        }

        try
        {
            return new KeyMaterial(Convert.FromHexString(File.ReadAllText(path).Trim()));
        }
        catch (FormatException)
        {
            throw new StorageException($"{where}: key file {path} is not hexadecimal");
        }
    }

    private static StorageException Wrong(string where, string text, string what, IEnumerable<string> allowed) =>
        new($"{where}: '{text}' is not a known {what}; allowed: {string.Join(", ", allowed)}");
}
