using System.Net;
using Sojourn.Engine.Tls;

namespace Sojourn.Engine.Radius;

/// <summary>An authenticator (access router, gateway) whose requests are answered.</summary>
public sealed record RadiusClientEntry(string Name, IPNetwork Address, KeyMaterial Secret);

/// <summary>Somebody who may reach the home network (spec D11). The password is with whoever answers <see cref="CheckPassword"/>.</summary>
/// <param name="Identifier">Of the terminal this user stands for, as its certificate names it (spec G6); null: the user's name.</param>
public sealed record AccessUser(string Name, string? Identifier = null);

/// <summary>A device that may use access links (spec D12).</summary>
/// <param name="Address">Link-layer address, which is a label and no proof (row TA-M50).</param>
/// <param name="CertificateName">DNS name, else common name, of the certificate it proves itself with.</param>
/// <param name="Allowed">False: known and shut out.</param>
/// <param name="Clients">Names of the authenticators it may come by; none = any.</param>
public sealed record AccessDevice(LinkAddress Address, string CertificateName, bool Allowed, IReadOnlyCollection<string> Clients);

/// <summary>Settings of an authentication server: one product with two functions that are switched on by themselves (spec G1).</summary>
public sealed record RadiusServerOptions
{
    public required IReadOnlyList<RadiusClientEntry> Clients { get; init; }

    /// <summary>Own certificate for EAP, and the anchors of devices' certificates.</summary>
    public required TlsContext Tls { get; init; }

    /// <summary>Users by EAP-TTLS with PAP inside (rows TA2.142a, TA-M52); null = off.</summary>
    public IReadOnlyCollection<AccessUser>? Users { get; init; }

    /// <summary>Devices by EAP-TLS (rows TA1.103a, TA-M50); null = off.</summary>
    public IReadOnlyCollection<AccessDevice>? Devices { get; init; }

    /// <summary>Lets devices in by their address alone. Whoever clones it is in too (row TA-H23).</summary>
    public bool AddressOnlyDevices { get; init; }

    /// <summary>Takes users by User-Password, which only the shared secret and MD5 hide between client and server.</summary>
    public bool HiddenPasswords { get; init; }

    /// <summary>How long access lasts before it has to be proved anew (Session-Timeout).</summary>
    public TimeSpan SessionLifetime { get; init; } = TimeSpan.FromHours(8);

    /// <summary>How long a conversation waits for its next packet.</summary>
    public TimeSpan ConversationLifetime { get; init; } = TimeSpan.FromSeconds(30);

    public int MaximumConversations { get; init; } = 4096;

    /// <summary>How long an answer is kept for repetitions of its request (RFC 5080 2.2.2).</summary>
    public TimeSpan AnswerLifetime { get; init; } = TimeSpan.FromSeconds(5);

    public int FragmentLength { get; init; } = 1000;
}

/// <summary>
/// Is this the user's password? Asked for names that nobody has, too, and shall take as long for them. Answered by
/// <see cref="PasswordChecked"/>; meanwhile the server serves others. Whoever answers wipes the password.
/// </summary>
public sealed record CheckPassword(long Number, string User, KeyMaterial Password) : Effect;

public sealed record PasswordChecked(long Number, bool Right) : EngineInput;
