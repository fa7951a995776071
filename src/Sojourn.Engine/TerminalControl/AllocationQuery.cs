using System.Net;
using Sojourn.Engine.Dhcpv6;

namespace Sojourn.Engine.TerminalControl;

/// <summary>
/// Query Q2 to the delegating router (spec TA1.126, 7.9): is this address in an allocated prefix, and is the prefix the
/// identifier's? Answered by <see cref="AllocationAnswered"/> with the same number. A question nobody answers is asked once more
/// under another number after two seconds, and then counts as "not allowed" (spec L5).
/// </summary>
/// <param name="Identifier">From the verified certificate, in canonical form (spec 7.6, G35).</param>
public sealed record AskAllocation(long Request, IPAddress HomeAddress, string Identifier) : Effect;

/// <summary>Answers <see cref="AskAllocation"/> (spec TA1.128). Null: the delegating router could not be asked.</summary>
public sealed record AllocationAnswered(long Request, PrefixAllocation? Allocation) : EngineInput;

/// <summary>
/// Event Q3 (spec 7.9, L4): an allocation has ended, or an identifier may have none any more. Associations and bindings of what
/// it names go at once. At least one of the two is given.
/// </summary>
/// <param name="Prefix">What was allocated; null = everything of the identifier.</param>
/// <param name="Identifier">In canonical form; null = whoever has addresses in the prefix.</param>
public sealed record AllocationWithdrawn(IPNetwork? Prefix, string? Identifier, string Reason) : EngineInput;
