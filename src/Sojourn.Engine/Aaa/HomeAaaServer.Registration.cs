using System.Net;
using Sojourn.Engine.Diameter;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Aaa;

/// <summary>From an authenticated AMR to the HAR: session, paths, keys (S102-S108, S116).</summary>
public sealed partial class HomeAaaServer
{
    /// <summary>A registration that waits for its HAA.</summary>
    /// <param name="Candidate">The session as it will be when the home agent accepts.</param>
    private sealed record PendingRegistration(
        DiameterRequest Request, AccessRequest Access, (string Nai, IPAddress Home) User, HomeSession Candidate, RegistrationKeys Keys, TimeSpan Lifetime);

    /// <summary>Associations made for one registration; null where none was asked for.</summary>
    private sealed record RegistrationKeys
    {
        public static readonly RegistrationKeys None = new();

        public MobilityMsa? MnToHa { get; init; }

        public MobilityMsa? HaToMn { get; init; }

        public MobilityMsa? MnToFa { get; init; }

        public MobilityMsa? FaToMn { get; init; }

        public MobilityMsa? HaToFa { get; init; }

        public bool Any => MnToHa is not null || MnToFa is not null || HaToFa is not null;

        public MipFeatures Granted =>
            (MnToHa is null ? 0 : MipFeatures.MnHaKeyWanted) | (MnToFa is null ? 0 : MipFeatures.MnFaKeyWanted) | (HaToFa is null ? 0 : MipFeatures.FaHaKeyWanted);
    }

    private Refusal? Prepare(DiameterRequest request, AccessRequest access, Subscriber subscriber, DateTimeOffset now, EffectSink effects, out PendingRegistration? pending)
    {
        pending = null;
        var nai = Nai.Normalise(access.Nai);
        var user = (nai, access.Registration.HomeAddress);
        var live = FindLive(access, nai, subscriber);
        IPAddress? home = null;
        var refusal = ChooseHomeAgent(access, subscriber, live, out var homeAgent)
            ?? ChooseHomeAddress(access, subscriber, live, homeAgent!, nai, out home)
            ?? CheckFreshness(access, user, live)
            ?? CheckRoom(live);
        if (refusal is not null)
        {
            return refusal;
        }

        var lifetime = access.AuthorizationLifetime is { } asked && TimeSpan.FromSeconds(asked) < _options.AuthorizationLifetime ? TimeSpan.FromSeconds(asked) : _options.AuthorizationLifetime;
        var candidate = (live ?? new HomeSession
        {
            Id = $"{NewSessionId(now)};{nai}",
            Nai = nai,
            HomeAddress = home!,
            HomeAgent = homeAgent!,
            CareOfAddress = access.CareOfAddress,
            AccessSession = access.SessionId,
            AccessHost = access.OriginHost,
            AccessRealm = access.OriginRealm,
            HomeAgentSession = NewSessionId(now),
            Identification = access.Registration.Identification,
            Expires = now,
            Legs = [],
        }) with
        {
            CareOfAddress = access.CareOfAddress,
            AccessSession = access.SessionId,
            AccessHost = access.OriginHost,
            AccessRealm = access.OriginRealm,
            Identification = access.Registration.Identification,
            Expires = now + lifetime + _options.AuthorizationGrace,
        };
        if (live is not null && live.AccessSession != access.SessionId)
        {
            candidate = candidate with { SupersededSessions = [.. live.SupersededSessions.TakeLast(SupersededSessionsKept - 1), live.AccessSession] };
        }

        refusal = access.IsDeregistration ? null : DecideLegs(access, live, now, lifetime, ref candidate, effects);
        var keys = RegistrationKeys.None;
        refusal ??= access.IsDeregistration ? null : MakeKeys(access, subscriber, ref candidate, out keys);
        var profiles = access.IsDeregistration ? [] : candidate.Legs;
        refusal ??= CheckWrapping(homeAgent!.Identity, _options.PlainSessionKeys, profiles.Select(l => l.ForHomeAgent), keys.HaToMn is not null || keys.HaToFa is not null)
            ?? CheckWrapping(access.NextHolder, _options.PlainSessionKeys, profiles.Select(l => l.ForForeignAgent).OfType<VpnProfile>(), keys.FaToMn is not null || keys.HaToFa is not null);
        if (refusal is not null)
        {
            ReleaseCandidate(candidate);
            return refusal;
        }

        pending = new PendingRegistration(request, access, user, candidate, keys, lifetime);
        return null;
    }

    /// <summary>The session the registration continues: by the id the foreign agent knows, else by user and home address (R34).</summary>
    private HomeSession? FindLive(AccessRequest access, string nai, Subscriber subscriber)
    {
        var live = _cache.Find(access.MobilitySession) is { } named && named.Nai == nai ? named : null;
        return live is not null && (access.HomeAddress is null || live.HomeAddress.Equals(access.HomeAddress))
            ? live
            : (access.HomeAddress ?? subscriber.HomeAddress) is { } home ? _cache.Find(nai, home) : null;
    }

