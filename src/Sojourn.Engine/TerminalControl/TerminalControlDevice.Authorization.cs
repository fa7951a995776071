using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Cmp;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.TerminalControl;

/// <summary>Whose a home address is: rows TA1.125b to 128, G3, G4, L2 to L5.</summary>
public sealed partial class TerminalControlDevice
{
    /// <summary>An allocation is looked after this long before it would end, in case it was renewed.</summary>
    private static readonly TimeSpan s_beforeTheEnd = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan s_betweenChecks = TimeSpan.FromSeconds(1);

    /// <summary>A query Q2 on its way.</summary>
    private sealed record Question(IPAddress Home, string Identifier, int Attempt, DateTimeOffset Until, Action<PrefixAllocation?> Then);

    /// <summary>A terminal whose address was found to be its own, between that and the IKE SA that comes of it.</summary>
    private sealed record Admitted(IPAddress Home, string Identifier, string Identity, IPNetwork Prefix, DateTimeOffset ValidUntil, DateTimeOffset CertificateEnds);

    private readonly Dictionary<long, Question> _questions = [];

    /// <summary>Numbers of questions in the order of their ends; those that were answered stand in it too.</summary>
    private readonly Queue<(long Number, DateTimeOffset Until)> _timeouts = new();
    private long _lastQuestion;
    private Admitted? _admitted;

    private DateTimeOffset? NextTimeout
    {
        get
        {
            while (_timeouts.TryPeek(out var next) && !_questions.ContainsKey(next.Number))
            {
                _timeouts.Dequeue();
            }

            return _timeouts.TryPeek(out var first) ? first.Until : null;
        }
    }

    private void OnAuthorize(AuthorizePeer question)
    {
        if (Identify(question, out var home, out var identifier, out var ends) is { } fault)
        {
            Refuse(question, null, fault.Reason, fault.Rule);
            return;
        }

        AskStatus(question, home!, () => AskOwner(question, home!, identifier!, ends));
    }

    private void AskOwner(AuthorizePeer question, IPAddress home, string identifier, DateTimeOffset ends) =>
        Ask(home, identifier, allocation =>
        {
            if (allocation is null)
            {
                Refuse(question, home, $"nobody can say whose the prefix of {home} is", "TA-L5");
            }
            else if (!allocation.Allocated || allocation.ValidUntil <= _now)
            {
                Refuse(question, home, $"no prefix of {home} is allocated", "TA1.128x");
            }
            else if (!allocation.OwnerMatches || allocation.Prefix is not { } prefix || allocation.ValidUntil is not { } until || !prefix.Contains(home))
            {
                Refuse(question, home, $"the prefix of {home} is not that of {identifier}", "TA-G4");
            }
            else
            {
                WhenCertified(question, home, () =>
                {
                    _effects.Count("ha6.authorised");
                    if (Certificates is not null)
                    {
                        Tell(_homeAgent, new KeepCertificate(home, identifier, question.Certificate!.Value));
                    }

                    _admitted = new Admitted(home, identifier, question.Identity.ToString(), prefix, until, ends);
                    Tell(_ike, new PeerAuthorized(question.Request, true, ""));
                    _admitted = null;
                });
            }
        });

