using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>A relay agent: passes every request of every application on by its destination (RFC 6733 section 2.8.1).</summary>
public sealed class DiameterRelay(DiameterNodeOptions options, IRandomSource random)
    : DiameterApplication(options with { IsAgent = true, Applications = [DiameterApplications.Relay] }, random)
{
    protected override DateTimeOffset? NextOwnDeadline => null;

    protected override void OnRequest(DiameterRequest request, DateTimeOffset now, EffectSink effects) => Forward(request, now, effects);

    protected override void OnAnswer(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
    }

    protected override void OnDeliveryFailed(long token, DeliveryFailure why, DateTimeOffset now, EffectSink effects)
    {
    }

    protected override void OnInput(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
    }
}
