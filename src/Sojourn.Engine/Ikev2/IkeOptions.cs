using System.Net;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>What an IKE engine is told before it starts.</summary>
public sealed record IkeOptions
{
    /// <summary>Tried in order; the first that fits address and identities of a peer is taken.</summary>
    public required IReadOnlyList<IkePeer> Peers { get; init; }

    public ushort Port { get; init; } = Ikev2Limits.Port;

    /// <summary>Here IKE messages have the non-ESP marker in front (RFC 3948 2.2).</summary>
    public ushort NatTraversalPort { get; init; } = Ikev2Limits.NatTraversalPort;

    /// <summary>Octets of UDP payload above which a message is fragmented, when the peer takes fragments (RFC 7383 2.5.1).</summary>
    public int FragmentLength { get; init; } = 1232;

    /// <summary>First wait for an answer, factor of the waits after it, and how often a request is sent in all (RFC 7296 2.4).</summary>
    public TimeSpan RetransmitAfter { get; init; } = TimeSpan.FromSeconds(1);

    public double RetransmitFactor { get; init; } = 1.8;

    public int Transmissions { get; init; } = 6;

    /// <summary>Half-open IKE SAs above which a cookie is asked for (RFC 7296 2.6), above which nobody new is answered, and how many one source may have.</summary>
    public int CookieThreshold { get; init; } = 100;

    /// <summary>Half-open IKE SAs of one source above which a cookie is asked for: somebody may be writing that address into his requests to use up what its owner may have.</summary>
    public int CookieThresholdPerSource { get; init; } = 10;

    public int MaximumHalfOpen { get; init; } = 4000;

    public int MaximumHalfOpenPerSource { get; init; } = 50;

    /// <summary>How long a half-open IKE SA waits for IKE_AUTH, and a closed one answers retransmissions.</summary>
    public TimeSpan HalfOpenLifetime { get; init; } = TimeSpan.FromSeconds(30);

    public TimeSpan Linger { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How often an end behind a NAT keeps its mapping (RFC 3948 4).</summary>
    public TimeSpan NatKeepalive { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>Hands out keys of IKE SAs with <see cref="IkeKeysDerived"/>, for Wireshark. Off unless somebody asks for it.</summary>
    public bool ExportKeys { get; init; }

    /// <summary>Peers get tokens by which they know at once that this end has lost its IKE SAs (RFC 6290). The secret behind them is saved state of the engine.</summary>
    public bool CrashTokens { get; init; }

    /// <summary>Hosts that certificates may be fetched from (hash-and-URL); none = certificates come in messages only.</summary>
    public IReadOnlyCollection<string> CertificateHosts { get; init; } = [];
}

/// <summary>How to talk with one peer, or with a class of peers.</summary>
public sealed record IkePeer
{
    public required string Name { get; init; }

    /// <summary>Null = from anywhere; such a peer cannot be initiated to.</summary>
    public IPAddress? Address { get; init; }

    public required IkeIdentity LocalIdentity { get; init; }

    /// <summary>Null = whoever the trust anchors vouch for. A pre-shared key needs one.</summary>
    public IkeIdentity? RemoteIdentity { get; init; }

    /// <summary>Both ends prove themselves with it (RFC 7296 2.15).</summary>
    public KeyMaterial? PreSharedKey { get; init; }

    public IkeCredential? Credential { get; init; }

    public TrustAnchors? Trust { get; init; }

    /// <summary>This end proves itself with EAP and not with a credential of its own (RFC 7296 2.16): one conversation for each attempt. The peer needs a certificate.</summary>
    public Func<Eap.EapPeer>? Eap { get; init; }

    /// <summary>The peer proves itself with EAP, which is taken on by <see cref="RelayIkeEap"/>; <see cref="RemoteIdentity"/> does not count then. This end proves itself with <see cref="Credential"/>.</summary>
    public bool EapAuthenticator { get; init; }

    /// <summary>What an initiator with <see cref="Eap"/> asks to be configured with.</summary>
    public IReadOnlyList<IkeConfigurationAttributeType> Configuration { get; init; } = [];

    /// <summary>The peer's identity must be in its certificate. False for the home-address mode of terminals, where whoever authorises the peer decides (spec authentication 7.1).</summary>
    public bool IdentityInCertificate { get; init; } = true;

    /// <summary>The peer is accepted only after <see cref="AuthorizePeer"/> has been answered.</summary>
    public bool Authorize { get; init; }

    /// <summary>In the order of preference.</summary>
    public IReadOnlyList<IkeProposal> Proposals { get; init; } = IkeProposals.Ike;

    public IReadOnlyList<IkeChildOptions> Children { get; init; } = [];

    public bool Fragmentation { get; init; } = true;

    /// <summary>RFC 4555.</summary>
    public bool Mobike { get; init; }

    /// <summary>ESP in UDP even where there is no NAT, by pretending one.</summary>
    public bool ForceUdpEncapsulation { get; init; }

    /// <summary>Silence after which the peer is asked whether it lives (RFC 7296 2.4); null = never.</summary>
    public TimeSpan? LivenessInterval { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Age at which the IKE SA is rekeyed, less up to a tenth at random; null = never.</summary>
    public TimeSpan? RekeyAfter { get; init; } = TimeSpan.FromHours(4);
}

public enum ChildMode : byte
{
    Tunnel,
    Transport,
}

/// <summary>A child SA that may be made with a peer.</summary>
public sealed record IkeChildOptions
{
    public required string Name { get; init; }

    public ChildMode Mode { get; init; }

    /// <summary>Proposed as they are; a responder narrows what is asked for to them.</summary>
    public required IReadOnlyList<TrafficSelector> LocalSelectors { get; init; }

    public required IReadOnlyList<TrafficSelector> RemoteSelectors { get; init; }

    /// <summary>The peer may name exactly one address of its own: a terminal's home address (spec authentication 7.1).</summary>
    public bool OneRemoteAddress { get; init; }

    /// <summary>What a peer may name beside that address, by the address: the networks of a mobile router.</summary>
    public IReadOnlyDictionary<IPAddress, IReadOnlyList<IPNetwork>> RemoteNetworks { get; init; } = new Dictionary<IPAddress, IReadOnlyList<IPNetwork>>();

    /// <summary>Addresses are narrowed and nothing else: who asks for another protocol or other ports is not answered with this one.</summary>
    public bool NarrowsAddressesOnly { get; init; }

    public IReadOnlyList<IkeProposal> Proposals { get; init; } = IkeProposals.Esp;

    /// <summary>Age at which it is rekeyed, less up to a tenth at random; null = never.</summary>
    public TimeSpan? RekeyAfter { get; init; } = TimeSpan.FromHours(1);
}
