namespace Sojourn.Roles.Configuration;

/// <summary>
/// Declares one configuration option, once: reader, <c>check</c> messages, annotated samples and the reference page all
/// come from this attribute, the property's type and the value a fresh section gives it (the default). The name in the
/// file is the property's name in kebab case.
/// </summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class OptionAttribute(string text) : Attribute
{
    /// <summary>One sentence for the reference page.</summary>
    public string Text { get; } = text;

    public bool Required { get; init; }

    /// <summary>Smallest and largest value, written as in the file.</summary>
    public string? Minimum { get; init; }

    public string? Maximum { get; init; }

    /// <summary>What kind of text a string is.</summary>
    public TextSyntax Syntax { get; init; }

    /// <summary>Of an address or prefix.</summary>
    public AddressFamilies Family { get; init; }

    /// <summary>Value shown in samples; required options need one.</summary>
    public string? Example { get; init; }

    /// <summary>For a list: the member that must differ between its items.</summary>
    public string? Unique { get; init; }

    /// <summary>For a file: what it must be.</summary>
    public FileUse File { get; init; }

    /// <summary>Taken over by a reload; a change of any other option waits for a restart. Holds for everything inside a section.</summary>
    public bool Reload { get; init; }

    /// <summary>What holds when an optional option without a default value is left out.</summary>
    public string? Otherwise { get; init; }
}

/// <summary>Which IP version an address or prefix has.</summary>
public enum AddressFamilies : byte
{
    IPv4,
    IPv6,
    Either,
}

/// <summary>Syntax of a text value.</summary>
public enum TextSyntax : byte
{
    Free,

    /// <summary>Lower-case letters, digits, dot and hyphen.</summary>
    Name,

    /// <summary>Fully qualified host name (Diameter identity or realm).</summary>
    Fqdn,

    /// <summary>user@realm (RFC 7542).</summary>
    Nai,

    /// <summary>Linux interface name: 1 to 15 octets, no slash or space.</summary>
    Interface,
}

/// <summary>What a file named in the configuration must be.</summary>
public enum FileUse : byte
{
    /// <summary>Made by the node when missing.</summary>
    Written,

    /// <summary>Must exist.</summary>
    Read,

    /// <summary>Must exist, hold hex or base64 text, and be closed to group and others.</summary>
    Secret,

    /// <summary>Must exist and be closed to group and others; the content is somebody else's format.</summary>
    Private,
}
