using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

internal sealed class DiameterNode(DiameterNodeOptions options, IRandomSource random, IDiameterUser user)
{
    public IReadOnlyList<DiameterPeerStatus> PeerStatus => [];

    public DateTimeOffset? NextDeadline => null;

    public void Start(DateTimeOffset now, EffectSink effects) { _ = options; _ = random; _ = user; }

    public void Stop(DateTimeOffset now, EffectSink effects) { }

    public void Opened(ConnectionOpened input, DateTimeOffset now, EffectSink effects) { }

    public void Received(ConnectionReceived input, DateTimeOffset now, EffectSink effects) { }

    public void Closed(ConnectionClosed input, DateTimeOffset now, EffectSink effects) { }

    public void DeadlineReached(DateTimeOffset now, EffectSink effects) { }

    public void Deliver(DateTimeOffset now, EffectSink effects) { }

    public long Send(DiameterMessage request, DateTimeOffset now, EffectSink effects) => 0;

    public void Answer(DiameterRequest request, DiameterMessage answer, DateTimeOffset now, EffectSink effects) { }

    public void Forward(DiameterRequest request, DiameterMessage message, DateTimeOffset now, EffectSink effects) { }

    public bool IsOpen(string peer) => false;
}
