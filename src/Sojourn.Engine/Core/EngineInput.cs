using System.Net;

namespace Sojourn.Engine;

/// <summary>Everything an engine can be told.</summary>
public abstract record EngineInput;

/// <summary>First input of an engine's life. <paramref name="State"/> is what earlier lives saved with <see cref="SaveState"/>.</summary>
public sealed record EngineStarted(IReadOnlyList<SavedState> State) : EngineInput;

/// <summary>Last input: say goodbye to peers (Diameter DPR, revocation) and emit what must still be saved.</summary>
public sealed record EngineStopping : EngineInput;

/// <summary>The time asked for by <see cref="IEngine.NextDeadline"/> has come.</summary>
public sealed record DeadlineReached : EngineInput;

/// <summary>
/// A UDP datagram. <paramref name="Destination"/> is the address the sender used, which for an intercepted binding
/// update is a host behind this gateway. <paramref name="Interface"/> and <paramref name="LinkSource"/> (MAC address)
/// name the link it came in by; both may be null when the carrier does not know.
/// </summary>
public sealed record DatagramReceived(
    IPEndPoint Source, IPEndPoint Destination, ReadOnlyMemory<byte> Payload,
    string? Interface = null, LinkAddress? LinkSource = null) : EngineInput;

/// <summary>An ICMP message (from its type octet on), e.g. a router advertisement or solicitation.</summary>
public sealed record IcmpReceived(
    IPAddress Source, IPAddress Destination, ReadOnlyMemory<byte> Message,
    string? Interface = null, LinkAddress? LinkSource = null) : EngineInput;

/// <summary>
/// A stream connection (Diameter) is up; for TLS the handshake has succeeded. Ids the engine chose (see
/// <see cref="OpenConnection"/>) are positive, ids of accepted connections are negative.
/// <paramref name="PeerNames"/> are the DNS subject alternative names of the peer's certificate, empty without TLS.
/// </summary>
public sealed record ConnectionOpened(long Connection, IPEndPoint Remote, bool Secured, IReadOnlyList<string> PeerNames) : EngineInput;

public sealed record ConnectionReceived(long Connection, ReadOnlyMemory<byte> Data) : EngineInput;

public sealed record ConnectionClosed(long Connection, string Reason) : EngineInput;

/// <summary>An interface gained or lost its carrier or its usability.</summary>
public sealed record LinkChanged(string Interface, bool Up) : EngineInput;

/// <summary>Something the packet path noticed about an installed path.</summary>
public sealed record PathSignalled(PathId Path, PathSignal Signal) : EngineInput;

/// <summary>An operator's or user's command, e.g. "clear session". Each engine documents the commands it takes.</summary>
public abstract record EngineCommand : EngineInput;

/// <summary>Saved state as it comes back after a restart.</summary>
public sealed record SavedState(StateKey Key, ReadOnlyMemory<byte> Value);

/// <summary>Names one saved record: a table of the engine's own and a key in it.</summary>
public readonly record struct StateKey(string Table, string Key);

/// <summary>A link-layer address, as octets (6 for Ethernet). Compares by value.</summary>
public readonly struct LinkAddress : IEquatable<LinkAddress>
{
    private readonly ulong _value;
    private readonly byte _length;

    public LinkAddress(ReadOnlySpan<byte> octets)
    {
        if (octets.Length is 0 or > 8)
        {
            throw new ArgumentOutOfRangeException(nameof(octets), octets.Length, "a link-layer address has 1 to 8 octets");
        }

        _length = (byte)octets.Length;
        foreach (var octet in octets)
        {
            _value = (_value << 8) | octet;
        }
    }

    /// <summary>Where packets to an IPv6 group go on Ethernet: 33:33 and the group's last four octets (RFC 2464 7).</summary>
    public static LinkAddress OfGroup(System.Net.IPAddress group)
    {
        Span<byte> octets = stackalloc byte[16];
        group.TryWriteBytes(octets, out _);
        return new LinkAddress([0x33, 0x33, .. octets[12..]]);
    }

    public int Length => _length;

    public byte[] ToArray()
    {
        var octets = new byte[_length];
        CopyTo(octets);
        return octets;
    }

    /// <param name="octets">At least <see cref="Length"/>.</param>
    public void CopyTo(Span<byte> octets)
    {
        for (var i = 0; i < _length; i++)
        {
            octets[i] = (byte)(_value >> (8 * (_length - 1 - i)));
        }
    }

    public bool Equals(LinkAddress other) => _value == other._value && _length == other._length;

    public override bool Equals(object? obj) => obj is LinkAddress other && Equals(other);

    public override int GetHashCode() => HashCode.Combine(_value, _length);

    public static bool operator ==(LinkAddress left, LinkAddress right) => left.Equals(right);

    public static bool operator !=(LinkAddress left, LinkAddress right) => !left.Equals(right);

    public override string ToString() => string.Join(':', ToArray().Select(o => o.ToString("x2", System.Globalization.CultureInfo.InvariantCulture)));
}
