// Readings:
// - A port is a station on an interface: several stations behind one cable each prove themselves, and frames of others stay out.
// - A station that failed is left alone for the quiet period, whatever it sends; so is one that never answers (IEEE 802.1X-2020 8.6).
// - When the time of a session is over the station is asked anew, and stays authorised while that runs.
// - A device is in one place: proving itself on another interface shuts it out where it was. Somebody who only uses its address there
//   shuts out nobody.
// - Greeting and announcement may cross. A station that was asked by a request of its own answers that too, so its answer to the greeting
//   is left alone; and no request has the identifier of one that may still be on its way (RFC 3748 4.1).
// - With address-only admission the station's identity is its address. One that speaks EAPOL is told the result by EAP-Success or
//   EAP-Failure without a method; one that does not is decided about when it is first heard (rows TA-M50, TA-H23).
using Sojourn.Engine.Eap;
using Sojourn.Engine.Radius;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Radius;

namespace Sojourn.Engine.Access;

/// <summary>Settings of an access router's device authentication (spec P3). <see cref="Radius"/> or the router's own registry decides.</summary>
public sealed record PortAuthenticatorOptions
{
    /// <summary>Interfaces of access links.</summary>
    public required IReadOnlyCollection<string> Interfaces { get; init; }

    /// <summary>A server has the device registry (row TA1.103a); null = the access router has it itself, in <see cref="Devices"/>.</summary>
    public RadiusClientOptions? Radius { get; init; }

    /// <summary>The router's own end of EAP-TLS, where there is no server and addresses alone do not count.</summary>
    public EapServerOptions? Registry { get; init; }

    /// <summary>Without <see cref="Radius"/>: the registry (spec D12). <see cref="AccessDevice.Clients"/> are names of interfaces.</summary>
    public IReadOnlyCollection<AccessDevice> Devices { get; init; } = [];

    /// <summary>Registered devices get in by their address alone. Whoever clones it is in too (row TA-H23).</summary>
    public bool AddressOnly { get; init; }

    /// <summary>Wait for a station's answer, and how often it is asked (RFC 3748 4.3).</summary>
    public TimeSpan AnswerWait { get; init; } = TimeSpan.FromSeconds(3);

    public int Transmissions { get; init; } = 4;

    public TimeSpan QuietPeriod { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long a device stays in where nobody says otherwise.</summary>
    public TimeSpan SessionLifetime { get; init; } = TimeSpan.FromHours(8);

    public int MaximumStations { get; init; } = 4096;

    /// <summary>Stations on one interface that are not in; an interface that is full of them disturbs no other.</summary>
    public int MaximumStrangers { get; init; } = 64;
}

/// <summary>An EAPOL frame (from its version octet on) of a station on an access link.</summary>
public sealed record EapolReceived(string Interface, LinkAddress Source, ReadOnlyMemory<byte> Frame) : EngineInput;

/// <summary>A station sent something else. Told only where addresses alone count.</summary>
public sealed record StationSeen(string Interface, LinkAddress Source) : EngineInput;

public sealed record SendEapol(string Interface, LinkAddress Destination, ReadOnlyMemory<byte> Frame) : Effect;

/// <summary>Frames of a station may pass from now on, or not any more (rows TA1.104, TA1.104x). Nothing passes before the first of these.</summary>
/// <param name="Name">Of the device, as its certificate names it; empty when shut out.</param>
public sealed record StationAuthorized(string Interface, LinkAddress Station, bool Allowed, string Name) : Effect;

/// <summary>A station as the status shows it.</summary>
/// <param name="Until">When it has to prove itself anew, or is asked or heard again.</param>
public sealed record PortStation(string Interface, LinkAddress Address, bool Allowed, string Name, DateTimeOffset? Until);

/// <summary>
/// IEEE 802.1X authenticator of an access router (rows TA1.103 to 104x, TA-M50): asks stations who they are, lets EAP pass to a RADIUS
/// server or decides by its own registry, and says which stations may use the link.
/// </summary>
public sealed class PortAuthenticator : IEngine, IDisposable
{
    /// <summary>Of the Identity request that goes to everybody on a link; conversations count from 1.</summary>
    private const byte GreetingIdentifier = 0;

    /// <summary>Service-Type Call Check: is the caller's address known? (RFC 2865 5.6)</summary>
    private const uint CallCheck = 10;

    private static readonly EapPacket s_greeting = new(EapCode.Request, GreetingIdentifier, EapType.Identity, default);

    private readonly PortAuthenticatorOptions _options;
    private readonly RadiusClient? _radius;
    private readonly EapPassThrough? _relay;
    private readonly Dictionary<(string Interface, LinkAddress Address), Station> _stations = [];
    private readonly Dictionary<long, Station> _checks = [];
    private Dictionary<LinkAddress, AccessDevice> _devices;

