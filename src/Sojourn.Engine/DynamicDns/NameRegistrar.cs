// Readings:
// - The status of a registration is that of the name; a PTR that could not be set is reported and changes no status.
// - An answer that is not signed right is none (RFC 8945 5.4). One that says the key or MAC was wrong is a hint: its server is not asked
//   again, and when nobody says better until the time is over, the status is 129 instead of 128.
// - Every try of a message is the same octets, so that an answer to any of them proves itself. It stays within the Fudge.
// - A removal that nobody answers is tried again for as long as nothing newer is wanted of the name; a registration is not, since the
//   terminal asks again when it renews its binding.
using System.Net;
using Sojourn.Wire.Dns;
using Sojourn.Wire.MobileIpv4;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.DynamicDns;

/// <summary>
/// Registers names of terminals for their home addresses by DNS UPDATE (RFC 2136), signed with TSIG (spec 7.10). One update for
/// a name at a time, the latest wish wins. Commands: <see cref="RegisterName"/>, <see cref="RemoveName"/>; answers with
/// <see cref="NameSettled"/>.
/// </summary>
public sealed class NameRegistrar : IEngine
{
    /// <summary>Until the first repetition; doubles with every round over the servers.</summary>
    public static readonly TimeSpan FirstTimeout = TimeSpan.FromSeconds(1);

    public const int Rounds = 3;

    private static readonly TimeSpan s_firstRetry = TimeSpan.FromSeconds(30), s_longestRetry = TimeSpan.FromMinutes(30);

    private readonly NameRegistrarOptions _options;
    private readonly IRandomSource _random;
    private readonly Dictionary<DnsName, Owner> _owners = [];
    private readonly Queue<Owner> _ready = new();
    private readonly Dictionary<ushort, Attempt> _underWay = [];
    private readonly PriorityQueue<Owner, DateTimeOffset> _retries = new();

    public NameRegistrar(NameRegistrarOptions options, IRandomSource random)
    {
        options.Validate();
        (_options, _random) = (options, random);
    }

    /// <summary>Names with an update under way or waiting.</summary>
    public int Pending => _owners.Count;

    public DateTimeOffset? NextDeadline
    {
        get
        {
            DateTimeOffset? next = _retries.TryPeek(out _, out var retry) ? retry : null;
            foreach (var attempt in _underWay.Values)
            {
                next = next < attempt.Due ? next : attempt.Due;
            }

            return next;
        }
    }

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
        switch (input)
        {
            case EngineStarted started:
                Restore(started.State, effects);
                break;
            case RegisterName register:
                Register(register, effects);
                break;
            case RemoveName remove:
                Remove(remove, effects);
                break;
            case DatagramReceived datagram:
                OnAnswer(datagram, now, effects);
                break;
            case DeadlineReached:
                OnDeadline(now, effects);
                break;
        }

