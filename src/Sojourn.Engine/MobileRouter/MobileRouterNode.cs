// Readings:
// - A mobile router is a mobile node whose tunnel carries networks too (RFC 3963 5): everything about its own binding is the terminal's.
//   Its inner links are the kernel's, so that any host, router or further mobile router can be on them; packets of their networks come
//   and go by the terminal's virtual device and are judged here once more.
// - The networks are the router's own: they are advertised whether or not there is a binding, so that hosts in them keep their
//   addresses and reach each other while it moves. Only when home agents say that they are not its own it stops (RFC 3963 5.4.2).
// - A packet for an address in the router's own networks has been routed here because nobody there has it. Sent on, it would come back
//   through the tunnel until its hop limit is used up.
using System.Net;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileRouter;

/// <summary>
/// A mobile router (RFC 3963 5, spec terminal TM-P23, TM-R106): a terminal that registers networks with its home agent and takes
/// their packets through its tunnel both ways, and the router advertisements on the links that these networks are on.
/// </summary>
/// <param name="terminal">With <see cref="TerminalOptions.MobileNetworks"/> set to <paramref name="networks"/>. Whoever made it disposes of it.</param>
/// <param name="links">Inner links.</param>
public sealed class MobileRouterNode(TerminalNode terminal, IReadOnlyList<IPNetwork> networks, IEnumerable<AdvertisedLink> links, IRandomSource random) : IEngine
{
    private readonly AdvertisingRouter _router = new(links, random);
    private bool _running, _advertises;

    public DateTimeOffset? NextDeadline => terminal.NextDeadline is { } one && !(_router.NextDeadline < one) ? one : _router.NextDeadline;

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case RouterSolicited:
                _router.Handle(input, now, effects);
                break;
            case HostPacketSent sent when Refuse(sent.Packet.Span) is { } refusal:
                effects.Count(refusal);
                break;
            case EngineStarted or EngineStopping:
                _running = input is EngineStarted;
                terminal.Handle(input, now, effects);
                break;
            case DeadlineReached:
                Wake(_router, now, effects);
                Wake(terminal, now, effects);
                break;
            default:
                terminal.Handle(input, now, effects);
                break;
        }

        Advertise(now, effects);
    }

    private void Advertise(DateTimeOffset now, EffectSink effects)
    {
        var may = _running && terminal.NetworksRefused is not (BindingStatus.InvalidPrefix or BindingStatus.NotAuthorizedForPrefix);
        if (may != _advertises)
        {
            _advertises = may;
            _router.Handle(may ? new EngineStarted([]) : new EngineStopping(), now, effects);
        }
    }

    private static void Wake(IEngine part, DateTimeOffset now, EffectSink effects)
    {
        if (part.NextDeadline <= now)
        {
            part.Handle(new DeadlineReached(), now, effects);
        }
    }

    /// <summary>The counter of a packet that must not leave; null when it may, as far as its destination goes.</summary>
    private string? Refuse(ReadOnlySpan<byte> packet) =>
        IPv6Header.TryParse(packet, out var header, out _) && header.DestinationAddress is var destination && networks.Any(n => n.Contains(destination)) ? "router.nobody_there" : null;
}
