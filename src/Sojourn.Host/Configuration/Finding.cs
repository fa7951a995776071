using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Configuration;

public enum FindingSeverity : byte
{
    /// <summary>The node runs, but probably not as meant.</summary>
    Warning,

    /// <summary>The configuration is refused.</summary>
    Error,
}

/// <summary>One thing <c>sojourn check</c> has to say.</summary>
/// <param name="Allowed">What would be right, when that can be said.</param>
public sealed record Finding(string File, SourceMark At, string Text, string? Allowed = null, FindingSeverity Severity = FindingSeverity.Error)
{
    /// <summary><c>file:line:column: what is wrong; allowed: …</c></summary>
    public override string ToString() =>
        $"{File}:{At.Line}:{At.Column}: {(Severity == FindingSeverity.Warning ? "warning: " : "")}{Text}{(Allowed is null ? "" : $"; allowed: {Allowed}")}";
}
