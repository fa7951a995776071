using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>Credential store, enrolment, and the associations with the home agent.</summary>
public sealed partial class TerminalNode
{
    private const string HomeAgentPeer = "home-agent";

    private static readonly IPNetwork s_everywhere = new(IPAddress.IPv6Any, 0);

    /// <summary>The peers of the key exchange, made when home agent or gateway is known; the engine looks into it with every command.</summary>
    private readonly List<IkePeer> _peers = [];

    private readonly HashSet<long> _established = [];
    private CredentialsOpened? _credentials;
    private RequestAssociation? _wanted;
    private bool _storeAsked, _enrolling;
    private DateTimeOffset? _storeAgainAt, _enrolAgainAt, _keysAt;
    private int _enrolments;

    private bool HasCertificate => _credentials is { Credential.Certificate: { } certificate, Authorities: not null } && certificate.NotAfter.ToUniversalTime() > _now.UtcDateTime;

    private bool OpenStore()
    {
        if (_storeAsked || _storeAgainAt > _now)
        {
            return false;
        }

        (_storeAsked, _storeAgainAt) = (true, null);
        _out.Emit(new OpenCredentials());
        return false;
    }

    /// <summary>The store and the authority are tried again; where the state asks for them, <see cref="Advance"/> does.</summary>
    private void WakeKeys()
    {
        if (_enrolAgainAt <= _now)
        {
            _enrolAgainAt = null;
        }

        if (_storeAgainAt <= _now)
        {
            _storeAgainAt = null;
            if (_wanted is not null)
            {
                OpenStore();
            }
        }

        WakeRenewal();
    }

    private void OnCredentials(CredentialsOpened opened)
    {
        _storeAsked = false;
        _credentials = opened;
        PlanRenewal();
        if (_wanted is { } wanted)
        {
            if (HasCertificate)
            {
                Initiate(wanted, opened);
            }
            else
            {
                _trouble = "there is no valid certificate";
            }
        }
        else if (_provesAgain)
        {
            ProveAgain(opened);
        }
    }

    private void OnCredentialsMissing(CredentialsMissing missing)
    {
        _storeAsked = false;
        _storeAgainAt = _now + s_retry;
        _trouble = missing.Reason;
        _out.Count("terminal.credentials_missing");
        Say("terminal.credentials_missing", EventSeverity.Error, missing.Reason, "TA-N28");
    }

    private bool EnrolNow()
    {
        // While the store is being opened nobody knows what is in it: after an enrolment, the certificate.
        if (!_options.Enrols || _enrolling || _storeAsked || _enrolAgainAt > _now || OnLinkAddress is not { } careOf)
        {
            return false;
        }

        (_enrolling, _enrolAgainAt) = (true, null);
        Say("terminal.enrolment_started", EventSeverity.Information, $"{Identifier} asks for a certificate", "TA1.105");
        _out.Emit(new Enrol(careOf));
        return false;
    }

    private void OnEnrolment(EnrolmentEnded ended)
    {
        _enrolling = false;
        if (_renewing)
        {
            OnRenewal(ended);
            return;
        }

        if (ended.Refusal is { } refusal)
        {
            _enrolAgainAt = Backoff(ref _enrolments);
            _trouble = refusal;
            _out.Count("terminal.enrolment_refused");
            Say("terminal.enrolment_refused", EventSeverity.Error, refusal, "TA1.107x");
            return;
        }

        _enrolments = 0;
        Say("terminal.enrolled", EventSeverity.Information, $"{Identifier} has a certificate", "TA1.107a");
        OpenStore();
    }

    /// <summary>Ever more slowly, up to five minutes: a refusal that an operator has to lift is not lifted by asking.</summary>
    private DateTimeOffset Backoff(ref int failures) => _now + TimeSpan.FromSeconds(Math.Min(300, 5 << Math.Min(failures++, 6)));

    private void OnAssociationWanted(RequestAssociation request)
    {
        if (request == _wanted)
        {
            return;
        }

        _wanted = request;
        _storeAgainAt = null;
        OpenStore();
    }

