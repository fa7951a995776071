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
/// at the same time (RFC 4721 3.2 leaves it open). A challenge told to one node, in its reply or in answer to its
/// solicitation, is good for that node alone and takes no place in the window of those that all hear (RFC 4721 3.4); the last
/// two are, since the node may answer one while the next is on its way.
/// </summary>
internal sealed class AgentAdvertiser(AccessLink link, ForeignAgentOptions options, IRandomSource random)
{
    private const int ChallengeLength = 16;

    // RFC 5944 2.3: 0..255 only tell that the agent has restarted, so counting wraps to 256.
    private const ushort FirstSequenceAfterWrap = 256;
    private static readonly TimeSpan SolicitedGap = TimeSpan.FromMilliseconds(50);

    /// <summary>Solicited advertisements a second, to all nodes together.</summary>
    private const int MostSolicited = 200;

    private readonly LinkedList<IssuedChallenge> _challenges = new();
    private readonly Dictionary<LinkAddress, Known> _nodes = [];
    private readonly Queue<LinkAddress> _nodesInOrder = new();
    private ushort _sequence;
    private int _solicited;
    private DateTimeOffset _solicitedSince = DateTimeOffset.MinValue;

    /// <summary>What is between the agent and one node of the link.</summary>
    private sealed class Known
    {
        /// <summary>Told last and not answered yet, and the one before it.</summary>
        public (OctetString? Latest, OctetString? Earlier) Challenges { get; set; }

        public DateTimeOffset LastSolicited { get; set; } = DateTimeOffset.MinValue;
    }

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
        if (now - _solicitedSince >= TimeSpan.FromSeconds(1))
        {
            (_solicitedSince, _solicited) = (now, 0);
        }

        var node = solicitation.LinkSource is { } link ? KnownNode(link) : null;
        if (_solicited >= MostSolicited || (node is not null && now - node.LastSolicited < SolicitedGap))
        {
            effects.Count("fa.solicitation.rate_limited");
            return;
        }

        _solicited++;
        if (node is not null)
        {
            node.LastSolicited = now;
        }

        var unknown = solicitation.Source.Equals(IPAddress.Any) || solicitation.LinkSource is null;
        Send(busy, unknown ? IPAddress.Parse("224.0.0.1") : solicitation.Source, unknown ? null : solicitation.LinkSource, effects);
    }

    /// <summary>
    /// Tells one node, and no other, that its registration here does not stand as it was: an advertisement that counts from 0
    /// (RFC 5944 2.4.4, RFC 3543 4.1). It registers again.
    /// </summary>
    public void CountAnewFor(LinkAddress node, bool busy, EffectSink effects) => Send(busy, IPAddress.Parse("224.0.0.1"), node, effects, sequence: 0);

    /// <summary>Judges the challenge of a request and, when it is good, spends it for this node.</summary>
    public ChallengeResult Take(OctetString? challenge, LinkAddress node)
    {
        if (challenge is not { } answered)
        {
            return ChallengeResult.Missing;
        }

        if (_nodes.TryGetValue(node, out var known))
        {
            var (latest, earlier) = known.Challenges;
            if (latest == answered || earlier == answered)
            {
                // Whoever answers one does not come back to an earlier one.
                known.Challenges = (latest == answered ? null : latest, null);
                return ChallengeResult.Fresh;
            }
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

    /// <summary>A challenge for the next request of a node, told to it alone (RFC 4721 3.4).</summary>
    public OctetString NewChallenge(LinkAddress node)
    {
        var challenge = new OctetString(random.NextBytes(ChallengeLength));
        var known = KnownNode(node);
        known.Challenges = (challenge, known.Challenges.Latest);
        return challenge;
    }

    private Known KnownNode(LinkAddress node)
    {
        if (!_nodes.TryGetValue(node, out var known))
        {
            // Whoever is forgotten answers an advertised challenge instead.
            while (_nodes.Count >= options.MaximumVisitors && _nodesInOrder.TryDequeue(out var oldest))
            {
                _nodes.Remove(oldest);
            }

            _nodes[node] = known = new Known();
            _nodesInOrder.Enqueue(node);
        }

        return known;
    }

    private OctetString AdvertisedChallenge()
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

    private void Send(bool busy, IPAddress destination, LinkAddress? linkDestination, EffectSink effects, ushort? sequence = null)
    {
        var flags = MobilityAgentFlags.RegistrationRequired | MobilityAgentFlags.ForeignAgent | MobilityAgentFlags.ReverseTunnelling | MobilityAgentFlags.Revocation;
        var advertisement = new AgentAdvertisement
        {
            Lifetime = (ushort)Math.Clamp(Math.Ceiling(link.AdvertisementInterval.TotalSeconds * 3), 1, 9000),
            Routers = [new AdvertisedRouter(link.Address, 0)],
            Extensions = MobileIpExtensions.Of(
                new MobilityAgentExtension
                {
                    SequenceNumber = sequence ?? _sequence,
                    RegistrationLifetime = (ushort)options.RegistrationLifetime.TotalSeconds,
                    Flags = busy ? flags | MobilityAgentFlags.Busy : flags,
                    CareOfAddresses = [options.CareOfAddress],
                },
                new PrefixLengthsExtension(new[] { (byte)link.PrefixLength }),
                new AdvertisedChallengeExtension(linkDestination is { } node ? NewChallenge(node) : AdvertisedChallenge())),
        };
        _sequence = sequence is not null ? _sequence : _sequence == ushort.MaxValue ? FirstSequenceAfterWrap : (ushort)(_sequence + 1);
        effects.Emit(new SendIcmp(link.Address, destination, advertisement.ToArray(), link.Interface, linkDestination));
    }

    private sealed record IssuedChallenge(OctetString Challenge, HashSet<LinkAddress> UsedBy);
}