    private Refusal? ChooseHomeAgent(AccessRequest access, Subscriber subscriber, HomeSession? live, out HomeAgentEntry? homeAgent)
    {
        homeAgent = subscriber.HomeAgent is { } fixedAgent ? _options.HomeAgents.FirstOrDefault(a => SameIdentity(a.Identity, fixedAgent))
            : access.HomeAgent is { } asked ? _options.HomeAgents.FirstOrDefault(a => a.Address.Equals(asked))
            : live?.HomeAgent ?? _options.HomeAgents[0];
        if (homeAgent is null)
        {
            return new Refusal(RefusalKind.HomeAgentUnavailable, "RFC 4004 6.1", $"home agent {subscriber.HomeAgent ?? access.HomeAgent?.ToString()} is not one of this realm");
        }

        return access.HomeAgent is { } named && !named.Equals(homeAgent.Address)
            ? Refusal.Authorization("RFC 4004 7.3", $"{named} is not the home agent of {access.Nai}")
            : null;
    }

    private Refusal? ChooseHomeAddress(AccessRequest access, Subscriber subscriber, HomeSession? live, HomeAgentEntry homeAgent, string nai, out IPAddress? home)
    {
        home = subscriber.HomeAddress ?? access.HomeAddress ?? live?.HomeAddress ?? IPAddress.Any;
        if (access.HomeAddress is { } asked && !asked.Equals(home))
        {
            return Refusal.Authorization("RFC 4004 7.2", $"{asked} is not the home address of {access.Nai}");
        }

        // An address the user was given earlier; only from the home network, and never one that is somebody else's now.
        var given = home;
        if (subscriber.HomeAddress is null && !given.Equals(IPAddress.Any) && live is null
            && (!homeAgent.Networks.Any(n => n.Contains(given)) || _cache.IsTakenByOther(given, nai)))
        {
            return Refusal.Authorization("RFC 4004 7.2", $"{given} is not free for {access.Nai}");
        }

        return null;
    }

    private Refusal? CheckFreshness(AccessRequest access, (string, IPAddress) user, HomeSession? live)
    {
        var identification = access.Registration.Identification;
        var last = live?.Identification;
        if (_pendingByUser.TryGetValue(user, out var token) && (last is null || Identification.IsAfter(_pending[token].Candidate.Identification, last.Value)))
        {
            last = _pending[token].Candidate.Identification;
        }

        return last is { } accepted && !Identification.IsAfter(identification, accepted)
            ? Refusal.Authentication("RFC 5944 5.7.1", "the Registration Request is not later than the last one: a repetition")
            : null;
    }

    private Refusal? CheckRoom(HomeSession? live) =>
        _pending.Count >= _options.MaximumPending ? new Refusal(RefusalKind.OutOfResources, "limit", $"{_pending.Count} registrations wait for their home agents")
        : live is null && _cache.Count >= _options.MaximumSessions ? new Refusal(RefusalKind.OutOfResources, "limit", $"{_cache.Count} sessions are held")
        : null;

    private Refusal? DecideLegs(AccessRequest access, HomeSession? live, DateTimeOffset now, TimeSpan lifetime, ref HomeSession candidate, EffectSink effects)
    {
        var moved = live is null ? [] : Renew(live, access);
        if (live is not null && !access.ServiceUpdate && !_outOfDate.Contains(live.Id))
        {
            // S116: only the foreign agent is rewritten.
            candidate = candidate with { Legs = ReplaceOldRoots(moved, access.Registration.Identification, now, lifetime) };
            return null;
        }

        Count(effects, "vpn_db.searched");

        // S105; a service update searches again though the session is cached (NV7.4).
        var request = new PathRequest(
            access.CareOfAddress, candidate.HomeAgent.Address, candidate.HomeAddress, candidate.HomeAgent.Networks, access.Registration.Identification, KeyExpiry(now));
        if (!_decision.TryDecide(request, _directory.FindVpns(candidate.Nai), Table, out var legs, out var refusal))
        {
            return refusal;
        }

        // What the update did not touch stays as it is but for its keys.
        var kept = legs.Select(leg => moved.FirstOrDefault(old => IsSameService(old, leg)) ?? leg).ToList();
        _decision.Release(legs.Except(kept));
        candidate = candidate with { Legs = kept };
        return null;
    }

