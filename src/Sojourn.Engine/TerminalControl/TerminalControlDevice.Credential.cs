using Sojourn.Engine.Ikev2;

namespace Sojourn.Engine.TerminalControl;

/// <summary>
/// The home agent has no certificate yet and is about to answer a terminal (spec TA1.183): one is asked for now. Answered by
/// <see cref="CredentialObtained"/>.
/// </summary>
public sealed record ObtainCredential : Effect;

/// <summary>The home agent's certificate and key, the first or new ones.</summary>
/// <param name="Credential">Null: there is none, for <paramref name="Reason"/>.</param>
public sealed record CredentialObtained(IkeCredential? Credential, string Reason = "") : EngineInput;

/// <summary>The home agent's own certificate during the run: rows TA1.183, G11.</summary>
public sealed partial class TerminalControlDevice
{
    /// <summary>Terminals that are owed an answer with it; null goes on, a reason refuses.</summary>
    private readonly List<Action<string?>> _waitForCredential = [];

    private readonly List<IkePeer> _peers;
    private bool _obtaining;

    /// <summary>What terminals are shown; null while there is none.</summary>
    public IkeCredential? Credential => _peers[0].Credential;

    private void WhenCertified(AuthorizePeer question, System.Net.IPAddress home, Action then)
    {
        if (Credential is not null)
        {
            then();
            return;
        }

        if (_waitForCredential.Count >= _options.MaximumQuestions)
        {
            Refuse(question, home, "too many terminals wait for this home agent's certificate", "TA1.183");
            return;
        }

        _waitForCredential.Add(reason =>
        {
            if (reason is null)
            {
                then();
            }
            else
            {
                Refuse(question, home, $"this home agent has no certificate: {reason}", "TA1.183");
            }
        });
        if (!_obtaining)
        {
            _obtaining = true;
            _effects.Emit(new ObtainCredential());
        }
    }

    private void OnCredential(CredentialObtained obtained)
    {
        _obtaining = false;
        if (obtained.Credential is { } credential)
        {
            _peers[0] = _peers[0] with { Credential = credential };
            Report("homeagent.certified", EventSeverity.Information, null, $"terminals are shown the certificate {credential.Certificate.SerialNumber}, which ends {credential.Certificate.NotAfter.ToUniversalTime():u}", "TA1.183");
        }
        else
        {
            Report("homeagent.not_certified", EventSeverity.Error, null, $"there is no certificate for this home agent: {obtained.Reason}", "TA1.183");
        }

        var waiting = _waitForCredential.ToList();
        _waitForCredential.Clear();
        foreach (var answer in waiting)
        {
            answer(obtained.Credential is null ? obtained.Reason : null);
        }
    }
}
