// Readings:
// - A terminal that names itself in DNS-UPDATE-TYPE has to name the identifier of its certificate (RFC 5026 9.5); anything else, and
//   an identifier that is no host name, is status 129 and changes nothing.
// - The acknowledgement of an update that asks waits for the name service, but no longer than two seconds: then it says 128, and
//   the registration goes on. An update that renews a binding whose name stands is answered at once.
// - The name goes with the binding, whatever ends it, asked for or not.
using System.Net;
using System.Text;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Wire.Dns;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>When a home agent has names of terminals registered with the name service (spec TA1.137a, G33).</summary>
public enum NameRegistration : byte
{
    Never,

    /// <summary>When a binding update asks for it (RFC 5026 6).</summary>
    WhenAsked,

    /// <summary>Of every terminal whose identifier is a host name.</summary>
    Always,
}

/// <summary>The name of a terminal is to lead to its home address; answered by <see cref="NameAnswered"/>.</summary>
public sealed record RequestName(IPAddress HomeAddress, string Identifier) : Effect;

/// <summary>The name is not to lead to this home address any more; answered by <see cref="NameAnswered"/>.</summary>
public sealed record ReleaseName(IPAddress HomeAddress, string Identifier) : Effect;

/// <summary>What came of <see cref="RequestName"/>, or with <paramref name="Removed"/> of <see cref="ReleaseName"/>.</summary>
public sealed record NameAnswered(IPAddress HomeAddress, bool Removed, DnsUpdateStatus Status) : EngineInput;

/// <param name="Registered">The name service has said so.</param>
public sealed record RegisteredName(IPAddress HomeAddress, string Identifier, bool Registered);

/// <summary>Names of terminals (RFC 5026 6, spec 7.10).</summary>
public sealed partial class HomeAgent
{
    private static readonly TimeSpan s_namePatience = TimeSpan.FromSeconds(2);

    /// <summary>An acknowledgement that waits for the name service.</summary>
    private sealed record WaitingAnswer(BindingStatus Status, ReceivedUpdate Request, ushort Lifetime, DnsUpdateOption Asked, DateTimeOffset Until);

    private readonly Dictionary<IPAddress, WaitingAnswer> _waitingAnswers = [];

    /// <summary>Names that were asked for, and whether the name service has them.</summary>
    private readonly Dictionary<IPAddress, (string Identifier, bool Registered)> _names = [];

    public IEnumerable<RegisteredName> Names => _names.Select(n => new RegisteredName(n.Key, n.Value.Identifier, n.Value.Registered));

    private DateTimeOffset? NextName
    {
        get
        {
            DateTimeOffset? next = null;
            foreach (var waiting in _waitingAnswers.Values)
            {
                next = Earlier(next, waiting.Until);
            }

            return next;
        }
    }

    /// <summary>The name a binding is to have; null = none. With <paramref name="refused"/> the update asks for what it may not have.</summary>
    private string? NameFor(BindingUpdate update, string? identifier, out bool refused)
    {
        var asked = update.Options.Find<DnsUpdateOption>();
        refused = false;
        var mayHave = _options.Names != NameRegistration.Never && identifier is not null && TerminalIdentifier.IsHostName(identifier) && DnsName.TryFromText(identifier) is not null;
        if (asked is null)
        {
            return mayHave && _options.Names == NameRegistration.Always ? identifier : null;
        }

        refused = !mayHave || DnsName.TryFromText(NameIn(asked)) is not { } named || named != DnsName.FromText(identifier!);
        return refused || asked.Remove ? null : identifier;
    }

    /// <summary>Text, or labels as the DNS writes them: the RFC does not say which.</summary>
    private static string NameIn(DnsUpdateOption option) =>
        DnsName.TryParse(option.Identity.Span, out var labels, out _) ? labels.ToString() : Encoding.Latin1.GetString(option.Identity.Span);

    /// <summary>Brings the name service in line with a binding and acknowledges the update, now or when the name service has answered.</summary>
    private void NameAndAnswer(BindingStatus status, ReceivedUpdate request, ushort lifetime, string? name, bool refused, DateTimeOffset now, EffectSink effects)
    {
        var (home, _, update, _) = request;
        (string Identifier, bool Registered)? former = _names.TryGetValue(home, out var known) ? known : null;
        var asked = update.Options.Find<DnsUpdateOption>();
        var over = lifetime == 0 || (asked is { Remove: true } && !refused);
        if (former is not null && (over || (name is not null && name != former.Value.Identifier)))
        {
            FreeName(home, effects);
        }

        // One that is on its way already would be told the name service twice.
        var wanted = !over && name is not null && former != (name, true);
        if (wanted && (former?.Identifier != name || !_waitingAnswers.ContainsKey(home)))
        {
            _names[home] = (name!, false);
            effects.Emit(new RequestName(home, name!));
        }

        _waitingAnswers.Remove(home);
        if (asked is null)
        {
            Answer(status, request, update.SequenceNumber, lifetime, effects);
        }
        else if (refused)
        {
            effects.Count("mip6.ha.names_refused");
            effects.Emit(new Report(new EngineEvent("name.not_allowed", EventSeverity.Warning, $"the terminal at {home} asks for the name \"{NameIn(asked)}\", which it may not have") { HomeAddress = home, Rule = "TA-H27" }));
            Answer(status, request, update.SequenceNumber, lifetime, effects, asked with { Status = DnsUpdateStatus.Prohibited });
        }
        else if (wanted || (over && former is not null))
        {
            _waitingAnswers[home] = new WaitingAnswer(status, request, lifetime, asked, now + s_namePatience);
        }
        else
        {
            Answer(status, request, update.SequenceNumber, lifetime, effects, asked with { Status = DnsUpdateStatus.Performed });
        }
    }

    private void OnName(NameAnswered answer, EffectSink effects)
    {
        if (!answer.Removed && _names.TryGetValue(answer.HomeAddress, out var name))
        {
            if (answer.Status < DnsUpdateStatus.Unspecified)
            {
                _names[answer.HomeAddress] = name with { Registered = true };
            }
            else if (answer.Status != DnsUpdateStatus.Unspecified)
            {
                _names.Remove(answer.HomeAddress);
            }
        }

        if (_waitingAnswers.TryGetValue(answer.HomeAddress, out var waiting) && answer.Removed == (waiting.Asked.Remove || waiting.Lifetime == 0))
        {
            AnswerWaiting(answer.HomeAddress, waiting, answer.Status, effects);
        }
    }

    private void AnswerWaiting(IPAddress home, WaitingAnswer waiting, DnsUpdateStatus status, EffectSink effects)
    {
        _waitingAnswers.Remove(home);
        Answer(waiting.Status, waiting.Request, waiting.Request.Update.SequenceNumber, waiting.Lifetime, effects, waiting.Asked with { Status = status });
    }

    private void GiveUpOnNames(DateTimeOffset now, EffectSink effects)
    {
        foreach (var (home, waiting) in _waitingAnswers.Where(w => w.Value.Until <= now).ToList())
        {
            effects.Count("mip6.ha.names_late");
            AnswerWaiting(home, waiting, DnsUpdateStatus.Unspecified, effects);
        }
    }

    private void FreeName(IPAddress home, EffectSink effects)
    {
        if (_names.Remove(home, out var name))
        {
            effects.Emit(new ReleaseName(home, name.Identifier));
        }
    }
}
