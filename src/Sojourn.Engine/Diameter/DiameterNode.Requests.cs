using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>
/// Requests and answers (RFC 6733 section 6). Readings taken: a request that times out at an agent is answered 3002; an
/// answer of 3002 or 3004 from one peer makes the next one be tried, without the T bit, because it was not processed;
/// an answer that arrives after its request went another way is dropped.
/// </summary>
internal sealed partial class DiameterNode
{
    /// <summary>Outcomes delivered per call; an application that sends again on every failure continues in the next one.</summary>
    private const int DeliveriesPerCall = 4096;

    private readonly PendingTable _pending = new();
    private readonly KeptAnswers _kept;
    private readonly Queue<(PendingRequest Request, DeliveryFailure Why)> _outcomes = new();
    private long _lastToken;

    public long Send(DiameterMessage request, DateTimeOffset now, EffectSink effects, bool again = false)
    {
        var flags = request.Flags & ~DiameterFlags.Retransmitted;
        var message = WithOrigin(request) with { EndToEndId = NextEndToEndId(), Flags = again ? flags | DiameterFlags.Retransmitted : flags };
        var pending = new PendingRequest(message, ++_lastToken, null, now + _options.RequestTimeout);
        Begin(pending, effects);
        return pending.Token;
    }

    public void Forward(DiameterRequest request, DiameterMessage message, DateTimeOffset now, EffectSink effects)
    {
        if (request.IsDone)
        {
            effects.Count("diameter.request.done_twice");
            return;
        }

        request.IsDone = true;
        _kept.Forget(request);
        var forwarded = message.Append(Avp.Identity(AvpKeys.RouteRecord, request.Peer)) with { EndToEndId = request.Message.EndToEndId };
        var pending = new PendingRequest(forwarded, 0, request, now + _options.RequestTimeout);
        if (_routes.Find(request.Peer) is { } source)
        {
            pending.Tried.Add(source);
        }

        foreach (var hop in message.Avps.All(AvpKeys.RouteRecord))
        {
            if (hop.TryReadIdentity(out var identity) && _routes.Find(identity) is { } passed)
            {
                pending.Tried.Add(passed);
            }
        }

        effects.Count("diameter.request.forwarded");
        Begin(pending, effects);
    }

    public void Answer(DiameterRequest request, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
        if (request.IsDone)
        {
            effects.Count("diameter.request.done_twice");
            return;
        }

        request.IsDone = true;
        answer = WithOrigin(answer) with { EndToEndId = request.Message.EndToEndId };
        _kept.Keep(request, Return(request, answer, effects));
    }

    /// <summary>Delivers failures that <see cref="Send"/> and <see cref="Forward"/> met, outside of their callers.</summary>
    public void Deliver(DateTimeOffset now, EffectSink effects)
    {
        for (var i = 0; i < DeliveriesPerCall && _outcomes.TryDequeue(out var outcome); i++)
        {
            var (pending, why) = outcome;
            effects.Count("diameter.request.undelivered");
            if (pending.Inbound is not { } inbound)
            {
                _user.Failed(pending.Token, why, now, effects);
                continue;
            }

            var (code, reason) = why switch
            {
                DeliveryFailure.NoRoute when pending.Message.DestinationHost is null => (DiameterResult.RealmNotServed, "no route to the realm"),
                DeliveryFailure.NoRoute => (DiameterResult.UnableToDeliver, "no route to the host"),
                DeliveryFailure.TooManyPending => (DiameterResult.TooBusy, "too many requests are waiting"),
                DeliveryFailure.TimedOut => (DiameterResult.UnableToDeliver, "no answer in time"),
                _ => (DiameterResult.UnableToDeliver, "the next hop cannot be reached"),
            };
            Report(effects, "diameter.request.undelivered", $"{_options.Dictionary.NameOf(pending.Message)} of {inbound.Peer} answered {DiameterResult.Name(code)}: {reason}", inbound.Peer, "RFC 6733 section 7.1.3");
            Return(inbound, _user.ForwardedAnswer(inbound, Base.Refusal(inbound.Message, code, reason), now, effects), effects);
        }
    }

    /// <summary>Requests waiting at a peer that is suspect or gone go another way, marked as possible duplicates (RFC 6733 section 5.5.4).</summary>
    public void FailOver(DiameterPeer peer, bool isGone, DateTimeOffset now, EffectSink effects)
    {
        foreach (var pending in peer.Pending.Values.ToList())
        {
            var again = pending.Message with { Flags = pending.Message.Flags | DiameterFlags.Retransmitted };
            var (next, _) = Choose(again, pending.Tried);
            if (next is null && !isGone)
            {
                continue;
            }

            peer.Pending.Remove(pending.Message.HopByHopId);
            if (next is null)
            {
                _pending.Remove(pending);
                _outcomes.Enqueue((pending, DeliveryFailure.NoPeer));
                continue;
            }

            peer.Counters.FailedOver++;
            effects.Count("diameter.request.failed_over");
            pending.Message = again;
            Transmit(pending, next, effects);
        }
    }

