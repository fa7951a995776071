using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Aaa;

/// <summary>Bits of MIP-Feature-Vector (RFC 4004 7.5) these servers act on.</summary>
[Flags]
public enum MipFeatures : uint
{
    None = 0,
    HomeAddressWanted = 1,
    MnHaKeyWanted = 16,
    MnFaKeyWanted = 32,
    FaHaKeyWanted = 64,
    Colocated = 256,
}

/// <summary>
/// An AMR, read and held against the Registration Request it carries: what the AVPs say and what the mobile node signed
/// must be the same, or a foreign agent could have another address, another user or an old challenge authorized.
/// </summary>
public sealed record AccessRequest
{
    public required string SessionId { get; init; }

    public required string OriginHost { get; init; }

    public required string OriginRealm { get; init; }

    /// <summary>As sent; keys derive from this form.</summary>
    public required string Nai { get; init; }

    public required RegistrationRequest Registration { get; init; }

    public required ReadOnlyMemory<byte> RegistrationOctets { get; init; }

    public required MnAaaAuthentication MnAaa { get; init; }

    public MipFeatures Features { get; init; }

    /// <summary>Null when the foreign agent named none.</summary>
    public uint? HaToFaSpi { get; init; }

    /// <summary>Seconds asked for; null = whatever the server grants.</summary>
    public uint? AuthorizationLifetime { get; init; }

    public string? MobilitySession { get; init; }

    public IPAddress? PreviousForeignAgent { get; init; }

    public bool ServiceUpdate { get; init; }

    /// <summary>Identity and realm of the AAAF that passed the request on; null when it came from the foreign agent.</summary>
    public (string Host, string Realm)? OriginatingForeignAaa { get; init; }

    /// <summary>Identification and revision of a move the AAAF answered from its own cache.</summary>
    public (ulong Freshness, ulong Revision)? CachedMove { get; init; }

    /// <summary>Null when the node asks for one.</summary>
    public IPAddress? HomeAddress => Registration.HomeAddress.Equals(IPAddress.Any) ? null : Registration.HomeAddress;

    /// <summary>Null when the node asks for one.</summary>
    public IPAddress? HomeAgent => Registration.HomeAgent.Equals(IPAddress.Any) || Registration.HomeAgent.Equals(IPAddress.Broadcast) ? null : Registration.HomeAgent;

    public IPAddress CareOfAddress => Registration.CareOfAddress;

    public bool IsDeregistration => Registration.Lifetime == 0;

    /// <summary>Who unwraps the keys of the answer.</summary>
    public string NextHolder => OriginatingForeignAaa?.Host ?? OriginHost;

    public static bool TryRead(DiameterMessage message, VpnAvpKeys keys, [NotNullWhen(true)] out AccessRequest? access, [NotNullWhen(false)] out Refusal? refusal)
    {
        access = null;
        var avps = message.Avps;
        if (message.SessionId is not { } session || message.OriginHost is not { } host || message.OriginRealm is not { } realm
            || !avps.TryGetText(AvpKeys.UserName, out var nai) || !avps.TryGetOctets(AvpKeys.MipRegRequest, out var octets))
        {
            refusal = new Refusal(RefusalKind.Missing, "RFC 4004 5.1", "Session-Id, Origin-Host, Origin-Realm, User-Name or MIP-Reg-Request is missing");
            return false;
        }

        if (!MobileIpMessage.TryParse<RegistrationRequest>(octets.Span, out var registration, out var error))
        {
            refusal = new Refusal(RefusalKind.InvalidValue, "RFC 4004 7.1", $"MIP-Reg-Request holds no Registration Request: {error}");
            return false;
        }

        if (!MnAaaAuthentication.TryLocate(registration, out var mnAaa))
        {
            refusal = Refusal.Authentication("RFC 4721 3.1", "the Registration Request has no single MN-AAA authentication behind its challenge");
            return false;
        }

        refusal = CheckAgreement(avps, nai, registration, mnAaa);
        if (refusal is not null)
        {
            return false;
        }

        access = new AccessRequest
        {
            SessionId = session,
            OriginHost = host,
            OriginRealm = realm,
            Nai = nai,
            Registration = registration,
            RegistrationOctets = octets,
            MnAaa = mnAaa,
            Features = avps.TryGetUnsigned32(AvpKeys.MipFeatureVector, out var features) ? (MipFeatures)features : MipFeatures.None,
            HaToFaSpi = avps.TryGetUnsigned32(AvpKeys.MipHaToFaSpi, out var spi) && spi >= KeyGenerator.SpiBlock ? spi : null,
            AuthorizationLifetime = avps.TryGetUnsigned32(AvpKeys.AuthorizationLifetime, out var lifetime) && lifetime > 0 ? lifetime : null,
            MobilitySession = avps.TryGetText(AvpKeys.AcctMultiSessionId, out var mobility) ? mobility : null,
            PreviousForeignAgent = avps.TryGetAddress(keys.PreviousFaAddress, out var previous) ? previous : null,
            ServiceUpdate = avps.TryGetInteger32(keys.ServiceUpdateRequest, out var update) && update == 1,
            OriginatingForeignAaa = avps.TryGetGroup(AvpKeys.MipOriginatingForeignAaa, out var aaa)
                && aaa.TryGetIdentity(AvpKeys.OriginHost, out var aaaHost) && aaa.TryGetIdentity(AvpKeys.OriginRealm, out var aaaRealm) ? (aaaHost, aaaRealm) : null,
            CachedMove = avps.TryGetUnsigned64(keys.VpnFreshness, out var freshness) && avps.TryGetUnsigned64(keys.VpnProfileRevision, out var revision) ? (freshness, revision) : null,
        };
        return true;
    }

