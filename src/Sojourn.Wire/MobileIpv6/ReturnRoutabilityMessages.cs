using System.Buffers.Binary;

namespace Sojourn.Wire.MobileIpv6;

/// <summary>Home test init, MH Type 1 (RFC 6275 6.1.3), sent by way of the home agent.</summary>
public sealed record HomeTestInit(ulong Cookie) : TestInit(Cookie)
{
    public override MobilityHeaderType Type => MobilityHeaderType.HomeTestInit;
}

/// <summary>Care-of test init, MH Type 2 (RFC 6275 6.1.4), sent directly.</summary>
public sealed record CareOfTestInit(ulong Cookie) : TestInit(Cookie)
{
    public override MobilityHeaderType Type => MobilityHeaderType.CareOfTestInit;
}

/// <summary>
/// What both inits have.
/// <code>
///                                 |           Reserved            |
/// |                        Init Cookie (8)                        |
/// </code>
/// </summary>
public abstract record TestInit(ulong Cookie) : MobilityMessage
{
    protected override int DataLength => 10;

    protected override void WriteData(Span<byte> data)
    {
        data[..2].Clear();
        BinaryPrimitives.WriteUInt64BigEndian(data[2..], Cookie);
    }
}

/// <summary>Home test, MH Type 3 (RFC 6275 6.1.5), comes by way of the home agent.</summary>
public sealed record HomeTest(ushort NonceIndex, ulong Cookie, ulong KeygenToken) : TestAnswer(NonceIndex, Cookie, KeygenToken)
{
    public override MobilityHeaderType Type => MobilityHeaderType.HomeTest;
}

/// <summary>Care-of test, MH Type 4 (RFC 6275 6.1.6), comes directly.</summary>
public sealed record CareOfTest(ushort NonceIndex, ulong Cookie, ulong KeygenToken) : TestAnswer(NonceIndex, Cookie, KeygenToken)
{
    public override MobilityHeaderType Type => MobilityHeaderType.CareOfTest;
}

/// <summary>
/// What both answers have.
/// <code>
///                                 |          Nonce Index          |
/// |                        Init Cookie (8)                        |
/// |                       Keygen Token (8)                        |
/// </code>
/// </summary>
public abstract record TestAnswer(ushort NonceIndex, ulong Cookie, ulong KeygenToken) : MobilityMessage
{
    protected override int DataLength => 18;

    protected override void WriteData(Span<byte> data)
    {
        BinaryPrimitives.WriteUInt16BigEndian(data, NonceIndex);
        BinaryPrimitives.WriteUInt64BigEndian(data[2..], Cookie);
        BinaryPrimitives.WriteUInt64BigEndian(data[10..], KeygenToken);
    }
}