    /// <summary>
    /// The legs at the care-of address asked for, every derived key fresh (M3), also when the address is the same: whoever
    /// asks through the AAA servers may have restarted and lost its counters. A registration that is to leave everything as it
    /// is goes from the foreign agent straight to the home agent (NV9.6).
    /// </summary>
    private static List<PathLeg> Renew(HomeSession live, AccessRequest access) => [.. live.Legs.Select(leg =>
    {
        var moved = leg.Profile.SourceGateway.Equals(live.CareOfAddress) ? leg.Profile with { SourceGateway = access.CareOfAddress } : leg.Profile;
        if (moved.Keying is not ProfileKeying.Derived && live.CareOfAddress.Equals(access.CareOfAddress))
        {
            return leg;
        }

        var fresh = moved.Keying is ProfileKeying.Derived || !ReferenceEquals(moved, leg.Profile) ? moved.ForRegistration(access.Registration.Identification) : moved;

        // Moves the AAAF answered from its cache have counted revisions on meanwhile (R34).
        var seen = access is { CachedMove: { } known, OriginatingForeignAaa: not null } ? known.Revision + 1 : 0;
        return leg with { Profile = fresh with { Revision = Math.Max(fresh.Revision, seen) } };
    })];

    private List<PathLeg> ReplaceOldRoots(IReadOnlyList<PathLeg> legs, ulong identification, DateTimeOffset now, TimeSpan lifetime) =>
        [.. legs.Select(leg => leg.Profile is { Keying: ProfileKeying.Derived derived, KeyExpiry: { } expiry } && expiry < now + lifetime
            ? leg with { Profile = (leg.Profile with { Keying = derived with { Root = _keys.NewRoot() }, KeyExpiry = KeyExpiry(now) }).ForRegistration(identification) }
            : leg)];

    private DateTimeOffset KeyExpiry(DateTimeOffset now) => DateTimeOffset.FromUnixTimeSeconds((now + _options.KeyLifetime).ToUnixTimeSeconds());

    /// <summary>Whether two legs differ in nothing but what was made freshly for them.</summary>
    private static bool IsSameService(PathLeg old, PathLeg made) =>
        old.Kind == made.Kind && old.Profile.Keying.GetType() == made.Profile.Keying.GetType()
        && (made.Profile.Keying is not ProfileKeying.Contract || old.Profile.Keying.Equals(made.Profile.Keying))
        && Core(old.Profile, old.Profile.Keying is ProfileKeying.Derived) == Core(made.Profile, made.Profile.Keying is ProfileKeying.Derived);

    private static VpnProfile Core(VpnProfile profile, bool derived) => profile with
    {
        Keying = ProfileKeying.Preset.Instance,
        UpSpi = derived ? 0 : profile.UpSpi,
        DownSpi = derived ? 0 : profile.DownSpi,
        Revision = 0,
        KeyExpiry = null,
    };

    /// <summary>Mobility associations the foreign agent and the node asked for (RFC 4004 3.4, RFC 3957).</summary>
    private Refusal? MakeKeys(AccessRequest access, Subscriber subscriber, ref HomeSession candidate, out RegistrationKeys keys)
    {
        keys = RegistrationKeys.None;
        var home = access.Features.HasFlag(MipFeatures.MnHaKeyWanted) ? NonceRequest(access, NoncePeer.HomeAgent) : null;
        var foreign = access.Features.HasFlag(MipFeatures.MnFaKeyWanted) ? NonceRequest(access, NoncePeer.ForeignAgent) : null;
        if (home?.MobileNodeSpi < KeyGenerator.SpiBlock || foreign?.MobileNodeSpi < KeyGenerator.SpiBlock)
        {
            return new Refusal(RefusalKind.InvalidValue, "RFC 5944 1.6", "the node asks for a reserved SPI");
        }

        var agents = access.Features.HasFlag(MipFeatures.FaHaKeyWanted);
        if (home is null && foreign is null && !agents)
        {
            return null;
        }

        if (candidate.MobilitySpiBlock == 0 && (candidate = candidate with { MobilitySpiBlock = _keys.ReserveSpiBlock() }).MobilitySpiBlock == 0)
        {
            return new Refusal(RefusalKind.OutOfResources, "M13", "the SPI range of this server is used up");
        }

        if (home is not null)
        {
            var nonce = _keys.NewNonce();
            keys = keys with { MnToHa = new MobilityMsa(_keys.NewNodeAssociationSpi(NoncePeer.HomeAgent), null, nonce), HaToMn = new MobilityMsa(home.MobileNodeSpi, NodeKey(nonce), default) };
        }

        if (foreign is not null)
        {
            var nonce = _keys.NewNonce();
            keys = keys with { MnToFa = new MobilityMsa(_keys.NewNodeAssociationSpi(NoncePeer.ForeignAgent), null, nonce), FaToMn = new MobilityMsa(foreign.MobileNodeSpi, NodeKey(nonce), default) };
        }

        if (agents)
        {
            keys = keys with { HaToFa = new MobilityMsa(access.HaToFaSpi ?? NextSpi(ref candidate), _keys.NewSessionKey(), default) };
        }

        return null;

        KeyMaterial NodeKey(byte[] nonce) => MobilityKeys.Derive(subscriber.MnAaaKey, nonce, access.Registration.HomeAddress, access.Registration.Nai ?? access.Nai);
    }

