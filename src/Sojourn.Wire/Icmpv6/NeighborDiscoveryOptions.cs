using System.Buffers.Binary;
using System.Collections;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Wire.Icmpv6;

/// <summary>The options of a neighbour discovery message in order; immutable, compares by content.</summary>
public sealed class NeighborDiscoveryOptions : IReadOnlyList<NeighborDiscoveryOption>, IEquatable<NeighborDiscoveryOptions>
{
    public static readonly NeighborDiscoveryOptions None = new([]);

    private readonly NeighborDiscoveryOption[] _options;

    private NeighborDiscoveryOptions(NeighborDiscoveryOption[] options)
    {
        _options = options;
        Length = options.Sum(o => o.Length);
    }

    /// <exception cref="ArgumentException">Too many options.</exception>
    public static NeighborDiscoveryOptions Of(params IEnumerable<NeighborDiscoveryOption> options)
    {
        NeighborDiscoveryOption[] copy = [.. options];
        return copy.Length <= Icmpv6Limits.Options ? new(copy) : throw new ArgumentException("too many options", nameof(options));
    }

    public int Count => _options.Length;

    public NeighborDiscoveryOption this[int index] => _options[index];

    public int Length { get; }

    public T? Find<T>() where T : NeighborDiscoveryOption => _options.OfType<T>().FirstOrDefault();

    public LinkLayerAddressOption? SourceLinkLayerAddress => _options.OfType<LinkLayerAddressOption>().FirstOrDefault(o => !o.OfTarget);

    public LinkLayerAddressOption? TargetLinkLayerAddress => _options.OfType<LinkLayerAddressOption>().FirstOrDefault(o => o.OfTarget);

    internal void Write(Span<byte> destination)
    {
        foreach (var option in _options)
        {
            destination = destination[option.Write(destination)..];
        }
    }

    internal static bool TryRead(ReadOnlySpan<byte> message, int start, out NeighborDiscoveryOptions options, out WireError error)
    {
        options = None;
        List<NeighborDiscoveryOption>? read = null;
        var at = start;
        while (at < message.Length)
        {
            if (at + 2 > message.Length || message[at + 1] == 0 || at + (message[at + 1] * 8) > message.Length)
            {
                error = new WireError("Length", at + 1, "is 0 or more than the message holds", "RFC 4861 4.6");
                return false;
            }

            if ((read?.Count ?? 0) == Icmpv6Limits.Options)
            {
                error = new WireError("Options", at, "too many", "Icmpv6Limits.Options");
                return false;
            }

            var octets = message.Slice(at, message[at + 1] * 8);
            if (!TryReadOne(octets, at, out var option, out error))
            {
                return false;
            }

            (read ??= []).Add(option);
            at += octets.Length;
        }

        error = default;
        options = read is null ? None : new NeighborDiscoveryOptions([.. read]);
        return true;
    }

    private static bool TryReadOne(ReadOnlySpan<byte> octets, int offset, out NeighborDiscoveryOption option, out WireError error)
    {
        error = default;
        option = null!;
        int? length = octets[0] switch
        {
            NeighborDiscoveryOptionType.PrefixInformation => 32,
            NeighborDiscoveryOptionType.Mtu or NeighborDiscoveryOptionType.AdvertisementInterval or NeighborDiscoveryOptionType.HomeAgentInformation => 8,
            NeighborDiscoveryOptionType.MobilityAnchorPoint => 24,
            _ => null,
        };
        if (length is { } exact && exact != octets.Length)
        {
            error = new WireError("Length", offset + 1, "is not that of the option's type", "RFC 4861 4.6");
            return false;
        }

        var data = octets[2..];
        switch (octets[0])
        {
            case NeighborDiscoveryOptionType.SourceLinkLayerAddress or NeighborDiscoveryOptionType.TargetLinkLayerAddress:
                option = new LinkLayerAddressOption(octets[0] == NeighborDiscoveryOptionType.TargetLinkLayerAddress, data);
                return true;
            case NeighborDiscoveryOptionType.PrefixInformation when data[0] > 128:
                error = new WireError("Prefix Length", offset + 2, "is more than 128", "RFC 4861 4.6.2");
                return false;
            case NeighborDiscoveryOptionType.PrefixInformation:
                option = new PrefixInformationOption(IPv6Octets.Read(data[14..]), data[0], (PrefixInformationFlags)data[1], BinaryPrimitives.ReadUInt32BigEndian(data[2..]), BinaryPrimitives.ReadUInt32BigEndian(data[6..]));
                return true;
            case NeighborDiscoveryOptionType.Mtu:
                option = new MtuOption(BinaryPrimitives.ReadUInt32BigEndian(data[2..]));
                return true;
            case NeighborDiscoveryOptionType.AdvertisementInterval:
                option = new AdvertisementIntervalOption(BinaryPrimitives.ReadUInt32BigEndian(data[2..]));
                return true;
            case NeighborDiscoveryOptionType.HomeAgentInformation:
                option = new HomeAgentInformationOption(BinaryPrimitives.ReadUInt16BigEndian(data[2..]), BinaryPrimitives.ReadUInt16BigEndian(data[4..]), (data[0] & 0x80) != 0);
                return true;
            case NeighborDiscoveryOptionType.MobilityAnchorPoint:
                option = new MobilityAnchorPointOption((byte)(data[0] >> 4), (byte)(data[0] & 0xF), data[1], BinaryPrimitives.ReadUInt32BigEndian(data[2..]), IPv6Octets.Read(data[6..]));
                return true;
            default:
                option = new UnknownNeighborDiscoveryOption(octets[0], data);
                return true;
        }
    }

    public bool Equals(NeighborDiscoveryOptions? other) => other is not null && _options.AsSpan().SequenceEqual(other._options);

    public override bool Equals(object? obj) => Equals(obj as NeighborDiscoveryOptions);

    public override int GetHashCode()
    {
        var hash = default(HashCode);
        foreach (var option in _options)
        {
            hash.Add(option);
        }

        return hash.ToHashCode();
    }

    public IEnumerator<NeighborDiscoveryOption> GetEnumerator() => ((IEnumerable<NeighborDiscoveryOption>)_options).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
