using System.Net;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Revocation;

namespace Sojourn.Engine.TerminalControl;

/// <summary>
/// Home agent and delegating router of one device (spec P6, TA-C10, TA-C11): query Q2 and event Q3 are calls between the two, on
/// one thread. Datagrams are the delegating router's, packets the home agent's.
/// </summary>
public sealed class DelegatingTerminalControl(TerminalControlDevice device, DelegatingRouter router) : IEngine
{
    public DateTimeOffset? NextDeadline => device.NextDeadline is { } one && router.NextDeadline is { } other ? (one < other ? one : other) : device.NextDeadline ?? router.NextDeadline;

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted or EngineStopping:
                Tell(router, input, now, effects);
                Tell(device, input, now, effects);
                break;
            case DeadlineReached:
                if (router.NextDeadline <= now)
                {
                    Tell(router, input, now, effects);
                }

                if (device.NextDeadline <= now)
                {
                    Tell(device, input, now, effects);
                }

                break;
            case Ipv6PacketReceived or AllocationAnswered or RevocationAnswered or CredentialObtained or AllocationWithdrawn or ClearBinding or AdvertisePrefixes:
                Tell(device, input, now, effects);
                break;
            default:
                Tell(router, input, now, effects);
                break;
        }
    }

    private void Tell(IEngine part, EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        var sink = new EffectSink();
        part.Handle(input, now, sink);
        foreach (var effect in sink.Effects)
        {
            switch (effect)
            {
                case AskAllocation ask:
                    Tell(device, new AllocationAnswered(ask.Request, router.AnswerAllocation(ask.HomeAddress, ask.Identifier, now, effects)), now, effects);
                    break;
                case AllocationEnded ended:
                    Tell(device, new AllocationWithdrawn(ended.Prefix, ended.Identifier, $"the lease ended: {ended.Reason}"), now, effects);

                    // Home agents elsewhere hear of it too.
                    effects.Emit(ended);
                    break;
                default:
                    effects.Emit(effect);
                    break;
            }
        }
    }
}
