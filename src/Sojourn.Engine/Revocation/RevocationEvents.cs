namespace Sojourn.Engine.Revocation;

/// <summary>What became of asking whether a certificate was withdrawn.</summary>
public enum RevocationStatus : byte
{
    /// <summary>Nobody could say, or what was said proves nothing.</summary>
    Unknown,
    Good,
    Revoked,
}

/// <param name="Text">Who said so or why nobody did, for the log.</param>
public readonly record struct RevocationAnswer(RevocationStatus Status, string Text)
{
    public static RevocationAnswer Unknown(string text) => new(RevocationStatus.Unknown, text);
}

/// <summary>Asks whether a certificate whose path and signature were found right has been withdrawn (spec 7.6); answered by <see cref="RevocationAnswered"/>.</summary>
/// <param name="Certificate">DER.</param>
public sealed record AskRevocation(long Request, ReadOnlyMemory<byte> Certificate) : Effect;

public sealed record RevocationAnswered(long Request, RevocationAnswer Answer) : EngineInput;
