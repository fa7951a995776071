using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;

namespace Sojourn.Interop.Tests.LinuxGateway;

/// <summary>One way in which a packet may be protected, with a pair of hosts of its own that uses nothing else.</summary>
/// <param name="Floor">Last number used before, at both ends.</param>
internal sealed record KernelForm(
    SecurityType Type, IpsecAlgorithm Algorithm, bool Extended, bool Udp = false, bool OuterV6 = false, bool InnerV6 = false, ulong Floor = 0)
{
    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Type} {Algorithm}{(Extended ? " ESN" : "")}{(Udp ? " in UDP" : "")}, {Name(InnerV6)} in {Name(OuterV6)}{(Floor > 0 ? $" from {Floor}" : "")}");

    private static string Name(bool ipv6) => ipv6 ? "IPv6" : "IPv4";
}

/// <summary>
/// The forms the kernel back end has, one path for each, as both ends make them: the test, and the program in the guest, which is
/// the same assembly. Keys come from a secret that both hold.
/// </summary>
internal static class KernelForms
{
    public static readonly IPAddress Own6 = IPAddress.Parse("fd0c::1"), Kernel6 = IPAddress.Parse("fd0c::2");
    private const uint FirstSpi = 0x5000;

    public static readonly IReadOnlyList<KernelForm> All =
    [
        new(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, Extended: false),
        new(SecurityType.Esp, IpsecAlgorithm.Aes256Gcm16, Extended: true),
        new(SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305, Extended: false),
        new(SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305, Extended: true),
        new(SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, Extended: false),
        new(SecurityType.Esp, IpsecAlgorithm.Aes256CbcHmacSha256, Extended: true),
        new(SecurityType.Esp, IpsecAlgorithm.HmacSha256, Extended: false),
        new(SecurityType.Esp, IpsecAlgorithm.Aes128Gmac, Extended: true),
        new(SecurityType.Ah, IpsecAlgorithm.HmacSha256, Extended: false),
        new(SecurityType.Ah, IpsecAlgorithm.HmacSha256, Extended: true),

        // The upper half of the number changes under way, which only the integrity check shows.
        new(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, Extended: true, Floor: uint.MaxValue - 2),
        new(SecurityType.Ah, IpsecAlgorithm.HmacSha256, Extended: true, Floor: uint.MaxValue - 2),

        new(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, Extended: true, Udp: true),
        new(SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305, Extended: true, Udp: true),
        new(SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, Extended: false, Udp: true),

        new(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, Extended: true, InnerV6: true),
        new(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, Extended: true, OuterV6: true),
        new(SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305, Extended: true, OuterV6: true, InnerV6: true),
        new(SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, Extended: true, OuterV6: true, InnerV6: true),
        new(SecurityType.Ah, IpsecAlgorithm.HmacSha256, Extended: true, OuterV6: true, InnerV6: true),
        new(SecurityType.Esp, IpsecAlgorithm.Aes128Gcm16, Extended: true, Udp: true, OuterV6: true, InnerV6: true),
        new(SecurityType.Esp, IpsecAlgorithm.Aes256Gcm16, Extended: false, Udp: true, InnerV6: true),
    ];

    /// <summary>What this kernel has not, with the words of the refusal.</summary>
    public static readonly IReadOnlyList<(KernelForm Form, string Refusal)> Refused =
    [
        (new(SecurityType.Ah, IpsecAlgorithm.Aes128Gmac, Extended: true), "the kernel has no Aes128Gmac for Ah"),
        (new(SecurityType.EncapsulationOnly, IpsecAlgorithm.None, Extended: false), "the kernel back end has no tunnels without IPsec"),
    ];

    /// <summary>The hosts of a form: ours, and the company's.</summary>
    public static (IPAddress Host, IPAddress Company) Hosts(int number, bool ipv6) => ipv6
        ? (Numbered($"fd99::{100 + number}"), Numbered($"fd50::{100 + number}"))
        : (Numbered($"10.99.0.{100 + number}"), Numbered($"192.168.50.{100 + number}"));

    public static uint SpiToKernel(int number) => FirstSpi + (2 * (uint)number);

    public static uint SpiFromKernel(int number) => SpiToKernel(number) + 1;

    /// <summary>The path of a form as our end sees it.</summary>
    /// <param name="ends">Our outer address and the kernel's; null = the first of each.</param>
    public static VpnPath PathOf(KernelForm form, int number, byte[] secret, (IPAddress Own, IPAddress Kernel)? ends = null)
    {
        var (host, company) = Hosts(number, form.InnerV6);
        var (own, other) = ends ?? (form.OuterV6 ? (Own6, Kernel6) : (KernelGateway.Own, KernelGateway.Kernel));
        var plain = form.Type == SecurityType.EncapsulationOnly;
        return new VpnPath
        {
            Id = new PathId("company", string.Create(CultureInfo.InvariantCulture, $"{number}")),
            Source = Only(host),
            Destination = Only(company),
            SecurityType = form.Type,
            LocalGateway = own,
            RemoteGateway = other,
            Udp = form.Udp ? new UdpEncapsulation(4500, 4500) : null,
            Outbound = plain ? null : Association(SpiToKernel(number), own, other),
            Inbound = plain ? null : Association(SpiFromKernel(number), other, own),
            Origin = new PathOrigin("test", "NV1.2"),
        };

        SaParameters Association(uint spi, IPAddress source, IPAddress destination) => new()
        {
            Spi = spi,
            Source = source,
            Destination = destination,
            Algorithm = form.Algorithm,
            Keys = new AssociationKeys(Key(spi, "cipher", form.Algorithm.EncryptionKeyLength()), Key(spi, "mac", form.Algorithm.AuthenticationKeyLength())),
            ExtendedSequence = form.Extended,
            SequenceFloor = form.Floor,
        };

        KeyMaterial Key(uint spi, string use, int length) =>
            new(HMACSHA512.HashData(secret, Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{use} {spi}")))[..length]);
    }

    private static IPNetwork Only(IPAddress address) => new(address, address.GetAddressBytes().Length * 8);

    private static IPAddress Numbered(FormattableString text) => IPAddress.Parse(text.ToString(CultureInfo.InvariantCulture));
}
