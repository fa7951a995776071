using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Sojourn.Wire.Diameter;

/// <summary>
/// One Diameter message (RFC 6733 section 3); immutable. Alter it with <c>with</c>; make one with
/// <see cref="DiameterDictionary.Request"/> or <see cref="DiameterDictionary.Answer"/>.
/// </summary>
public sealed record DiameterMessage
{
    public required DiameterFlags Flags { get; init; }

    /// <summary>24 bits.</summary>
    public required uint CommandCode { get; init; }

    public required uint ApplicationId { get; init; }

    /// <summary>Matches an answer to its request on one connection; every agent replaces it.</summary>
    public uint HopByHopId { get; init; }

    /// <summary>Finds duplicates together with Origin-Host; stays from end to end.</summary>
    public uint EndToEndId { get; init; }

    public required AvpList Avps { get; init; }

    public bool IsRequest => (Flags & DiameterFlags.Request) != 0;

    public bool IsProxiable => (Flags & DiameterFlags.Proxiable) != 0;

    public bool IsError => (Flags & DiameterFlags.Error) != 0;

    /// <summary>The T bit: sent once before, perhaps by another way.</summary>
    public bool IsRetransmitted => (Flags & DiameterFlags.Retransmitted) != 0;

    public int Length => DiameterHeader.Length + Avps.Length;

    public string? SessionId => Avps.TryGetText(AvpKeys.SessionId, out var value) ? value : null;

    public string? OriginHost => Avps.TryGetIdentity(AvpKeys.OriginHost, out var value) ? value : null;

    public string? OriginRealm => Avps.TryGetIdentity(AvpKeys.OriginRealm, out var value) ? value : null;

    public string? DestinationHost => Avps.TryGetIdentity(AvpKeys.DestinationHost, out var value) ? value : null;

    public string? DestinationRealm => Avps.TryGetIdentity(AvpKeys.DestinationRealm, out var value) ? value : null;

    /// <summary>Result-Code of an answer, else 0.</summary>
    public uint ResultCode => Avps.TryGetUnsigned32(AvpKeys.ResultCode, out var value) ? value : 0;

    /// <summary>Reads exactly one message. What is unknown is kept; nothing is judged beyond the framing of the AVPs.</summary>
    public static bool TryParse(ReadOnlyMemory<byte> source, DiameterLimits limits, [NotNullWhen(true)] out DiameterMessage? message, out WireError error)
    {
        var done = TryParse(source, limits, out message, out DiameterFault? fault);
        error = fault?.Error ?? default;
        return done;
    }

    /// <summary>The same, with the refusal in the form an answer needs. The message holds slices of <paramref name="source"/>.</summary>
    public static bool TryParse(
        ReadOnlyMemory<byte> source, DiameterLimits limits,
        [NotNullWhen(true)] out DiameterMessage? message, [NotNullWhen(false)] out DiameterFault? fault)
    {
        message = null;
        fault = null;
        if (!DiameterHeader.TryParse(source.Span, limits, out var header, out var error))
        {
            fault = new DiameterFault(error.Field == "Version" ? DiameterResult.UnsupportedVersion : DiameterResult.InvalidMessageLength, null, error);
            return false;
        }

        if (header.MessageLength != source.Length)
        {
            error = new WireError("Message Length", 1, "differs from the octets given", "RFC 6733 section 3");
            fault = new DiameterFault(DiameterResult.InvalidMessageLength, null, error);
            return false;
        }

        if (!AvpList.TryParse(source[DiameterHeader.Length..], limits, DiameterHeader.Length, out var avps, out error, out var broken))
        {
            var code = error.Field == "AVPs" ? DiameterResult.ResourcesExceeded : DiameterResult.InvalidAvpLength;
            fault = new DiameterFault(code, broken, error);
            return false;
        }

        message = new DiameterMessage
        {
            Flags = header.Flags,
            CommandCode = header.CommandCode,
            ApplicationId = header.ApplicationId,
            HopByHopId = header.HopByHopId,
            EndToEndId = header.EndToEndId,
            Avps = avps,
        };
        return true;
    }

    /// <summary>Writes <see cref="Length"/> octets.</summary>
    public int Write(Span<byte> destination)
    {
        var length = Length;
        new DiameterHeader(length, Flags, CommandCode, ApplicationId, HopByHopId, EndToEndId).Write(destination);
        Avps.Write(destination[DiameterHeader.Length..length]);
        return length;
    }

    public byte[] ToArray()
    {
        var octets = new byte[Length];
        Write(octets);
        return octets;
    }

    /// <summary>The same message with AVPs behind the others.</summary>
    public DiameterMessage Append(params IEnumerable<Avp> avps) => this with { Avps = new AvpList(Avps.Concat(avps)) };

    /// <summary>The same message without the AVPs of a name.</summary>
    public DiameterMessage Without(AvpKey key) => this with { Avps = new AvpList(Avps.Where(a => a.Key != key)) };

    /// <summary>Names and lengths only: data may be a key.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"{(IsRequest ? "request" : "answer")} {CommandCode} of application {ApplicationId}, end-to-end {EndToEndId:x8}, {Avps.Count} AVPs");
}
