using System.Net;
using System.Runtime.InteropServices;

namespace Sojourn.Wire.Diameter;

/// <summary>
/// Collects AVPs; type and flags come from the dictionary. Naming an unknown attribute or giving it a value of another
/// type is a programming error and throws.
/// </summary>
public class AvpListBuilder(DiameterDictionary dictionary)
{
    private readonly List<Avp> _avps = new(16);

    public DiameterDictionary Dictionary { get; } = dictionary;

    public int Count => _avps.Count;

    public AvpListBuilder Add(Avp avp)
    {
        _avps.Add(avp);
        return this;
    }

    public AvpListBuilder Add(IEnumerable<Avp> avps)
    {
        _avps.AddRange(avps);
        return this;
    }

    /// <summary>Any integer type, Enumerated included.</summary>
    public AvpListBuilder Add(AvpKey key, long value)
    {
        var definition = Definition(key);
        return Add(definition.Type switch
        {
            AvpType.Unsigned32 => Avp.Unsigned32(key, checked((uint)value), definition.Flags),
            AvpType.Enumerated or AvpType.Integer32 => Avp.Integer32(key, checked((int)value), definition.Flags),
            AvpType.Unsigned64 => Avp.Unsigned64(key, checked((ulong)value), definition.Flags),
            AvpType.Integer64 => Avp.Integer64(key, value, definition.Flags),
            _ => throw Mismatch(definition, "an integer"),
        });
    }

    public AvpListBuilder Add(AvpKey key, ulong value)
    {
        var definition = Definition(key);
        return definition.Type == AvpType.Unsigned64
            ? Add(Avp.Unsigned64(key, value, definition.Flags))
            : Add(key, checked((long)value));
    }

    /// <summary>UTF8String, DiameterIdentity, DiameterURI or IPFilterRule.</summary>
    public AvpListBuilder Add(AvpKey key, string value)
    {
        var definition = Definition(key);
        return Add(definition.Type switch
        {
            AvpType.DiameterIdentity => Avp.Identity(key, value, definition.Flags),
            AvpType.Utf8String or AvpType.DiameterUri or AvpType.IpFilterRule => Avp.Text(key, value, definition.Flags),
            _ => throw Mismatch(definition, "text"),
        });
    }

    public AvpListBuilder Add(AvpKey key, IPAddress value)
    {
        var definition = Definition(key, AvpType.Address);
        return Add(Avp.Address(key, value, definition.Flags));
    }

    public AvpListBuilder Add(AvpKey key, DateTimeOffset value)
    {
        var definition = Definition(key, AvpType.Time);
        return Add(Avp.Time(key, value, definition.Flags));
    }

    /// <summary>OctetString; copied.</summary>
    public AvpListBuilder Add(AvpKey key, ReadOnlySpan<byte> value)
    {
        var definition = Definition(key, AvpType.OctetString);
        return Add(Avp.OctetString(key, value, definition.Flags));
    }

    public AvpListBuilder AddGroup(AvpKey key, Action<AvpListBuilder> members)
    {
        var definition = Definition(key, AvpType.Grouped);
        var inner = new AvpListBuilder(Dictionary);
        members(inner);
        return Add(new Avp(key, definition.Flags, inner.ToOctets()));
    }

    public AvpList ToList() => new(_avps);

    private byte[] ToOctets()
    {
        var avps = CollectionsMarshal.AsSpan(_avps);
        var octets = new byte[AvpList.LengthOf(avps)];
        var at = 0;
        foreach (var avp in avps)
        {
            at += avp.Write(octets.AsSpan(at));
        }

        return octets;
    }

    private AvpDefinition Definition(AvpKey key, AvpType? type = null)
    {
        if (!Dictionary.TryGet(key, out AvpDefinition? definition))
        {
            throw new ArgumentException($"the dictionary has no AVP {key}", nameof(key));
        }

        return type is null || definition.Type == type ? definition : throw Mismatch(definition, type.Value.ToString());
    }

    private static ArgumentException Mismatch(AvpDefinition definition, string what) =>
        new($"{definition.Name} is of type {definition.Type}, not {what}");
}

/// <summary>Makes a <see cref="DiameterMessage"/>; see <see cref="DiameterDictionary.Request"/> and <see cref="DiameterDictionary.Answer"/>.</summary>
public sealed class DiameterMessageBuilder : AvpListBuilder
{
    private readonly DiameterCommand _command;
    private readonly DiameterFlags _flags;

    internal DiameterMessageBuilder(DiameterDictionary dictionary, DiameterCommand command, DiameterFlags flags)
        : base(dictionary)
    {
        _command = command;
        _flags = flags;
    }

    internal uint HopByHopId { get; init; }

    internal uint EndToEndId { get; init; }

    internal IReadOnlyList<Avp> Tail { get; init; } = [];

    public new DiameterMessageBuilder Add(Avp avp) => (DiameterMessageBuilder)base.Add(avp);

    public new DiameterMessageBuilder Add(IEnumerable<Avp> avps) => (DiameterMessageBuilder)base.Add(avps);

    public new DiameterMessageBuilder Add(AvpKey key, long value) => (DiameterMessageBuilder)base.Add(key, value);

    public new DiameterMessageBuilder Add(AvpKey key, ulong value) => (DiameterMessageBuilder)base.Add(key, value);

    public new DiameterMessageBuilder Add(AvpKey key, string value) => (DiameterMessageBuilder)base.Add(key, value);

    public new DiameterMessageBuilder Add(AvpKey key, IPAddress value) => (DiameterMessageBuilder)base.Add(key, value);

    public new DiameterMessageBuilder Add(AvpKey key, DateTimeOffset value) => (DiameterMessageBuilder)base.Add(key, value);

    public new DiameterMessageBuilder Add(AvpKey key, ReadOnlySpan<byte> value) => (DiameterMessageBuilder)base.Add(key, value);

    public new DiameterMessageBuilder AddGroup(AvpKey key, Action<AvpListBuilder> members) => (DiameterMessageBuilder)base.AddGroup(key, members);

    /// <summary>Adds a Failed-AVP when the fault names one, and its reason as Error-Message.</summary>
    public DiameterMessageBuilder Add(DiameterFault fault)
    {
        Add(AvpKeys.ErrorMessage, fault.Error.ToString());
        return fault.FailedAvp is { } failed ? AddGroup(AvpKeys.FailedAvp, g => g.Add(failed)) : this;
    }

    public DiameterMessage Build() => new()
    {
        Flags = _flags,
        CommandCode = _command.Code,
        ApplicationId = _command.ApplicationId,
        HopByHopId = HopByHopId,
        EndToEndId = EndToEndId,
        Avps = Tail.Count == 0 ? ToList() : new AvpList(ToList().Concat(Tail)),
    };
}
