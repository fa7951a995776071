using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal.Scenarios;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>Part 23 between applications and part 24 (spec terminal 4.6, 4.7): receive = Mobile IPv6 first, send = Mobile IPv6 last.</summary>
public sealed partial class TerminalNode
{
    private readonly Dictionary<PathId, VpnPath> _paths = [];
    private readonly Dictionary<IPAddress, long> _routeAssociations = [];
    private readonly ScenarioPolicy _scenarios;
    private readonly ScenarioDispatcher _dispatcher;
    private readonly GuestTables _tables;
    private readonly GuestSecurityPolicy _security;

    /// <summary>Table 220.</summary>
    public ScenarioPolicy Scenarios => _scenarios;

    /// <summary>Tunnel information and binding list of part 24, addresses of interface 19.</summary>
    public GuestTables Tables => _tables;

    public GuestSecurityPolicy SecurityPolicy => _security;

    /// <summary>Part 25's binding update list: home agent, anchor point, correspondents.</summary>
    public IEnumerable<BindingUpdateListEntry> BindingUpdateList => new[] { HomeRegistration, LocalRegistration }.OfType<BindingUpdateListEntry>().Concat(_mobile.CorrespondentRegistrations);

    /// <summary>Octets that a packet between the ends of a tunnel may have now.</summary>
    public int PathMtuOf(TunnelInformation tunnel) => LinkWith(tunnel.CareOfAddress) is { } link ? PathMtu(link, tunnel.CareOfAddress, tunnel.HomeAgent) : 0;

    private void OnPaths(ChangePaths change)
    {
        foreach (var path in change.Install)
        {
            _paths[path.Id] = path;
        }

        foreach (var id in change.Remove)
        {
            if (_paths.Remove(id, out var gone) && gone.Origin.HomeAddress is { } home && !home.Equals(_local?.RegionalAddress))
            {
                // The binding is over; what scenario programs made of it is too.
                _tables.RemoveTunnel(home);
            }
        }

        if (change.Install.Count > 0)
        {
            if (_mobile.HomeRegistration is { State: BindingUpdateState.Registered })
            {
                TellHandOver();
            }

            Release();
        }
    }

    /// <param name="segmentSize">See <see cref="Segmentation"/>.</param>
    private void OnHostPacket(ReadOnlyMemory<byte> packet, int segmentSize)
    {
        if (packet.Length > 0 && packet.Span[0] >> 4 == 4)
        {
            TranslateUp(packet, segmentSize);
            return;
        }

        if (!IPv6Header.TryParse(packet.Span, out var header, out _))
        {
            _out.Count("terminal.host.not_ipv6");
            return;
        }

        var source = header.SourceAddress;
        if (IsUsers(source))
        {
            Route(header.Packet.Length == packet.Length ? packet : packet[..header.Packet.Length], segmentSize);
        }
        else if (LinkWith(source) is { } own && !source.IsIPv6LinkLocal)
        {
            SendOn(own, packet, segmentSize);
        }
        else
        {
            _out.Count("terminal.host.foreign_source");
        }
    }

    /// <summary>A packet for the applications: translated where they see a virtual IPv4 address (R80, R81), else as it is (R86).</summary>
    private void ToHost(ReadOnlyMemory<byte> packet, int segmentSize = 0)
    {
        if (_tables.HostVirtual is not null && IPv6Octets.Read(packet.Span[24..]).Equals(_home?.HomeAddress))
        {
            TranslateDown(packet, segmentSize);
        }
        else
        {
            _out.Emit(new DeliverToHost(packet) { SegmentSize = segmentSize });
        }
    }

    /// <summary>The link whose address this is; for the regional address the one that the tunnel to the anchor point leaves by.</summary>
    private AccessLink? LinkWith(IPAddress address)
    {
        var place = AnchorTunnel(address)?.LocalGateway ?? address;
        return _links.Find(link => link.Holds(place));
    }

    private VpnPath? AnchorTunnel(IPAddress address) => address.Equals(_local?.RegionalAddress) ? _paths.GetValueOrDefault(MobileTunnel.IdOf(address)) : null;

    private void OnSetScenario(SetScenario command)
    {
        if (_scenarios.TrySet(command.Number, command.Valid))
        {
            Say("scenario.policy_changed", EventSeverity.Information, $"{command.Number} is {(command.Valid ? "valid" : "not valid")}; valid are {string.Join(", ", _scenarios.Entries.Where(e => e.Valid).Select(e => e.Number))}", "TM-P10");
        }
    }

    /// <summary>
    /// What interface 19 is to have: what the last program set, kept while the binding is renewed; at home, where no acknowledgement comes,
    /// what the valid program of the home agent would set.
    /// </summary>
    private void ShowHostSide()
    {
        if (_mobile.AtHome && _home is { } home && _tables is { HostHome: null, HostVirtual: null }
            && _scenarios.NumberFor(new ScenarioTrigger(ControlPeer.HomeAgent)) is { } number)
        {
            if (_scenarios.FindValid(number)!.Addressing == HostAddressing.Translated)
            {
                _tables.TryBindVirtualAddress(home.HomeAddress, home.ValidUntil, _now);
            }
            else
            {
                _tables.ShowHomeAddress(home.HomeAddress);
            }
        }

        var wanted = new ConfigureHostSide(_tables.HostHome, OnLinkAddress, _tables.HostVirtual, _atHost?.Regional);
        if (wanted != _hostSide)
        {
            _hostSide = wanted;
            _out.Emit(wanted);
        }
    }

    /// <summary>What the interruption of a move went into at this node.</summary>
    private void TellHandOver()
    {
        if (_brokenAt is { } broken)
        {
            var keys = _keysAt > _careOfAt ? _keysAt : _careOfAt;
            var phases = new[] { EventPhase.Between("detect", broken, _careOfAt), EventPhase.Between("keys", _careOfAt, keys), EventPhase.Between("update", keys, _now) }
                .OfType<EventPhase>().Where(p => p.Name != "keys" || p.Milliseconds > 0).ToList();
            Say("handover.timed", EventSeverity.Information, $"{HomeAddress} is reached at {CareOfAddress} ({string.Join(", ", phases)})", "TA-A19", phases);
        }

        (_brokenAt, _careOfAt) = (null, null);
    }
}
