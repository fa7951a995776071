using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>
/// The node of RFC 6733: connections and the messages between neighbours here; requests, answers and routing in
/// <c>DiameterNode.Requests.cs</c>.
/// </summary>
internal sealed partial class DiameterNode
{
    private readonly DiameterNodeOptions _options;
    private readonly IDiameterUser _user;
    private readonly RoutingTable _routes;
    private readonly Dictionary<long, DiameterConnection> _connections = [];
    private readonly Dictionary<long, DiameterPeer> _dialled = [];
    private readonly DiameterPeer[] _peers;
    private uint _endToEnd;
    private long _lastConnection;
    private bool _stopped;

    public DiameterNode(DiameterNodeOptions options, IRandomSource random, IDiameterUser user)
    {
        _options = options;
        _user = user;
        Base = new BaseMessages(options);
        _peers = [.. options.Peers.Select(p => new DiameterPeer(this, options, p, random))];
        _routes = new RoutingTable(_peers, options.Routes);
        _kept = new KeptAnswers(options.DuplicateWindow, options.MaximumKeptAnswers);
        _endToEnd = random.NextUInt32() & 0x000F_FFFF;
    }

    public BaseMessages Base { get; }

    public IReadOnlyList<DiameterPeerStatus> PeerStatus => [.. _peers.Select(p => p.Status)];

    public DateTimeOffset? NextDeadline
    {
        get
        {
            if (_outcomes.Count > 0)
            {
                return DateTimeOffset.MinValue;
            }

            var next = _pending.First?.Deadline;
            foreach (var peer in _peers)
            {
                next = Earlier(next, peer.Deadline);
            }

            foreach (var connection in _connections.Values)
            {
                next = Earlier(next, connection.CapabilitiesDeadline);
            }

            return next;
        }
    }

    public bool IsOpen(string peer) => _routes.Find(peer)?.Connection is not null;

    public void Start(DateTimeOffset now, EffectSink effects)
    {
        // End-to-end identifiers must not repeat for four minutes, also over a restart: the high twelve bits are the
        // low bits of the start time in seconds, the rest begins at random (RFC 6733 section 3).
        _endToEnd |= (uint)now.ToUnixTimeSeconds() << 20;
        Base.OriginStateId = (uint)now.ToUnixTimeSeconds();
        foreach (var peer in _peers)
        {
            if (peer.Options.Remote is not null && !peer.Options.Secured && !_options.AllowPlainTcp)
            {
                Warn(effects, "diameter.peer.refused", $"{peer.Identity} is not dialled: plain TCP is not allowed", peer.Identity, "spec network-vpn M2");
                continue;
            }

            peer.Start(now, effects);
        }
    }

    public void Stop(DateTimeOffset now, EffectSink effects)
    {
        _stopped = true;
        foreach (var peer in _peers)
        {
            peer.Stop(now, effects);
        }

        foreach (var connection in _connections.Values.ToList())
        {
            Close(connection, effects);
        }
    }

    public void Opened(ConnectionOpened input, DateTimeOffset now, EffectSink effects)
    {
        var connection = new DiameterConnection(input.Connection, input.Remote, input.Secured, input.PeerNames, _options.Limits);
        if (_stopped)
        {
            effects.Emit(new CloseConnection(input.Connection));
            return;
        }

        if (!input.Secured && !_options.AllowPlainTcp)
        {
            Refuse("diameter.connection.plain", "plain TCP is not allowed", "spec network-vpn M2");
            return;
        }

        if (input.Connection > 0)
        {
            if (_dialled.Remove(input.Connection, out var peer))
            {
                connection.Peer = peer;
                _connections.Add(connection.Id, connection);
                peer.Connected(connection, now, effects);
            }
            else
            {
                effects.Emit(new CloseConnection(input.Connection));
            }

            return;
        }

        if (_connections.Values.Count(c => c.Peer is null) >= _options.MaximumUnidentifiedConnections)
        {
            Refuse("diameter.connection.too_many", "too many connections have not said who they are", "receiver limit");
            return;
        }

        connection.CapabilitiesDeadline = now + _options.CapabilitiesTimeout;
        _connections.Add(connection.Id, connection);

        void Refuse(string counter, string reason, string rule)
        {
            effects.Emit(new CloseConnection(connection.Id));
            Warn(effects, counter, $"connection of {connection.Remote} refused: {reason}", null, rule);
            if (_dialled.Remove(connection.Id, out var dialledFor))
            {
                dialledFor.Lost(connection.Id, reason, now, effects);
            }
        }
    }

