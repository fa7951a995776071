using System.Buffers.Binary;
using System.Collections;
using System.Net;

namespace Sojourn.Wire.MobileIpv6;

/// <summary>The options of a Mobility Header in order; immutable, compares by content.</summary>
public sealed class MobilityOptions : IReadOnlyList<MobilityOption>, IEquatable<MobilityOptions>
{
    public static readonly MobilityOptions None = new([]);

    private readonly MobilityOption[] _options;

    private MobilityOptions(MobilityOption[] options) => _options = options;

    /// <exception cref="ArgumentException">Too many options, or authorization data not at the end.</exception>
    public static MobilityOptions Of(params IEnumerable<MobilityOption> options)
    {
        MobilityOption[] copy = [.. options];
        if (copy.Length > MobileIpv6Limits.Options || copy.Take(copy.Length - 1).Any(o => o is BindingAuthorizationDataOption))
        {
            throw new ArgumentException("too many options, or authorization data is not the last (RFC 6275 6.2.7)", nameof(options));
        }

        return copy.Length == 0 ? None : new(copy);
    }

    public int Count => _options.Length;

    public MobilityOption this[int index] => _options[index];

    public T? Find<T>() where T : MobilityOption => _options.OfType<T>().FirstOrDefault();

    public MobilityOptions With(MobilityOption option) => Of([.. _options, option]);

    /// <summary>Octets of the options when they begin <paramref name="start"/> octets into the header, padding to a multiple of 8 included.</summary>
    internal int LengthFrom(int start)
    {
        var at = start;
        foreach (var option in _options)
        {
            at += Gap(at, option) + option.Length;
        }

        return ((at + 7) & ~7) - start;
    }

    /// <summary>Writes into <paramref name="header"/>, which is exactly as long as the message, from <paramref name="start"/> to its end.</summary>
    internal void Write(Span<byte> header, int start)
    {
        var at = start;
        foreach (var option in _options)
        {
            at += Pad(header.Slice(at, Gap(at, option)));
            at += option.Write(header[at..]);
        }

        Pad(header[at..]);
    }

    private static int Gap(int at, MobilityOption option)
    {
        var step = option.AlignmentStep;
        return (option.AlignmentOffset - (at % step) + step) % step;
    }

    private static int Pad(Span<byte> gap)
    {
        if (gap.IsEmpty)
        {
            return 0;
        }

        gap.Clear();
        if (gap.Length > 1)
        {
            gap[0] = MobilityOptionType.PadN;
            gap[1] = (byte)(gap.Length - 2);
        }

        return gap.Length;
    }

    /// <param name="octets">The whole header.</param>
    /// <param name="start">Where its options begin.</param>
    internal static bool TryRead(ReadOnlySpan<byte> octets, int start, out MobilityOptions options, out WireError error)
    {
        options = None;
        List<MobilityOption>? read = null;
        var paddings = 0;
        var at = start;
        while (at < octets.Length)
        {
            var type = octets[at];
            if (type == MobilityOptionType.Pad1)
            {
                at++;
                if (++paddings > MobileIpv6Limits.Paddings)
                {
                    error = new WireError("Mobility Options", at, "too much padding", "MobileIpv6Limits.Paddings");
                    return false;
                }

                continue;
            }

            if (at + 2 > octets.Length || at + 2 + octets[at + 1] > octets.Length)
            {
                error = new WireError("Option Length", at + 1, "more than the header holds", "RFC 6275 6.2.1");
                return false;
            }

            var data = octets.Slice(at + 2, octets[at + 1]);
            if (type == MobilityOptionType.PadN)
            {
                at += 2 + data.Length;
                if (++paddings > MobileIpv6Limits.Paddings)
                {
                    error = new WireError("Mobility Options", at, "too much padding", "MobileIpv6Limits.Paddings");
                    return false;
                }

                continue;
            }

            if (read is [.., BindingAuthorizationDataOption])
            {
                error = new WireError("Binding Authorization Data", at, "is not the last option", "RFC 6275 6.2.7");
                return false;
            }

            if ((read?.Count ?? 0) == MobileIpv6Limits.Options)
            {
                error = new WireError("Mobility Options", at, "too many", "MobileIpv6Limits.Options");
                return false;
            }

            if (!TryReadOne(type, data, at, out var option, out error))
            {
                return false;
            }

            (read ??= []).Add(option);
            at += 2 + data.Length;
        }

        error = default;
        options = read is null ? None : new MobilityOptions([.. read]);
        return true;
    }