    private static KeyGenerationNonceRequestExtension? NonceRequest(AccessRequest access, NoncePeer peer) =>
        access.Registration.Extensions.Find<KeyGenerationNonceRequestExtension>(e => e.Peer == peer);

    private static uint NextSpi(ref HomeSession candidate)
    {
        var spi = candidate.MobilitySpiBlock | (candidate.MobilitySpisGiven % KeyGenerator.SpiBlock);
        candidate = candidate with { MobilitySpisGiven = candidate.MobilitySpisGiven + 1 };
        return spi;
    }

    private DiameterMessage HomeAgentRequest(PendingRegistration pending)
    {
        var (access, candidate, keys) = (pending.Access, pending.Candidate, pending.Keys);
        var wrapping = WrappingKey(candidate.HomeAgent.Identity);
        var har = Dictionary.Request(DiameterCommands.HomeAgentMip)
            .Add(AvpKeys.SessionId, candidate.HomeAgentSession)
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.AuthorizationLifetime, (long)pending.Lifetime.TotalSeconds)
            .Add(AvpKeys.AuthSessionState, 0)
            .Add(AvpKeys.MipRegRequest, access.RegistrationOctets.Span)
            .Add(AvpKeys.OriginHost, Options.Identity)
            .Add(AvpKeys.OriginRealm, Options.Realm)
            .Add(AvpKeys.UserName, access.Nai)
            .Add(AvpKeys.DestinationRealm, candidate.HomeAgent.Realm)
            .Add(AvpKeys.DestinationHost, candidate.HomeAgent.Identity)
            .Add(AvpKeys.MipFeatureVector, (uint)(keys.Granted | (access.Features & MipFeatures.HomeAddressWanted)))
            .Add(AvpKeys.AcctMultiSessionId, candidate.Id)
            .Add(AvpKeys.MipHomeAgentAddress, candidate.HomeAgent.Address);
        if (!candidate.HomeAddress.Equals(IPAddress.Any))
        {
            har.Add(AvpKeys.MipMobileNodeAddress, candidate.HomeAddress);
        }

        if (access.OriginatingForeignAaa is { } foreign)
        {
            har.AddGroup(AvpKeys.MipOriginatingForeignAaa, g => g.Add(AvpKeys.OriginRealm, foreign.Realm).Add(AvpKeys.OriginHost, foreign.Host));
        }

        AddAssociation(har, AvpKeys.MipHaToMnMsa, keys.HaToMn, wrapping);
        AddAssociation(har, AvpKeys.MipMnToHaMsa, keys.MnToHa, wrapping);
        AddAssociation(har, AvpKeys.MipMnToFaMsa, keys.MnToFa, wrapping);
        AddAssociation(har, AvpKeys.MipHaToFaMsa, keys.HaToFa, wrapping);
        if (keys.Any)
        {
            har.Add(AvpKeys.MipMsaLifetime, (long)pending.Lifetime.TotalSeconds);
        }

        if (access.ServiceUpdate)
        {
            har.Add(Keys.ServiceUpdateRequest, 1);
        }

        var profiles = access.IsDeregistration ? [] : candidate.Legs.Select(l => l.ForHomeAgent).ToList();
        return har.Add(ProfileAvps.WriteAll(profiles, wrapping)).Build();
    }

    private void AddAssociation(DiameterMessageBuilder message, AvpKey group, MobilityMsa? association, KeyMaterial? wrapping)
    {
        if (association is not null)
        {
            message.Add(MsaAvps.Write(group, association, wrapping));
        }
    }

    /// <summary>Gives back what a candidate reserved and the cached session does not hold.</summary>
    private void ReleaseCandidate(HomeSession candidate) => _cache.ReleaseUnused(candidate, _cache.Find(candidate.Id));

    private void SupersedePending(PendingRegistration later, DateTimeOffset now, EffectSink effects)
    {
        if (!_pendingByUser.Remove(later.User, out var token) || !_pending.Remove(token, out var earlier))
        {
            return;
        }

        // The later candidate may share blocks with the earlier one only through the cached session, which keeps them.
        ReleaseCandidate(earlier.Candidate);
        Answer(
            earlier.Request,
            Refused(earlier.Request, earlier.Access, earlier.Candidate.Id, new Refusal(RefusalKind.UnableToComply, "RFC 5944 3.7.2.2", "a later registration of the user has come"), effects),
            now, effects);
    }
}