        while (_underWay.Count < _options.MaximumUnderWay && _ready.TryDequeue(out var owner))
        {
            owner.Queued = false;
            if (owner is { Waiting: { } update, UnderWay: null })
            {
                owner.Waiting = null;
                owner.UnderWay = new Attempt(owner, update);
                Begin(owner.UnderWay, now, effects);
            }
        }
    }

    private void Register(RegisterName register, EffectSink effects)
    {
        // A distinguished name is no name of the DNS, and a name of somebody else's zone not ours to change.
        if (DnsName.TryFromText(register.Identifier) is not { IsRoot: false } name || ZoneOf(name) is not { } zone)
        {
            effects.Count("dns.update.no_zone");
            effects.Emit(new NameSettled(register.Identifier, register.HomeAddress, Removed: false, DnsUpdateStatus.Prohibited));
            return;
        }

        Want(new NameUpdate { Zone = zone, Owner = name, Identifier = register.Identifier, Wanted = new DnsAddress(register.HomeAddress), HomeAddresses = [register.HomeAddress] }, effects);
        if (ReverseOf(register.HomeAddress) is var (reverse, owner))
        {
            Want(new NameUpdate { Zone = reverse, Owner = owner, Identifier = register.Identifier, Wanted = new DnsTarget(name), HomeAddresses = [register.HomeAddress], IsReverse = true }, effects);
        }
    }

    private void Remove(RemoveName remove, EffectSink effects)
    {
        if (DnsName.TryFromText(remove.Identifier) is not { IsRoot: false } name || ZoneOf(name) is not { } zone)
        {
            effects.Count("dns.update.no_zone");
            effects.Emit(new NameSettled(remove.Identifier, remove.HomeAddress, Removed: true, DnsUpdateStatus.Prohibited));
            return;
        }

        Want(new NameUpdate { Zone = zone, Owner = name, Identifier = remove.Identifier, Unwanted = [new DnsAddress(remove.HomeAddress)], HomeAddresses = [remove.HomeAddress] }, effects);
        if (ReverseOf(remove.HomeAddress) is var (reverse, owner))
        {
            Want(new NameUpdate { Zone = reverse, Owner = owner, Identifier = remove.Identifier, Unwanted = [new DnsTarget(name)], HomeAddresses = [remove.HomeAddress], IsReverse = true }, effects);
        }
    }

    private (DnsUpdateZone Zone, DnsName Owner)? ReverseOf(IPAddress address)
    {
        var owner = DnsName.OfAddress(address);
        return ZoneOf(owner) is { } zone ? (zone, owner) : null;
    }

    private DnsUpdateZone? ZoneOf(DnsName name) => _options.Zones.Where(z => name.IsWithin(z.Name)).MaxBy(z => z.Name.Length);

    private void Want(NameUpdate update, EffectSink effects)
    {
        if (!_owners.TryGetValue(update.Owner, out var owner))
        {
            // What is to go has been put there by us; there is room for it beyond the limit for what is to come.
            if (_owners.Count >= (update.IsRemoval ? 2 : 1) * _options.MaximumNames)
            {
                effects.Count("dns.update.overflow");
                Settle(update, DnsUpdateStatus.Unspecified, effects);
                return;
            }

            owner = new Owner(update.Owner);
            _owners.Add(update.Owner, owner);
        }

        if (owner.Waiting is { } waiting)
        {
            effects.Count("dns.update.overtaken");
            update = update.After(waiting);
        }

        owner.Waiting = update;
        owner.RetryAt = null;
        owner.Failures = 0;
        if (update.IsRemoval)
        {
            owner.Saved = true;
            effects.Emit(new SaveState(NameRemovalRecord.KeyOf(update), NameRemovalRecord.Write(update)));
        }
        else if (owner.Saved)
        {
            owner.Saved = false;
            effects.Emit(new DropState(NameRemovalRecord.KeyOf(update)));
        }

        Queue(owner);
    }

    private void Queue(Owner owner)
    {
        if (!owner.Queued && owner.UnderWay is null)
        {
            owner.Queued = true;
            _ready.Enqueue(owner);
        }
    }

    private void Begin(Attempt attempt, DateTimeOffset now, EffectSink effects)
    {
        ushort identifier;
        do
        {
            identifier = (ushort)_random.NextUInt32();
        }
        while (_underWay.ContainsKey(identifier));
        _underWay.Add(identifier, attempt);
        attempt.Identifier = identifier;
        attempt.Octets = attempt.Update.Zone.Key.Sign(attempt.Update.Step(attempt.Step, _options) with { Identifier = identifier }, now, out var mac);
        attempt.Mac = mac;
        attempt.Tries = 0;
        Send(attempt, now, effects);
    }

    /// <summary>To the next server that has not refused; ends the update when there is none or the time is over.</summary>
    private void Send(Attempt attempt, DateTimeOffset now, EffectSink effects)
    {
        var servers = attempt.Update.Zone.Servers;
        while (attempt.Tries < Rounds * servers.Count)
        {
            var (round, server) = Math.DivRem(attempt.Tries++, servers.Count);
            if (attempt.Refusing.Contains(servers[server]))
            {
                continue;
            }

            attempt.Due = now + (FirstTimeout * (1 << round));
            effects.Count("dns.update.sent");
            effects.Emit(new SendDatagram(_options.Local, servers[server], attempt.Octets));
            return;
        }

        var unanswered = attempt.Verdict is null || attempt.Refusing.Count < servers.Count;
        if (unanswered)
        {
            effects.Count("dns.update.unanswered");
        }

        End(attempt, attempt.Verdict ?? DnsUpdateStatus.Unspecified, retry: unanswered, now, effects);
    }

    private void OnAnswer(DatagramReceived datagram, DateTimeOffset now, EffectSink effects)
    {
        if (!DnsMessage.TryParse(datagram.Payload.Span, out var message, out _) || !message.IsResponse || message.Opcode != DnsOpcode.Update)
        {
            effects.Count("dns.update.malformed");
            return;
        }

        if (!_underWay.TryGetValue(message.Identifier, out var attempt) || !attempt.Update.Zone.Servers.Contains(datagram.Source)
            || (message.Questions.Count > 0 && message.Questions[0].Name != attempt.Update.Zone.Name))
        {
            effects.Count("dns.update.late");
            return;
        }

        var check = attempt.Update.Zone.Key.Check(datagram.Payload.Span, message, attempt.Mac.Span, now);
        if (check != TransactionCheck.Valid)
        {
            effects.Count("dns.update.unproven");
            if (message.ResponseCode == DnsResponseCode.NotAuthorized && message.Signature?.Data is DnsTransactionSignature { Mac.Length: 0, Error: DnsResponseCode.BadKey or DnsResponseCode.BadSignature })
            {
                attempt.Refusing.Add(datagram.Source);
                attempt.Verdict = DnsUpdateStatus.Prohibited;
            }

            return;
        }

        switch (attempt.Update.Judge(attempt.Step, message.ResponseCode, _options))
        {
            case StepOutcome.Done:
                End(attempt, DnsUpdateStatus.Performed, retry: false, now, effects);
                break;
            case StepOutcome.NextStep:
                _underWay.Remove(attempt.Identifier);
                attempt.Step++;
                Begin(attempt, now, effects);
                break;
            case StepOutcome.Failed:
                attempt.Reason = message.ResponseCode;
                End(attempt, DnsUpdateStatus.Failed, retry: false, now, effects);
                break;
            case var outcome:
                attempt.Reason = message.ResponseCode;
                attempt.Refusing.Add(datagram.Source);
                attempt.Verdict = outcome == StepOutcome.Prohibited ? DnsUpdateStatus.Prohibited : attempt.Verdict ?? DnsUpdateStatus.Failed;
                Send(attempt, now, effects);
                break;
        }
    }

    private void OnDeadline(DateTimeOffset now, EffectSink effects)
    {
        foreach (var attempt in _underWay.Values.Where(a => a.Due <= now).ToList())
        {
            Send(attempt, now, effects);
        }

        while (_retries.TryPeek(out var owner, out var at) && at <= now)
        {
            _retries.Dequeue();
            if (owner.RetryAt == at)
            {
                owner.RetryAt = null;
                Queue(owner);
            }
        }
    }

    private void End(Attempt attempt, DnsUpdateStatus status, bool retry, DateTimeOffset now, EffectSink effects)
    {
        var (owner, update) = (attempt.Owner, attempt.Update);
        _underWay.Remove(attempt.Identifier);
        owner.UnderWay = null;
        effects.Count($"dns.update.status.{(byte)status}");
        effects.Emit(new Report(Describe(attempt, status)));
        Settle(update, status, effects);
        if (owner.Waiting is { } next)
        {
            if (retry && update.IsRemoval && next.IsRemoval)
            {
                owner.Waiting = next.After(update);
                effects.Emit(new SaveState(NameRemovalRecord.KeyOf(update), NameRemovalRecord.Write(owner.Waiting)));
            }

            Queue(owner);
            return;
        }

        if (retry && update.IsRemoval)
        {
            owner.Waiting = update;
            var wait = s_firstRetry * Math.Pow(2, Math.Min(owner.Failures++, 10));
            owner.RetryAt = now + (wait < s_longestRetry ? wait : s_longestRetry);
            _retries.Enqueue(owner, owner.RetryAt.Value);
            return;
        }

        if (owner.Saved)
        {
            effects.Emit(new DropState(NameRemovalRecord.KeyOf(update)));
        }

        _owners.Remove(owner.Name);
    }

    private static void Settle(NameUpdate update, DnsUpdateStatus status, EffectSink effects)
    {
        foreach (var home in update.IsReverse ? [] : update.HomeAddresses)
        {
            effects.Emit(new NameSettled(update.Identifier, home, update.IsRemoval, status));
        }
    }

    private static EngineEvent Describe(Attempt attempt, DnsUpdateStatus status)
    {
        var update = attempt.Update;
        var what = $"{update.Owner} {(update.IsReverse ? "PTR" : "AAAA")} {(update.IsRemoval ? "of " : "")}{update.Identifier} {string.Join(", ", update.HomeAddresses)}";
        var (kind, severity, text) = status switch
        {
            DnsUpdateStatus.Performed => (update.IsRemoval ? "name.removed" : "name.registered", EventSeverity.Information, what),
            DnsUpdateStatus.Unspecified => ("name.unanswered", EventSeverity.Warning, $"{what}: no name server answers"),
            _ => ("name.refused", EventSeverity.Warning, $"{what}: {attempt.Reason?.ToString() ?? "key or signature refused"}"),
        };
        return new EngineEvent(kind, severity, text) { HomeAddress = update.HomeAddresses.Count > 0 ? update.HomeAddresses[0] : null, Nai = update.Identifier, Rule = "TA1.137a" };
    }

    private void Restore(IReadOnlyList<SavedState> state, EffectSink effects)
    {
        foreach (var saved in state.Where(s => s.Key.Table == NameRemovalRecord.Table))
        {
            if (NameRemovalRecord.Read(saved.Value) is not var (identifier, owner, homes) || ZoneOf(owner) is not { } zone || DnsName.TryFromText(identifier) is not { } name || homes.Count == 0)
            {
                effects.Emit(new DropState(saved.Key));
                continue;
            }

            var reverse = owner != name;
            Want(new NameUpdate { Zone = zone, Owner = owner, Identifier = identifier, HomeAddresses = homes, IsReverse = reverse, Unwanted = reverse ? [new DnsTarget(name)] : [.. homes.Select(h => new DnsAddress(h))] }, effects);
        }
    }

    /// <summary>A name and what is going on with it.</summary>
    private sealed class Owner(DnsName name)
    {
        public DnsName Name => name;

        public NameUpdate? Waiting { get; set; }

        public Attempt? UnderWay { get; set; }

        public bool Queued { get; set; }

        /// <summary>A removal of this name is in the store.</summary>
        public bool Saved { get; set; }

        public DateTimeOffset? RetryAt { get; set; }

        public int Failures { get; set; }
    }

    private sealed class Attempt(Owner owner, NameUpdate update)
    {
        public Owner Owner => owner;

        public NameUpdate Update => update;

        public int Step { get; set; }

        public ushort Identifier { get; set; }

        public byte[] Octets { get; set; } = [];

        public OctetString Mac { get; set; }

        public int Tries { get; set; }

        public DateTimeOffset Due { get; set; }

        public HashSet<IPEndPoint> Refusing { get; } = [];

        /// <summary>Status if nobody does it.</summary>
        public DnsUpdateStatus? Verdict { get; set; }

        public DnsResponseCode? Reason { get; set; }
    }
}
