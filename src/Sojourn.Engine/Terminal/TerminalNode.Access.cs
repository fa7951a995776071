// Readings:
// - The certificate comes before access (spec TA2.140 and TA3.163 stand behind TA1.107a): until there is one, neither gateway nor
//   anchor point hears of the terminal, whose requests to the authority the gateway lets pass (G7).
// - Access belongs to the address that the gateway knows. Without an anchor point the mobile node sees no other address, so that
//   nothing is sent which the gateway would refuse; the key exchange follows a move first (RFC 4555). Behind an anchor point the local
//   binding moves, and the key exchange's end with it, as with the K bit.
// - Prefix and access come from one authentication. It is repeated in good time before the prefix ends; the former key exchange is
//   closed when the next one stands.
using System.Net;
using System.Security.Cryptography;
using Sojourn.Engine.Eap;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Tls;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>Past the gateway between visited and home network: EAP in IKEv2, the prefix it gives, the anchor point it is (spec TA2.140 to TA2.150, TA3.161 to TA3.166).</summary>
public sealed partial class TerminalNode
{
    private const string GatewayPeer = "access-gateway";

    /// <summary>Part of the prefix's lifetime after which access is asked for anew.</summary>
    private const double RenewAt = 0.8;

    private IkeSaView? _access;
    private (IPAddress Gateway, IPAddress From)? _accessAsked;
    private IPAddress? _movingTo;
    private LinkConfigured? _regional;
    private TlsContext? _tls;
    private TrustAnchors? _tlsAuthorities;
    private (IkePeer Peer, IPAddress? Regional, TlsContext Tls)? _gatewayPeer;
    private DateTimeOffset? _accessAgainAt, _renewAccessAt;
    private int _accessFailures;
    private bool _admitted, _homeOfGateway;

    /// <summary>Who lets the terminal through to the home network on this link; null where nobody has to.</summary>
    public IPAddress? Gateway => _options.Access is not { } access || (_active is not null && IsHomeLink(_active)) ? null : _local!.Anchor ?? access.Gateway;

    private DateTimeOffset? AccessDeadline
    {
        get
        {
            var home = _homeOfGateway && _home!.ValidUntil < DateTimeOffset.MaxValue ? _home.ValidUntil : (DateTimeOffset?)null;
            return Earlier(Earlier(_local?.NextDeadline, home), Earlier(_accessAgainAt, _renewAccessAt));
        }
    }

    /// <summary>No gateway stands in the way, or the one that does lets pass what comes from here.</summary>
    private bool HasAccess => Gateway is not { } gateway || (_access is { } access && access.Remote.Address.Equals(gateway)
        && (_local!.Anchor is null ? access.Local.Address : _local.Registration?.GrantedCareOfAddress) is { } known && known.Equals(OnLinkAddress));

    private void TellLocal(EngineInput input)
    {
        if (_local is not null)
        {
            Tell(_local, input);
        }
    }

    private void ReportLink(LinkConfigured link)
    {
        if (_local is null)
        {
            Tell(_mobile, new LinkReported(link));
        }
        else if (_admitted)
        {
            Tell(_local, new LinkReported(link));
        }
    }

    /// <summary>From the certificate on the link counts. True when that was now.</summary>
    private bool Admit()
    {
        if (_local is null || _admitted || _active is not { Admitted: true, Configured: not null } || (_options.Signalling == SignallingTreatment.Protect && !HasCertificate))
        {
            return false;
        }

        _admitted = true;
        Tell(_local, new LinkReported(Seen(_active)));
        return true;
    }

    private void OnRegional(LinkConfigured link)
    {
        _regional = link;
        ForgetAnchor();
        ShowLink();
    }

    /// <summary>The link as the mobile node may use it: without an anchor point with the one address that the gateway knows.</summary>
    private void ShowLink()
    {
        if (_regional is { } link)
        {
            var bounded = Gateway is not null && _local!.Anchor is null;
            Tell(_mobile, new LinkReported(
                bounded ? link with { Addresses = [.. link.Addresses.Where(a => a.Address.Equals(_access?.Local.Address))] }
                : _anchors is not null && _local!.Anchor is not null ? AtHost(link)
                : link));
        }
    }

