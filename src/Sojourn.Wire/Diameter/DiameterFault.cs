namespace Sojourn.Wire.Diameter;

/// <summary>
/// Why a message is refused, in the words of the answer: Result-Code (RFC 6733 section 7.1) and, where the code asks for
/// one, the content of Failed-AVP (7.5): the offending AVP, inside copies of the groups it stood in.
/// </summary>
public sealed record DiameterFault(uint ResultCode, Avp? FailedAvp, WireError Error)
{
    public override string ToString() => $"{DiameterResult.Name(ResultCode)}: {Error}";
}