    private void TakeRequest(DiameterPeer peer, DiameterConnection connection, DiameterMessage message, DateTimeOffset now, EffectSink effects)
    {
        peer.Counters.RequestsReceived++;
        var isLocal = IsLocal(message);
        var fault = Judge(peer, message, isLocal);
        if (fault is not null)
        {
            effects.Count("diameter.request.refused");
            Report(effects, "diameter.request.refused", $"{_options.Dictionary.NameOf(message)} of {peer.Identity} refused: {fault}", peer.Identity, fault.Error.Clause);
            peer.Counters.AnswersSent++;
            peer.Send(connection, Base.Refusal(message, fault), effects);
            return;
        }

        var request = new DiameterRequest(message, peer.Identity, isLocal, connection.Id);
        if (message.OriginHost is not null && _kept.FindOrAdd(request, now) is { } known)
        {
            // The other side gave the earlier way up, so the answer takes the later one.
            effects.Count("diameter.request.duplicate");
            if (known.Request is { } underWay)
            {
                underWay.Connection = connection.Id;
                underWay.HopByHopId = message.HopByHopId;
            }
            else if (known.Answer is { } answer)
            {
                peer.Counters.AnswersSent++;
                peer.Send(connection, answer with { HopByHopId = message.HopByHopId }, effects);
            }

            return;
        }

        peer.Unanswered.Add(request);
        _user.Request(request, now, effects);
    }

    private bool IsLocal(DiameterMessage message) => message.DestinationHost is { } host
        ? Same(host, _options.Identity)
        : message.DestinationRealm is not { } realm || Same(realm, _options.Realm);

    private DiameterFault? Judge(DiameterPeer peer, DiameterMessage message, bool isLocal)
    {
        if (message.IsError)
        {
            return Base.Validate(message);
        }

        if (peer.Unanswered.Count >= _options.MaximumUnansweredPerPeer)
        {
            return Fault(DiameterResult.TooBusy, "Request", "too many requests of this peer are unanswered", "RFC 6733 section 7.1.3");
        }

        var hops = 0;
        foreach (var record in message.Avps.AsSpan())
        {
            if (record.Key != AvpKeys.RouteRecord)
            {
                continue;
            }

            if ((record.TryReadIdentity(out var hop) && Same(hop, _options.Identity)) || ++hops > _options.MaximumHops)
            {
                return Fault(DiameterResult.LoopDetected, "Route-Record", "the request has been here, or passed too many agents", "RFC 6733 section 6.1.3");
            }
        }

        var isRelay = _options.Applications.Contains(DiameterApplications.Relay);
        var speaks = _options.Applications.Contains(message.ApplicationId);
        if (!isLocal && !_options.IsAgent)
        {
            return message.DestinationHost is not null
                ? Fault(DiameterResult.UnableToDeliver, "Destination-Host", "this node passes nothing on", "RFC 6733 section 6.1.4")
                : Fault(DiameterResult.RealmNotServed, "Destination-Realm", "this node does not serve the realm", "RFC 6733 section 6.1.4");
        }

        if (!speaks && !(isRelay && !isLocal))
        {
            return Fault(DiameterResult.ApplicationUnsupported, "Application-ID", "not supported", "RFC 6733 section 7.1.3");
        }

        // A relay does not look inside; everyone else is answerable for what goes through.
        return speaks ? Base.Validate(message) : null;
    }

    private void TakeAnswer(DiameterPeer peer, DiameterMessage answer, DateTimeOffset now, EffectSink effects)
    {
        if (!peer.Pending.TryGetValue(answer.HopByHopId, out var pending)
            || pending.Message.CommandCode != answer.CommandCode || pending.Message.EndToEndId != answer.EndToEndId)
        {
            peer.Counters.Discarded++;
            effects.Count("diameter.answer.unknown");
            return;
        }

        peer.Counters.AnswersReceived++;
        peer.Pending.Remove(answer.HopByHopId);
        if (answer.IsError && answer.ResultCode is DiameterResult.UnableToDeliver or DiameterResult.TooBusy
            && Choose(pending.Message, pending.Tried).Peer is { } next)
        {
            effects.Count("diameter.request.rerouted");
            Transmit(pending, next, effects);
            return;
        }

        _pending.Remove(pending);
        if (pending.Inbound is { } inbound)
        {
            Return(inbound, _user.ForwardedAnswer(inbound, answer, now, effects), effects);
        }
        else if (Base.Validate(answer) is { } fault)
        {
            Warn(effects, "diameter.answer.invalid", $"{_options.Dictionary.NameOf(answer)} of {peer.Identity} cannot be used: {fault}", peer.Identity, fault.Error.Clause);
            _outcomes.Enqueue((pending, DeliveryFailure.InvalidAnswer));
        }
        else
        {
            _user.Answer(pending.Token, answer, now, effects);
        }
    }

