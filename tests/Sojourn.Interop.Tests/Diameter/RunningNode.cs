using System.Collections.Concurrent;
using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.Diameter;
using Sojourn.Roles.Diameter;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Interop.Tests.Diameter;

/// <summary>A Diameter application of ours on real sockets: one thread owns the engine, as in the role host.</summary>
internal sealed class RunningNode : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private readonly BlockingCollection<EngineInput> _inputs = [];
    private readonly Application _application;
    private readonly DiameterTransport _transport;
    private readonly Thread _owner;
    private volatile IReadOnlyList<DiameterPeerStatus> _peers = [];

    public RunningNode(DiameterNodeOptions options, DiameterTransportOptions transport, Func<DiameterRequest, DiameterMessageBuilder, DiameterMessage>? answer = null)
    {
        _application = new Application(options, answer ?? ((_, builder) => builder.Build()));
        _transport = new DiameterTransport(transport, input => _inputs.Add(input));
        _transport.Start();
        _owner = new Thread(Run) { IsBackground = true, Name = options.Identity };
        _inputs.Add(new EngineStarted([]));
        _owner.Start();
    }

    public DiameterTransport Transport => _transport;

    public IPEndPoint EndPoint => _transport.EndPoints[0];

    public ConcurrentQueue<DiameterMessage> Requests => _application.Requests;

    public ConcurrentQueue<EngineEvent> Events { get; } = new();

    public DiameterPeerStatus Peer(string identity) => _peers.Single(p => p.Identity == identity);

    public string NewSession() => _application.NewSession();

    public async Task<DiameterMessage> AskAsync(DiameterMessage request)
    {
        var command = new Ask(request, new TaskCompletionSource<DiameterMessage>(TaskCreationOptions.RunContinuationsAsynchronously));
        _inputs.Add(command);
        return await command.Answer.Task.WaitAsync(Patience);
    }

    public async Task WaitOpenAsync(string peer)
    {
        var end = DateTime.UtcNow + Patience;
        while (!_peers.Any(p => p.Identity == peer && p.State is DiameterPeerState.IOpen or DiameterPeerState.ROpen))
        {
            Assert.True(DateTime.UtcNow < end, $"{peer} does not open: {string.Join("; ", Events.Select(e => e.Text))}");
            await Task.Delay(20);
        }
    }

    public async ValueTask DisposeAsync()
    {
        _inputs.Add(new EngineStopping());
        _owner.Join();
        await _transport.DisposeAsync();
        _inputs.Dispose();
    }

    private void Run()
    {
        var effects = new EffectSink();
        EngineInput? input = null;
        while (input is not EngineStopping)
        {
            var wait = (_application.NextDeadline - DateTimeOffset.UtcNow)?.TotalMilliseconds;
            if (!_inputs.TryTake(out input, wait is { } ms ? Math.Clamp((int)Math.Ceiling(ms), 0, 1000) : 1000))
            {
                input = new DeadlineReached();
            }

            effects.Clear();
            _application.Handle(input, DateTimeOffset.UtcNow, effects);
            foreach (var effect in effects.Effects)
            {
                if (!_transport.TryCarryOut(effect) && effect is Report report)
                {
                    Events.Enqueue(report.Event);
                }
            }

            _peers = _application.PeerStatus;
        }
    }

    private sealed record Ask(DiameterMessage Request, TaskCompletionSource<DiameterMessage> Answer) : EngineCommand;

    private sealed class Application(DiameterNodeOptions options, Func<DiameterRequest, DiameterMessageBuilder, DiameterMessage> answer)
        : DiameterApplication(options, SystemRandomSource.Instance)
    {
        private readonly Dictionary<long, TaskCompletionSource<DiameterMessage>> _asked = [];

        public ConcurrentQueue<DiameterMessage> Requests { get; } = new();

        protected override DateTimeOffset? NextOwnDeadline => null;

        public string NewSession() => NewSessionId(DateTimeOffset.UtcNow);

        protected override void OnRequest(DiameterRequest request, DateTimeOffset now, EffectSink effects)
        {
            Requests.Enqueue(request.Message);
            var builder = AnswerTo(request, DiameterResult.Success).Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4);
            Answer(request, answer(request, builder), now, effects);
        }

        protected override void OnAnswer(long token, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
        {
            _asked.Remove(token, out var asked);
            asked!.SetResult(answer);
        }

        protected override void OnDeliveryFailed(long token, DeliveryFailure why, DateTimeOffset now, EffectSink effects)
        {
            _asked.Remove(token, out var asked);
            asked!.SetException(new InvalidOperationException(why.ToString()));
        }

        protected override void OnInput(EngineInput input, DateTimeOffset now, EffectSink effects)
        {
            if (input is Ask ask)
            {
                _asked.Add(Send(ask.Request, now, effects), ask.Answer);
            }
        }
    }
}
