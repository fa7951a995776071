using System.Net;

namespace Sojourn.Engine;

/// <summary>Everything an engine can ask for. Effects are carried out in the order they were emitted.</summary>
public abstract record Effect;

/// <summary>
/// Sends a UDP datagram. With <paramref name="Interface"/> set it leaves by that interface; with
/// <paramref name="LinkDestination"/> also set it goes to that link-layer address without asking ARP, which is how a
/// foreign agent answers a node whose home address does not belong to the link (RFC 5944 3.7.2.3).
/// </summary>
public sealed record SendDatagram(
    IPEndPoint Source, IPEndPoint Destination, ReadOnlyMemory<byte> Payload,
    string? Interface = null, LinkAddress? LinkDestination = null) : Effect;

/// <summary>Sends an ICMP message (from its type octet on; checksum already filled in).</summary>
public sealed record SendIcmp(
    IPAddress? Source, IPAddress Destination, ReadOnlyMemory<byte> Message,
    string? Interface = null, LinkAddress? LinkDestination = null, byte TimeToLive = 1) : Effect;

/// <summary>Dials a stream connection; answered by <see cref="ConnectionOpened"/> or <see cref="ConnectionClosed"/>. <paramref name="Connection"/> is positive and never reused.</summary>
public sealed record OpenConnection(long Connection, IPEndPoint Remote, string PeerName, bool Secured) : Effect;

public sealed record SendBytes(long Connection, ReadOnlyMemory<byte> Data) : Effect;

/// <summary>Closes a connection after what was sent on it has left. No <see cref="ConnectionClosed"/> follows.</summary>
public sealed record CloseConnection(long Connection) : Effect;

/// <summary>
/// Changes the desired set of paths atomically: everything in <paramref name="Install"/> (new or replacing the same
/// id) stands before anything in <paramref name="Remove"/> goes (spec S235).
/// </summary>
public sealed record ChangePaths(IReadOnlyList<VpnPath> Install, IReadOnlyList<PathId> Remove) : Effect;

/// <summary>
/// Delivers packets for <paramref name="Address"/> to <paramref name="LinkAddress"/> on <paramref name="Interface"/>
/// and takes packets from it there into the packet path (a foreign agent's visitor).
/// </summary>
public sealed record AddVisitor(IPAddress Address, string Interface, LinkAddress LinkAddress) : Effect;

public sealed record RemoveVisitor(IPAddress Address) : Effect;

/// <summary>
/// Keeps a bounded number of packets for a visitor that is out of reach instead of losing them (spec R43): until it is
/// back (<paramref name="Hold"/> false, or <see cref="AddVisitor"/>), or a path leads after it to where it has gone.
/// </summary>
public sealed record HoldVisitor(IPAddress Address, bool Hold) : Effect;

/// <summary>
/// Attracts packets for a home address to this node: a route into the packet path and, on <paramref name="HomeInterface"/>
/// when given, proxy ARP with a gratuitous ARP (RFC 5944 4.6).
/// </summary>
public sealed record AttractHomeAddress(IPAddress Address, string? HomeInterface) : Effect;

public sealed record ReleaseHomeAddress(IPAddress Address) : Effect;

/// <summary>Mobile node: gives the interface the home address and makes <paramref name="Gateway"/> the default router through it. Replaces the earlier attachment.</summary>
public sealed record AttachHome(string Interface, IPAddress HomeAddress, IPAddress Gateway) : Effect;

public sealed record DetachHome(string Interface, IPAddress HomeAddress) : Effect;

/// <summary>Commits a record of this engine before any later effect is carried out. The value may hold secrets; the store seals it.</summary>
public sealed record SaveState(StateKey Key, ReadOnlyMemory<byte> Value) : Effect;

public sealed record DropState(StateKey Key) : Effect;

/// <summary>Adds to a named counter. Names are dotted and lower case, e.g. <c>mip4.rrq.bad_authenticator</c>.</summary>
public sealed record CountEvent(string Counter, long Amount) : Effect;

/// <summary>Something an operator may want to see: feeds logs, <c>events</c>, <c>explain</c> and the ladder.</summary>
public sealed record Report(EngineEvent Event) : Effect;

public enum EventSeverity : byte
{
    Debug,
    Information,
    Warning,
    Error,
}

/// <summary>
/// One event. <paramref name="Kind"/> is a stable dotted id (<c>registration.refused</c>), <paramref name="Text"/> a
/// sentence for a person. <see cref="Rule"/> names the spec row or RFC clause that decided, so that <c>explain</c> can
/// cite it. Never contains a secret.
/// </summary>
public sealed record EngineEvent(string Kind, EventSeverity Severity, string Text)
{
    /// <summary>Mobility session, the same at every node it touches (Acct-Multi-Session-Id).</summary>
    public string? Session { get; init; }

    public string? Nai { get; init; }

    public IPAddress? HomeAddress { get; init; }

    public IPAddress? CareOfAddress { get; init; }

    public string? Peer { get; init; }

    public uint? Spi { get; init; }

    public string? Rule { get; init; }

    /// <summary>What a hand-over's time went into at this node, in order, by the engine's own clock; null for other events.</summary>
    public IReadOnlyList<EventPhase>? Phases { get; init; }
}

/// <summary>A part of a hand-over.</summary>
public sealed record EventPhase(string Name, double Milliseconds)
{
    /// <summary>Null when either end is not known.</summary>
    public static EventPhase? Between(string name, DateTimeOffset? from, DateTimeOffset? to) =>
        from is { } start && to is { } end ? new EventPhase(name, Math.Max(0, (end - start).TotalMilliseconds)) : null;

    public override string ToString() => FormattableString.Invariant($"{Name} {Milliseconds:F1} ms");
}