    /// <summary>Home address and identifier that the key exchange has shown, or why they cannot be told (spec 7.1, G3).</summary>
    private (string Reason, string Rule)? Identify(AuthorizePeer question, out IPAddress? home, out string? identifier, out DateTimeOffset ends)
    {
        (home, identifier, ends) = (null, null, default);
        if (question.Certificate is not { } der || !CertificateFields.TryParse(der, out var fields, out _))
        {
            return ("a terminal proves itself with a certificate", "7.1");
        }

        if (question.RemoteSelectors.Count == 0 || question.RemoteSelectors[0] is var first && (!first.IsIPv6 || question.RemoteSelectors.Any(s => !s.StartAddress.Equals(first.StartAddress) || !s.EndAddress.Equals(first.StartAddress))))
        {
            return ("the terminal does not name exactly one home address", "TA-N17");
        }

        var address = question.RemoteSelectors[0].StartAddress;
        if (!_options.HomePrefixes.Any(p => p.Contains(address)) || address.Equals(_options.Address))
        {
            return ($"{address} is in no home prefix of this home agent", "TA-G26");
        }

        try
        {
            using var certificate = X509CertificateLoader.LoadCertificate(der.Span);
            ends = certificate.NotAfter;
            if (question.Identity.Address is { } named)
            {
                identifier = named.Equals(address) ? TerminalIdentifier.Of(fields) : null;
            }
            else if (question.Identity.IsIn(certificate))
            {
                identifier = question.Identity.Type switch
                {
                    IkeIdType.Fqdn => TerminalIdentifier.TryCanonical(question.Identity.ToString(), out _),
                    IkeIdType.DerAsn1Dn => TerminalIdentifier.OfName(question.Identity.Data.ToArray()),
                    _ => null,
                };
            }
        }
        catch (CryptographicException)
        {
            return ("the certificate cannot be read", "7.6");
        }

        home = address;
        return identifier is null ? ($"{question.Identity} is neither a name in the certificate nor the home address {address}", "TA-N17") : null;
    }

    private void Refuse(AuthorizePeer question, IPAddress? home, string reason, string rule)
    {
        _effects.Count("ha6.refused");
        _effects.Emit(new Report(new EngineEvent("association.refused", EventSeverity.Warning, $"{question.Identity} at {question.Remote.Address} gets no association: {reason}")
        {
            HomeAddress = home,
            CareOfAddress = question.Remote.Address,
            Peer = question.Identity.ToString(),
            Rule = rule,
        }));
        Tell(_ike, new PeerAuthorized(question.Request, false, reason));
    }

    private void Admit(IkeSaView sa, Admitted admitted)
    {
        if (_terminals.TryGetValue(admitted.Home, out var terminal) && terminal.Identifier != admitted.Identifier)
        {
            // The prefix was given to somebody else; what the former owner has goes before the new one gets anything.
            Withdraw(terminal, $"the home prefix is {admitted.Identifier}'s now", "TA-G4");
            terminal = null;
        }

        if (terminal is null || _terminals.GetValueOrDefault(admitted.Home) != terminal)
        {
            terminal = new Terminal { HomeAddress = admitted.Home, Identifier = admitted.Identifier, Prefix = admitted.Prefix, ValidUntil = admitted.ValidUntil, NextCheck = default };
            _terminals[admitted.Home] = terminal;
        }

        var session = new TerminalSession
        {
            Terminal = terminal,
            IkeSa = sa.Id,
            Association = ++_lastAssociation,
            Remote = sa.Remote,
            Identity = admitted.Identity,
            CertificateEnds = admitted.CertificateEnds,
        };
        terminal.Sessions.Add(session);
        _byIkeSa.Add(sa.Id, session);
        _byAssociation.Add(session.Association, session);
        Prolong(terminal, admitted.ValidUntil);
    }

    private void CheckAllocation(Terminal terminal)
    {
        terminal.Asking = true;
        Ask(terminal.HomeAddress, terminal.Identifier, allocation =>
        {
            terminal.Asking = false;
            if (_terminals.GetValueOrDefault(terminal.HomeAddress) != terminal)
            {
                return;
            }

            if (allocation is null)
            {
                _effects.Count("ha6.allocation.unanswered");
                terminal.NextCheck = _now + _options.AllocationPolling;
                Schedule(terminal);
            }
            else if (!allocation.Allocated || !allocation.OwnerMatches || allocation.ValidUntil is not { } until || until <= _now)
            {
                Withdraw(terminal, "the home prefix is not the terminal's any more", "TA-L4");
            }
            else
            {
                Prolong(terminal, until);
            }
        });
    }

