// Readings:
// - The authenticator is judged before the sequence number: an update that proves nothing must not learn the stored number.
// - A binding that was deleted or ran out is remembered with its sequence number for as long as a nonce may live, so that its
//   updates cannot be played again with nonces that are still good (RFC 6275 9.5.3, 5.2.8).
using System.Net;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>Settings of a correspondent.</summary>
public sealed record CorrespondentOptions
{
    public required IPAddress Address { get; init; }

    public int MaximumBindings { get; init; } = 10_000;

    /// <summary>A new nonce is made when the current one is older.</summary>
    public TimeSpan NonceInterval { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Binding errors in a second, all peers together (RFC 6275 9.3.3).</summary>
    public int ErrorsPerSecond { get; init; } = 10;
}

/// <summary>Row of a correspondent's binding cache (spec terminal 3.5).</summary>
public sealed record CorrespondentBinding(IPAddress HomeAddress, IPAddress CareOfAddress, ushort SequenceNumber, DateTimeOffset Expires);

/// <summary>Packets to the home address go to the care-of address with a routing header from now on; at a mobile node: packets to the peer with a Home Address option.</summary>
public sealed record RouteOptimised(IPAddress Peer, IPAddress HomeAddress, IPAddress CareOfAddress) : Effect;

/// <summary>Back to the way over the home agent.</summary>
public sealed record RouteEnded(IPAddress Peer, IPAddress HomeAddress) : Effect;

/// <summary>
/// Correspondent node with route optimisation (RFC 6275 9): answers return routability tests without keeping state, takes
/// binding updates that they authorise, puts home addresses in place of care-of addresses on receive and routing headers on
/// send, answers a Home Address option without binding with a binding error.
/// </summary>
public sealed class Correspondent(CorrespondentOptions options, IRandomSource random) : IEngine
{
    private static readonly TimeSpan s_refreshTime = TimeSpan.FromSeconds(10);

    private readonly KeyMaterial _nodeKey = new(random.NextBytes(20));
    private readonly List<(ushort Index, byte[] Value, DateTimeOffset Made)> _nonces = [];
    private readonly Dictionary<IPAddress, Entry> _cache = [];
    private ushort _lastIndex = (ushort)random.NextUInt32();
    private DateTimeOffset _errorSecond;
    private int _errors;

    private sealed record Entry(IPAddress HomeAddress, IPAddress CareOfAddress, ushort SequenceNumber, DateTimeOffset Updated, DateTimeOffset Expires, bool Gone, DateTimeOffset? Used, bool RefreshAsked)
    {
        public DateTimeOffset Forget => Updated + ReturnRoutability.NonceLifetime;

        public DateTimeOffset Next => Gone ? Forget : !RefreshAsked && Used is not null ? Expires - s_refreshTime : Expires;
    }

    /// <summary>Bindings in force.</summary>
    public IEnumerable<CorrespondentBinding> Bindings => _cache.Values.Where(e => !e.Gone).Select(e => new CorrespondentBinding(e.HomeAddress, e.CareOfAddress, e.SequenceNumber, e.Expires));

    /// <summary>Where packets to a home address go; null = by way of home.</summary>
    public IPAddress? CareOf(IPAddress home) => _cache.TryGetValue(home, out var entry) && !entry.Gone ? entry.CareOfAddress : null;