    private static Refusal? CheckAgreement(AvpList avps, string nai, RegistrationRequest registration, MnAaaAuthentication mnAaa)
    {
        if (registration.Nai is { } signed && !Aaa.Nai.AreEqual(signed, nai))
        {
            return new Refusal(RefusalKind.InvalidValue, "RFC 4004 4.1", "User-Name is not the NAI of the Registration Request");
        }

        if (avps.TryGetAddress(AvpKeys.MipMobileNodeAddress, out var home) && !home.Equals(registration.HomeAddress))
        {
            return new Refusal(RefusalKind.InvalidValue, "RFC 4004 7.2", $"MIP-Mobile-Node-Address {home} is not the request's home address {registration.HomeAddress}");
        }

        if (avps.TryGetAddress(AvpKeys.MipHomeAgentAddress, out var agent) && !agent.Equals(registration.HomeAgent))
        {
            return new Refusal(RefusalKind.InvalidValue, "RFC 4004 7.3", $"MIP-Home-Agent-Address {agent} is not the request's home agent {registration.HomeAgent}");
        }

        if (registration.Flags.HasFlag(RegistrationFlags.Decapsulation))
        {
            return Refusal.Authorization("spec 7.1", "a co-located care-of address has no foreign agent to make the path");
        }

        var careOf = registration.CareOfAddress;
        if (careOf.AddressFamily != AddressFamily.InterNetwork || careOf.GetAddressBytes()[0] is 0 or 127 or >= 224)
        {
            return new Refusal(RefusalKind.InvalidValue, "S109", $"care-of address {careOf} is no unicast address");
        }

        if (!avps.TryGetGroup(AvpKeys.MipMnAaaAuth, out var group)
            || !group.TryGetUnsigned32(AvpKeys.MipMnAaaSpi, out var spi)
            || !group.TryGetUnsigned32(AvpKeys.MipAuthInputDataLength, out var input)
            || !group.TryGetUnsigned32(AvpKeys.MipAuthenticatorLength, out var length)
            || !group.TryGetUnsigned32(AvpKeys.MipAuthenticatorOffset, out var offset))
        {
            return new Refusal(RefusalKind.Missing, "RFC 4004 7.6", "MIP-MN-AAA-Auth or one of its members is missing");
        }

        if (spi != mnAaa.Spi || input != mnAaa.InputDataLength || length != mnAaa.AuthenticatorLength || offset != mnAaa.AuthenticatorOffset)
        {
            return new Refusal(RefusalKind.InvalidValue, "RFC 4004 7.6", "MIP-MN-AAA-Auth does not point at the request's MN-AAA authentication");
        }

        return avps.TryGetOctets(AvpKeys.MipFaChallenge, out var challenge) && (mnAaa.Challenge is not { } answered || !challenge.Span.SequenceEqual(answered.Span))
            ? Refusal.Authentication("RFC 4721 3.1", "MIP-FA-Challenge is not the challenge the request answers")
            : null;
    }
}