    private void Initiate(RequestAssociation wanted, CredentialsOpened credentials)
    {
        if (_ike.NegotiationWith(HomeAgentPeer) is { } unfinished)
        {
            // From a care-of address that has gone, or to another home agent.
            Tell(_ike, new CloseIke(unfinished));
        }

        var (home, agent) = (wanted.HomeAddress, wanted.HomeAgent);
        var identity = _options.IdentityMode == IdentityMode.Name ? IkeIdentity.Parse(credentials.Identifier) : IkeIdentity.Of(home);
        IkePeer peer = new()
        {
            Name = HomeAgentPeer,
            Address = agent,
            LocalIdentity = identity,
            RemoteIdentity = _options.HomeAgentIdentity ?? IkeIdentity.Of(agent),
            Credential = credentials.Credential,
            Trust = credentials.Authorities,
            Children =
            [
                new IkeChildOptions
                {
                    Name = "signalling",
                    Mode = ChildMode.Transport,
                    LocalSelectors = [SelectorNarrowing.Mobility(home, (byte)MobilityHeaderType.BindingUpdate), SelectorNarrowing.Icmp(home, (byte)Icmpv6MessageType.MobilePrefixSolicitation)],
                    RemoteSelectors = [SelectorNarrowing.Mobility(agent, (byte)MobilityHeaderType.BindingAcknowledgement), SelectorNarrowing.Icmp(agent, (byte)Icmpv6MessageType.MobilePrefixAdvertisement)],
                },
                .. TunnelChildren(home),
            ],
        };
        Initiate(peer, wanted.CareOfAddress);
    }

    /// <summary>Tunnel mode to the home agent: home tests (SP2) where routes are optimised, and data of the peers that the policy wants some protected of (SP4).</summary>
    private IEnumerable<IkeChildOptions> TunnelChildren(IPAddress home)
    {
        if (_security.HomeTests == DataTreatment.Protect && _options.RouteOptimisation.Count > 0)
        {
            yield return new IkeChildOptions
            {
                Name = "home-test",
                Mode = ChildMode.Tunnel,
                LocalSelectors = [SelectorNarrowing.Mobility(home, (byte)MobilityHeaderType.HomeTestInit)],
                RemoteSelectors = [TrafficSelector.Of(s_everywhere, SelectorNarrowing.MobilityHeader) with { StartPort = (ushort)((byte)MobilityHeaderType.HomeTest << 8), EndPort = (ushort)((byte)MobilityHeaderType.HomeTest << 8) }],
            };
        }

        if (_security.ProtectsData)
        {
            yield return new IkeChildOptions
            {
                Name = "data",
                Mode = ChildMode.Tunnel,
                LocalSelectors = [TrafficSelector.Of(new IPNetwork(home, 128)), .. _options.MobileNetworks.Select(n => TrafficSelector.Of(n))],
                RemoteSelectors = [.. _security.ProtectedPeers.Select(p => TrafficSelector.Of(p))],
            };
        }
    }

    private void Initiate(IkePeer peer, IPAddress from)
    {
        _peers.RemoveAll(p => p.Name == peer.Name);
        _peers.Add(peer);
        Tell(_ike, new InitiateIke(peer.Name, from));
    }

    private void OnIkeUp(IkeSaUp up)
    {
        _established.Add(up.Sa.Id);
        _out.Emit(up);
        if (up.Sa.Peer == GatewayPeer)
        {
            OnAccessUp(up);
        }
    }

    private void OnIkeDown(IkeSaDown down)
    {
        if (!_established.Contains(down.IkeSa) && HasFailedAgain(down))
        {
            return;
        }

        if (_established.Remove(down.IkeSa) || down.End == IkeEnd.Deleted || _wanted is not { } wanted)
        {
            _trouble = down.Reason;
            return;
        }

        _wanted = null;
        _trouble = down.Reason;
        _out.Count("terminal.key_exchanges_failed");
        Say("terminal.key_exchange_failed", EventSeverity.Error, $"no association with {wanted.HomeAgent}: {down.Reason}", down.End == IkeEnd.Refused ? "TA1.129x" : "TA1.121");
        Tell(_mobile, new AssociationRefused(wanted.HomeAddress, wanted.HomeAgent));
    }

