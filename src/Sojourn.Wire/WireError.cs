namespace Sojourn.Wire;

/// <summary>
/// Why octets could not be read. Every codec reads through
/// <c>static bool TryParse(ReadOnlySpan&lt;byte&gt; octets, out T value, out WireError error)</c>, which never throws.
/// </summary>
/// <param name="Field">Name of the field as the specification writes it, e.g. <c>Total Length</c>.</param>
/// <param name="Offset">Octets from the start of what was handed to <c>TryParse</c> to the field.</param>
/// <param name="Reason">What is wrong, a short phrase for a person. A constant, so that refusing does not allocate.</param>
/// <param name="Clause">Where the rule stands, e.g. <c>RFC 791 3.1</c>.</param>
public readonly record struct WireError(string Field, int Offset, string Reason, string Clause)
{
    public override string ToString() => $"{Field} at octet {Offset}: {Reason} ({Clause})";
}
