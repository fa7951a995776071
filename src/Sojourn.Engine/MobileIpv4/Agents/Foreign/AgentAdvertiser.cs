using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>What a challenge in a request turns out to be (RFC 4721 3.2).</summary>
internal enum ChallengeResult : byte
{
    Fresh,
    Missing,
    Unknown,

    /// <summary>Used by this node before, or fallen out of the window.</summary>
    Stale,
}

/// <summary>
/// Agent advertisements of one access link (RFC 5944 2.1, 2.3) with their challenges (RFC 4721 2).
/// Reading: a challenge is spent per node, not for all, because nodes that hear the same advertisement answer it
/// at the same time (RFC 4721 3.2 leaves it open).
/// </summary>
internal sealed class AgentAdvertiser(AccessLink link, ForeignAgentOptions options, IRandomSource random)
{
    private const int ChallengeLength = 16;

    // RFC 5944 2.3: 0..255 only tell that the agent has restarted, so counting wraps to 256.
    private const ushort FirstSequenceAfterWrap = 256;
    private static readonly TimeSpan SolicitedGap = TimeSpan.FromMilliseconds(50);

    private readonly LinkedList<IssuedChallenge> _challenges = new();
    private ushort _sequence;
    private DateTimeOffset _lastSolicited = DateTimeOffset.MinValue;

    public AccessLink Link => link;

    public DateTimeOffset Next { get; private set; } = DateTimeOffset.MinValue;

    /// <summary>Sends the periodic advertisement when it is due.</summary>
    public void Advertise(bool busy, DateTimeOffset now, EffectSink effects)
    {
        if (now < Next)
        {
            return;
        }

        // RFC 5944 2.3: some randomness keeps agents of one link from speaking in step.
        var jitter = link.AdvertisementInterval * ((random.NextUInt32() & 0xFF) / 255.0 * 0.1);
        Next = now + link.AdvertisementInterval - jitter;
        Send(busy, IPAddress.Parse("224.0.0.1"), null, effects);
    }

    /// <summary>Answers a solicitation to the one who asked (RFC 5944 2.3.1).</summary>
    public void Solicited(IcmpReceived solicitation, bool busy, DateTimeOffset now, EffectSink effects)
    {
        if (now - _lastSolicited < SolicitedGap)
        {
            effects.Count("fa.solicitation.rate_limited");
            return;
        }

        _lastSolicited = now;
        var unknown = solicitation.Source.Equals(IPAddress.Any);
        Send(busy, unknown ? IPAddress.Parse("224.0.0.1") : solicitation.Source, unknown ? null : solicitation.LinkSource, effects);
    }

    /// <summary>Judges the challenge of a request and, when it is good, spends it for this node.</summary>
    public ChallengeResult Take(OctetString? challenge, LinkAddress node)
    {
        if (challenge is not { } answered)
        {
            return ChallengeResult.Missing;
        }

        var depth = 0;
        foreach (var issued in _challenges)
        {
            if (issued.Challenge == answered)
            {
                return depth < options.ChallengeWindow && issued.UsedBy.Add(node) ? ChallengeResult.Fresh : ChallengeResult.Stale;
            }

            depth++;
        }

        return ChallengeResult.Unknown;
    }

    /// <summary>A challenge for the next request of a node, told in its reply (RFC 4721 3.4).</summary>
    public OctetString NewChallenge()
    {
        var challenge = new OctetString(random.NextBytes(ChallengeLength));
        _challenges.AddFirst(new IssuedChallenge(challenge, []));
        // Twice the window is remembered so that a late answer is told "stale" rather than "unknown".
        while (_challenges.Count > options.ChallengeWindow * 2)
        {
            _challenges.RemoveLast();
        }

        return challenge;
    }

    /// <summary>
    /// The agent has kept its visitors over a restart: it counts on as after a roll-over, so that they do not take it for one
    /// that has forgotten them (RFC 5944 2.4.4).
    /// </summary>
    public void CountOn() => _sequence = FirstSequenceAfterWrap;

    private void Send(bool busy, IPAddress destination, LinkAddress? linkDestination, EffectSink effects)
    {
        var flags = MobilityAgentFlags.RegistrationRequired | MobilityAgentFlags.ForeignAgent | MobilityAgentFlags.ReverseTunnelling;
        var advertisement = new AgentAdvertisement
        {
            Lifetime = (ushort)Math.Clamp(Math.Ceiling(link.AdvertisementInterval.TotalSeconds * 3), 1, 9000),
            Routers = [new AdvertisedRouter(link.Address, 0)],
            Extensions = MobileIpExtensions.Of(
                new MobilityAgentExtension
                {
                    SequenceNumber = _sequence,
                    RegistrationLifetime = (ushort)options.RegistrationLifetime.TotalSeconds,
                    Flags = busy ? flags | MobilityAgentFlags.Busy : flags,
                    CareOfAddresses = [options.CareOfAddress],
                },
                new PrefixLengthsExtension(new[] { (byte)link.PrefixLength }),
                new AdvertisedChallengeExtension(NewChallenge())),
        };
        _sequence = _sequence == ushort.MaxValue ? FirstSequenceAfterWrap : (ushort)(_sequence + 1);
        effects.Emit(new SendIcmp(link.Address, destination, advertisement.ToArray(), link.Interface, linkDestination));
    }

    private sealed record IssuedChallenge(OctetString Challenge, HashSet<LinkAddress> UsedBy);
}
