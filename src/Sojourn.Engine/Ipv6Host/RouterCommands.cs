// Readings:
// - A command counts only under the preset association with the operator's station, in ESP with authentication, and only when it was sent to this router
//   itself (RFC 2894 7 wants it authenticated; keys for a group of routers are not there).
// - A command is one message: another segment of the same sequence number is taken for a repetition. A repetition is answered and not carried out again.
// - The sequence number is kept over a restart, and code 255 does not set it back: with typed-in keys that would let every recorded command in again.
// - An operation of another code asks for what this router does not do: it is not carried out, and its result says so (F).
using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Ipv6Host;

/// <summary>Takes router renumbering commands from an operator's station (RFC 2894 4, spec terminal TM0.9, way 2).</summary>
public sealed class RouterCommands : IDisposable
{
    private static readonly StateKey s_sequence = new("renumbering", "sequence");

    private readonly ChildSa _association;
    private readonly TransportEsp _esp;
    private uint? _last;

    /// <param name="association">Preset, in transport mode between this router and the station.</param>
    public RouterCommands(ChildSa association, IRandomSource random)
    {
        (_association, _esp) = (association, new TransportEsp(random));
        _esp.Install(association, association.Id);
    }

    public IEnumerable<ChildSaUse> AssociationUses => _esp.Uses;

    private IPAddress Own => _association.LocalSelectors[0].StartAddress;

    private IPAddress Station => _association.RemoteSelectors[0].StartAddress;

    public void Restore(IEnumerable<SavedState> state)
    {
        if (state.FirstOrDefault(s => s.Key == s_sequence) is { Value.Length: sizeof(uint) } saved)
        {
            _last = BinaryPrimitives.ReadUInt32BigEndian(saved.Value.Span);
        }
    }

    /// <summary>A packet for this router; null when it is no command that counts, which is counted.</summary>
    /// <param name="again">It was carried out before.</param>
    public RouterRenumbering? Take(ReadOnlySpan<byte> packet, DateTimeOffset now, EffectSink effects, out bool again)
    {
        again = false;
        if (_esp.TryOpen(packet, now, out var opened) is var drop and not DropReason.None)
        {
            effects.Count($"router.command.esp.{drop}");
            return null;
        }

        if (!MobileIpv6Packet.TryParse(opened.Packet, out var clear, out _) || clear.Protocol != IpProtocol.Icmpv6 || clear.HomeAddress is not null || clear.RoutingHomeAddress is not null
            || !clear.Source.Equals(Station) || !clear.Destination.Equals(Own) || !Icmpv6Message.ChecksumIsRight(clear.Payload.Span, Station, Own)
            || !Icmpv6Message.TryParse(clear.Payload.Span, out var message, out _) || message is not RouterRenumbering { Code: RouterRenumbering.Command } command)
        {
            effects.Count("router.command.malformed");
            return null;
        }

        if (_last is { } last && command.SequenceNumber <= last)
        {
            again = command.SequenceNumber == last;
            effects.Count(again ? "router.command.repeated" : "router.command.old");
            return again ? command : null;
        }

        if (!command.Has(RouterRenumberingFlags.Test))
        {
            _last = command.SequenceNumber;
            var value = new byte[sizeof(uint)];
            BinaryPrimitives.WriteUInt32BigEndian(value, command.SequenceNumber);
            effects.Emit(new SaveState(s_sequence, value));
        }

        effects.Count("router.command.taken");
        return command;
    }

    /// <summary>Sends a result, under the association.</summary>
    public void Answer(RouterRenumbering command, bool again, IReadOnlyList<RenumberingResult> results, DateTimeOffset now, EffectSink effects)
    {
        var result = command with
        {
            Code = RouterRenumbering.Result,
            Flags = (command.Flags & RouterRenumberingFlags.Test) | (again ? RouterRenumberingFlags.ProcessedPreviously : RouterRenumberingFlags.None),
            Operations = [],
            Results = [.. results.Take(Icmpv6Limits.PrefixControlOperations)],
        };
        var packet = new MobileIpv6Packet { Source = Own, Destination = Station, Protocol = IpProtocol.Icmpv6, Payload = result.ToArray(Own, Station) }.ToArray();
        if (_esp.TryProtect(_association.Id, packet, now, out var wire) == DropReason.None)
        {
            effects.Emit(new SendIpv6Packet(wire));
        }
        else
        {
            effects.Count("router.command.unanswered");
        }
    }

    public void Dispose() => _esp.Dispose();
}
