using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal.Scenarios;

/// <summary>Whose control message starts a program (spec terminal R2 to R4).</summary>
public enum ControlPeer : byte
{
    HomeAgent,
    Correspondent,
    AnchorPoint,
}

/// <summary>What a program answers to.</summary>
/// <param name="Mode">Of an anchor point: the registration type its router advertisement named, 1 to 3. 0 for others.</param>
public readonly record struct ScenarioTrigger(ControlPeer Peer, int Mode = 0);

/// <summary>What applications on the host see while a program's method is in force.</summary>
public enum HostAddressing : byte
{
    /// <summary>The program leaves it as it is.</summary>
    Untouched,

    /// <summary>The home address; packets pass as they are (R86).</summary>
    Native,

    /// <summary>A virtual IPv4 address; packets are translated (R80 to R83).</summary>
    Translated,
}

/// <summary>Scenario header S3: goes from part 24 or 25 to part 23 inside the terminal and never onto a link.</summary>
/// <param name="Number">Scenario number; the destination port of the figure.</param>
/// <param name="AddingPart">24, 25 or 251; the source port.</param>
/// <param name="Packet">As received, from its IPv6 header on: addresses unswapped, IPsec taken off .</param>
public readonly record struct ScenarioHeader(int Number, int AddingPart, ReadOnlyMemory<byte> Packet);

/// <summary>A binding acknowledgement or error as a program gets it, its scenario header deleted (step 61).</summary>
/// <param name="Source">Field 41a.</param>
/// <param name="Destination">Field 41b.</param>
/// <param name="HomeAddress">Field 4211; for a binding error the address it names.</param>
public sealed record ControlMessage(IPAddress Source, IPAddress Destination, IPAddress HomeAddress, MobilityMessage Message, DateTimeOffset Now)
{
    /// <summary>When the binding that it acknowledges is over.</summary>
    public DateTimeOffset Expires => Now + ((Message as BindingAcknowledgement)?.Lifetime ?? 0) * MobileIpv6Limits.LifetimeUnit;
}

/// <summary>How a program ended: done, or discarded at step 67 with the counter that says why.</summary>
public readonly record struct ScenarioResult(string? Counter, string Step)
{
    public static readonly ScenarioResult Done = new(null, "");

    public bool IsDone => Counter is null;
}

/// <summary>What a program may change; until it ends well nothing is final (step 67).</summary>
public interface IScenarioGuest
{
    /// <summary>Tunnel information of part 24 (steps 63, 66, 81, 91). False: it cannot be set, as for an address that the terminal does not have.</summary>
    bool TrySetTunnel(IPAddress homeAgent, IPAddress careOf, IPAddress home);

    /// <summary>Part 24's own binding list (steps 84, 93).</summary>
    bool TrySetCorrespondent(IPAddress peer, IPAddress home, IPAddress careOf, DateTimeOffset expires);

    /// <summary>Steps 85 and 94. False: there is no such entry.</summary>
    bool RemoveCorrespondent(IPAddress peer);

    /// <summary>The own entry of table 230 (steps 64, 82): renewed, or made with an address from the pool, which the host then has. False: the pool has none.</summary>
    bool TryBindVirtualAddress(IPAddress home, DateTimeOffset expires, DateTimeOffset now);

    /// <summary>The host has the home address (after steps 66 and 91 ).</summary>
    void ShowHomeAddress(IPAddress home);

    /// <summary>The terminal's record of its anchor point (steps 95, 98, 99). False: it cannot be, as with an on-link address that the terminal does not have.</summary>
    bool TrySetAnchor(AnchorRegistration registration);

    /// <summary>Whether this is what the host part was told last (step 96).</summary>
    bool HostKnows(AnchorRegistration registration);

    /// <summary>The host part gets the acknowledgement with the registration type among its options (step 97).</summary>
    void TellHost(AnchorRegistration registration);
}

/// <summary>A scenario program (spec terminal 4.2). Another one is added by registering it with <see cref="ScenarioPolicy.Register"/> (TM-C7).</summary>
public abstract class ScenarioProgram(int number, string substance, ScenarioTrigger trigger, HostAddressing addressing)
{
    public int Number { get; } = number;

    public string Substance { get; } = substance;

    public ScenarioTrigger Trigger { get; } = trigger;

    public HostAddressing Addressing { get; } = addressing;

    /// <summary>Steps behind 61.</summary>
    public abstract ScenarioResult Run(ControlMessage message, IScenarioGuest guest);

    /// <summary>Steps 62 and 65, in every program: null = the status permits the binding.</summary>
    protected static ScenarioResult? CheckStatus(ControlMessage message, string step) =>
        message.Message is BindingAcknowledgement { Status: var status } && !status.IsAccepted() ? new ScenarioResult(GuestCounters.StatusRefused, step) : null;
}
