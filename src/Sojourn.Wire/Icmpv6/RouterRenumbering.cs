// Reading (spec terminal TM0.9, "an extended router-renumbering function"): no RFC has the extension. A prefix control operation of its own code keeps
// the form of RFC 2894 (a match-prefix part, then parts of 32 octets); a part holds 8 reserved octets and a MAP option as RFC 5380 4 has it.
using System.Buffers.Binary;
using System.Net;
using Sojourn.Wire.MobileIpv4;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Wire.Icmpv6;

[Flags]
public enum RouterRenumberingFlags : byte
{
    None = 0,

    /// <summary>T: nothing is to change.</summary>
    Test = 0x80,

    /// <summary>R: a result is asked for.</summary>
    ResultRequested = 0x40,

    /// <summary>A: interfaces that are shut down are meant too.</summary>
    AllInterfaces = 0x20,

    /// <summary>S: meant for one site only.</summary>
    SiteSpecific = 0x10,

    /// <summary>P: in a result, the command had been processed before.</summary>
    ProcessedPreviously = 0x08,
}

/// <summary>
/// Router renumbering (RFC 2894 3): a command (code 0) or its result (code 1).
/// <code>
/// |                        Sequence Number                        |
/// |Segment Number |T|R|A|S|P| res |           Max Delay           |
/// |                           reserved                            |
/// |  prefix control operations, or results ...                    |
/// </code>
/// </summary>
/// <param name="MaximumDelay">Milliseconds by which an answer may be late.</param>
public sealed record RouterRenumbering(uint SequenceNumber, byte SegmentNumber, RouterRenumberingFlags Flags, ushort MaximumDelay) : Icmpv6Message
{
    public const byte Command = 0, Result = 1;

    internal const int HeaderLength = 16;

    /// <summary>Of a command.</summary>
    public IReadOnlyList<PrefixControlOperation> Operations { get; init; } = [];

    /// <summary>Of a result.</summary>
    public IReadOnlyList<RenumberingResult> Results { get; init; } = [];

    public override Icmpv6MessageType Type => Icmpv6MessageType.RouterRenumbering;

    protected override int BodyLength => HeaderLength - 4 + Operations.Sum(o => o.Length) + (Results.Count * RenumberingResult.Length);

    public bool Has(RouterRenumberingFlags flag) => (Flags & flag) == flag;

    protected override void WriteBody(Span<byte> body)
    {
        BinaryPrimitives.WriteUInt32BigEndian(body, SequenceNumber);
        (body[4], body[5]) = (SegmentNumber, (byte)Flags);
        BinaryPrimitives.WriteUInt16BigEndian(body[6..], MaximumDelay);
        body = body[(HeaderLength - 4)..];
        foreach (var operation in Operations)
        {
            operation.Write(body);
            body = body[operation.Length..];
        }

        foreach (var result in Results)
        {
            result.Write(body);
            body = body[RenumberingResult.Length..];
        }
    }

    /// <param name="octets">A message of code 0 or 1, with its header.</param>
    internal static bool TryRead(ReadOnlySpan<byte> octets, out Icmpv6Message? message, out WireError error)
    {
        message = null;
        var operations = new List<PrefixControlOperation>();
        var results = new List<RenumberingResult>();
        for (var at = HeaderLength; at < octets.Length;)
        {
            if (operations.Count + results.Count == Icmpv6Limits.PrefixControlOperations)
            {
                error = new WireError("Message Body", at, "has too many operations or results", "Icmpv6Limits.PrefixControlOperations");
                return false;
            }

            if (octets[1] == Result && octets.Length - at >= RenumberingResult.Length)
            {
                results.Add(RenumberingResult.Read(octets[at..]));
                at += RenumberingResult.Length;
            }
            else if (octets[1] == Command && PrefixControlOperation.TryRead(octets[at..], out var operation))
            {
                operations.Add(operation);
                at += operation.Length;
            }
            else
            {
                error = new WireError("Message Body", at, "is cut short, or a length in it is none that an operation has", "RFC 2894 3.2");
                return false;
            }
        }

        error = default;
        message = new RouterRenumbering(BinaryPrimitives.ReadUInt32BigEndian(octets[4..]), octets[8], (RouterRenumberingFlags)octets[9], BinaryPrimitives.ReadUInt16BigEndian(octets[10..])) { Operations = operations, Results = results };
        return true;
    }

    public bool Equals(RouterRenumbering? other) =>
        other is not null && (Code, SequenceNumber, SegmentNumber, Flags, MaximumDelay) == (other.Code, other.SequenceNumber, other.SegmentNumber, other.Flags, other.MaximumDelay)
        && Operations.SequenceEqual(other.Operations) && Results.SequenceEqual(other.Results);

    public override int GetHashCode() => HashCode.Combine(Code, SequenceNumber, SegmentNumber, Operations.Count, Results.Count);
}

/// <summary>
/// Prefix control operation (RFC 2894 3.2.1): the match-prefix part, and parts of 32 octets that say what to do.
/// <code>
/// |    OpCode     |   OpLength    |    Ordinal    |   MatchLen    |
/// |    MinLen     |    MaxLen     |           reserved            |
/// |                       MatchPrefix (16)                        |
/// </code>
/// </summary>
/// <param name="MatchLength">Leading bits of <paramref name="MatchPrefix"/> that a prefix must have.</param>
/// <param name="Parts">Of 32 octets each; what they are the code says.</param>
public sealed record PrefixControlOperation(byte OperationCode, byte Ordinal, byte MatchLength, byte MinimumLength, byte MaximumLength, IPAddress MatchPrefix, IReadOnlyList<OctetString> Parts)
{
    /// <summary>This project's: the MAP options in the parts take the place of those that the matched interfaces had by renumbering.</summary>
    public const byte SetAnchorPoints = 253;

