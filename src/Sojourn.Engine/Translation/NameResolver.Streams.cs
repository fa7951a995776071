using System.Net;
using Sojourn.Engine.Terminal;
using Sojourn.Wire.Dns;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;

namespace Sojourn.Engine.Translation;

/// <summary>DNS over TCP (RFC 7766): connections of the host to the resolver, and of the resolver to servers that had to truncate.</summary>
public sealed partial class NameResolver
{
    private readonly Dictionary<IPEndPoint, TcpConnection> _fromHost = [];
    private readonly Dictionary<ushort, ServerStream> _toServers = [];

    /// <summary>A connection to a server.</summary>
    private sealed class ServerStream(TcpConnection connection, IPAddress server, NameQuery query)
    {
        public TcpConnection Connection { get; } = connection;

        public IPAddress Server { get; } = server;

        /// <summary>What was asked; null once it is answered and only the end of the connection is waited for.</summary>
        public NameQuery? Query { get; set; } = query;
    }

    private DateTimeOffset? NextStreamDeadline
    {
        get
        {
            DateTimeOffset? next = null;
            foreach (var connection in _fromHost.Values)
            {
                var due = connection.LastHeard + _options.StreamIdle;
                due = connection.Due < due ? connection.Due.Value : due;
                next = next < due ? next : due;
            }

            foreach (var stream in _toServers.Values)
            {
                next = stream.Connection.Due is { } due && !(next < due) ? due : next;
            }

            return next;
        }
    }

    private void OnHostSegment(in IPv4Header ip, in TcpHeader segment, DateTimeOffset now, EffectSink effects)
    {
        var client = new IPEndPoint(ip.SourceAddress, segment.SourcePort);
        if (segment.DestinationPort != DnsLimits.Port || !_fromHost.TryGetValue(client, out var connection))
        {
            if (segment.DestinationPort != DnsLimits.Port || (segment.Flags & (TcpFlags.Syn | TcpFlags.Ack | TcpFlags.Rst)) != TcpFlags.Syn || _fromHost.Count >= _options.MaximumStreams)
            {
                if (!segment.Flags.HasFlag(TcpFlags.Rst))
                {
                    effects.Emit(new DeliverToHost(Reset(ip, segment)));
                }

                return;
            }

            connection = TcpConnection.Accept(new IPEndPoint(ip.DestinationAddress, DnsLimits.Port), client, segment, _random.NextUInt32(), now);
            _fromHost.Add(client, connection);
        }
        else
        {
            connection.Receive(segment, now);
        }

        while (connection.TryTakeMessage(out var message))
        {
            OnQuery(new NameClient(client, connection), message, now, effects);
        }

        Settle(client, connection, now, effects);
    }

    /// <summary>Sends what has gathered; a connection that the host has closed ends when all of it is answered.</summary>
    private void Settle(IPEndPoint client, TcpConnection connection, DateTimeOffset now, EffectSink effects)
    {
        if (connection.PeerClosed && !_underWay.Values.Any(q => q.Client.Stream == connection))
        {
            connection.Close(now);
        }

        foreach (var packet in connection.TakePackets())
        {
            effects.Emit(new DeliverToHost(packet));
        }

        if (connection.IsOver)
        {
            _fromHost.Remove(client);
        }
    }

    /// <summary>Asks the server that had no room for all of it once more (RFC 7766 5).</summary>
    private void AskByStream(NameQuery query, DnsMessage truncated, DateTimeOffset now, EffectSink effects)
    {
        if (_table.Find(AddressBits.Of4(query.Client.EndPoint.Address), now) is not { Kind: TranslationKind.Own } home || _toServers.Count >= _options.MaximumStreams)
        {
            OnAnswer(query, truncated, final: true, now, effects);
            return;
        }

        query.Truncated = truncated;
        query.Due = now + _options.StreamTimeout;
        Number(query);
        var connection = TcpConnection.Open(new IPEndPoint(home.Ipv6Address, query.Port), new IPEndPoint(query.Server, DnsLimits.Port), _random.NextUInt32(), now);
        connection.SendMessage(Question(query).ToArray(), now);
        _toServers[query.Port] = new ServerStream(connection, query.Server, query);
        effects.Count("dns.resolver.tcp");
        Settle(query.Port, _toServers[query.Port], now, effects);
    }

    private void OnServerSegment(ushort port, in TcpHeader segment, DateTimeOffset now, EffectSink effects)
    {
        var stream = _toServers[port];
        stream.Connection.Receive(segment, now);
        while (stream.Connection.TryTakeMessage(out var message))
        {
            if (stream.Query is not { } query || !IsAnswerTo(query, message, out var answer))
            {
                effects.Count("dns.resolver.mismatch");
                continue;
            }

            stream.Query = null;
            stream.Connection.Close(now);
            _underWay.Remove(port);
            OnAnswer(query, answer, final: true, now, effects);
        }

        if (stream.Connection.PeerClosed)
        {
            stream.Connection.Close(now);
        }

        Settle(port, stream, now, effects);
    }

    /// <summary>Sends what has gathered. Where no answer comes this way any more, the one that was cut off has to do.</summary>
    private void Settle(ushort port, ServerStream stream, DateTimeOffset now, EffectSink effects)
    {
        foreach (var packet in stream.Connection.TakePackets())
        {
            effects.Emit(new SendFromHomeAddress(packet));
        }

        if (!stream.Connection.IsOver && !(stream.Query is not null && stream.Connection.PeerClosed))
        {
            return;
        }

        if (stream.Connection.IsOver)
        {
            _toServers.Remove(port);
        }

        if (stream.Query is { Truncated: { } truncated } query)
        {
            stream.Query = null;
            _underWay.Remove(port);
            effects.Count("dns.resolver.tcp_failed");
            OnAnswer(query, truncated, final: true, now, effects);
        }
    }

    private void WakeStreams(DateTimeOffset now, EffectSink effects)
    {
        foreach (var (client, connection) in _fromHost.ToList())
        {
            connection.Wake(now);
            if (now - connection.LastHeard >= _options.StreamIdle)
            {
                connection.LastHeard = now;
                if (connection.IsClosing)
                {
                    connection.Abort();
                }
                else if (!_underWay.Values.Any(q => q.Client.Stream == connection))
                {
                    connection.Close(now);
                }
            }

            Settle(client, connection, now, effects);
        }

        foreach (var (port, stream) in _toServers.ToList())
        {
            stream.Connection.Wake(now);
            if (stream.Query?.Due <= now)
            {
                stream.Connection.Abort();
            }

            Settle(port, stream, now, effects);
        }
    }
}
