using System.Net;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>A command to an <see cref="IkeEngine"/>.</summary>
public abstract record IkeCommand : EngineCommand;

/// <summary>Sets up an IKE SA with a configured peer and its child SAs, in their order.</summary>
public sealed record InitiateIke(string Peer, IPAddress LocalAddress) : IkeCommand;

/// <summary>Makes one more child SA under an IKE SA.</summary>
public sealed record CreateChild(long IkeSa, IkeChildOptions Child) : IkeCommand;

public sealed record RekeyIke(long IkeSa) : IkeCommand;

public sealed record RekeyChild(long ChildSa) : IkeCommand;

/// <summary>Deletes an IKE SA with all its child SAs (RFC 7296 1.4.1).</summary>
public sealed record CloseIke(long IkeSa) : IkeCommand;

public sealed record CloseChild(long ChildSa) : IkeCommand;

/// <summary>Asks now whether the peer lives.</summary>
public sealed record CheckLiveness(long IkeSa) : IkeCommand;

/// <summary>MOBIKE: this end has moved to another address; the peer is told and tunnel-mode child SAs follow (RFC 4555 3.5).</summary>
public sealed record ChangeLocalAddress(long IkeSa, IPAddress Address) : IkeCommand;

/// <summary>
/// Mobile IPv6 with the K bit: an accepted binding update has moved the IKE SA's own end, at the mobile node the local one, at
/// the home agent the remote one. Nothing is sent; transport-mode child SAs are bound to the home address and stay (RFC 4877 4.6, row TA-M14).
/// </summary>
public sealed record MoveIkeEnd(long IkeSa, IPAddress? Local, IPAddress? Remote) : IkeCommand;

/// <summary>Answers <see cref="AuthorizePeer"/>.</summary>
/// <param name="Reason">Why not, for the log; the peer sees one error for every cause (row TA-M11).</param>
public sealed record PeerAuthorized(long Request, bool Allowed, string Reason) : EngineInput;

/// <summary>Answers <see cref="FetchCertificate"/>; null when it could not be had.</summary>
public sealed record CertificateFetched(long Request, ReadOnlyMemory<byte>? Certificate) : EngineInput;

/// <summary>
/// A peer has proved its identity and waits: may it have what it asks for? Emitted only after its signature or key was found
/// right (row TA-H18). Answered by <see cref="PeerAuthorized"/>; a peer that asks again meanwhile is not asked about twice.
/// </summary>
/// <param name="Certificate">DER; null with a pre-shared key.</param>
/// <param name="RemoteSelectors">What the peer names as its own side of the child SA; empty when it asks for none.</param>
public sealed record AuthorizePeer(long Request, string Peer, IkeIdentity Identity, ReadOnlyMemory<byte>? Certificate, IReadOnlyList<TrafficSelector> RemoteSelectors, IPEndPoint Remote) : Effect;

/// <summary>Fetches a certificate (DER) by HTTP from one of the hosts allowed (RFC 7296 3.6). Its hash is checked here.</summary>
public sealed record FetchCertificate(long Request, Uri Url) : Effect;

/// <summary>What is known of an IKE SA.</summary>
public sealed record IkeSaView(
    long Id, string Peer, bool IsInitiator, ulong InitiatorSpi, ulong ResponderSpi, IPEndPoint Local, IPEndPoint Remote, IkeIdentity LocalIdentity, IkeIdentity RemoteIdentity, IkeSuite Suite)
{
    public bool NatDetected { get; init; }

    public bool Mobike { get; init; }

    /// <summary>DER; null with a pre-shared key.</summary>
    public ReadOnlyMemory<byte>? RemoteCertificate { get; init; }
}

/// <summary>An IKE SA stands. <paramref name="Replaces"/> is the one it is the rekeying of.</summary>
public sealed record IkeSaUp(IkeSaView Sa, long? Replaces) : Effect;

