namespace Sojourn.Wire.Ip;

/// <summary>IPv4 option types (IANA ip-parameters); the high bit says that fragments copy the option.</summary>
public static class IPv4OptionType
{
    public const byte EndOfList = 0;
    public const byte NoOperation = 1;
    public const byte RecordRoute = 7;
    public const byte Timestamp = 68;
    public const byte Security = 130;
    public const byte LooseSourceRoute = 131;
    public const byte ExtendedSecurity = 133;
    public const byte CommercialSecurity = 134;
    public const byte StrictSourceRoute = 137;
    public const byte RouterAlert = 148;
    public const byte SenderDirectedDelivery = 149;
    public const byte CopiedFlag = 0x80;
}

/// <summary>
/// Walks IPv4 options (RFC 791 3.1). Stops at End of Option List or at the first option that does not fit, then
/// <see cref="Malformed"/> is true.
/// </summary>
public ref struct IPv4OptionWalk(ReadOnlySpan<byte> options)
{
    private readonly ReadOnlySpan<byte> _options = options;
    private int _next;

    /// <summary>Octets from the start of the options to the current one.</summary>
    public int Offset { get; private set; }

    public int Length { get; private set; }

    public byte Type { get; private set; }

    public bool Malformed { get; private set; }

    public readonly ReadOnlySpan<byte> Current => _options.Slice(Offset, Length);

    public bool MoveNext()
    {
        if (_next >= _options.Length)
        {
            return false;
        }

        Offset = _next;
        Type = _options[Offset];
        switch (Type)
        {
            case IPv4OptionType.EndOfList:
                Length = 1;
                _next = _options.Length;
                return false;
            case IPv4OptionType.NoOperation:
                Length = 1;
                break;
            default:
                if (Offset + 2 > _options.Length || _options[Offset + 1] < 2 || Offset + _options[Offset + 1] > _options.Length)
                {
                    Malformed = true;
                    _next = _options.Length;
                    return false;
                }

                Length = _options[Offset + 1];
                break;
        }

        _next = Offset + Length;
        return true;
    }
}
