namespace Sojourn.Wire.Diameter;

/// <summary>What the dictionary says of one attribute.</summary>
public sealed record AvpDefinition(AvpKey Key, string Name, AvpType Type)
{
    /// <summary>Whether the M bit is set (MUST) or clear (MUST NOT) in the table of RFC 6733 section 4.5.</summary>
    public bool Mandatory { get; init; } = true;

    /// <summary>Known values of an Enumerated; null allows every one.</summary>
    public IReadOnlyDictionary<int, string>? Values { get; init; }

    /// <summary>Largest value of an Unsigned32.</summary>
    public uint Maximum { get; init; } = uint.MaxValue;

    /// <summary>Grammar of a Grouped.</summary>
    public AvpGrammar? Members { get; init; }

    /// <summary>The members are somebody's broken AVPs and not to be judged (Failed-AVP).</summary>
    public bool Opaque { get; init; }

    /// <summary>Fewest octets a value of this type has.</summary>
    public int MinimumLength => Type switch
    {
        AvpType.Integer32 or AvpType.Unsigned32 or AvpType.Float32 or AvpType.Enumerated or AvpType.Time => 4,
        AvpType.Integer64 or AvpType.Unsigned64 or AvpType.Float64 => 8,
        AvpType.Address => 6,
        AvpType.DiameterIdentity => 1,
        _ => 0,
    };

    /// <summary>The AVP with zeros as value, as Failed-AVP shows one that is missing or too short (RFC 6733 section 7.1.5).</summary>
    public Avp Example() => new(Key, Flags, new byte[MinimumLength]);

    public AvpFlags Flags => Mandatory ? AvpFlags.Mandatory : AvpFlags.None;
}

/// <summary>One line of a grammar: <c>qualifier &lt;name&gt; | {name} | [name]</c> (RFC 6733 section 3.2).</summary>
/// <param name="Fixed">In angle brackets: stands at this place from the front.</param>
public sealed record AvpRule(AvpKey Key, int Minimum, int Maximum, bool Fixed);

/// <summary>Which AVPs a command or a group holds.</summary>
/// <param name="AllowsOthers">The grammar ends with <c>* [ AVP ]</c>.</param>
public sealed record AvpGrammar(IReadOnlyList<AvpRule> Rules, bool AllowsOthers)
{
    public AvpRule? Find(AvpKey key) => Rules.FirstOrDefault(r => r.Key == key);
}

/// <summary>A command: its names, whether agents pass it on, and the grammar of both directions.</summary>
public sealed record CommandDefinition(
    DiameterCommand Command, string Name, bool Proxiable,
    string RequestName, AvpGrammar Request, string AnswerName, AvpGrammar Answer);