    /// <summary>Access follows the terminal to where it is. True when a step was taken. Behind an anchor point the local binding update is what begins (row TA3.163).</summary>
    private bool KeepAccess()
    {
        if (!_admitted || Gateway is not { } gateway || OnLinkAddress is not { } place)
        {
            return false;
        }

        if (_local!.Anchor is not null)
        {
            if (_access is { } anchored && _local.Registration is { State: BindingUpdateState.Registered, GrantedCareOfAddress: { } granted } && !anchored.Local.Address.Equals(granted))
            {
                Tell(_ike, new MoveIkeEnd(anchored.Id, granted, null));
                return true;
            }

            return false;
        }

        if (_access is not { } access || !access.Remote.Address.Equals(gateway))
        {
            return BeginAccess(gateway, place, null);
        }

        if (access.Local.Address.Equals(place) || place.Equals(_movingTo))
        {
            return false;
        }

        _movingTo = place;
        Tell(_ike, access.Mobike ? new ChangeLocalAddress(access.Id, place) : new CloseIke(access.Id));
        return true;
    }

    private bool BeginAccess(IPAddress gateway, IPAddress place, IPAddress? regional)
    {
        if (_stopping || _accessAgainAt > _now)
        {
            return false;
        }

        if (_ike.NegotiationWith(GatewayPeer) is { } unfinished)
        {
            if (Equals(_accessAsked, (gateway, place)))
            {
                return false;
            }

            Tell(_ike, new CloseIke(unfinished));
        }

        var access = _options.Access!;
        if ((access.Authorities ?? _credentials?.Authorities) is not { } authorities || !UseAuthorities(authorities))
        {
            OnAccessRefused("nobody is known who vouches for the gateway", "TA-M52");
            return false;
        }

        _accessAsked = (gateway, place);
        Say("terminal.access_asked", EventSeverity.Information, $"{access.User} asks {gateway} for access from {place}", "TA2.141");
        if (_gatewayPeer is not { } known || !gateway.Equals(known.Peer.Address) || !Equals(known.Regional, regional) || known.Tls != _tls)
        {
            known = (PeerOf(gateway, regional, access, authorities, _tls!), regional, _tls!);
            _gatewayPeer = known;
        }

        // The same peer as before, where it is: who proves itself again does not begin anew (INITIAL_CONTACT).
        Initiate(known.Peer, place);
        return true;
    }

    private IkePeer PeerOf(IPAddress gateway, IPAddress? regional, TerminalAccessOptions access, TrustAnchors authorities, TlsContext tls) => new()
    {
        Name = GatewayPeer,
        Address = gateway,
        LocalIdentity = IkeIdentity.Parse(access.OuterIdentity),
        RemoteIdentity = access.GatewayIdentity ?? IkeIdentity.Of(gateway),
        Trust = authorities,
        Eap = () => new EapPeer(new EapPeerOptions { OuterIdentity = access.OuterIdentity, Methods = [EapType.Ttls], Tls = tls, ServerName = access.ServerName, User = access.User, Password = access.Password }),
        Configuration = _options.Home is null ? [IkeConfigurationAttributeType.Mip6HomePrefix] : [],
        Mobike = regional is null,
        Children = regional is null ? [] :
        [
            new IkeChildOptions
            {
                Name = "anchor",
                Mode = ChildMode.Transport,
                LocalSelectors = [SelectorNarrowing.Mobility(regional, (byte)MobilityHeaderType.BindingUpdate)],
                RemoteSelectors = [SelectorNarrowing.Mobility(gateway, (byte)MobilityHeaderType.BindingAcknowledgement)],
            },
        ],
    };

