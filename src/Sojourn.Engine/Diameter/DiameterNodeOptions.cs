using System.Net;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>What one Diameter node is, whom it knows and what it takes. Immutable.</summary>
public sealed record DiameterNodeOptions
{
    /// <summary>Origin-Host: a host name; with TLS also a DNS name of this node's certificate.</summary>
    public required string Identity { get; init; }

    /// <summary>Origin-Realm.</summary>
    public required string Realm { get; init; }

    /// <summary>Host-IP-Address of the capabilities exchange; at least one.</summary>
    public required IReadOnlyList<IPAddress> Addresses { get; init; }

    public DiameterDictionary Dictionary { get; init; } = DiameterDictionary.Default;

    public uint VendorId { get; init; } = VpnAvpKeys.DefaultEnterpriseNumber;

    public string ProductName { get; init; } = "Sojourn";

    /// <summary>Auth-Application-Ids this node speaks. A relay has <see cref="DiameterApplications.Relay"/>.</summary>
    public IReadOnlyList<uint> Applications { get; init; } = [DiameterApplications.MobileIpv4];

    public IReadOnlyList<DiameterPeerOptions> Peers { get; init; } = [];

    public IReadOnlyList<DiameterRoute> Routes { get; init; } = [];

    /// <summary>
    /// Takes requests for other realms and hosts: the application sees them with <see cref="DiameterRequest.IsLocal"/>
    /// false and may <c>Forward</c> them. Without it they are refused with 3002 or 3003.
    /// </summary>
    public bool IsAgent { get; init; }

    /// <summary>Accepts and dials connections without TLS. Off by default (spec network-vpn M2).</summary>
    public bool AllowPlainTcp { get; init; }

    /// <summary>Accepts a displaced Session-Id and M bits that differ from the tables (real-world peers).</summary>
    public bool LenientValidation { get; init; }

    /// <summary>Tw of RFC 3539; ±2 s of jitter are added to each wait when it is 6 s or more, a third of it otherwise.</summary>
    public TimeSpan WatchdogInterval { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Longest wait for the transport to come up, for CER or CEA, and for DPA.</summary>
    public TimeSpan CapabilitiesTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>First wait before dialling again; doubles up to <see cref="ReconnectMaximum"/>, each less up to a quarter of jitter.</summary>
    public TimeSpan ReconnectMinimum { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Tc of RFC 6733 section 2.1.</summary>
    public TimeSpan ReconnectMaximum { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a sent or forwarded request waits for its answer, over all peers tried.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long an answer is kept for a repetition of its request (end-to-end identifiers are unique for four minutes, RFC 6733 section 3).</summary>
    public TimeSpan DuplicateWindow { get; init; } = TimeSpan.FromMinutes(4);

    /// <summary>Answers kept for repetitions; the oldest goes first.</summary>
    public int MaximumKeptAnswers { get; init; } = 8192;

    /// <summary>Requests sent or forwarded and not answered, all peers together.</summary>
    public int MaximumPending { get; init; } = 16_384;

    /// <summary>The same towards one peer; beyond it the next route is tried, then 3004.</summary>
    public int MaximumPendingPerPeer { get; init; } = 8192;

    /// <summary>Requests taken from one peer and not yet answered; beyond it 3004.</summary>
    public int MaximumUnansweredPerPeer { get; init; } = 4096;

    /// <summary>Accepted connections that have not said who they are.</summary>
    public int MaximumUnidentifiedConnections { get; init; } = 64;

    /// <summary>Other agents a request may have passed (Route-Record).</summary>
    public int MaximumHops { get; init; } = 16;

    public DiameterLimits Limits { get; init; } = DiameterLimits.Default;
}

/// <summary>A peer that may connect, or is dialled. Peers that are not listed are refused (3010).</summary>
/// <param name="Remote">Where to dial; null for a peer that only connects to us.</param>
/// <param name="Secured">TLS. Plain TCP also needs <see cref="DiameterNodeOptions.AllowPlainTcp"/>.</param>
public sealed record DiameterPeerOptions(string Identity, string Realm, IPEndPoint? Remote = null, bool Secured = true);

/// <summary>
/// Where requests for a realm go, first choice first. Peers of the destination realm itself need no route.
/// </summary>
/// <param name="Realm">A realm, or "*" for every realm without a route of its own.</param>
/// <param name="ApplicationId">Only requests of this application; null for all.</param>
public sealed record DiameterRoute(string Realm, IReadOnlyList<string> Peers, uint? ApplicationId = null);

/// <summary>Why a request of ours got no usable answer.</summary>
public enum DeliveryFailure : byte
{
    /// <summary>No route or configured peer leads to the destination.</summary>
    NoRoute,

    /// <summary>Routes exist, but no peer on them is open and speaks the application.</summary>
    NoPeer,

    /// <summary>Limits of pending requests are reached on every way.</summary>
    TooManyPending,

    /// <summary>The request exceeds <see cref="DiameterLimits.MaximumMessageLength"/>.</summary>
    TooLong,

    TimedOut,

    /// <summary>The answer breaks its grammar.</summary>
    InvalidAnswer,
}