    public PortAuthenticator(PortAuthenticatorOptions options, IRandomSource random)
    {
        if (options is { Radius: not null, Registry: not null } or { Radius: null, Registry: null, AddressOnly: false })
        {
            throw new ArgumentException("either a server or the own registry decides", nameof(options));
        }

        _options = options;
        _radius = options.Radius is { } radius ? new RadiusClient(radius, random) : null;
        _relay = _radius is null ? null : new EapPassThrough(_radius);
        _devices = options.Devices.ToDictionary(d => d.Address);
    }

    private sealed class Station
    {
        public required string Interface { get; init; }

        public required LinkAddress Address { get; init; }

        /// <summary>It has sent EAPOL, so it may be asked and is told the result.</summary>
        public bool Speaks { get; set; }

        public EapPacket? Asked { get; set; }

        public int Transmissions { get; set; }

        public long? Conversation { get; set; }

        /// <summary>A question of <see cref="_checks"/> is under way.</summary>
        public long? Check { get; set; }

        public EapServer? Local { get; set; }

        public bool Allowed { get; set; }

        public string Name { get; set; } = "";

        /// <summary>Next repetition, or end of the quiet period, or of the session.</summary>
        public DateTimeOffset? Due { get; set; }

        public bool IsQuiet { get; set; }

        public byte Identifier { get; set; }
    }

    /// <summary>Stations that may use their link.</summary>
    public IEnumerable<(string Interface, LinkAddress Station)> Authorized => _stations.Where(s => s.Value.Allowed).Select(s => s.Key);

    public IEnumerable<PortStation> Stations => _stations.Values.Select(s => new PortStation(s.Interface, s.Address, s.Allowed, s.Name, s.Due));

    public DateTimeOffset? NextDeadline
    {
        get
        {
            var next = _radius?.NextDeadline;
            foreach (var station in _stations.Values)
            {
                next = next is null || station.Due < next ? station.Due ?? next : next;
            }

            return next;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EapolReceived frame when _options.Interfaces.Contains(frame.Interface):
                OnFrame(frame, now, effects);
                break;
            case StationSeen seen when _options.AddressOnly && _options.Interfaces.Contains(seen.Interface):
                if (!_stations.ContainsKey((seen.Interface, seen.Source)) && Add(seen.Interface, seen.Source, effects) is { } heard)
                {
                    Check(heard, now, effects);
                }

                break;
            case LinkChanged { Up: true } link when _options.Interfaces.Contains(link.Interface):
                // Whoever is there already, or was let in by an earlier life of this node, is asked at once.
                effects.Emit(new SendEapol(link.Interface, new LinkAddress(EapolFrame.GroupAddress), FrameOf(s_greeting)));
                break;
            case LinkChanged { Up: false } link:
                RemoveAll(s => s.Interface == link.Interface, "the link is down", effects);
                break;
            case DatagramReceived datagram when _radius?.Receive(datagram, effects) is { } outcome:
                OnOutcome(outcome, now, effects);
                break;
            case DeadlineReached:
                OnDeadline(now, effects);
                break;
            case EngineStopping:
                RemoveAll(_ => true, "the node ends", effects);
                break;
        }
    }

    /// <summary>Takes over another registry. Who is not in it any more is shut out at once.</summary>
    public void Replace(IReadOnlyCollection<AccessDevice> devices, EffectSink effects)
    {
        _devices = devices.ToDictionary(d => d.Address);
        if (_radius is null)
        {
            RemoveAll(s => s.Allowed && !(DeviceOf(s) is { } device && device.CertificateName == s.Name), "the registry has it no more", effects);
        }
    }

    public void Dispose()
    {
        foreach (var station in _stations.Values)
        {
            station.Local?.Dispose();
        }
    }

    private void OnFrame(EapolReceived frame, DateTimeOffset now, EffectSink effects)
    {
        if (!EapolFrame.TryParse(frame.Frame.Span, out var eapol, out _))
        {
            effects.Count("access.port.malformed");
            return;
        }

        var response = eapol.Type == EapolType.Eap && EapPacket.TryParse(eapol.Body.Span, out var packet, out _) && packet.Code == EapCode.Response ? packet : null;
        if (!_stations.TryGetValue((frame.Interface, frame.Source), out var station))
        {
            var greeted = response is { Identifier: GreetingIdentifier, Type: EapType.Identity };
            if (!(greeted || eapol.Type == EapolType.Start) || Add(frame.Interface, frame.Source, effects) is not { } added)
            {
                effects.Count("access.port.ignored");
                return;
            }

            station = added;
            station.Asked = greeted ? s_greeting : null;
        }

        station.Speaks = true;
        switch (eapol.Type)
        {
            case EapolType.Start when !station.IsQuiet:
                Ask(station, now, effects);
                break;
            case EapolType.Logoff:
                Remove(station, "it logged off", effects);
                break;
            case EapolType.Eap when station is { IsQuiet: false, Asked: { } asked } && response?.Identifier == asked.Identifier:
                OnResponse(station, response, now, effects);
                break;
            default:
                effects.Count("access.port.ignored");
                break;
        }
    }

