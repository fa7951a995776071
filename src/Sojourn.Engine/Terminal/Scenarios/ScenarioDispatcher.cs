using System.Net;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal.Scenarios;

/// <summary>Routine 60 of part 23: picks the program by the number in the scenario header and lets it run (spec terminal 4.2).</summary>
public sealed class ScenarioDispatcher(ScenarioPolicy policy)
{
    /// <param name="tables">What the program works on; left as it was unless the program is done (step 67).</param>
    public ScenarioResult Handle(ScenarioHeader header, GuestTables tables, DateTimeOffset now)
    {
        // 61: read the number, delete the header.
        if (policy.FindValid(header.Number) is not { } program)
        {
            return new ScenarioResult(GuestCounters.ScenarioNotValid, "61");
        }

        if (Read(header.Packet.Span, now) is not { } message)
        {
            return new ScenarioResult(GuestCounters.MalformedMobility, "61");
        }

        var before = tables.Save();
        var result = program.Run(message, tables);
        if (!result.IsDone)
        {
            tables.Restore(before);
        }

        return result;
    }

    private static ControlMessage? Read(ReadOnlySpan<byte> octets, DateTimeOffset now)
    {
        if (!MobileIpv6Packet.TryParse(octets, out var packet, out _) || packet.Protocol != IpProtocol.Mobility || !MobilityMessage.TryParse(packet.Payload.Span, out var message, out _))
        {
            return null;
        }

        return message switch
        {
            BindingAcknowledgement => new ControlMessage(packet.Source, packet.Destination, packet.EffectiveDestination, message, now),
            BindingError { HomeAddress: IPAddress home } => new ControlMessage(packet.Source, packet.Destination, home, message, now),
            _ => null,
        };
    }
}