    private const int MatchPart = 24, PartLength = 32, ReservedInPart = 8;

    public int Length => MatchPart + (Parts.Count * PartLength);

    /// <summary>Sets the MAP options of every interface with a prefix within <paramref name="match"/>.</summary>
    public static PrefixControlOperation Of(byte ordinal, IPNetwork match, params IEnumerable<MobilityAnchorPointOption> anchors) =>
        new(SetAnchorPoints, ordinal, (byte)match.PrefixLength, (byte)match.PrefixLength, 128, match.BaseAddress, [.. anchors.Select(PartOf)]);

    /// <summary>RFC 2894 4.3: a prefix of the router is one that is meant.</summary>
    public bool Matches(IPNetwork prefix) =>
        prefix.PrefixLength >= MinimumLength && prefix.PrefixLength <= MaximumLength && prefix.PrefixLength >= MatchLength && new PrefixInformationOption(prefix.BaseAddress, MatchLength, 0, 0, 0).Prefix == new PrefixInformationOption(MatchPrefix, MatchLength, 0, 0, 0).Prefix;

    /// <summary>The options of an operation <see cref="SetAnchorPoints"/>; false when it is another one, or a part is no MAP option.</summary>
    public bool TryReadAnchorPoints(out IReadOnlyList<MobilityAnchorPointOption> anchors)
    {
        var read = new List<MobilityAnchorPointOption>();
        anchors = read;
        foreach (var part in Parts)
        {
            if (!NeighborDiscoveryOptions.TryRead(part.Span, ReservedInPart, out var options, out _) || options.Count != 1 || options[0] is not MobilityAnchorPointOption anchor)
            {
                return false;
            }

            read.Add(anchor);
        }

        return OperationCode == SetAnchorPoints;
    }

    internal static bool TryRead(ReadOnlySpan<byte> octets, out PrefixControlOperation operation)
    {
        operation = null!;
        var length = octets.Length < MatchPart ? 0 : octets[1] * 8;
        if (length < MatchPart || length > octets.Length || (length - MatchPart) % PartLength != 0 || octets[3] > 128 || octets[4] > 128 || octets[5] > 128)
        {
            return false;
        }

        var parts = new OctetString[(length - MatchPart) / PartLength];
        for (var i = 0; i < parts.Length; i++)
        {
            parts[i] = octets.Slice(MatchPart + (i * PartLength), PartLength);
        }

        operation = new PrefixControlOperation(octets[0], octets[2], octets[3], octets[4], octets[5], IPv6Octets.Read(octets[8..]), parts);
        return true;
    }

    internal void Write(Span<byte> destination)
    {
        (destination[0], destination[1], destination[2], destination[3], destination[4], destination[5]) = (OperationCode, (byte)(Length / 8), Ordinal, MatchLength, MinimumLength, MaximumLength);
        IPv6Octets.Write(destination[8..], MatchPrefix);
        for (var i = 0; i < Parts.Count; i++)
        {
            Parts[i].Span.CopyTo(destination.Slice(MatchPart + (i * PartLength), PartLength));
        }
    }

    private static OctetString PartOf(MobilityAnchorPointOption anchor)
    {
        Span<byte> part = stackalloc byte[PartLength];
        part.Clear();
        NeighborDiscoveryOptions.Of(anchor).Write(part[ReservedInPart..]);
        return new OctetString(part);
    }

    public bool Equals(PrefixControlOperation? other) =>
        other is not null && (OperationCode, Ordinal, MatchLength, MinimumLength, MaximumLength) == (other.OperationCode, other.Ordinal, other.MatchLength, other.MinimumLength, other.MaximumLength)
        && MatchPrefix.Equals(other.MatchPrefix) && Parts.SequenceEqual(other.Parts);

    public override int GetHashCode() => HashCode.Combine(OperationCode, Ordinal, MatchLength, MatchPrefix, Parts.Count);
}

/// <summary>
/// What an operation has matched (RFC 2894 3.3).
/// <code>
/// |         reserved        |B|F|    Ordinal    |  MatchedLen     |
/// |                         InterfaceIndex                        |
/// |                       MatchedPrefix (16)                      |
/// </code>
/// </summary>
/// <param name="Forbidden">F: it was not carried out.</param>
public sealed record RenumberingResult(bool Forbidden, byte Ordinal, uint InterfaceIndex, byte MatchedLength, IPAddress MatchedPrefix)
{
    internal const int Length = 24;

    private const byte ForbiddenFlag = 0x01;

    internal static RenumberingResult Read(ReadOnlySpan<byte> octets) =>
        new((octets[1] & ForbiddenFlag) != 0, octets[2], BinaryPrimitives.ReadUInt32BigEndian(octets[4..]), octets[3], IPv6Octets.Read(octets[8..]));

    internal void Write(Span<byte> destination)
    {
        (destination[1], destination[2], destination[3]) = (Forbidden ? ForbiddenFlag : (byte)0, Ordinal, MatchedLength);
        BinaryPrimitives.WriteUInt32BigEndian(destination[4..], InterfaceIndex);
        IPv6Octets.Write(destination[8..], MatchedPrefix);
    }
}
