using System.Net;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>Home agent address discovery (RFC 6275 11.4.1) and mobile prefix discovery (11.4.2, 11.4.3).</summary>
public sealed partial class MobileNode
{
    /// <summary>INITIAL_DHAAD_TIMEOUT, INITIAL_SOLICIT_TIMER and the numbers of tries (RFC 6275 12).</summary>
    private static readonly TimeSpan s_firstDiscovery = TimeSpan.FromSeconds(3), s_firstSolicitation = TimeSpan.FromSeconds(3);

    private const int DiscoveryTries = 4;
    private const int SolicitationTries = 3;

    private sealed record Question(ushort Identifier, int Sent, TimeSpan Timeout, DateTimeOffset Next);

    private Question? _discovery;
    private Question? _solicitation;

    private void Discover(DateTimeOffset now, EffectSink effects)
    {
        _discovery = new Question((ushort)_random.NextUInt32(), 1, s_firstDiscovery, now + s_firstDiscovery);
        SendDiscovery(effects);
    }

    private void SendDiscovery(EffectSink effects)
    {
        var anycast = HomeAgentAddressDiscoveryRequest.AnycastAddress(_home!.HomePrefix);
        var request = new HomeAgentAddressDiscoveryRequest(_discovery!.Identifier) { MobileRouter = _options.MobileNetworks.Count > 0 };
        effects.Count("mip6.mn.discoveries");
        effects.Emit(new SendIpv6Packet(
            new MobileIpv6Packet { Source = _careOf!, Destination = anycast, Protocol = IpProtocol.Icmpv6, Payload = request.ToArray(_careOf!, anycast) }.ToArray(), null, _options.Interface));
    }

    private void RepeatDiscovery(DateTimeOffset now, EffectSink effects)
    {
        if (_discovery is not { } question || question.Next > now)
        {
            return;
        }

        if (question.Sent >= DiscoveryTries || _careOf is null)
        {
            effects.Count("mip6.mn.discovery_failed");
            effects.Emit(new Report(new EngineEvent("homeagent.unknown", EventSeverity.Warning, $"no home agent of {_home!.HomePrefix} answers") { HomeAddress = _home.HomeAddress, Rule = "TA1.116" }));
            _discovery = null;
            _resumeAt = now + s_pause;
            return;
        }

        _discovery = question with { Sent = question.Sent + 1, Timeout = question.Timeout * 2, Next = now + (question.Timeout * 2) };
        SendDiscovery(effects);
    }

    private void OnDiscovered(MobileIpv6Packet packet, HomeAgentAddressDiscoveryReply reply, DateTimeOffset now, EffectSink effects)
    {
        // Nothing proves the reply: it is a hint, and the home agent proves itself when the association is made (spec TA-M61).
        var agents = reply.HomeAgents.Where(IPv6Octets.IsUnicastRoutable).Distinct().ToList();
        if (_discovery is not { } question || question.Identifier != reply.Identifier || !packet.Destination.Equals(_careOf) || agents.Count == 0)
        {
            effects.Count("mip6.mn.ignored.discovery");
            return;
        }

        _discovery = null;
        (_agents, _agent) = (agents, 0);
        effects.Emit(new Report(new EngineEvent("homeagent.found", EventSeverity.Information, $"{agents[0]} is the home agent, the first of {agents.Count}") { HomeAddress = _home!.HomeAddress, Peer = agents[0].ToString(), Rule = "TA1.118" }));
        Register(now, effects);
    }

    private void SolicitPrefixes(DateTimeOffset now, EffectSink effects)
    {
        _solicitation = new Question((ushort)_random.NextUInt32(), 1, s_firstSolicitation, now + s_firstSolicitation);
        SendSolicitation(effects);
    }

