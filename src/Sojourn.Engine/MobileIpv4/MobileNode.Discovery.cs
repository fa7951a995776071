// Agent discovery (RFC 5944 2.4). Move detection, reading: the node moves to another agent when its own has expired
// (algorithm 1), when a newly heard one advertises another prefix and both tell theirs (algorithm 2), or when its own
// has been silent for a third of its lifetime, the longest interval 2.1 allows between advertisements, while the other
// one is heard. Agents that are both heard on one link therefore never make the node swing between them.
using System.Net;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4;

public sealed partial class MobileNode
{
    private const int MostAgents = 16;
    private const int QuickSolicitations = 3;

    private static readonly IPAddress AllRouters = IPAddress.Parse("224.0.0.2");

    /// <summary>Starts over: with a usable agent at once, else by soliciting.</summary>
    private void Search(DateTimeOffset now, EffectSink effects)
    {
        _refusals = 0;
        _lifetime = _options.Lifetime;
        LookingTimed(now);
        if (Best(now) is { } agent)
        {
            Register(agent.Address, now, effects);
            return;
        }

        Solicit(now, effects);
        State = new MobileNodeState.Searching(1, now + SolicitationInterval(1));
    }

    private void Solicit(DateTimeOffset now, EffectSink effects)
    {
        var source = Registration?.HomeAddress ?? _options.HomeAddress;
        effects.Emit(new SendIcmp(source, AllRouters, new AgentSolicitation().ToArray(), _options.Interface));
        effects.Count("mn.solicitation.sent");
    }

    /// <summary>Three a second apart, then doubling; randomised upwards so that nodes do not fall into step (RFC 5944 2.4).</summary>
    private TimeSpan SolicitationInterval(int sent)
    {
        var nominal = sent < QuickSolicitations ? TimeSpan.FromSeconds(1) : TimeSpan.FromSeconds(Math.Pow(2, Math.Min(sent - QuickSolicitations + 1, 20)));
        var bounded = nominal < _options.LongestSolicitation ? nominal : _options.LongestSolicitation;
        return bounded * (1 + (_random.NextUInt32() / (double)uint.MaxValue / 4));
    }

    private void OnIcmp(IcmpReceived message, DateTimeOffset now, EffectSink effects)
    {
        var octets = message.Message.Span;
        if (octets.IsEmpty || octets[0] != AgentAdvertisement.IcmpType || State is MobileNodeState.Stopped or MobileNodeState.NoLink)
        {
            return;
        }

        if (!AgentAdvertisement.TryParse(octets, out var advertisement, out var error))
        {
            effects.Count("mn.advertisement.malformed");
            effects.Emit(new Report(new EngineEvent("advertisement.malformed", EventSeverity.Warning, $"an advertisement was dropped: {error}") { Peer = message.Source.ToString(), Rule = error.Clause }));
            return;
        }

        if (advertisement.Extensions.FirstNotUnderstood is not null)
        {
            effects.Count("mn.advertisement.unknown_extension");
            return;
        }

        if (advertisement.Mobility is not { } mobility || !mobility.Flags.HasFlag(MobilityAgentFlags.ForeignAgent))
        {
            return;
        }

        OnAgent(message, advertisement, mobility, now, effects);
    }

    private void OnAgent(IcmpReceived message, AgentAdvertisement advertisement, MobilityAgentExtension mobility, DateTimeOffset now, EffectSink effects)
    {
        var before = _agents.GetValueOrDefault(message.Source);
        var agent = new KnownAgent
        {
            Address = message.Source,
            Link = message.LinkSource ?? before?.Link,
            Mobility = mobility,
            Prefix = advertisement.PrefixOf(0),
            HeardAt = now,
            Lifetime = TimeSpan.FromSeconds(Math.Max((int)advertisement.Lifetime, 1)),
            AsksChallenge = before?.AsksChallenge ?? false,
            Challenge = before?.Challenge,
            LastUsedChallenge = before?.LastUsedChallenge,
            AvoidUntil = before?.AvoidUntil,
        };
        if (advertisement.Challenge is { } challenge)
        {
            agent = agent.WithChallenge(challenge);
        }

        if (before is null)
        {
            if (_agents.Count >= MostAgents)
            {
                var oldest = _agents.Values.Where(a => a.Address.Equals(CurrentAgent) is false).MinBy(a => a.Expires);
                if (oldest is null)
                {
                    return;
                }

                _agents.Remove(oldest.Address);
                effects.Count("mn.agent.table_full");
            }

            effects.Count("mn.agent.discovered");
            effects.Emit(new Report(new EngineEvent("agent.discovered", EventSeverity.Information, "a foreign agent was heard") { Peer = agent.Address.ToString(), CareOfAddress = agent.CareOfAddress, Rule = "RFC 5944 2.4" }));
        }

        _agents[agent.Address] = agent;
        if (CurrentAgent is not { } current)
        {
            if (State is MobileNodeState.Searching && Usable(agent, now))
            {
                Register(agent.Address, now, effects);
            }
        }
        else if (!current.Equals(agent.Address))
        {
            ConsiderMove(current, agent, isNew: before is null, now, effects);
        }
        else if (State is MobileNodeState.AwaitingChallenge && agent.Challenge is not null)
        {
            Register(agent.Address, now, effects);
        }
        else if (State is MobileNodeState.Registered && before is not null && HasRestarted(before.Mobility.SequenceNumber, mobility.SequenceNumber))
        {
            effects.Count("mn.agent.restarted");
            effects.Emit(new Report(new EngineEvent("agent.restarted", EventSeverity.Warning, "the foreign agent counts its advertisements anew; registering again") { Peer = agent.Address.ToString(), Rule = "RFC 5944 2.4.4" }));
            _foreignAssociations.Remove(agent.Address);
            Register(agent.Address, now, effects);
        }
    }

