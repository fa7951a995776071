// Readings:
// - A change of the home prefixes is one that adds or takes away a prefix. New lifetimes alone are told by prefix discovery.
// - Each terminal is asked about once for a change, however many times its advertisement has to be repeated. An approval counts for a
//   minute and a refusal for five seconds (spec 7.9, L6), so that the terminal's own solicitation asks no second time.
// - A terminal that is not approved is not answered either when it solicits: it hears nothing of the new prefix (I4, N27).
using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;

namespace Sojourn.Engine.MobileIpv6;

/// <summary>Another home prefix is told to terminals the certification authority approves, and to no others (spec TA4.172 to 176).</summary>
public sealed partial class HomeAgent
{
    /// <summary>As for a delegating router's query Q1 (spec L5).</summary>
    private static readonly TimeSpan s_permissionPatience = TimeSpan.FromSeconds(2), s_approvalMemory = TimeSpan.FromSeconds(60), s_refusalMemory = TimeSpan.FromSeconds(5);

    /// <summary>A query Q1 about the terminal of a home address, waiting to be asked or asked.</summary>
    private sealed class PrefixQuestion(IPAddress home, string identifier)
    {
        public IPAddress Home => home;

        public string Identifier => identifier;

        public int Sent { get; set; }

        public DateTimeOffset Due { get; set; }

        /// <summary>To be told unasked; otherwise only the solicitation is answered.</summary>
        public bool Advertise { get; set; }

        /// <summary>Source and identifier of the last solicitation that waits for the answer.</summary>
        public (IPAddress Source, ushort Identifier)? Solicited { get; set; }
    }

    private readonly Dictionary<IPAddress, PrefixQuestion> _questions = [];
    private readonly Queue<PrefixQuestion> _unasked = new();
    private readonly Dictionary<long, PrefixQuestion> _asked = [];
    private readonly Dictionary<IPAddress, (bool Allowed, DateTimeOffset Until)> _permissions = [];
    private long _lastPermission;

    /// <summary>Certificates by home address; null where a delegating router says whose a home address is.</summary>
    public TerminalCertificates? Certificates { get; }

    /// <summary>Prefixes served now.</summary>
    public IReadOnlyList<HomePrefix> Prefixes => _prefixes;

    private DateTimeOffset? NextQuestion
    {
        get
        {
            DateTimeOffset? next = null;
            foreach (var question in _asked.Values)
            {
                next = Earlier(next, question.Due);
            }

            return next;
        }
    }

    private void OnKeepCertificate(KeepCertificate keep, DateTimeOffset now, EffectSink effects)
    {
        if (Certificates is not { } table)
        {
            return;
        }

        var kept = table.Keep(new TerminalCertificate(keep.HomeAddress, keep.Identifier, keep.Certificate, now), effects);
        effects.Count(kept ? "mip6.ha.certificates.kept" : "mip6.ha.certificates.refused");
        effects.Emit(new Report(new EngineEvent(
            kept ? "certificate.kept" : "certificate.refused", kept ? EventSeverity.Information : EventSeverity.Warning,
            kept ? $"the certificate of {keep.Identifier} counts for {keep.HomeAddress}" : $"{keep.Identifier} claims {keep.HomeAddress}, which is {table.Find(keep.HomeAddress)?.Identifier}'s")
        { HomeAddress = keep.HomeAddress, Peer = keep.Identifier, Rule = kept ? "TA4.171" : "TA-G20" }));
    }

    private void OnForgetCertificate(ForgetCertificate forget, EffectSink effects)
    {
        if (Certificates?.Find(forget.Identifier) is { } row)
        {
            Certificates.Remove(forget.Identifier, effects);
            effects.Emit(new Report(new EngineEvent("certificate.forgotten", EventSeverity.Information, $"{row.HomeAddress} is {forget.Identifier}'s no more") { HomeAddress = row.HomeAddress, Peer = forget.Identifier, Rule = "TA4.171" }));
        }
    }

    private void OnPrefixes(IReadOnlyList<HomePrefix> prefixes, DateTimeOffset now, EffectSink effects)
    {
        var changed = !_prefixes.Select(p => p.Prefix).ToHashSet().SetEquals(prefixes.Select(p => p.Prefix));
        _prefixes = prefixes;
        ShortenBindings(now, effects);
        if (!changed || Certificates is null)
        {
            return;
        }

        _permissions.Clear();
        foreach (var entry in _cache.Values.Where(e => !e.Deleted).ToList())
        {
            Question(entry.HomeAddress, effects)?.Advertise = true;
        }

        AskOn(now, effects);
    }

    /// <summary>
    /// Whether a terminal that has proved its identifier may have a home address: in the terms of query Q2, which this stands in for. An
    /// address whose former owner has another by now is not free before the old binding is over.
    /// </summary>
    /// <exception cref="InvalidOperationException">Certificates are not kept here.</exception>
    public PrefixAllocation Judge(IPAddress home, string identifier, DateTimeOffset now)
    {
        var allocation = (Certificates ?? throw new InvalidOperationException("a delegating router says whose an address is")).Judge(home, identifier, _prefixes, now);
        return allocation.OwnerMatches && _cache.TryGetValue(home, out var bound) && !bound.Deleted && bound.Identifier != identifier
            ? allocation with { OwnerMatches = false, Prefix = null }
            : allocation;
    }

