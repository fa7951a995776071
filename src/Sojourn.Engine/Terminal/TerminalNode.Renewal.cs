// Readings:
// - A new certificate is of use to the home agent only after the terminal has proved itself with it: the association that was made
//   with the old one ends with the old one (spec L3). So a renewal is followed by a key exchange beside the standing one, and the
//   standing one goes when the new association is there. The binding does not notice (spec TA-A30).
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>Renewal of the terminal's certificate near its end (spec TA-M36, A30).</summary>
public sealed partial class TerminalNode
{
    private DateTimeOffset? _renewAt, _proveAgainAt;
    private bool _renewing, _provesAgain;

    private static DateTimeOffset End(X509Certificate2 certificate) => new(certificate.NotAfter.ToUniversalTime());

    /// <summary>Key exchanges with the home agent that stand.</summary>
    private IEnumerable<IkeSaView> Proved => _ike.IkeSas.Where(s => s.Peer == HomeAgentPeer);

    /// <summary>When the certificate that the store has now is to be renewed.</summary>
    private void PlanRenewal()
    {
        _renewAt = null;
        if (_options.Enrols && HasCertificate && _credentials?.Credential?.Certificate is { } certificate)
        {
            var end = End(certificate);
            var at = end - (_options.RenewBefore ?? ((end - new DateTimeOffset(certificate.NotBefore.ToUniversalTime())) / 3));
            _renewAt = at > _now ? at : _now + s_retry;
        }
    }

    private void WakeRenewal()
    {
        if (_renewAt <= _now)
        {
            if (OnLinkAddress is { } careOf && !_stopping && !_enrolling)
            {
                (_renewAt, _enrolling, _renewing) = (null, true, true);
                Say("terminal.renewal_started", EventSeverity.Information, $"{Identifier} has its certificate renewed", "TA-M36");
                _out.Emit(new RenewCertificate(careOf));
            }
            else
            {
                _renewAt = _now + s_retry;
            }
        }

        if (_proveAgainAt <= _now)
        {
            (_proveAgainAt, _provesAgain) = (null, true);
            OpenStore();
        }
    }

    private void OnRenewal(EnrolmentEnded ended)
    {
        _renewing = false;
        if (ended.Refusal is { } refusal)
        {
            _renewAt = Backoff(ref _enrolments);
            _out.Count("terminal.renewal_refused");
            Say("terminal.renewal_refused", EventSeverity.Error, refusal, "TA-M36");
            return;
        }

        _enrolments = 0;
        Say("terminal.renewed", EventSeverity.Information, $"{Identifier} has a new key and a certificate for it", "TA-M36");
        _provesAgain = Proved.Any();
        OpenStore();
    }

    /// <summary>A key exchange with the new certificate, beside the one that stands.</summary>
    private void ProveAgain(CredentialsOpened credentials)
    {
        if (_home is null || _mobile.HomeAgent is not { } agent || CareOfAddress is not { } careOf || !HasCertificate || !Proved.Any())
        {
            // Nothing stands that the old certificate had made; the next key exchange uses the new one.
            _provesAgain = false;
            return;
        }

        Initiate(new RequestAssociation(_home.HomeAddress, agent, careOf), credentials);
    }

    /// <summary>True when this was the key exchange with a new certificate: the old association stands, and it is tried again.</summary>
    private bool HasFailedAgain(IkeSaDown down)
    {
        if (!_provesAgain || _wanted is not null || down.Peer != HomeAgentPeer || down.End == IkeEnd.Deleted)
        {
            return false;
        }

        (_provesAgain, _proveAgainAt) = (false, _now + s_retry);
        Say("terminal.key_exchange_failed", EventSeverity.Warning, $"not proved anew to {HomeAgent}, the former association stands: {down.Reason}", "TA-L3");
        return true;
    }

    private void CloseFormer(long current)
    {
        if (!_provesAgain)
        {
            return;
        }

        _provesAgain = false;
        foreach (var sa in Proved.Where(s => s.Id != current).ToList())
        {
            Tell(_ike, new CloseIke(sa.Id));
        }
    }
}