    /// <summary>What EAP's tunnel believes; made anew when the store has other authorities. A conversation that is under way keeps what it began with.</summary>
    private bool UseAuthorities(TrustAnchors authorities)
    {
        if (authorities == _tlsAuthorities)
        {
            return true;
        }

        try
        {
            var made = new TlsContext(null, authorities.Certificates);
            _tls?.Dispose();
            (_tls, _tlsAuthorities) = (made, authorities);
            return true;
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    private void OnAccessUp(IkeSaUp up)
    {
        var former = _access;
        (_access, _movingTo) = (up.Sa, null);
        if (up.Replaces is not null)
        {
            return;
        }

        (_accessFailures, _accessAgainAt, _renewAccessAt) = (0, null, null);
        Say("terminal.access_granted", EventSeverity.Information, $"{up.Sa.RemoteIdentity} lets {_options.Access!.User} reach the home network from {up.Sa.Local.Address}", "TA2.150");
        if (former is not null)
        {
            Tell(_ike, new CloseIke(former.Id));
        }

        ShowLink();
    }

    private void OnAccessMoved(IkeSaView sa)
    {
        if (sa.Id == _access?.Id)
        {
            (_access, _movingTo) = (sa, null);
            ShowLink();
        }
    }

    /// <summary>Row TA2.150: the prefix comes with the last answer. None: the terminal asks for one by DHCPv6, where it is to.</summary>
    private void OnConfiguration(ConfigurationReceived configuration)
    {
        foreach (var attribute in configuration.Attributes)
        {
            if (_options.Home is not null || !Mip6HomePrefix.TryRead(attribute, out var home))
            {
                continue;
            }

            if (_home is not null && !home.Prefix.Contains(_home.HomeAddress))
            {
                LoseHome($"the gateway gives another home prefix, {home.Prefix}");
            }

            var lasting = home.Lifetime == uint.MaxValue;
            OnPrefix(home.Prefix, lasting ? DateTimeOffset.MaxValue : _now + TimeSpan.FromSeconds(home.Lifetime));
            _homeOfGateway = _home is not null;
            _renewAccessAt = lasting ? null : _now + (TimeSpan.FromSeconds(home.Lifetime) * RenewAt);
            return;
        }
    }

    private void OnAccessDown(IkeSaDown down)
    {
        if (_established.Remove(down.IkeSa))
        {
            if (down.IkeSa == _access?.Id && !_stopping)
            {
                LoseAccess(down.Reason);
            }
        }
        else if (down.End != IkeEnd.Deleted)
        {
            OnAccessRefused(down.Reason, down.End == IkeEnd.Timeout ? "TA2.141" : "TA2.142x");
        }
    }

    private void OnAccessRefused(string reason, string rule)
    {
        _accessAgainAt = Backoff(ref _accessFailures);
        _renewAccessAt = _access is null ? null : _accessAgainAt;
        _trouble = reason;
        _out.Count("terminal.access_refused");
        Say("terminal.access_refused", EventSeverity.Error, $"no access for {_options.Access!.User}: {reason}", rule);
    }

    /// <summary>The gateway has taken access back or is gone; the prefix that came with it is nobody's to use.</summary>
    private void LoseAccess(string reason)
    {
        (_access, _movingTo, _renewAccessAt) = (null, null, null);
        Say("terminal.access_lost", EventSeverity.Warning, $"the gateway does not let {_options.Access!.User} through any more: {reason}", "TA2.150x");
        if (_homeOfGateway)
        {
            LoseHome($"access is lost: {reason}");
        }

        _trouble = reason;
        ShowLink();
    }

    private void WakeAccess()
    {
        if (_accessAgainAt <= _now)
        {
            _accessAgainAt = null;
        }

        if (_local is not null)
        {
            Wake(_local);
        }

        if (_homeOfGateway && _home!.ValidUntil <= _now)
        {
            LoseHome($"the home prefix {_home.HomePrefix} is over");
        }

        if (_renewAccessAt <= _now)
        {
            _renewAccessAt = null;
            if (Gateway is { } gateway && OnLinkAddress is { } place)
            {
                BeginAccess(gateway, place, _local!.RegionalAddress);
            }
        }
    }
}
