using System.Globalization;
using System.Net;
using System.Text;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Sojourn.Roles.KeyExchange;

namespace Sojourn.Roles.Hosting;

/// <summary>
/// Appends associations to a Wireshark <c>esp_sa</c> preference file, for laboratories. Each association is written once.
/// A suite the format cannot express is named in a comment without its key: one unknown name would make Wireshark drop
/// the whole file.
/// </summary>
public sealed class EspKeyExport(string path)
{
    private readonly HashSet<(uint, IPAddress, IPAddress, int)> _written = [];

    public string Path { get; } = path;

    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Write(IEnumerable<VpnPath> paths)
    {
        var lines = new StringBuilder();
        foreach (var association in paths.Where(p => p.SecurityType == SecurityType.Esp).SelectMany(p => new[] { p.Outbound, p.Inbound }).OfType<SaParameters>())
        {
            if (_written.Add((association.Spi, association.Source, association.Destination, association.Keys.Encryption.Length == 0 ? 0 : BitConverter.ToInt32(Fingerprint(association)))))
            {
                lines.Append(Line(association)).Append('\n');
            }
        }

        if (lines.Length == 0)
        {
            return;
        }

        KeyFile.Append(Path, lines.ToString().TrimEnd('\n'));
    }

    /// <summary>Both associations of a child SA in transport mode.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void WriteTransport(ChildSa child) => KeyFile.Append(Path, $"{TransportLine(child.Inbound)}\n{TransportLine(child.Outbound)}");

    internal static string Line(SaParameters association)
    {
        var spi = "0x" + association.Spi.ToString("x8", CultureInfo.InvariantCulture);
        var (cipher, authentication) = association.Algorithm switch
        {
            IpsecAlgorithm.Aes128Gcm16 or IpsecAlgorithm.Aes256Gcm16 => ("AES-GCM with 16 octet ICV [RFC4106]", "NULL"),
            IpsecAlgorithm.Aes128CbcHmacSha256 or IpsecAlgorithm.Aes256CbcHmacSha256 => ("AES-CBC [RFC3602]", "HMAC-SHA-256-128 [RFC4868]"),
            IpsecAlgorithm.HmacSha256 => ("NULL", "HMAC-SHA-256-128 [RFC4868]"),
            _ => (null, null),
        };
        return cipher is null
            ? $"# {association.Source} > {association.Destination} SPI {spi}: {association.Algorithm} cannot be written in this format"
            : $"\"{(association.Source.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? "IPv6" : "IPv4")}\",\"{association.Source}\",\"{association.Destination}\",\"{spi}\",\"{cipher}\",\"{Hex(association.Keys.Encryption)}\",\"{authentication}\",\"{Hex(association.Keys.Authentication)}\"";
    }

    /// <summary>The same for transport mode over IPv6 with extension headers: packets carry care-of addresses, the association home addresses, so only the SPI is named.</summary>
    internal static string TransportLine(SaParameters association) => Line(association)
        .Replace($"\"{association.Source}\",\"{association.Destination}\"", "\"*\",\"*\"", StringComparison.Ordinal);

    private static byte[] Fingerprint(SaParameters association) => System.Security.Cryptography.SHA256.HashData(association.Keys.Encryption.Octets);

    private static string Hex(KeyMaterial key) => key.Length == 0 ? "" : "0x" + Convert.ToHexStringLower(key.Octets);
}