    /// <summary>Sends an answer the way its request came.</summary>
    /// <returns>The answer as it is sent, or would be.</returns>
    private byte[] Return(DiameterRequest request, DiameterMessage answer, EffectSink effects)
    {
        var octets = (answer with { HopByHopId = request.HopByHopId, EndToEndId = request.Message.EndToEndId }).ToArray();
        var peer = _routes.Find(request.Peer);
        peer?.Unanswered.Remove(request);
        if (!_connections.TryGetValue(request.Connection, out var connection) || connection.Peer?.Connection != connection)
        {
            effects.Count("diameter.answer.no_way_back");
            return octets;
        }

        var sender = connection.Peer;
        sender.Counters.AnswersSent++;
        effects.Count("diameter.answer.sent");
        DiameterPeer.Send(connection, octets, effects);
        return octets;
    }

    private void Begin(PendingRequest pending, EffectSink effects)
    {
        if (pending.Message.Length > _options.Limits.MaximumMessageLength)
        {
            _outcomes.Enqueue((pending, DeliveryFailure.TooLong));
            return;
        }

        if (_pending.Count >= _options.MaximumPending)
        {
            _outcomes.Enqueue((pending, DeliveryFailure.TooManyPending));
            return;
        }

        var (peer, why) = Choose(pending.Message, pending.Tried);
        if (peer is null)
        {
            _outcomes.Enqueue((pending, why));
            return;
        }

        _pending.Add(pending);
        Transmit(pending, peer, effects);
    }

    private void Transmit(PendingRequest pending, DiameterPeer peer, EffectSink effects)
    {
        pending.Peer = peer;
        pending.Tried.Add(peer);
        pending.Message = pending.Message with { HopByHopId = peer.NextHopByHopId() };
        peer.Pending[pending.Message.HopByHopId] = pending;
        peer.Counters.RequestsSent++;
        effects.Count("diameter.request.sent");
        peer.Send(peer.Connection!, pending.Message, effects);
    }

    /// <summary>The best open peer that was not tried; peers whose connection has just come back after a failure come last.</summary>
    private (DiameterPeer? Peer, DeliveryFailure Why) Choose(DiameterMessage message, List<DiameterPeer> tried)
    {
        DiameterPeer? free = null;
        var why = DeliveryFailure.NoRoute;
        foreach (var peer in _routes.Candidates(message))
        {
            if (tried.Contains(peer))
            {
                continue;
            }

            if (peer.Connection is null || peer.Watchdog is not (WatchdogState.Okay or WatchdogState.Reopen) || !peer.Speaks(message.ApplicationId))
            {
                why = why == DeliveryFailure.NoRoute ? DeliveryFailure.NoPeer : why;
                continue;
            }

            why = DeliveryFailure.TooManyPending;
            if (peer.Pending.Count < _options.MaximumPendingPerPeer && (free is null || (free.Watchdog == WatchdogState.Reopen && peer.Watchdog != WatchdogState.Reopen)))
            {
                free = peer;
            }
        }

        return (free, why);
    }

    private void ExpirePending(DateTimeOffset now, EffectSink effects)
    {
        while (_pending.First is { } pending && pending.Deadline <= now)
        {
            effects.Count("diameter.request.timed_out");
            _pending.Remove(pending);
            pending.Peer?.Pending.Remove(pending.Message.HopByHopId);
            _outcomes.Enqueue((pending, DeliveryFailure.TimedOut));
        }
    }

    private DiameterMessage WithOrigin(DiameterMessage message)
    {
        var (host, realm) = (message.Avps.Contains(AvpKeys.OriginHost), message.Avps.Contains(AvpKeys.OriginRealm));
        return (host, realm) switch
        {
            (true, true) => message,
            (true, false) => message.Append(Base.OriginRealm),
            (false, true) => message.Append(Base.OriginHost),
            _ => message.Append(Base.OriginHost, Base.OriginRealm),
        };
    }

    private static DiameterFault Fault(uint result, string field, string reason, string clause) => new(result, null, new Wire.WireError(field, 0, reason, clause));

    private static bool Same(string a, string b) => string.Equals(a, b, StringComparison.OrdinalIgnoreCase);

    private static void Report(EffectSink effects, string kind, string text, string peer, string rule) =>
        effects.Emit(new Report(new EngineEvent(kind, EventSeverity.Information, text) { Peer = peer, Rule = rule }));
}
