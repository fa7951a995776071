namespace Sojourn.Wire.Diameter;

/// <summary>
/// Judges a message by the dictionary (RFC 6733 sections 3.2, 4.5, 7.1, 7.5).
/// <para>
/// Readings taken. An AVP in angle brackets that stands elsewhere is reported missing (5005) at its place. An answer
/// with the E bit follows answer-message; an answer with any other failure must have Result-Code and the origin only,
/// since the answerer may not have the rest (7.2). What stands inside Failed-AVP is not judged. Lenient accepts, for
/// real-world peers, a displaced first AVP and an M bit that differs from the table; an unknown AVP with M is refused
/// in both modes.
/// </para>
/// </summary>
public sealed class DiameterValidator(DiameterDictionary dictionary, DiameterLimits limits, bool lenient = false)
{
    /// <summary>Null when the message is legal.</summary>
    public DiameterFault? Validate(DiameterMessage message)
    {
        if (message.IsRequest && message.IsError)
        {
            return Fault(DiameterResult.InvalidHeaderBits, null, "Command Flags", "E is set in a request", "RFC 6733 section 3");
        }

        if (!dictionary.TryGet(new DiameterCommand(message.ApplicationId, message.CommandCode), out CommandDefinition? command))
        {
            return dictionary.KnowsApplication(message.ApplicationId)
                ? Fault(DiameterResult.CommandUnsupported, null, "Command Code", "not a command of this application", "RFC 6733 section 7.1.3")
                : Fault(DiameterResult.ApplicationUnsupported, null, "Application-ID", "not supported", "RFC 6733 section 7.1.3");
        }

        if (message.IsRequest && message.IsProxiable != command.Proxiable)
        {
            return Fault(DiameterResult.InvalidHeaderBits, null, "Command Flags", "P differs from the command's definition", "RFC 6733 section 7.1.3");
        }

        var count = 0;
        if (ValidateValues(message.Avps, 1, ref count) is { } fault)
        {
            return fault;
        }

        if (message.IsRequest)
        {
            return ValidateGrammar(message.Avps, command.Request);
        }

        if (message.IsError)
        {
            return ValidateGrammar(message.Avps, dictionary.AnswerMessage);
        }

        return message.ResultCode == 0 || DiameterResult.IsSuccess(message.ResultCode)
            ? ValidateGrammar(message.Avps, command.Answer)
            : ValidateFailure(message.Avps);
    }

    /// <summary>Judges a single AVP, e.g. one that travels outside Diameter. Null when legal.</summary>
    public DiameterFault? Validate(Avp avp)
    {
        var count = 0;
        return ValidateValues(new AvpList([avp]), 1, ref count);
    }

    private DiameterFault? ValidateFailure(AvpList avps)
    {
        foreach (var key in (ReadOnlySpan<AvpKey>)[AvpKeys.ResultCode, AvpKeys.OriginHost, AvpKeys.OriginRealm])
        {
            // Experimental-Result stands in for Result-Code (RFC 6733 section 7.6).
            if (!avps.Contains(key) && !(key == AvpKeys.ResultCode && avps.Contains(AvpKeys.ExperimentalResult)))
            {
                return Missing(key);
            }
        }

        return null;
    }

    private DiameterFault? ValidateValues(AvpList avps, int depth, ref int count)
    {
        foreach (var avp in avps.AsSpan())
        {
            if (++count > limits.MaximumAvps)
            {
                return Fault(DiameterResult.ResourcesExceeded, null, "AVPs", "more than this receiver takes", "receiver limit");
            }

            if (ValidateValue(avp, depth, ref count) is { } fault)
            {
                return fault;
            }
        }

        return null;
    }

    private DiameterFault? ValidateValue(Avp avp, int depth, ref int count)
    {
        if (!dictionary.TryGet(avp.Key, out AvpDefinition? definition))
        {
            return avp.IsMandatory
                ? Fault(DiameterResult.AvpUnsupported, avp, avp.Key.ToString(), "M is set and the AVP is not known", "RFC 6733 section 4.1")
                : null;
        }

        if (!lenient && avp.IsMandatory != definition.Mandatory)
        {
            return Fault(DiameterResult.InvalidAvpBits, avp, definition.Name, "M differs from the AVP's definition", "RFC 6733 section 4.5");
        }

        return definition.Type switch
        {
            AvpType.Integer32 or AvpType.Float32 or AvpType.Time when avp.Data.Length != 4 => BadLength(definition),
            AvpType.Integer64 or AvpType.Unsigned64 or AvpType.Float64 when avp.Data.Length != 8 => BadLength(definition),
            AvpType.Unsigned32 => ValidateUnsigned32(avp, definition),
            AvpType.Enumerated => ValidateEnumerated(avp, definition),
            AvpType.Address => ValidateAddress(avp, definition),
            AvpType.DiameterIdentity when avp.Data.Length == 0 => BadLength(definition),
            AvpType.DiameterIdentity when !avp.TryReadIdentity(out _) => BadValue(avp, definition, "no host or realm name"),
            AvpType.Utf8String or AvpType.DiameterUri or AvpType.IpFilterRule when !avp.TryReadText(out _) => BadValue(avp, definition, "not UTF-8 text"),
            AvpType.Grouped => ValidateGroup(avp, definition, depth, ref count),
            _ => null,
        };
    }