    private void SendSolicitation(EffectSink effects)
    {
        if (HomeRegistration is not { GrantedCareOfAddress: { } careOf } entry || !_protection.TryFindOutgoing(entry.HomeAddress, prefixDiscovery: true, null, out var under, out _))
        {
            effects.Count("mip6.mn.unsent.solicitation");
            return;
        }

        effects.Count("mip6.mn.solicitations");
        effects.Emit(new SendIpv6Packet(new MobileIpv6Packet
        {
            Source = careOf,
            Destination = entry.Peer,
            HomeAddress = entry.HomeAddress,
            Protocol = IpProtocol.Icmpv6,
            Payload = new MobilePrefixSolicitation(_solicitation!.Identifier).ToArray(entry.HomeAddress, entry.Peer),
        }.ToArray(), under, _options.Interface));
    }

    private void RepeatSolicitation(DateTimeOffset now, EffectSink effects)
    {
        if (_solicitation is not { } question || question.Next > now)
        {
            return;
        }

        if (question.Sent >= SolicitationTries || HomeRegistration is null)
        {
            _solicitation = null;
            effects.Count("mip6.mn.prefixes_unknown");
            return;
        }

        _solicitation = question with { Sent = question.Sent + 1, Timeout = question.Timeout * 2, Next = now + (question.Timeout * 2) };
        SendSolicitation(effects);
    }

    private void OnPrefixes(MobileIpv6Packet packet, MobilePrefixAdvertisement advertisement, Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (!IsOfHomeAgent(packet, received, prefixDiscovery: true, effects))
        {
            return;
        }

        PrefixInformationOption[] prefixes = [.. advertisement.Options.OfType<PrefixInformationOption>()];
        var asked = _solicitation?.Identifier == advertisement.Identifier;
        if (prefixes.FirstOrDefault(p => p.Prefix.Contains(_home!.HomeAddress)) is { } own && own.ValidLifetime != PrefixInformationOption.Infinite)
        {
            _home = _home! with { ValidUntil = now + TimeSpan.FromSeconds(own.ValidLifetime) };
        }

        effects.Count("mip6.mn.prefixes");
        effects.Emit(new HomePrefixesLearned(_home!.HomeAddress, prefixes));
        if (asked)
        {
            _solicitation = null;
        }
        else
        {
            // Unasked for: a solicitation tells the home agent that it has arrived (RFC 6275 11.4.3).
            SolicitPrefixes(now, effects);
        }

        if (NextHome(prefixes, now) is { } next)
        {
            effects.Emit(new Report(new EngineEvent("home.prefix_changed", EventSeverity.Information, $"{_home.HomePrefix} gives way to {next.HomePrefix}: {next.HomeAddress} is the next home address") { HomeAddress = _home.HomeAddress, Rule = "TA4.176a" }));
            effects.Emit(new HomePrefixChanged(_home.HomeAddress, next));
        }
    }

    /// <summary>The home address in the prefix that takes the place of the present one, with the same interface identifier; null while the present one is preferred.</summary>
    private SetHomeAddress? NextHome(PrefixInformationOption[] prefixes, DateTimeOffset now)
    {
        if (prefixes.Any(p => p.Prefix.Contains(_home!.HomeAddress) && p is { PreferredLifetime: > 0, ValidLifetime: > 0 }))
        {
            return null;
        }

        var next = prefixes.Where(p => p.Has(PrefixInformationFlags.Autonomous) && p is { PreferredLifetime: > 0, ValidLifetime: > 0 } && p.Prefix.PrefixLength <= 64 && IPv6Octets.IsUnicastRoutable(p.Prefix.BaseAddress))
            .MaxBy(p => p.PreferredLifetime);
        if (next is null)
        {
            return null;
        }

        var (prefix, address) = (next.Prefix.BaseAddress.GetAddressBytes(), _home!.HomeAddress.GetAddressBytes());
        for (var bit = 0; bit < next.Prefix.PrefixLength; bit++)
        {
            var mask = (byte)(0x80 >> (bit % 8));
            address[bit / 8] = (byte)((address[bit / 8] & ~mask) | (prefix[bit / 8] & mask));
        }

        return new SetHomeAddress(new IPAddress(address), next.Prefix, next.ValidLifetime == PrefixInformationOption.Infinite ? DateTimeOffset.MaxValue : now + TimeSpan.FromSeconds(next.ValidLifetime));
    }
}
