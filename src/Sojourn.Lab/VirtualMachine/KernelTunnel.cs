using System.Globalization;
using System.Net;
using System.Text;
using Sojourn.Engine;

namespace Sojourn.Lab.VirtualMachine;

/// <summary>
/// The <c>ip</c> commands with which an engineer enters one tunnel into a Linux kernel by hand: states and policies of
/// <c>ip xfrm</c>, or an <c>ipip</c> device where there is no cryptography.
/// </summary>
public static class KernelTunnel
{
    private const int IcvBits = 128;

    /// <summary>Takes every tunnel entered before out again.</summary>
    public const string Clear =
        """
        ip xfrm policy flush
        ip xfrm state flush
        for device in $(ls /sys/class/net); do case $device in vpn*) ip link delete $device;; esac; done

        """;

    /// <summary>Commands for a path as this end sees it.</summary>
    /// <param name="path">IPv4, tunnel mode, without UDP encapsulation.</param>
    /// <param name="number">Tells tunnels apart: names the request id, or the device.</param>
    /// <param name="align4">AH only: expect and send the header of RFC 4302, rounded to 4 octets, not Linux's own rounded to 8.</param>
    /// <exception cref="ArgumentException">The kernel has no such tunnel.</exception>
    public static string Commands(VpnPath path, int number, bool align4 = false)
    {
        if (path.LocalGateway.AddressFamily != System.Net.Sockets.AddressFamily.InterNetwork || path.Udp is not null)
        {
            throw new ArgumentException("only IPv4 without UDP encapsulation is entered here", nameof(path));
        }

        var text = new StringBuilder();
        if (path.SecurityType == SecurityType.EncapsulationOnly)
        {
            // "inherit": DSCP and ECN go to the outer header as in our own gateways, and as IPsec tunnels of the kernel do by themselves.
            Line(text, $"ip link add vpn{number} type ipip local {path.LocalGateway} remote {path.RemoteGateway} ttl 64 tos inherit");
            Line(text, $"ip link set vpn{number} up");
            Line(text, $"ip route add {path.Destination} dev vpn{number}");
            return text.ToString();
        }

        var protocol = path.SecurityType == SecurityType.Ah ? "ah" : "esp";
        foreach (var association in new[] { path.Outbound, path.Inbound }.OfType<SaParameters>())
        {
            var flags = (association.ExtendedSequence ? " esn" : "") + (path.SecurityType == SecurityType.Ah && align4 ? " align4" : "");
            Line(text, $"ip xfrm state add src {association.Source} dst {association.Destination} proto {protocol} spi 0x{association.Spi:x} mode tunnel reqid {number} replay-window {Window(association)}{(flags.Length == 0 ? "" : " flag" + flags)} {Algorithms(path.SecurityType, association)}");
        }

        var template = $"proto {protocol} reqid {number} mode tunnel";
        if (path.Outbound is not null)
        {
            Line(text, $"ip xfrm policy add dir out src {path.Source} dst {path.Destination} tmpl src {path.LocalGateway} dst {path.RemoteGateway} {template}");
        }

        foreach (var direction in path.Inbound is null ? [] : (string[])["in", "fwd"])
        {
            Line(text, $"ip xfrm policy add dir {direction} src {path.Destination} dst {path.Source} tmpl src {path.RemoteGateway} dst {path.LocalGateway} {template}");
        }

        return text.ToString();
    }

    /// <summary>Without extended numbers the kernel's plain window holds 32 packets; a wider one is another structure, which it takes only together with them.</summary>
    private static int Window(SaParameters association) => association.ExtendedSequence ? Math.Clamp(association.ReplayWindow, 64, 4096) : 32;

    private static string Algorithms(SecurityType type, SaParameters association)
    {
        var cipher = Hex(association.Keys.Encryption);
        var authenticator = $"auth-trunc 'hmac(sha256)' {Hex(association.Keys.Authentication)} {IcvBits}";
        return (association.Algorithm, type) switch
        {
            (IpsecAlgorithm.HmacSha256, SecurityType.Ah) => authenticator,
            (IpsecAlgorithm.HmacSha256, _) => $"{authenticator} enc 'ecb(cipher_null)' ''",
            (IpsecAlgorithm.Aes128CbcHmacSha256 or IpsecAlgorithm.Aes256CbcHmacSha256, _) => $"{authenticator} enc 'cbc(aes)' {cipher}",
            (IpsecAlgorithm.Aes128Gcm16 or IpsecAlgorithm.Aes256Gcm16, _) => $"aead 'rfc4106(gcm(aes))' {cipher} {IcvBits}",
            (IpsecAlgorithm.Aes128Gmac or IpsecAlgorithm.Aes256Gmac, SecurityType.Esp) => $"aead 'rfc4543(gcm(aes))' {cipher} {IcvBits}",
            (IpsecAlgorithm.ChaCha20Poly1305, _) => $"aead 'rfc7539esp(chacha20,poly1305)' {cipher} {IcvBits}",
            _ => throw new ArgumentException($"the Linux kernel has no {association.Algorithm} for {type}", nameof(association)),
        };
    }

    private static string Hex(KeyMaterial key) => "0x" + Convert.ToHexStringLower(key.Octets);

    private static void Line(StringBuilder text, FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
}