    private void OnChildRefused(ChildSaRefused refused)
    {
        if (refused.IkeSa == _access?.Id)
        {
            OnAccessRefused($"no association for the regional address: {refused.Error}", "TA-M67");
            Tell(_ike, new CloseIke(refused.IkeSa));
            return;
        }

        if (_wanted is not { } wanted)
        {
            // The signalling is protected, something else is not to be: what the policy wants protected does not leave (steps 106, 110).
            Say("terminal.protection_refused", EventSeverity.Error, $"no association '{refused.Name}': {refused.Error}", "TM-R49");
            return;
        }

        _wanted = null;
        _trouble = $"{wanted.HomeAgent} refuses an association: {refused.Error}";
        Say("terminal.key_exchange_failed", EventSeverity.Error, _trouble, "TA1.130");
        Tell(_ike, new CloseIke(refused.IkeSa));
        Tell(_mobile, new AssociationRefused(wanted.HomeAddress, wanted.HomeAgent));
    }

    private void OnChildUp(ChildSaUp up)
    {
        var child = up.Sa;
        if (child.Mode == ChildMode.Tunnel && _tunnelEsp.Install(child, HomeTunnel))
        {
            _out.Emit(up);
            return;
        }

        if (!_esp.Install(child, child.Id))
        {
            _out.Count("terminal.association_unusable");
            Tell(_ike, new CloseChild(child.Id));
            return;
        }

        _keysAt = _now;
        _out.Emit(up);
        if (child.Peer == GatewayPeer)
        {
            TellLocal(new AssociationEstablished(new SignallingAssociation(child.Id, child.Inbound.Destination, _access!.Local.Address, _access.RemoteIdentity.ToString(), Moves: true)));
            return;
        }

        if (_home is null || !child.Inbound.Destination.Equals(_home.HomeAddress) || _ike.IkeSas.FirstOrDefault(s => s.Id == child.IkeSa) is not { } sa)
        {
            return;
        }

        _wanted = null;
        CloseFormer(child.IkeSa);
        Tell(_mobile, new AssociationEstablished(new SignallingAssociation(child.Id, _home.HomeAddress, sa.Local.Address, sa.RemoteIdentity.ToString(), _options.KeyManagementMoves)));
    }

    private void OnChildDown(ChildSaDown down)
    {
        if (_tunnelEsp.Remove(down.ChildSa) is not null)
        {
            return;
        }

        var child = ChildOf(down.ChildSa);
        if (_esp.Remove(down.ChildSa) is { } number)
        {
            // While another of the same address stands (rekeying, a move with K = 0) the binding is as good as before.
            var ended = new AssociationEnded(number, EndBinding: !Negotiated.Any(c => c.Inbound.Destination.Equals(child!.Inbound.Destination)));
            _trouble = down.Reason;
            if (child!.Peer == GatewayPeer)
            {
                // Who goes does not begin again.
                TellLocal(ended with { EndBinding = ended.EndBinding && !_stopping });
            }
            else
            {
                Tell(_mobile, ended);
            }
        }
    }

    private ChildSa? ChildOf(long number) => _esp.Children.FirstOrDefault(c => c.Id == number);

    /// <summary>K = 0: what was made from the former care-of address is of no use any more.</summary>
    private void DiscardKeys(DiscardKeyManagement discard)
    {
        foreach (var sa in _ike.IkeSas.Where(s => s.Peer == HomeAgentPeer && s.Local.Address.Equals(discard.CareOfAddress)).ToList())
        {
            Tell(_ike, new CloseIke(sa.Id));
        }
    }

    private void CloseKeyManagement()
    {
        (_wanted, _provesAgain, _proveAgainAt) = (null, false, null);
        if (_ike.NegotiationWith(HomeAgentPeer) is { } unfinished)
        {
            Tell(_ike, new CloseIke(unfinished));
        }

        foreach (var sa in _ike.IkeSas.Where(s => s.Peer == HomeAgentPeer).ToList())
        {
            Tell(_ike, new CloseIke(sa.Id));
        }
    }
}
