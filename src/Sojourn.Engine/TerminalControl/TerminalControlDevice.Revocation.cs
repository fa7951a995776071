using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Revocation;

namespace Sojourn.Engine.TerminalControl;

/// <summary>Whether a terminal's certificate has been withdrawn: spec 7.6, rows TA-N15, N16, between signature and query Q2 (G19).</summary>
public sealed partial class TerminalControlDevice
{
    private readonly Dictionary<long, (DateTimeOffset Until, Action<RevocationAnswer> Then)> _statusQuestions = [];

    /// <summary>Numbers of questions in the order of their ends; those that were answered stand in it too.</summary>
    private readonly Queue<(long Number, DateTimeOffset Until)> _statusTimeouts = new();
    private long _lastStatusQuestion;

    private DateTimeOffset? NextStatusTimeout
    {
        get
        {
            while (_statusTimeouts.TryPeek(out var next) && !_statusQuestions.ContainsKey(next.Number))
            {
                _statusTimeouts.Dequeue();
            }

            return _statusTimeouts.TryPeek(out var first) ? first.Until : null;
        }
    }

    /// <summary>Goes on with a terminal whose certificate stands; refuses all others.</summary>
    private void AskStatus(AuthorizePeer question, System.Net.IPAddress home, Action then)
    {
        if (_options.Revocation == RevocationPolicy.NotAsked)
        {
            then();
            return;
        }

        if (_statusQuestions.Count >= _options.MaximumQuestions)
        {
            _effects.Count("ha6.revocation.too_many");
            Refuse(question, home, "too many certificates are being asked about", "TA-N16");
            return;
        }

        var number = ++_lastStatusQuestion;
        var until = _now + _options.RevocationTimeout;
        _statusQuestions.Add(number, (until, answer => OnStatus(question, home, answer, then)));
        _statusTimeouts.Enqueue((number, until));
        _effects.Count("ha6.revocation.asked");
        _effects.Emit(new AskRevocation(number, question.Certificate!.Value));
    }

    private void OnStatus(AuthorizePeer question, System.Net.IPAddress home, RevocationAnswer answer, Action then)
    {
        switch (answer.Status)
        {
            case RevocationStatus.Good:
                then();
                break;
            case RevocationStatus.Revoked:
                _effects.Count("ha6.revocation.revoked");
                Refuse(question, home, $"its certificate is revoked: {answer.Text}", "TA-N15");
                break;
            case RevocationStatus.Unknown when _options.Revocation == RevocationPolicy.AllowUnknown:
                _effects.Count("ha6.revocation.unknown_allowed");
                _effects.Emit(new Report(new EngineEvent("revocation.unknown_allowed", EventSeverity.Warning, $"{question.Identity} is let in although nobody says whether its certificate is revoked: {answer.Text}")
                {
                    HomeAddress = home,
                    Peer = question.Identity.ToString(),
                    Rule = "TA-N16",
                }));
                then();
                break;
            default:
                _effects.Count("ha6.revocation.unknown");
                Refuse(question, home, $"nobody says whether its certificate is revoked: {answer.Text}", "TA-N16");
                break;
        }
    }

    private void OnStatusAnswered(RevocationAnswered answered)
    {
        if (_statusQuestions.Remove(answered.Request, out var question))
        {
            question.Then(answered.Answer);
        }
    }

    private void ExpireStatusQuestions()
    {
        while (_statusTimeouts.TryPeek(out var next) && next.Until <= _now)
        {
            _statusTimeouts.Dequeue();
            if (_statusQuestions.Remove(next.Number, out var question))
            {
                question.Then(RevocationAnswer.Unknown("no answer in time"));
            }
        }
    }
}