/// <summary>An IKE SA, or the attempt at one, has ended.</summary>
public sealed record IkeSaDown(long IkeSa, string Peer, IkeEnd End, string Reason) : Effect;

/// <summary>The ends of an IKE SA have changed (MOBIKE, NAT, K bit).</summary>
public sealed record IkeSaMoved(IkeSaView Sa) : Effect;

public enum IkeEnd : byte
{
    /// <summary>Deleted by us or by the peer.</summary>
    Deleted,

    /// <summary>Another IKE SA has taken its place and its children.</summary>
    Rekeyed,

    /// <summary>Authentication, proposals or messages did not agree.</summary>
    Refused,

    /// <summary>The peer does not answer.</summary>
    Timeout,

    /// <summary>The same peer has begun anew (INITIAL_CONTACT).</summary>
    Superseded,
}

/// <summary>A pair of ESP associations, to be installed before the next effect.</summary>
/// <param name="Name">Of its <see cref="IkeChildOptions"/>.</param>
/// <param name="Udp">Set when ESP goes in UDP (RFC 3948).</param>
public sealed record ChildSa(
    long Id, long IkeSa, string Peer, string Name, ChildMode Mode, IReadOnlyList<TrafficSelector> LocalSelectors, IReadOnlyList<TrafficSelector> RemoteSelectors,
    SaParameters Inbound, SaParameters Outbound, UdpEncapsulation? Udp);

/// <summary>A child SA stands. <paramref name="Replaces"/> is the one it is the rekeying of, which goes soon.</summary>
public sealed record ChildSaUp(ChildSa Sa, long? Replaces) : Effect
{
    /// <summary>
    /// The peer has begun the rekeying and may not have our answer yet: what is sent under the new keys before something came
    /// under them, or the old ones were deleted, may be lost (RFC 7296 2.8).
    /// </summary>
    public bool PeerMayLag { get; init; }
}

/// <summary>A child SA has other outer addresses or another encapsulation, and the same keys.</summary>
public sealed record ChildSaMoved(ChildSa Sa) : Effect;

public sealed record ChildSaDown(long ChildSa, string Reason) : Effect;

/// <summary>A child SA could not be made; the IKE SA stands.</summary>
public sealed record ChildSaRefused(long IkeSa, string Name, IkeNotifyType Error) : Effect;

/// <summary>Keys of an IKE SA for the file <c>ikev2_decryption_table</c>; only with <see cref="IkeOptions.ExportKeys"/>.</summary>
public sealed record IkeKeysDerived(ulong InitiatorSpi, ulong ResponderSpi, IkeSuite Suite, IkeKeys Keys) : Effect
{
    /// <summary>One line of Wireshark's table. Secret.</summary>
    public string WiresharkLine()
    {
        static string Hex(KeyMaterial key) => Convert.ToHexStringLower(key.Octets);
        var encryption = Suite.Encryption switch
        {
            IkeEncryption.AesGcm16 => $"AES-GCM-{Suite.KeyBits} with 16 octet ICV [RFC5282]",
            IkeEncryption.AesCbc => $"AES-CBC-{Suite.KeyBits} [RFC3602]",
            _ => "ChaCha20-Poly1305",
        };
        var integrity = Suite.Integrity switch
        {
            IkeIntegrity.HmacSha256 => "HMAC_SHA2_256_128 [RFC4868]",
            IkeIntegrity.HmacSha384 => "HMAC_SHA2_384_192 [RFC4868]",
            IkeIntegrity.HmacSha512 => "HMAC_SHA2_512_256 [RFC4868]",
            _ => "NONE [RFC4306]",
        };
        return $"{InitiatorSpi:x16},{ResponderSpi:x16},{Hex(Keys.EncryptionInitiator)},{Hex(Keys.EncryptionResponder)},\"{encryption}\",{Hex(Keys.IntegrityInitiator)},{Hex(Keys.IntegrityResponder)},\"{integrity}\"";
    }
}
