// Readings:
// - Step 75 is carried out when part 23 has done its part: a message that step 61 or 67 discards leaves the binding update list as it was,
//   like every other table (R26), and the update is sent again. What step 75 would find is asked before.
// - A refused acknowledgement (62, R27) changes no table, but the mobile node hears of it: it takes the next sequence number or home agent.
// - The acknowledgement of a binding that was taken back starts no scenario: there is no method to choose.
// - A binding error of somebody who is no correspondent of ours is counted as ignored.
using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal.Scenarios;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>Part 25 in front of the mobile node: routine 70, and what it hands to part 23 (spec terminal 4.1 to 4.3).</summary>
public sealed partial class TerminalNode
{
    private const int PacketPart = 24, MobilePart = 25, AnchorPart = 251;

    /// <summary>A packet with a mobility header, IPsec and tunnel headers taken off.</summary>
    /// <param name="octets">The same as <paramref name="packet"/>, in as-received order of addresses .</param>
    /// <param name="under">Association it came under.</param>
    /// <param name="tunnel">Outer source when it came out of the mobile tunnel.</param>
    private void OnMobility(MobileIpv6Packet packet, ReadOnlyMemory<byte> octets, long? under, IPAddress? tunnel)
    {
        if (!MobilityMessage.ChecksumIsRight(packet.Payload.Span, packet.EffectiveSource, packet.EffectiveDestination)
            || !MobilityMessage.TryParse(packet.Payload.Span, out var message, out _) || message is UnknownMobilityMessage)
        {
            _out.Count(GuestCounters.MalformedMobility);
            return;
        }

        var received = new Ipv6PacketReceived(octets, AnyLink, null, under, tunnel);
        switch (message)
        {
            case BindingAcknowledgement local when _anchors is not null && packet.Source.Equals(_local!.Anchor):
                OnAnchorAcknowledgement(packet, local, received);
                break;
            case not null when _local is not null && packet.Source.Equals(_local.Anchor):
                Tell(_local, received);
                break;
            case BindingAcknowledgement acknowledgement:
                OnAcknowledgement(packet, acknowledgement, received);
                break;
            case BindingError error:
                OnBindingError(packet, error, received);
                break;
            default:
                Tell(_mobile, received);
                break;
        }
    }

    private void OnAcknowledgement(MobileIpv6Packet packet, BindingAcknowledgement acknowledgement, Ipv6PacketReceived received)
    {
        // 71: with the routing header processed the message is for the home address.
        if (!packet.EffectiveDestination.Equals(_home?.HomeAddress))
        {
            Discard(GuestCounters.RoutingHeaderBad, packet, "TM-R30", "71");
            return;
        }

        // 72 to 74 (the association was found and opened when the packet came in), and whether 75 could find an entry.
        switch (_mobile.Judge(packet, acknowledgement, received.Under))
        {
            case AnswerVerdict.PolicyNotMet:
                Discard(GuestCounters.PolicyMismatch, packet, "TM-R33", "74");
                break;
            case AnswerVerdict.NoAssociation:
                Discard(GuestCounters.NoAssociationIn, packet, "TM-R32", "73");
                break;
            case AnswerVerdict.NoEntry:
                Discard(GuestCounters.BindingListFailed, packet, "TM-R34", "75");
                break;
            case AnswerVerdict.NotAskedFor:
                Discard(GuestCounters.SequenceOrCookieBad, packet, "TM-R34", "75");
                break;
            case AnswerVerdict.TakesBack:
                Tell(_mobile, received);
                break;
            default:
                var ofHome = packet.Source.Equals(_mobile.HomeAgent);
                if (!ofHome || !RegisterAtHost(acknowledgement, packet, received))
                {
                    RunScenario(new ScenarioTrigger(ofHome ? ControlPeer.HomeAgent : ControlPeer.Correspondent), packet, received);
                }

                break;
        }
    }

    private void OnBindingError(MobileIpv6Packet packet, BindingError error, Ipv6PacketReceived received)
    {
        if (_mobile.Judge(packet, error, _now) != AnswerVerdict.Good)
        {
            Discard(GuestCounters.ErrorIgnored, packet, "TM-R20", "85");
        }
        else if (RunScenario(new ScenarioTrigger(ControlPeer.Correspondent), packet, received))
        {
            _out.Count(GuestCounters.BindingDeleted);
        }
    }

    /// <summary>Step 76 and routine 60. True when the program is done.</summary>
    private bool RunScenario(ScenarioTrigger trigger, MobileIpv6Packet packet, Ipv6PacketReceived received)
    {
        if (_scenarios.NumberFor(trigger) is not { } number)
        {
            Discard(GuestCounters.ScenarioNotValid, packet, "TM-R3", "76");
            return false;
        }

        var ofAnchor = trigger.Peer == ControlPeer.AnchorPoint;
        IEngine registration = ofAnchor ? _local! : _mobile;
        var part = ofAnchor ? AnchorPart : _options.Signalling == SignallingTreatment.Protect ? MobilePart : PacketPart;
        var result = _dispatcher.Handle(new ScenarioHeader(number, part, received.Packet), _tables, _now);
        if (!result.IsDone)
        {
            Discard(result.Counter!, packet, "TM-R26", result.Step);
            if (result.Counter == GuestCounters.StatusRefused)
            {
                Tell(registration, received);
            }

            return false;
        }

        Say("scenario.run", EventSeverity.Information, $"{number}: {_scenarios.FindValid(number)!.Substance}, at the word of {packet.Source} (part {part})", "TM-R10");
        Tell(registration, received);
        return true;
    }

    /// <summary>Steps 67 and 77.</summary>
    private void Discard(string counter, MobileIpv6Packet packet, string rule, string step)
    {
        _out.Count(counter);
        Say("scenario.discarded", EventSeverity.Warning, $"a message of {packet.Source} is discarded at step {step}: {counter}", rule);
    }
}
