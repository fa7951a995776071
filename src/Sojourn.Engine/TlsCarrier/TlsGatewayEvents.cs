using System.Net;

namespace Sojourn.Engine.TlsCarrier;

/// <summary>A terminal as the gateway's operator lists it.</summary>
/// <param name="Name">DNS name in its certificate.</param>
/// <param name="Prefixes">Its addresses in the inner network: what it may send from, and what is carried to it.</param>
public sealed record CarriedTerminal(string Name, IReadOnlyList<IPNetwork> Prefixes);

/// <summary>
/// A TLS session with somebody stands who has proved by a certificate of the authorities who he is. <see cref="ConnectionClosed"/> is
/// its end when the other side or the network ends it.
/// </summary>
/// <param name="Connection">Positive, never reused.</param>
/// <param name="Names">DNS names of the certificate.</param>
/// <param name="CertificateEnds">When the certificate runs out.</param>
public sealed record TlsSessionOpened(long Connection, IPEndPoint Remote, IReadOnlyList<string> Names, DateTimeOffset CertificateEnds) : EngineInput;

/// <summary>An operator ends a terminal's session; it may come again.</summary>
/// <param name="Name">Null: everybody's.</param>
public sealed record EndTlsSession(string? Name) : EngineCommand;

/// <summary>From now on packets of a terminal go through a connection, until <see cref="CloseConnection"/>.</summary>
public sealed record CarryPackets(long Connection, CarriedTerminal Terminal) : Effect;

/// <summary>A session of a gateway.</summary>
public sealed record TlsSessionState(long Connection, CarriedTerminal Terminal, IPEndPoint Remote, DateTimeOffset Since, DateTimeOffset Ends);
