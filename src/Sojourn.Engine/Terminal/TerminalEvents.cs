using System.Net;
using Sojourn.Engine.Ikev2;

namespace Sojourn.Engine.Terminal;

/// <summary>How far a terminal has come (spec authentication 5). A failure leads back to the last state that still holds.</summary>
public enum TerminalState : byte
{
    /// <summary>No care-of address.</summary>
    Off,

    /// <summary>A care-of address (TA1.102).</summary>
    Link,

    /// <summary>The access network lets the device in (TA1.104); the credential store is opened next.</summary>
    Dev,

    /// <summary>A certificate is there (TA1.107).</summary>
    Cert,

    /// <summary>The gateway lets the terminal reach the home network (TA2.150), and its anchor point has bound it (TA3.164). Passed over where there is no gateway.</summary>
    Acc,

    /// <summary>A home prefix is there (TA1.114).</summary>
    Pfx,

    /// <summary>The home address is built (TA1.115).</summary>
    Hoa,

    /// <summary>The home agent is known (TA1.118).</summary>
    Hak,

    /// <summary>The home agent has proved itself (TA1.129a).</summary>
    Ike,

    /// <summary>The pair of associations stands (TA1.132a).</summary>
    Sa,

    /// <summary>A binding update waits for its answer (TA1.133).</summary>
    Bup,

    /// <summary>Registered (TA1.137).</summary>
    Reg,
}

/// <summary>A packet that an application of the terminal sends: it came out of the TUN device.</summary>
public sealed record HostPacketSent(ReadOnlyMemory<byte> Packet) : EngineInput
{
    /// <summary>See <see cref="Wire.Ip.Segmentation"/>; 0 = it is a packet like any other.</summary>
    public int SegmentSize { get; init; }
}

/// <summary>A packet for the applications of the terminal.</summary>
public sealed record DeliverToHost(ReadOnlyMemory<byte> Packet) : Effect
{
    /// <summary>See <see cref="Wire.Ip.Segmentation"/>; 0 = it is a packet like any other.</summary>
    public int SegmentSize { get; init; }
}

/// <summary>
/// The addresses of the side that applications see. The on-link address, which is the care-of address but behind an anchor point,
/// is there for the control plane's own connections alone (spec TA1.105 comes before there is a home address); applications get the
/// home address, or the virtual IPv4 address that stands for it.
/// </summary>
/// <param name="RegionalAddress">Beside the home address, while an anchor point is in force; no application gets it without asking for it by name.</param>
public sealed record ConfigureHostSide(IPAddress? HomeAddress, IPAddress? CareOfAddress, IPAddress? VirtualAddress = null, IPAddress? RegionalAddress = null) : Effect;

/// <summary>Sets the status of a number in the scenario policy (table 220); in force with the next control message.</summary>
public sealed record SetScenario(int Number, bool Valid) : EngineCommand;

/// <summary>Opens the credential store (spec D13), anew for every signature; answered by <see cref="CredentialsOpened"/> or <see cref="CredentialsMissing"/>.</summary>
public sealed record OpenCredentials : Effect;

/// <param name="Identifier">Whom the store names (spec P1).</param>
/// <param name="Credential">Certificate and key; null while there is no certificate.</param>
/// <param name="Authorities">Who vouches for home agents; null while none is known.</param>
public sealed record CredentialsOpened(string Identifier, IkeCredential? Credential, TrustAnchors? Authorities) : EngineInput;

/// <param name="Reason">A sentence for the log.</param>
public sealed record CredentialsMissing(string Reason) : EngineInput;

/// <summary>Asks the certification authority for a certificate and puts it into the store (spec TA1.105); answered by <see cref="EnrolmentEnded"/>.</summary>
/// <param name="CareOfAddress">Where the request comes from.</param>
public sealed record Enrol(IPAddress CareOfAddress) : Effect;

/// <summary>Has the certificate in the store renewed for a new key, signed with the old one (kur, spec TA-M36); answered by <see cref="EnrolmentEnded"/>.</summary>
public sealed record RenewCertificate(IPAddress CareOfAddress) : Effect;

/// <param name="Refusal">Why there is no certificate; null when it is in the store now.</param>
public sealed record EnrolmentEnded(string? Refusal) : EngineInput;

/// <summary>Takes the binding back; the terminal stays silent until <see cref="RegisterTerminal"/>.</summary>
public sealed record DeregisterTerminal : EngineCommand;

public sealed record RegisterTerminal : EngineCommand;