    private static DiameterFault? ValidateUnsigned32(Avp avp, AvpDefinition definition)
    {
        if (!avp.TryReadUnsigned32(out var value))
        {
            return BadLength(definition);
        }

        return value > definition.Maximum ? BadValue(avp, definition, "out of range") : null;
    }

    private static DiameterFault? ValidateEnumerated(Avp avp, AvpDefinition definition)
    {
        if (!avp.TryReadInteger32(out var value))
        {
            return BadLength(definition);
        }

        return definition.Values is { } values && !values.ContainsKey(value) ? BadValue(avp, definition, "no value of this enumeration") : null;
    }

    private static DiameterFault? ValidateAddress(Avp avp, AvpDefinition definition)
    {
        if (avp.TryReadAddress(out _))
        {
            return null;
        }

        var data = avp.Data.Span;
        return data.Length < 2 || (data[0] == 0 && data[1] is 1 or 2)
            ? BadLength(definition)
            : BadValue(avp, definition, "address family is neither IPv4 nor IPv6");
    }

    private DiameterFault? ValidateGroup(Avp avp, AvpDefinition definition, int depth, ref int count)
    {
        if (definition.Opaque)
        {
            return null;
        }

        if (depth >= limits.MaximumDepth)
        {
            return Fault(DiameterResult.ResourcesExceeded, null, definition.Name, "groups nest deeper than this receiver takes", "receiver limit");
        }

        if (!avp.TryReadGroup(limits, out var members, out var error, out var broken))
        {
            var result = error.Field == "AVPs" ? DiameterResult.ResourcesExceeded : DiameterResult.InvalidAvpLength;
            return new DiameterFault(result, Inside(avp, broken ?? definition.Example()), error);
        }

        var fault = ValidateValues(members, depth + 1, ref count)
            ?? (definition.Members is { } grammar ? ValidateGrammar(members, grammar) : null);
        return fault?.FailedAvp is { } failed ? fault with { FailedAvp = Inside(avp, failed) } : fault;
    }

    private DiameterFault? ValidateGrammar(AvpList avps, AvpGrammar grammar)
    {
        for (var i = 0; i < grammar.Rules.Count; i++)
        {
            var rule = grammar.Rules[i];
            var count = Count(avps, rule.Key);
            if (count < rule.Minimum)
            {
                return Missing(rule.Key);
            }

            if (count > rule.Maximum)
            {
                var surplus = avps.All(rule.Key).ElementAt(rule.Maximum);
                return Fault(DiameterResult.AvpOccursTooManyTimes, surplus, dictionary.NameOf(rule.Key), "occurs too many times", "RFC 6733 section 7.1.5");
            }

            if (rule.Fixed && !lenient && count > 0 && (i >= avps.Count || avps[i].Key != rule.Key))
            {
                return Missing(rule.Key);
            }
        }

        if (!grammar.AllowsOthers)
        {
            foreach (var avp in avps.AsSpan())
            {
                if (grammar.Find(avp.Key) is null && avp.IsMandatory)
                {
                    return Fault(DiameterResult.AvpNotAllowed, avp, dictionary.NameOf(avp.Key), "not allowed here", "RFC 6733 section 7.1.5");
                }
            }
        }

        return null;
    }

    private static int Count(AvpList avps, AvpKey key)
    {
        var count = 0;
        foreach (var avp in avps.AsSpan())
        {
            count += avp.Key == key ? 1 : 0;
        }

        return count;
    }

    private DiameterFault Missing(AvpKey key)
    {
        dictionary.TryGet(key, out AvpDefinition? definition);
        return Fault(DiameterResult.MissingAvp, definition!.Example(), definition.Name, "missing, or not at its place", "RFC 6733 section 7.1.5");
    }

    /// <summary>A too short value is shown padded with zeros to what the type needs (RFC 6733 section 7.1.5).</summary>
    private static DiameterFault BadLength(AvpDefinition definition) =>
        Fault(DiameterResult.InvalidAvpLength, definition.Example(), definition.Name, "length does not fit its type", "RFC 6733 section 4.2");

    private static DiameterFault BadValue(Avp avp, AvpDefinition definition, string reason) =>
        Fault(DiameterResult.InvalidAvpValue, avp, definition.Name, reason, "RFC 6733 section 7.1.5");

    private static DiameterFault Fault(uint result, Avp? failed, string field, string reason, string clause) =>
        new(result, failed, new WireError(field, 0, reason, clause));

    /// <summary>The group that holds the offender, with the offender alone in it (RFC 6733 section 7.5).</summary>
    private static Avp Inside(Avp group, Avp member) => Avp.Group(group.Key, [member], group.Flags);
}