    public void Received(ConnectionReceived input, DateTimeOffset now, EffectSink effects)
    {
        if (!_connections.TryGetValue(input.Connection, out var connection))
        {
            return;
        }

        var data = input.Data;
        while (!data.IsEmpty && !connection.IsClosed)
        {
            if (!connection.TryRead(ref data, out var octets, out var error))
            {
                Break(connection, error.ToString(), now, effects);
                return;
            }

            if (!octets.IsEmpty)
            {
                Take(connection, octets, now, effects);
            }
        }
    }

    public void Closed(ConnectionClosed input, DateTimeOffset now, EffectSink effects)
    {
        if (_dialled.Remove(input.Connection, out var dialledFor))
        {
            dialledFor.Lost(input.Connection, input.Reason, now, effects);
        }
        else if (_connections.Remove(input.Connection, out var connection))
        {
            connection.IsClosed = true;
            connection.Peer?.Lost(input.Connection, input.Reason, now, effects);
        }
    }

    public void DeadlineReached(DateTimeOffset now, EffectSink effects)
    {
        foreach (var peer in _peers)
        {
            if (peer.Deadline <= now)
            {
                peer.DeadlineReached(now, effects);
            }
        }

        foreach (var connection in _connections.Values.Where(c => c.CapabilitiesDeadline <= now).ToList())
        {
            effects.Count("diameter.connection.silent");
            Close(connection, effects);
        }

        ExpirePending(now, effects);
    }

    /// <summary>A new connection id for a peer that is about to dial.</summary>
    public long Dialled(DiameterPeer peer)
    {
        _dialled.Add(++_lastConnection, peer);
        return _lastConnection;
    }

    public void Forget(long dialled) => _dialled.Remove(dialled);

    public void Close(DiameterConnection connection, EffectSink effects)
    {
        if (!connection.IsClosed)
        {
            connection.IsClosed = true;
            _connections.Remove(connection.Id);
            effects.Emit(new CloseConnection(connection.Id));
        }
    }

    public uint NextEndToEndId() => ++_endToEnd;

    public void PeerOpened(DiameterPeer peer, DateTimeOffset now, EffectSink effects) => _user.PeerOpened(peer.Identity, now, effects);

    public void PeerClosed(DiameterPeer peer, string reason, DateTimeOffset now, EffectSink effects) => _user.PeerClosed(peer.Identity, reason, now, effects);

    private void Take(DiameterConnection connection, ReadOnlyMemory<byte> octets, DateTimeOffset now, EffectSink effects)
    {
        if (!DiameterMessage.TryParse(octets, _options.Limits, out var message, out DiameterFault? fault))
        {
            TakeUnreadable(connection, octets, fault, now, effects);
            return;
        }

        if (connection.Peer is { } peer && peer.Connection == connection)
        {
            TakeFromOpenPeer(peer, connection, message, now, effects);
        }
        else if (message.ApplicationId == DiameterApplications.Common && message.CommandCode == DiameterCommands.CapabilitiesExchange.Code)
        {
            TakeCapabilities(connection, message, now, effects);
        }
        else if (connection.Peer is { } closing && message.CommandCode == DiameterCommands.DisconnectPeer.Code)
        {
            closing.Lost(connection.Id, "disconnected", now, effects);
            Close(connection, effects);
        }
        else
        {
            Break(connection, "a message came before the capabilities exchange", now, effects);
        }
    }

    /// <summary>The frame was whole, so the stream is in step: a request is answered, an answer dropped (RFC 6733 section 7).</summary>
    private void TakeUnreadable(DiameterConnection connection, ReadOnlyMemory<byte> octets, DiameterFault fault, DateTimeOffset now, EffectSink effects)
    {
        effects.Count("diameter.message.malformed");
        if (connection.Peer?.Connection != connection || !DiameterHeader.TryParse(octets.Span, _options.Limits, out var header, out _))
        {
            Break(connection, fault.ToString(), now, effects);
            return;
        }

        Warn(effects, null, $"malformed message of {connection.Peer.Identity}: {fault}", connection.Peer.Identity, fault.Error.Clause);
        connection.Peer.Counters.Discarded++;
        if (header.IsRequest)
        {
            var request = new DiameterMessage
            {
                Flags = header.Flags,
                CommandCode = header.CommandCode,
                ApplicationId = header.ApplicationId,
                HopByHopId = header.HopByHopId,
                EndToEndId = header.EndToEndId,
                Avps = AvpList.Empty,
            };
            connection.Peer.Send(connection, Base.Refusal(request, fault), effects);
        }
    }

