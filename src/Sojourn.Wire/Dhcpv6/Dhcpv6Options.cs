using System.Buffers.Binary;

namespace Sojourn.Wire.Dhcpv6;

/// <summary>
/// One option (RFC 8415 21.1), known or not.
/// <code>
/// |          option-code          |           option-len          |
/// | option-data (option-len octets)
/// </code>
/// </summary>
public readonly ref struct Dhcpv6Option
{
    public const int HeaderLength = 4;

    internal Dhcpv6Option(ReadOnlySpan<byte> octets) => Octets = octets;

    /// <summary>Header and data.</summary>
    public ReadOnlySpan<byte> Octets { get; }

    public Dhcpv6OptionCode Code => (Dhcpv6OptionCode)BinaryPrimitives.ReadUInt16BigEndian(Octets);

    public ReadOnlySpan<byte> Data => Octets[HeaderLength..];
}

/// <summary>
/// Options as they stand in a message or inside another option. Exists only over octets that were checked: lengths, counts,
/// depth, and what <see cref="Dhcpv6OptionTable"/> says of each; walking them needs no further check.
/// </summary>
public readonly ref struct Dhcpv6Options
{
    private Dhcpv6Options(ReadOnlySpan<byte> octets) => Octets = octets;

    public ReadOnlySpan<byte> Octets { get; }

    public Enumerator GetEnumerator() => new(Octets);

    /// <summary>Checks everything down to the innermost option.</summary>
    /// <param name="place">What the options stand in.</param>
    public static bool TryParse(ReadOnlySpan<byte> octets, OptionPlaces place, out Dhcpv6Options options, out WireError error)
    {
        if (!Check(octets, 0, place, 1, out error))
        {
            options = default;
            return false;
        }

        options = new Dhcpv6Options(octets);
        return true;
    }

    /// <summary>The first option of a code.</summary>
    public bool TryFind(Dhcpv6OptionCode code, out ReadOnlySpan<byte> data)
    {
        foreach (var option in this)
        {
            if (option.Code == code)
            {
                data = option.Data;
                return true;
            }
        }

        data = default;
        return false;
    }

    public bool Has(Dhcpv6OptionCode code) => TryFind(code, out _);

    /// <summary>Whether the Option Request option names a code (RFC 8415 21.7).</summary>
    public bool Asks(Dhcpv6OptionCode code)
    {
        if (TryFind(Dhcpv6OptionCode.OptionRequest, out var codes))
        {
            for (; codes.Length >= 2; codes = codes[2..])
            {
                if (BinaryPrimitives.ReadUInt16BigEndian(codes) == (ushort)code)
                {
                    return true;
                }
            }
        }

        return false;
    }

    /// <summary>Status of this level; success when the option is absent (RFC 8415 21.13).</summary>
    public Dhcpv6Status Status => TryFind(Dhcpv6OptionCode.StatusCode, out var data) ? (Dhcpv6Status)BinaryPrimitives.ReadUInt16BigEndian(data) : Dhcpv6Status.Success;

    internal static Dhcpv6Options Checked(ReadOnlySpan<byte> octets) => new(octets);

    internal static bool Check(ReadOnlySpan<byte> octets, int at, OptionPlaces place, int depth, out WireError error)
    {
        Span<ulong> seen = stackalloc ulong[2];
        seen.Clear();
        var count = 0;
        while (octets.Length > 0)
        {
            if (octets.Length < Dhcpv6Option.HeaderLength)
            {
                error = new WireError("option-len", at, "an option is cut off in its header", "RFC 8415 21.1");
                return false;
            }

            if (++count > Dhcpv6Limits.Options)
            {
                error = new WireError("options", at, "too many options on one level", "limit");
                return false;
            }

            var code = BinaryPrimitives.ReadUInt16BigEndian(octets);
            int length = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]);
            if (length > octets.Length - Dhcpv6Option.HeaderLength)
            {
                error = new WireError("option-len", at + 2, "an option is longer than what holds it", "RFC 8415 21.1");
                return false;
            }

            var data = octets.Slice(Dhcpv6Option.HeaderLength, length);
            if (Dhcpv6OptionTable.Find(code) is { } known && (known.Places & place) != 0)
            {
                if (length < known.Minimum || length > known.Maximum || (length - known.Minimum) % known.Multiple != 0)
                {
                    error = new WireError("option-len", at + 2, "an option's length does not fit its code", "RFC 8415 21");
                    return false;
                }

                // Codes of the table end at 83.
                var bit = 1UL << (code & 63);
                if (!known.Repeats && (seen[code >> 6] & bit) != 0)
                {
                    error = new WireError("option-code", at, "an option that stands once stands twice", "RFC 8415 21.1");
                    return false;
                }

                seen[code >> 6] |= bit;
                if (known.Inside != OptionPlaces.None)
                {
                    if (depth == Dhcpv6Limits.Depth)
                    {
                        error = new WireError("options", at, "options nest too deep", "limit");
                        return false;
                    }

                    if (!Check(data[known.Minimum..], at + Dhcpv6Option.HeaderLength + known.Minimum, known.Inside, depth + 1, out error))
                    {
                        return false;
                    }
                }

                if (code == (ushort)Dhcpv6OptionCode.Prefix && data[8] > 128)
                {
                    error = new WireError("prefix-length", at + Dhcpv6Option.HeaderLength + 8, "longer than an address", "RFC 8415 21.22");
                    return false;
                }
            }

            at += Dhcpv6Option.HeaderLength + length;
            octets = octets[(Dhcpv6Option.HeaderLength + length)..];
        }

        error = default;
        return true;
    }

    public ref struct Enumerator
    {
        private ReadOnlySpan<byte> _rest;

        internal Enumerator(ReadOnlySpan<byte> octets) => _rest = octets;

        public Dhcpv6Option Current { get; private set; }

        public bool MoveNext()
        {
            if (_rest.IsEmpty)
            {
                return false;
            }

            var length = Dhcpv6Option.HeaderLength + BinaryPrimitives.ReadUInt16BigEndian(_rest[2..]);
            Current = new Dhcpv6Option(_rest[..length]);
            _rest = _rest[length..];
            return true;
        }
    }
}