    public DateTimeOffset? NextDeadline => _cache.Count == 0 ? null : _cache.Values.Min(e => e.Next);

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case Ipv6PacketReceived received:
                OnPacket(received, now, effects);
                break;
            case SendFromHost send:
                OnSend(send.Packet, now, effects);
                break;
            case ClearBinding clear when _cache.TryGetValue(clear.HomeAddress, out var entry) && !entry.Gone:
                // Its sequence number stays as long as its updates could be played again.
                _cache[clear.HomeAddress] = entry with { Gone = true };
                effects.Emit(new RouteEnded(clear.HomeAddress, clear.HomeAddress));
                break;
            case DeadlineReached:
                OnDeadline(now, effects);
                break;
        }
    }

    private void OnPacket(Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (!MobileIpv6Packet.TryParse(received.Packet.Span, out var packet, out _) || !packet.EffectiveDestination.Equals(options.Address) || packet.RoutingHomeAddress is not null)
        {
            effects.Count("mip6.cn.ignored.malformed");
            return;
        }

        if (packet.Protocol != IpProtocol.Mobility)
        {
            OnData(packet, received, now, effects);
            return;
        }

        if (!MobilityMessage.ChecksumIsRight(packet.Payload.Span, packet.EffectiveSource, options.Address) || !MobilityMessage.TryParse(packet.Payload.Span, out var message, out _) || !IPv6Octets.IsUnicastRoutable(packet.Source))
        {
            effects.Count("mip6.cn.ignored.malformed");
            effects.Count("mh.malformed");
            return;
        }

        switch (message)
        {
            case HomeTestInit init when packet.HomeAddress is null:
                var home = Nonce(now);
                Send(new HomeTest(home.Index, init.Cookie, ReturnRoutability.KeygenToken(_nodeKey.Octets, packet.Source, home.Value, careOf: false)), packet.Source, null, effects);
                break;
            case CareOfTestInit init when packet.HomeAddress is null:
                var careOf = Nonce(now);
                Send(new CareOfTest(careOf.Index, init.Cookie, ReturnRoutability.KeygenToken(_nodeKey.Octets, packet.Source, careOf.Value, careOf: true)), packet.Source, null, effects);
                break;
            case BindingUpdate update when !update.Has(BindingUpdateFlags.HomeRegistration):
                OnUpdate(packet, update, now, effects);
                break;
            case BindingUpdate:
                effects.Count("mip6.cn.refused.131");
                Send(new BindingAcknowledgement { Status = BindingStatus.HomeRegistrationNotSupported, SequenceNumber = ((BindingUpdate)message).SequenceNumber, Lifetime = 0 }, packet.Source, packet.HomeAddress, effects);
                break;
            case UnknownMobilityMessage:
                SendError(BindingErrorStatus.UnrecognizedMobilityHeader, packet, now, effects);
                break;
            default:
                effects.Count("mip6.cn.ignored.type");
                break;
        }
    }

    /// <summary>RFC 6275 9.3.1. ESP and AH have judged their packets themselves.</summary>
    private void OnData(MobileIpv6Packet packet, Ipv6PacketReceived received, DateTimeOffset now, EffectSink effects)
    {
        if (packet.HomeAddress is not { } home)
        {
            effects.Emit(new DeliverIpv6Packet(received.Packet, received.Interface ?? ""));
            return;
        }

        if (_cache.TryGetValue(home, out var entry) && !entry.Gone && entry.CareOfAddress.Equals(packet.Source))
        {
            _cache[home] = entry with { Used = now };
        }
        else if (packet.Protocol is not (IpProtocol.Esp or IpProtocol.Ah))
        {
            effects.Count("mip6.cn.unknown_binding");
            SendError(BindingErrorStatus.UnknownBinding, packet, now, effects);
            return;
        }

        effects.Emit(new DeliverIpv6Packet((packet with { Source = home, HomeAddress = null }).ToArray(), received.Interface ?? ""));
    }

    /// <summary>RFC 6275 9.3.2: with a binding the packet takes the short way.</summary>
    private void OnSend(ReadOnlyMemory<byte> octets, DateTimeOffset now, EffectSink effects)
    {
        if (MobileIpv6Packet.TryParse(octets.Span, out var packet, out _) && packet is { RoutingHomeAddress: null, HomeAddress: null } && _cache.TryGetValue(packet.Destination, out var entry) && !entry.Gone)
        {
            _cache[packet.Destination] = entry with { Used = now };
            effects.Emit(new SendIpv6Packet((packet with { Destination = entry.CareOfAddress, RoutingHomeAddress = entry.HomeAddress }).ToArray()));
            return;
        }

        effects.Emit(new SendIpv6Packet(octets));
    }

    private void OnUpdate(MobileIpv6Packet packet, BindingUpdate update, DateTimeOffset now, EffectSink effects)
    {
        var home = packet.EffectiveSource;
        var careOf = update.AlternateCareOfAddress ?? packet.Source;
        var deletes = update.Lifetime == 0 || careOf.Equals(home);
        if (update.Options.Find<NonceIndicesOption>() is not { } indices || update.Options.Find<BindingAuthorizationDataOption>() is null || !IPv6Octets.IsUnicastRoutable(careOf))
        {
            effects.Count("mip6.cn.ignored.unauthorized");
            return;
        }

        var (homeNonce, careOfNonce) = (Find(indices.Home, now), Find(indices.CareOf, now));
        if (homeNonce is null || (careOfNonce is null && !deletes))
        {
            var expired = homeNonce is not null ? BindingStatus.ExpiredCareOfNonceIndex : careOfNonce is not null || deletes ? BindingStatus.ExpiredHomeNonceIndex : BindingStatus.ExpiredNonces;
            effects.Count($"mip6.cn.refused.{(byte)expired}");
            Send(new BindingAcknowledgement { Status = expired, SequenceNumber = update.SequenceNumber, Lifetime = 0 }, packet.Source, packet.HomeAddress, effects);
            return;
        }

        var key = ReturnRoutability.BindingKey(
            ReturnRoutability.KeygenToken(_nodeKey.Octets, home, homeNonce, careOf: false), deletes ? null : ReturnRoutability.KeygenToken(_nodeKey.Octets, careOf, careOfNonce!, careOf: true));
        if (!ReturnRoutability.IsAuthorized(update, packet.Payload.Span, key, careOf, options.Address))
        {
            effects.Count("mip6.cn.ignored.authenticator");
            return;
        }

        var known = _cache.GetValueOrDefault(home);
        var status = known is not null && !BindingSequence.IsNewer(update.SequenceNumber, known.SequenceNumber) ? BindingStatus.SequenceNumberOutOfWindow
            : !deletes && known is null && _cache.Count >= options.MaximumBindings ? BindingStatus.InsufficientResources
            : BindingStatus.Accepted;
        ushort lifetime = 0;
        if (status == BindingStatus.Accepted)
        {
            lifetime = deletes ? (ushort)0 : Math.Min(update.Lifetime, MobileIpv6Limits.ToUnits(ReturnRoutability.LongestBinding));
            if (deletes && known is null)
            {
                // Nothing to delete; only the nonces must not serve an older update later.
                known = new Entry(home, careOf, update.SequenceNumber, now, now, true, null, false);
            }

            var wasThere = known is { Gone: false };
            _cache[home] = new Entry(home, careOf, update.SequenceNumber, now, now + (lifetime * MobileIpv6Limits.LifetimeUnit), deletes, known?.Used, false);
            effects.Count(deletes ? "mip6.cn.deleted" : "mip6.cn.accepted");
            if (!deletes)
            {
                effects.Emit(new RouteOptimised(home, home, careOf));
            }
            else if (wasThere)
            {
                effects.Emit(new RouteEnded(home, home));
            }
        }
        else
        {
            effects.Count($"mip6.cn.refused.{(byte)status}");
        }

        if (update.Has(BindingUpdateFlags.Acknowledge) || !status.IsAccepted())
        {
            var acknowledgement = new BindingAcknowledgement
            {
                Status = status,
                SequenceNumber = status == BindingStatus.SequenceNumberOutOfWindow ? known!.SequenceNumber : update.SequenceNumber,
                Lifetime = lifetime,
            };
            Send(ReturnRoutability.Authorize(acknowledgement, key, careOf, options.Address), packet.Source, packet.HomeAddress, effects);
        }
    }

    private (ushort Index, byte[] Value) Nonce(DateTimeOffset now)
    {
        _nonces.RemoveAll(n => now - n.Made >= ReturnRoutability.NonceLifetime);
        if (_nonces.Count == 0 || now - _nonces[^1].Made >= options.NonceInterval)
        {
            _nonces.Add((++_lastIndex, random.NextBytes(8), now));
        }

        return (_nonces[^1].Index, _nonces[^1].Value);
    }

    private byte[]? Find(ushort index, DateTimeOffset now) => _nonces.Find(n => n.Index == index && now - n.Made < ReturnRoutability.NonceLifetime).Value;

    private void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        foreach (var entry in _cache.Values.Where(e => e.Next <= now).ToList())
        {
            if (entry.Gone)
            {
                _cache.Remove(entry.HomeAddress);
            }
            else if (entry.Expires <= now)
            {
                _cache[entry.HomeAddress] = entry with { Gone = true };
                effects.Emit(new RouteEnded(entry.HomeAddress, entry.HomeAddress));
            }
            else
            {
                _cache[entry.HomeAddress] = entry with { RefreshAsked = true };
                if (now - entry.Used < TimeSpan.FromSeconds(30))
                {
                    Send(new BindingRefreshRequest(), entry.CareOfAddress, entry.HomeAddress, effects);
                }
            }
        }
    }

    private void SendError(BindingErrorStatus status, MobileIpv6Packet packet, DateTimeOffset now, EffectSink effects)
    {
        if (now - _errorSecond >= TimeSpan.FromSeconds(1))
        {
            (_errorSecond, _errors) = (now, 0);
        }

        if (++_errors > options.ErrorsPerSecond || !IPv6Octets.IsUnicastRoutable(packet.Source))
        {
            effects.Count("mip6.cn.error_withheld");
            return;
        }

        effects.Count("mip6.cn.error_sent");
        Send(new BindingError(status, packet.HomeAddress ?? IPAddress.IPv6Any), packet.Source, null, effects);
    }

    private void Send(MobilityMessage message, IPAddress destination, IPAddress? home, EffectSink effects) => effects.Emit(new SendIpv6Packet(new MobileIpv6Packet
    {
        Source = options.Address,
        Destination = destination,
        RoutingHomeAddress = home,
        Protocol = IpProtocol.Mobility,
        Payload = message.ToArray(options.Address, home ?? destination),
    }.ToArray()));
}