    private static bool TryReadOne(byte type, ReadOnlySpan<byte> data, int offset, out MobilityOption option, out WireError error)
    {
        option = null!;
        error = default;
        int? length = type switch
        {
            MobilityOptionType.BindingRefreshAdvice => 2,
            MobilityOptionType.AlternateCareOfAddress => 16,
            MobilityOptionType.NonceIndices => 4,
            MobilityOptionType.BindingAuthorizationData => BindingAuthorizationDataOption.AuthenticatorLength,
            MobilityOptionType.MobileNetworkPrefix => 18,
            _ => null,
        };
        if ((length is { } exact && data.Length != exact) || (type is (MobilityOptionType.MobileNodeIdentifier or MobilityOptionType.DnsUpdate) && data.Length < 2))
        {
            error = new WireError("Option Length", offset + 1, "is not that of the option's type", "RFC 6275 6.2");
            return false;
        }

        switch (type)
        {
            case MobilityOptionType.BindingRefreshAdvice:
                option = new BindingRefreshAdviceOption(BinaryPrimitives.ReadUInt16BigEndian(data));
                return true;
            case MobilityOptionType.AlternateCareOfAddress:
                option = new AlternateCareOfAddressOption(IPv6Octets.Read(data));
                return true;
            case MobilityOptionType.NonceIndices:
                option = new NonceIndicesOption(BinaryPrimitives.ReadUInt16BigEndian(data), BinaryPrimitives.ReadUInt16BigEndian(data[2..]));
                return true;
            case MobilityOptionType.BindingAuthorizationData:
                option = new BindingAuthorizationDataOption(data);
                return true;
            case MobilityOptionType.MobileNetworkPrefix:
                if (data[1] > 128 || !PrefixOctets.TryRead(data[2..], data[1], out var prefix))
                {
                    error = new WireError("Prefix Length", offset + 3, "more than 128, or bits set beyond it", "RFC 3963 4.3");
                    return false;
                }

                option = new MobileNetworkPrefixOption(prefix);
                return true;
            case MobilityOptionType.MobileNodeIdentifier:
                option = new MobileNodeIdentifierOption(data[0], data[1..]);
                return true;
            case MobilityOptionType.DnsUpdate:
                option = DnsUpdateOption.Read(data);
                return true;
            default:
                option = new UnknownMobilityOption(type, data);
                return true;
        }
    }

    public bool Equals(MobilityOptions? other) => other is not null && _options.AsSpan().SequenceEqual(other._options);

    public override bool Equals(object? obj) => Equals(obj as MobilityOptions);

    public override int GetHashCode()
    {
        var hash = default(HashCode);
        foreach (var option in _options)
        {
            hash.Add(option);
        }

        return hash.ToHashCode();
    }

    public IEnumerator<MobilityOption> GetEnumerator() => ((IEnumerable<MobilityOption>)_options).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}

/// <summary>IPv6 prefixes as sixteen octets and a length.</summary>
internal static class PrefixOctets
{
    /// <summary>False when bits beyond the length are set, which <see cref="IPNetwork"/> does not hold.</summary>
    internal static bool TryRead(ReadOnlySpan<byte> octets, int length, out IPNetwork prefix)
    {
        prefix = default;
        for (var i = 0; i < IPv6Octets.Size; i++)
        {
            var kept = Math.Clamp(length - (i * 8), 0, 8);
            if ((octets[i] & (0xFF >> kept)) != 0)
            {
                return false;
            }
        }

        prefix = new IPNetwork(IPv6Octets.Read(octets), length);
        return true;
    }
}
