using Sojourn.Wire;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>The messages two neighbours exchange about themselves (RFC 6733 sections 5.3 to 5.5), and the judgement of the capabilities exchange.</summary>
internal sealed class BaseMessages(DiameterNodeOptions options)
{
    /// <summary>NO_INBAND_SECURITY of RFC 6733 section 6.10.</summary>
    private const uint NoInbandSecurity = 0;

    private readonly DiameterValidator _validator = new(options.Dictionary, options.Limits, options.LenientValidation);

    /// <summary>This node's Origin-Host, made once.</summary>
    public Avp OriginHost { get; } = Avp.Identity(AvpKeys.OriginHost, options.Identity);

    /// <summary>This node's Origin-Realm, made once.</summary>
    public Avp OriginRealm { get; } = Avp.Identity(AvpKeys.OriginRealm, options.Realm);

    /// <summary>Grows with every start, so that peers notice that sessions are lost (RFC 6733 section 8.16).</summary>
    public uint OriginStateId { get; set; }

    public DiameterFault? Validate(DiameterMessage message) => _validator.Validate(message);

    public DiameterMessage CapabilitiesRequest() => WithCapabilities(WithOrigin(options.Dictionary.Request(DiameterCommands.CapabilitiesExchange)));

    public DiameterMessage CapabilitiesAnswer(DiameterMessage request, DiameterFault? fault)
    {
        var builder = options.Dictionary.Answer(request, fault?.ResultCode ?? DiameterResult.Success);
        if (fault is not null && DiameterResult.IsProtocolError(fault.ResultCode))
        {
            return WithOrigin(builder).Add(fault).Build();
        }

        WithCapabilities(WithOrigin(builder));
        return (fault is null ? builder : builder.Add(fault)).Build();
    }

    public DiameterMessage WatchdogRequest() => WithOrigin(options.Dictionary.Request(DiameterCommands.DeviceWatchdog)).Add(AvpKeys.OriginStateId, OriginStateId).Build();

    public DiameterMessage WatchdogAnswer(DiameterMessage request) => WithOrigin(options.Dictionary.Answer(request, DiameterResult.Success))
        .Add(AvpKeys.OriginStateId, OriginStateId).Build();

    /// <param name="cause">0 rebooting, 1 busy, 2 do not want to talk to you.</param>
    public DiameterMessage DisconnectRequest(int cause) => WithOrigin(options.Dictionary.Request(DiameterCommands.DisconnectPeer))
        .Add(AvpKeys.DisconnectCause, cause).Build();

    public DiameterMessage DisconnectAnswer(DiameterMessage request) => WithOrigin(options.Dictionary.Answer(request, DiameterResult.Success)).Build();

    public DiameterMessage Refusal(DiameterMessage request, uint resultCode, string reason) =>
        WithOrigin(options.Dictionary.Answer(request, resultCode)).Add(AvpKeys.ErrorMessage, reason).Build();

    public DiameterMessage Refusal(DiameterMessage request, DiameterFault fault) =>
        WithOrigin(options.Dictionary.Answer(request, fault.ResultCode)).Add(fault).Build();

    public static IReadOnlySet<uint> ApplicationsOf(DiameterMessage capabilities)
    {
        var ids = new HashSet<uint>();
        Collect(capabilities.Avps);
        foreach (var group in capabilities.Avps.All(AvpKeys.VendorSpecificApplicationId))
        {
            if (group.TryReadGroup(DiameterLimits.Default, out var members, out _))
            {
                Collect(members);
            }
        }

        return ids;

        void Collect(AvpList avps)
        {
            foreach (var avp in avps)
            {
                if ((avp.Key == AvpKeys.AuthApplicationId || avp.Key == AvpKeys.AcctApplicationId) && avp.TryReadUnsigned32(out var id))
                {
                    ids.Add(id);
                }
            }
        }
    }

    /// <summary>
    /// Judges CER or CEA of the peer the message names (RFC 6733 section 5.3). With TLS one DNS name of the certificate
    /// must be the Origin-Host, whoever dialled (section 13.1); nothing else binds the two.
    /// </summary>
    public DiameterFault? Judge(DiameterMessage capabilities, DiameterConnection connection, DiameterPeerOptions? peer)
    {
        if (peer is null)
        {
            return Fault(DiameterResult.UnknownPeer, "Origin-Host", "not a configured peer", "RFC 6733 section 5.3");
        }

        if (connection.Secured && !connection.PeerNames.Contains(peer.Identity, StringComparer.OrdinalIgnoreCase))
        {
            return Fault(DiameterResult.UnknownPeer, "Origin-Host", "the certificate has no such DNS name", "RFC 6733 section 13.1");
        }

        if (!connection.Secured && peer.Secured)
        {
            return Fault(DiameterResult.NoCommonSecurity, "Origin-Host", "this peer must use TLS", "spec network-vpn M2");
        }

        var inband = capabilities.Avps.All(AvpKeys.InbandSecurityId).ToList();
        if (!connection.Secured && inband.Count > 0 && !inband.Exists(a => a.TryReadUnsigned32(out var id) && id == NoInbandSecurity))
        {
            return Fault(DiameterResult.NoCommonSecurity, "Inband-Security-Id", "only TLS after the capabilities exchange is offered", "RFC 6733 section 5.3");
        }

        var theirs = ApplicationsOf(capabilities);
        var common = theirs.Contains(DiameterApplications.Relay) || options.Applications.Contains(DiameterApplications.Relay) || theirs.Overlaps(options.Applications);
        return common ? null : Fault(DiameterResult.NoCommonApplication, "Auth-Application-Id", "no common application", "RFC 6733 section 5.3");
    }

    private static DiameterFault Fault(uint result, string field, string reason, string clause) => new(result, null, new WireError(field, 0, reason, clause));

    public DiameterMessageBuilder WithOrigin(DiameterMessageBuilder builder) => builder.Add(OriginHost).Add(OriginRealm);

    private DiameterMessage WithCapabilities(DiameterMessageBuilder builder)
    {
        foreach (var address in options.Addresses)
        {
            builder.Add(AvpKeys.HostIpAddress, address);
        }

        builder.Add(AvpKeys.VendorId, options.VendorId)
            .Add(AvpKeys.ProductName, options.ProductName)
            .Add(AvpKeys.OriginStateId, OriginStateId);
        if (options.Dictionary.EnterpriseNumber is { } vendor)
        {
            builder.Add(AvpKeys.SupportedVendorId, vendor);
        }

        foreach (var application in options.Applications)
        {
            builder.Add(AvpKeys.AuthApplicationId, application);
        }

        return builder.Build();
    }
}