    /// <summary>A station not heard of before; null when there are too many.</summary>
    private Station? Add(string name, LinkAddress address, EffectSink effects)
    {
        if (_stations.Count >= _options.MaximumStations || _stations.Values.Count(s => s.Interface == name && !s.Allowed) >= _options.MaximumStrangers)
        {
            effects.Count("access.port.full");
            return null;
        }

        return _stations[(name, address)] = new Station { Interface = name, Address = address };
    }

    /// <summary>Row TA1.103: who is there?</summary>
    private void Ask(Station station, DateTimeOffset now, EffectSink effects)
    {
        Abandon(station);
        station.Identifier = station.Identifier == byte.MaxValue ? (byte)1 : (byte)(station.Identifier + 1);
        Request(station, new EapPacket(EapCode.Request, station.Identifier, EapType.Identity, default), now, effects);
    }

    private void Request(Station station, EapPacket packet, DateTimeOffset now, EffectSink effects)
    {
        (station.Asked, station.Identifier, station.Transmissions, station.Due) = (packet, packet.Identifier, 1, now + _options.AnswerWait);
        Send(station, packet, effects);
    }

    private static byte[] FrameOf(EapPacket packet) => new EapolFrame(EapolFrame.DefaultVersion, EapolType.Eap, packet.ToArray()).ToArray();

    private static void Send(Station station, EapPacket packet, EffectSink effects) => effects.Emit(new SendEapol(station.Interface, station.Address, FrameOf(packet)));

    private void OnResponse(Station station, EapPacket response, DateTimeOffset now, EffectSink effects)
    {
        // Its answer is on its way; what the station repeats meanwhile is nothing new.
        var begins = station is { Conversation: null, Local: null };
        (station.Asked, station.Due) = (null, null);
        if (_options.AddressOnly)
        {
            station.Identifier = response.Identifier;
            Check(station, now, effects);
            return;
        }

        if (_relay is not null)
        {
            if (begins)
            {
                station.Conversation = response.Type == EapType.Identity ? _relay.Begin(response, Attributes(station), now, effects) : null;
            }

            if (station.Conversation is not { } conversation || (!begins && !_relay.Continue(conversation, response, now, effects)))
            {
                Decide(station, EapPacket.Failure(response.Identifier), null, now, effects);
            }

            return;
        }

        station.Local ??= new EapServer(_options.Registry!);
        var next = station.Local.Receive(response, now);
        switch (station.Local.State)
        {
            case EapServerState.Running when next is not null:
                Request(station, next, now, effects);
                break;
            case EapServerState.Succeeded:
                var name = station.Local.User;
                station.Local.MasterSessionKey?.Wipe();
                var allowed = DeviceOf(station)?.CertificateName == name;
                Decide(station, allowed ? next! : EapPacket.Failure(next!.Identifier), allowed ? new AccessVerdict(true, name, null, null) : null, now, effects);
                break;
            default:
                Decide(station, EapPacket.Failure(response.Identifier), null, now, effects);
                break;
        }
    }

    /// <summary>Row TA1.103a by the address alone.</summary>
    private void Check(Station station, DateTimeOffset now, EffectSink effects)
    {
        Abandon(station);
        (station.Asked, station.Due) = (null, null);
        if (_radius is null)
        {
            OnChecked(station, DeviceOf(station) is { } device ? new AccessVerdict(true, device.CertificateName, null, null) : null, now, effects);
            return;
        }

        var name = RadiusAttribute.OfText(RadiusAttributeType.UserName, Convert.ToHexStringLower(station.Address.ToArray()));
        if (_radius.Send([name, RadiusAttribute.OfNumber(RadiusAttributeType.ServiceType, CallCheck), .. Attributes(station)], null, now, effects) is { } request)
        {
            (station.Check, _checks[request]) = (request, station);
        }
        else
        {
            OnChecked(station, null, now, effects);
        }
    }

    private void OnChecked(Station station, AccessVerdict? verdict, DateTimeOffset now, EffectSink effects)
    {
        EapPacket? result = !station.Speaks ? null : verdict is null ? EapPacket.Failure(station.Identifier) : EapPacket.Success(station.Identifier);
        Decide(station, result, verdict, now, effects);
    }

    /// <summary>The device that may come by this station; null when none may.</summary>
    private AccessDevice? DeviceOf(Station station) =>
        _devices.TryGetValue(station.Address, out var device) && device.Allowed && (device.Clients.Count == 0 || device.Clients.Contains(station.Interface)) ? device : null;

