using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>The project's own vendor extensions (docs/wire-extensions.md section 2), under the configured enterprise number.</summary>
public static class ProjectExtensions
{
    /// <summary>Documentation placeholder (RFC 5612), the default of the setting <c>enterprise-number</c>.</summary>
    public const uint DefaultEnterprise = 32473;

    public const ushort SealedVpnProfileType = 1;
    public const ushort ServiceUpdateRequestType = 2;
    public const ushort PreviousForeignAgentType = 3;
    public const ushort RefusalReasonType = 4;
    public const ushort ProfileNumbersType = 5;

    /// <summary>Numbers that fit one extension.</summary>
    public const int MostProfileNumbers = MobileIpv4Limits.NormalVendorValue / 4;

    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>Critical: a gateway that cannot read a profile must not answer as if it had.</summary>
    public static VendorExtension SealedVpnProfile(uint enterprise, ReadOnlySpan<byte> sealedProfile) =>
        VendorExtension.InCritical(enterprise, SealedVpnProfileType, sealedProfile);

    public static VendorExtension ServiceUpdateRequest(uint enterprise) =>
        VendorExtension.InNormal(enterprise, ServiceUpdateRequestType, OctetString.Empty);

    public static VendorExtension PreviousForeignAgent(uint enterprise, IPAddress address, string? nai = null)
    {
        AddressOctets.Require(address);
        var name = nai is null ? [] : StrictUtf8.GetBytes(nai);
        return VendorExtension.InNormal(enterprise, PreviousForeignAgentType, OctetString.Create(AddressOctets.Size + name.Length, octets =>
        {
            AddressOctets.Write(octets, address);
            name.CopyTo(octets[AddressOctets.Size..]);
        }));
    }

    /// <summary>Text for people in a refusing reply; cut at a character so that it fits.</summary>
    public static VendorExtension RefusalReason(uint enterprise, string text)
    {
        while (Encoding.UTF8.GetByteCount(text) > MobileIpv4Limits.NormalVendorValue)
        {
            text = text[..^(char.IsLowSurrogate(text[^1]) && text.Length > 1 ? 2 : 1)];
        }

        return VendorExtension.InNormal(enterprise, RefusalReasonType, Encoding.UTF8.GetBytes(text));
    }

    /// <summary>Profiles that wait for a first packet and are asked for, or have been distributed (spec network-vpn NV8); at most <see cref="MostProfileNumbers"/>.</summary>
    public static VendorExtension ProfileNumbers(uint enterprise, IReadOnlyCollection<uint> numbers) =>
        VendorExtension.InNormal(enterprise, ProfileNumbersType, OctetString.Create(4 * numbers.Count, octets =>
        {
            foreach (var number in numbers)
            {
                BinaryPrimitives.WriteUInt32BigEndian(octets, number);
                octets = octets[4..];
            }
        }));

    /// <summary>The first project extension of a type, in the form (critical or normal) that type has.</summary>
    public static VendorExtension? FindProject(this MobileIpExtensions extensions, uint enterprise, ushort vendorType) =>
        extensions.Find<VendorExtension>(e => e.Enterprise == enterprise && e.VendorType == vendorType && e.Critical == (vendorType == SealedVpnProfileType));

    public static bool HasServiceUpdateRequest(this MobileIpExtensions extensions, uint enterprise) =>
        extensions.FindProject(enterprise, ServiceUpdateRequestType) is not null;

    /// <summary>True when this critical extension is none that Sojourn reads: requests are refused with code 100, 101, 140 or 141 (RFC 3115 2.4).</summary>
    public static bool IsForeignCritical(this VendorExtension extension, uint enterprise) =>
        extension.Critical && (extension.Enterprise != enterprise || extension.VendorType != SealedVpnProfileType);

    /// <summary>Reads the previous foreign agent's address and, when there, its NAI.</summary>
    public static bool TryReadPreviousForeignAgent(this VendorExtension extension, out PreviousForeignAgent agent, out WireError error)
    {
        agent = default;
        var value = extension.Value.Span;
        if (value.Length < AddressOctets.Size)
        {
            error = new WireError("Previous Foreign Agent", 0, "too short for an IPv4 address", "docs/wire-extensions.md 2");
            return false;
        }

        var name = value[AddressOctets.Size..];
        if (!System.Text.Unicode.Utf8.IsValid(name))
        {
            error = new WireError("Previous Foreign Agent", AddressOctets.Size, "NAI is not UTF-8", "docs/wire-extensions.md 2");
            return false;
        }

        agent = new PreviousForeignAgent(AddressOctets.Read(value), name.IsEmpty ? null : StrictUtf8.GetString(name));
        error = default;
        return true;
    }

    /// <summary>Numbers of every such extension of a message; octets that make no whole number are passed over.</summary>
    public static IReadOnlySet<uint> ProfileNumbers(this MobileIpExtensions extensions, uint enterprise)
    {
        var numbers = new HashSet<uint>();
        foreach (var extension in extensions.OfType<VendorExtension>().Where(e => e.Enterprise == enterprise && e.VendorType == ProfileNumbersType && !e.Critical))
        {
            for (var rest = extension.Value.Span; rest.Length >= 4; rest = rest[4..])
            {
                numbers.Add(BinaryPrimitives.ReadUInt32BigEndian(rest));
            }
        }

        return numbers;
    }

    /// <summary>Text of a refusal reason; octets that are no UTF-8 become U+FFFD, for it is only shown.</summary>
    public static string? RefusalReason(this MobileIpExtensions extensions, uint enterprise) =>
        extensions.FindProject(enterprise, RefusalReasonType) is { } extension ? Encoding.UTF8.GetString(extension.Value.Span) : null;
}

/// <summary>The agent a mobile node was registered at before (spec network-vpn NV2.1).</summary>
public readonly record struct PreviousForeignAgent(IPAddress Address, string? Nai);
