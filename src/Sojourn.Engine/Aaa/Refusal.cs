namespace Sojourn.Engine.Aaa;

/// <summary>Why a registration is refused, in the engine's own terms; the servers map it to a Result-Code.</summary>
public enum RefusalKind : byte
{
    /// <summary>The node could not prove who it is, or replays (4001).</summary>
    Authentication,

    /// <summary>Known, but not allowed (5003).</summary>
    Authorization,

    /// <summary>No SPI, no memory (4002).</summary>
    OutOfResources,

    /// <summary>The home agent refused the registration (4005).</summary>
    HomeAgentRefused,

    /// <summary>No home agent, or none that answers (4006).</summary>
    HomeAgentUnavailable,

    /// <summary>A value in the message does not fit (5004).</summary>
    InvalidValue,

    /// <summary>Something needed is not in the message (5005).</summary>
    Missing,

    /// <summary>A key would have to travel without a wrapping key (5025).</summary>
    NoKeyProtection,

    /// <summary>No such session (5002).</summary>
    UnknownSession,

    /// <summary>Not a realm of this server (3003).</summary>
    RealmNotServed,

    /// <summary>Anything else (5012).</summary>
    UnableToComply,
}

/// <summary>A refusal: the rule that decided (spec row or RFC clause) and a sentence for people. Never contains a secret.</summary>
public sealed record Refusal(RefusalKind Kind, string Rule, string Text)
{
    public static Refusal Authentication(string rule, string text) => new(RefusalKind.Authentication, rule, text);

    public static Refusal Authorization(string rule, string text) => new(RefusalKind.Authorization, rule, text);
}