    /// <summary>Commanded, and told all the same to nobody the authority does not approve (I4).</summary>
    private void OnAdvertiseWanted(IReadOnlyList<IPAddress> homes, DateTimeOffset now, EffectSink effects)
    {
        if (Certificates is null)
        {
            OnAdvertise(homes, now, effects);
            return;
        }

        foreach (var home in homes.Where(h => _cache.TryGetValue(h, out var entry) && !entry.Deleted))
        {
            Question(home, effects)?.Advertise = true;
        }

        AskOn(now, effects);
    }

    /// <summary>The question about a terminal, a new one when there is none; null when its certificate is not known, which is a refusal (spec TA4.172).</summary>
    private PrefixQuestion? Question(IPAddress home, EffectSink effects)
    {
        if (_questions.TryGetValue(home, out var present))
        {
            return present;
        }

        if (Certificates!.Find(home) is not { } row)
        {
            effects.Count("mip6.ha.prefixes_unknown_terminal");
            effects.Emit(new Report(new EngineEvent("prefix.not_told", EventSeverity.Warning, $"no certificate is kept for {home}: its terminal is not told the home prefixes") { HomeAddress = home, Rule = "TA4.172" }));
            return null;
        }

        var question = new PrefixQuestion(home, row.Identifier);
        _questions.Add(home, question);
        _unasked.Enqueue(question);
        return question;
    }

    /// <summary>A solicitation may be answered now; otherwise it is when the authority allows it, or never.</summary>
    private bool MayAnswer(IPAddress home, IPAddress source, ushort identifier, DateTimeOffset now, EffectSink effects)
    {
        if (Certificates is null)
        {
            return true;
        }

        if (_permissions.TryGetValue(home, out var known) && known.Until > now)
        {
            if (!known.Allowed)
            {
                effects.Count("mip6.ha.solicitations_not_answered");
            }

            return known.Allowed;
        }

        Question(home, effects)?.Solicited = (source, identifier);
        AskOn(now, effects);
        return false;
    }

    private void AskOn(DateTimeOffset now, EffectSink effects)
    {
        while (_asked.Count < _options.MaximumQuestions && _unasked.TryDequeue(out var question))
        {
            if (_cache.TryGetValue(question.Home, out var entry) && !entry.Deleted)
            {
                Ask(question, now, effects);
            }
            else
            {
                _questions.Remove(question.Home);
            }
        }
    }

    private void Ask(PrefixQuestion question, DateTimeOffset now, EffectSink effects)
    {
        // Each attempt has its own number; a late answer to the first is not taken for one to the second.
        question.Sent++;
        question.Due = now + s_permissionPatience;
        _asked.Add(++_lastPermission, question);
        effects.Count("mip6.ha.permissions_asked");
        effects.Emit(new AskPermission(_lastPermission, question.Identifier, PermissionPurpose.Advertise));
    }

    private void OnPermission(PermissionAnswered answer, DateTimeOffset now, EffectSink effects)
    {
        if (_asked.Remove(answer.Number, out var question))
        {
            Decide(question, answer.Permission.Allowed, answer.Permission.Reason.ToString(), now, effects);
            AskOn(now, effects);
        }
    }

    private void RepeatQuestions(DateTimeOffset now, EffectSink effects)
    {
        foreach (var (number, question) in _asked.Where(a => a.Value.Due <= now).ToList())
        {
            _asked.Remove(number);
            if (question.Sent == 1)
            {
                Ask(question, now, effects);
            }
            else
            {
                Decide(question, allowed: false, "authority unreachable", now, effects);
            }
        }

        AskOn(now, effects);
    }

    private void Decide(PrefixQuestion question, bool allowed, string reason, DateTimeOffset now, EffectSink effects)
    {
        var home = question.Home;
        _questions.Remove(home);
        if (!_cache.TryGetValue(home, out var entry) || entry.Deleted)
        {
            return;
        }

        _permissions[home] = (allowed, now + (allowed ? s_approvalMemory : s_refusalMemory));
        if (!allowed)
        {
            effects.Count("mip6.ha.prefixes_not_allowed");
            effects.Emit(new Report(new EngineEvent("prefix.not_told", EventSeverity.Information, $"{question.Identifier} is not told the home prefixes: {reason}; its binding lives out its lifetime") { HomeAddress = home, Peer = question.Identifier, Rule = "TA4.175x" }));
            return;
        }

        if (question.Advertise)
        {
            OnAdvertise([home], now, effects);
        }

        if (question.Solicited is var (source, identifier))
        {
            Advertise(entry, source, identifier, now, effects);
        }
    }
}