    private void TakeCapabilities(DiameterConnection connection, DiameterMessage message, DateTimeOffset now, EffectSink effects)
    {
        var fault = Base.Validate(message);
        var named = message.OriginHost is { } host ? _routes.Find(host) : null;
        if (message.IsRequest)
        {
            if (connection.Id > 0 || connection.Peer is not null)
            {
                Break(connection, "a second capabilities request", now, effects);
                return;
            }

            fault ??= Base.Judge(message, connection, named?.Options);
            if (fault is null)
            {
                connection.Peer = named;
                connection.CapabilitiesDeadline = null;
                named!.CapabilitiesRequested(connection, message, now, effects);
                return;
            }

            Warn(effects, "diameter.capabilities.refused", $"capabilities of '{message.OriginHost}' at {connection.Remote} refused: {fault}", message.OriginHost, fault.Error.Clause);
            effects.Emit(new SendBytes(connection.Id, Base.CapabilitiesAnswer(message, fault).ToArray()));
            Close(connection, effects);
            return;
        }

        if (connection.Peer is not { } peer || connection.Id < 0)
        {
            Break(connection, "a capabilities answer without a request", now, effects);
            return;
        }

        if (fault is null && !DiameterResult.IsSuccess(message.ResultCode))
        {
            fault = new DiameterFault(message.ResultCode, null, new Wire.WireError("Result-Code", 0, "the peer refuses the capabilities", "RFC 6733 section 5.3"));
        }
        else if (fault is null)
        {
            // Whoever answers must be whom we dialled, by name and by certificate.
            fault = Base.Judge(message, connection, named == peer ? peer.Options : null);
        }

        if (fault is not null)
        {
            Warn(effects, "diameter.capabilities.refused", $"capabilities of {peer.Identity} refused: {fault}", peer.Identity, fault.Error.Clause);
        }

        peer.CapabilitiesAnswered(connection, message, fault, now, effects);
    }

    private void TakeFromOpenPeer(DiameterPeer peer, DiameterConnection connection, DiameterMessage message, DateTimeOffset now, EffectSink effects)
    {
        if (message.ApplicationId == DiameterApplications.Common && message.CommandCode
            is var code && (code == DiameterCommands.DeviceWatchdog.Code || code == DiameterCommands.DisconnectPeer.Code || code == DiameterCommands.CapabilitiesExchange.Code))
        {
            TakeBase(peer, connection, message, now, effects);
            return;
        }

        peer.MessageReceived(now, effects);
        if (message.IsRequest)
        {
            TakeRequest(peer, connection, message, now, effects);
        }
        else
        {
            TakeAnswer(peer, message, now, effects);
        }
    }

    private void TakeBase(DiameterPeer peer, DiameterConnection connection, DiameterMessage message, DateTimeOffset now, EffectSink effects)
    {
        if (message.IsRequest && Base.Validate(message) is { } fault)
        {
            Warn(effects, "diameter.message.invalid", $"{_options.Dictionary.NameOf(message)} of {peer.Identity} refused: {fault}", peer.Identity, fault.Error.Clause);
            peer.Send(connection, Base.Refusal(message, fault), effects);
            return;
        }

        if (message.CommandCode == DiameterCommands.CapabilitiesExchange.Code)
        {
            peer.Broken(connection, "a capabilities exchange on an open connection", now, effects);
        }
        else if (message.CommandCode == DiameterCommands.DisconnectPeer.Code)
        {
            if (message.IsRequest)
            {
                peer.DisconnectRequested(connection, message, now, effects);
            }
        }
        else if (message.IsRequest)
        {
            peer.WatchdogRequested(connection, message, now, effects);
        }
        else
        {
            peer.WatchdogAnswered(now, effects);
        }
    }

    private void Break(DiameterConnection connection, string reason, DateTimeOffset now, EffectSink effects)
    {
        Warn(effects, "diameter.connection.broken", $"connection of {connection.Remote} closed: {reason}", connection.Peer?.Identity, "RFC 6733 section 5.6");
        if (connection.Peer is { } peer)
        {
            peer.Broken(connection, reason, now, effects);
        }
        else
        {
            Close(connection, effects);
        }
    }

    private static void Warn(EffectSink effects, string? counter, string text, string? peer, string rule)
    {
        if (counter is not null)
        {
            effects.Count(counter);
        }

        effects.Emit(new Report(new EngineEvent(counter ?? "diameter.message.malformed", EventSeverity.Warning, text) { Peer = peer, Rule = rule }));
    }

    private static DateTimeOffset? Earlier(DateTimeOffset? a, DateTimeOffset? b) => a is null || b < a ? b : a;
}