    /// <summary>A smaller number inside 0..255 means a restart; one from 256 on is the roll past 0xffff (RFC 5944 2.4.4).</summary>
    private static bool HasRestarted(ushort before, ushort after) => after < before && after < 256;

    private IPAddress? CurrentAgent => State switch
    {
        MobileNodeState.AwaitingChallenge s => s.Agent,
        MobileNodeState.Registering s => s.Agent,
        MobileNodeState.Pausing s => s.Agent,
        MobileNodeState.Registered s => s.Agent,
        MobileNodeState.Deregistering s => s.Agent,
        _ => null,
    };

    private void ConsiderMove(IPAddress current, KnownAgent agent, bool isNew, DateTimeOffset now, EffectSink effects)
    {
        if (State is MobileNodeState.Deregistering || !Usable(agent, now))
        {
            return;
        }

        var here = _agents.GetValueOrDefault(current);
        var prefixChanged = isNew && here?.Prefix is { } ours && agent.Prefix is { } theirs && !ours.Equals(theirs);
        var currentIsSilent = here is null || now - here.HeardAt > here.Lifetime / 3;
        var refusedHere = State is MobileNodeState.Pausing && here?.AvoidUntil > now;
        if (!prefixChanged && !currentIsSilent && !refusedHere)
        {
            return;
        }

        effects.Count("mn.move");
        LookingTimed(now);
        effects.Emit(new Report(new EngineEvent("agent.changed", EventSeverity.Information, $"moving from {current} to {agent.Address}") { Nai = _options.Nai, Peer = agent.Address.ToString(), CareOfAddress = agent.CareOfAddress, Rule = "RFC 5944 2.4.2" }));
        _refusals = 0;
        _lifetime = _options.Lifetime;
        Register(agent.Address, now, effects);
    }

    private static bool Usable(KnownAgent agent, DateTimeOffset now) =>
        agent.Expires > now
        && !agent.Mobility.Flags.HasFlag(MobilityAgentFlags.Busy)
        && agent.Mobility.Flags.HasFlag(MobilityAgentFlags.ReverseTunnelling)
        && (agent.AvoidUntil is not { } until || until <= now);

    /// <summary>The usable agent heard last.</summary>
    private KnownAgent? Best(DateTimeOffset now) => _agents.Values.Where(agent => Usable(agent, now)).MaxBy(agent => agent.HeardAt);

    /// <summary>The agent itself while it may be used, else another one.</summary>
    private IPAddress Preferred(IPAddress agent, DateTimeOffset now) =>
        _agents.TryGetValue(agent, out var known) && Usable(known, now) ? agent : Best(now)?.Address ?? agent;

    private void ExpireAgents(DateTimeOffset now, EffectSink effects)
    {
        foreach (var agent in _agents.Values.Where(agent => agent.Expires <= now).ToList())
        {
            _agents.Remove(agent.Address);
            effects.Count("mn.agent.lost");
            effects.Emit(new Report(new EngineEvent("agent.lost", EventSeverity.Information, "a foreign agent is no longer heard") { Peer = agent.Address.ToString(), Rule = "RFC 5944 2.4.2.1" }));
        }

        if (CurrentAgent is { } current && !_agents.ContainsKey(current) && State is not MobileNodeState.Deregistering)
        {
            Search(now, effects);
        }
    }
}