    private void OnOutcome(RadiusOutcome outcome, DateTimeOffset now, EffectSink effects)
    {
        if (_checks.Remove(outcome.Request, out var @checked))
        {
            outcome.MasterSessionKey?.Wipe();
            @checked.Check = null;
            OnChecked(@checked, outcome.Response is { Code: RadiusCode.AccessAccept } accept ? EapPassThrough.VerdictOf(accept, null) : null, now, effects);
            return;
        }

        if (_relay!.Take(outcome) is not { } relayed || _stations.Values.FirstOrDefault(s => s.Conversation == relayed.Conversation) is not { } station)
        {
            return;
        }

        if (relayed.Verdict is { } verdict)
        {
            verdict.MasterSessionKey?.Wipe();
            Decide(station, relayed.Packet!, verdict.Allowed ? verdict : null, now, effects);
        }
        else
        {
            Request(station, relayed.Packet!, now, effects);
        }
    }

    /// <summary>Rows TA1.104, TA1.104x: the result reaches the station, and its frames pass or not.</summary>
    private void Decide(Station station, EapPacket? result, AccessVerdict? verdict, DateTimeOffset now, EffectSink effects)
    {
        Abandon(station);
        (station.Asked, station.IsQuiet) = (null, verdict is null);
        station.Due = now + (verdict is null ? _options.QuietPeriod : verdict.Lifetime ?? _options.SessionLifetime);
        if (verdict is not null)
        {
            RemoveAll(s => s.Address == station.Address && s != station, $"it is on {station.Interface} now", effects);
        }

        var was = station.Allowed;
        (station.Allowed, station.Name) = (verdict is not null, verdict?.Name ?? "");
        if (station.Allowed || was)
        {
            // The port is open before the station hears that it is.
            effects.Emit(new StationAuthorized(station.Interface, station.Address, station.Allowed, station.Name));
        }

        if (result is not null)
        {
            Send(station, result, effects);
        }

        effects.Count(station.Allowed ? "access.port.authorized" : "access.port.refused");
        effects.Emit(new Report(station.Allowed
            ? new EngineEvent("access.granted", EventSeverity.Information, $"{verdict!.Name} at {station.Address} on {station.Interface} may use the link") { Nai = verdict.Name, Rule = "TA1.104" }
            : new EngineEvent("access.refused", EventSeverity.Warning, $"{station.Address} on {station.Interface} may not use the link") { Rule = "TA1.104x" }));
    }

    private void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        if (_radius is not null)
        {
            foreach (var outcome in _radius.Advance(now, effects))
            {
                OnOutcome(outcome, now, effects);
            }
        }

        foreach (var station in _stations.Values.Where(s => s.Due <= now).ToList())
        {
            if (station.IsQuiet)
            {
                _stations.Remove((station.Interface, station.Address));
            }
            else if (station.Asked is not { } asked)
            {
                // The session's time is over.
                if (station.Speaks)
                {
                    Ask(station, now, effects);
                }
                else
                {
                    Check(station, now, effects);
                }
            }
            else if (station.Transmissions < _options.Transmissions)
            {
                station.Transmissions++;
                station.Due = now + _options.AnswerWait;
                Send(station, asked, effects);
            }
            else
            {
                Decide(station, EapPacket.Failure(asked.Identifier), null, now, effects);
            }
        }
    }

    private void RemoveAll(Func<Station, bool> which, string why, EffectSink effects)
    {
        foreach (var station in _stations.Values.Where(which).ToList())
        {
            Remove(station, why, effects);
        }
    }

    private void Remove(Station station, string why, EffectSink effects)
    {
        Abandon(station);
        _stations.Remove((station.Interface, station.Address));
        if (station.Allowed)
        {
            effects.Emit(new StationAuthorized(station.Interface, station.Address, false, ""));
            effects.Emit(new Report(new EngineEvent("access.closed", EventSeverity.Information, $"{station.Address} on {station.Interface} may no longer use the link: {why}") { Rule = "TA1.104x" }));
        }
    }

    private void Abandon(Station station)
    {
        if (station.Conversation is { } conversation)
        {
            _relay!.Abandon(conversation);
        }

        if (station.Check is { } check)
        {
            _checks.Remove(check);
        }

        station.Local?.Dispose();
        (station.Conversation, station.Check, station.Local) = (null, null, null);
    }

    /// <summary>Addresses as RFC 3580 3.21 spells them; NAS-Port-Type 15 is Ethernet.</summary>
    private static RadiusAttribute[] Attributes(Station station) =>
    [
        RadiusAttribute.OfText(RadiusAttributeType.CallingStationId, station.Address.ToString().Replace(':', '-').ToUpperInvariant()),
        RadiusAttribute.OfText(RadiusAttributeType.CalledStationId, station.Interface),
        RadiusAttribute.OfNumber(RadiusAttributeType.NasPortType, 15),
    ];
}