    /// <summary>Takes over how long the prefix lasts; bindings follow.</summary>
    private void Prolong(Terminal terminal, DateTimeOffset until)
    {
        var changed = terminal.ValidUntil != until;
        terminal.ValidUntil = until;
        var early = until - s_beforeTheEnd;
        var soon = _now + s_betweenChecks;
        terminal.NextCheck = early < soon ? soon : early;
        if (_now + _options.AllocationPolling < terminal.NextCheck)
        {
            terminal.NextCheck = _now + _options.AllocationPolling;
        }

        if (changed)
        {
            foreach (var session in terminal.Sessions.Where(s => s.Established).ToList())
            {
                TellHomeAgent(session);
            }

            // The terminal may not have asked for the lease itself (spec TA2.150), so it is told (RFC 6275 10.6.1).
            Tell(_homeAgent, new AdvertisePrefixes([terminal.HomeAddress]));
        }

        Schedule(terminal);
    }

    private void OnWithdrawn(AllocationWithdrawn withdrawn)
    {
        bool Meant(IPAddress home, string? identifier) =>
            (withdrawn.Prefix is not null || withdrawn.Identifier is not null)
            && (withdrawn.Prefix is not { } prefix || prefix.Contains(home)) && (withdrawn.Identifier is null || withdrawn.Identifier == identifier);
        if (withdrawn is { Prefix: null, Identifier: { } identifier })
        {
            Tell(_homeAgent, new ForgetCertificate(identifier));
        }

        foreach (var terminal in _terminals.Values.Where(t => Meant(t.HomeAddress, t.Identifier)).ToList())
        {
            Withdraw(terminal, withdrawn.Reason, "TA-L4");
        }

        // Bindings from before a restart have no association any more.
        foreach (var binding in _homeAgent.Bindings.Where(b => Meant(b.HomeAddress, b.Identifier)).ToList())
        {
            Tell(_homeAgent, new ClearBinding(binding.HomeAddress));
        }
    }

    /// <summary>Associations, key exchanges and binding of a terminal go at once (spec L4).</summary>
    private void Withdraw(Terminal terminal, string reason, string rule)
    {
        _effects.Count("ha6.withdrawn");
        Report("association.withdrawn", EventSeverity.Information, terminal, $"{terminal.Identifier} loses its association as {terminal.HomeAddress}: {reason}", rule);
        foreach (var session in terminal.Sessions.ToList())
        {
            End(session, endBinding: true);
        }

        if (Bound(terminal.HomeAddress))
        {
            Tell(_homeAgent, new ClearBinding(terminal.HomeAddress));
        }
    }

    private void Ask(IPAddress home, string identifier, Action<PrefixAllocation?> then, int attempt = 1)
    {
        if (Certificates is not null)
        {
            then(_homeAgent.Judge(home, identifier, _now));
            return;
        }

        if (_questions.Count >= _options.MaximumQuestions)
        {
            _effects.Count("ha6.allocation.too_many");
            then(null);
            return;
        }

        var number = ++_lastQuestion;
        var until = _now + _options.AllocationTimeout;
        _questions.Add(number, new Question(home, identifier, attempt, until, then));
        _timeouts.Enqueue((number, until));
        _effects.Count("ha6.allocation.asked");
        _effects.Emit(new AskAllocation(number, home, identifier));
    }

    private void OnAnswer(AllocationAnswered answered)
    {
        if (_questions.Remove(answered.Request, out var question))
        {
            Conclude(question, answered.Allocation);
        }
    }

    private void ExpireQuestions()
    {
        while (_timeouts.TryPeek(out var next) && next.Until <= _now)
        {
            _timeouts.Dequeue();
            if (_questions.Remove(next.Number, out var question))
            {
                Conclude(question, null);
            }
        }
    }

    private void Conclude(Question question, PrefixAllocation? allocation)
    {
        if (allocation is null && question.Attempt < _options.AllocationAttempts)
        {
            Ask(question.Home, question.Identifier, question.Then, question.Attempt + 1);
            return;
        }

        question.Then(allocation);
    }
}
