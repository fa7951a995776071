using System.Net;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>Why a foreign agent refuses a request before or after asking anybody.</summary>
internal sealed record RequestRefusal(RegistrationReplyCode Code, string Counter, string Text, string Rule);

/// <summary>What a foreign agent checks by itself (RFC 5944 3.7.2.1, RFC 3024 4.2, RFC 2794 3, RFC 3115 2.4), and what it makes of AAA refusals.</summary>
internal static class RegistrationChecks
{
    private static readonly Dictionary<uint, RegistrationReplyCode> CodesOfResults = new()
    {
        [DiameterResult.AuthenticationRejected] = RegistrationReplyCode.ForeignMobileNodeFailedAaaAuthentication,
        [DiameterResult.MipReplyFailure] = RegistrationReplyCode.ForeignPoorlyFormedReply,
        [DiameterResult.HomeAgentNotAvailable] = RegistrationReplyCode.ForeignHomeAgentUnreachable,
        [DiameterResult.OutOfSpace] = RegistrationReplyCode.ForeignInsufficientResources,
        [DiameterResult.ResourcesExceeded] = RegistrationReplyCode.ForeignInsufficientResources,
        [DiameterResult.TooBusy] = RegistrationReplyCode.ForeignInsufficientResources,
        [DiameterResult.AuthorizationRejected] = RegistrationReplyCode.ForeignProhibited,
        [DiameterResult.EndToEndMipKeyEncryption] = RegistrationReplyCode.ForeignProhibited,
        [DiameterResult.UnableToDeliver] = RegistrationReplyCode.ForeignHomeNetworkUnreachable,
        [DiameterResult.RealmNotServed] = RegistrationReplyCode.ForeignHomeNetworkUnreachable,
        [DiameterResult.LoopDetected] = RegistrationReplyCode.ForeignHomeNetworkUnreachable,
    };

    public static RegistrationReplyCode CodeOf(uint resultCode) => CodesOfResults.GetValueOrDefault(resultCode, RegistrationReplyCode.ForeignUnspecified);

    public static RequestRefusal RefusalOf(DeliveryFailure failure) => failure switch
    {
        DeliveryFailure.InvalidAnswer => new(RegistrationReplyCode.ForeignPoorlyFormedReply, "fa.ama.unreadable", "the AAA servers' answer cannot be used", "NV-A21, RFC 4004 5.2"),
        DeliveryFailure.TooManyPending => new(RegistrationReplyCode.ForeignInsufficientResources, "fa.amr.too_many", "too many registrations wait for the AAA servers", "RFC 5944 3.7.2.1"),
        DeliveryFailure.TooLong => new(RegistrationReplyCode.ForeignPoorlyFormedRequest, "fa.amr.too_long", "the request is too long for the AAA servers", "RFC 5944 3.7.2.1"),
        _ => new(RegistrationReplyCode.ForeignHomeNetworkUnreachable, "fa.amr.undelivered", $"the AAA servers cannot be reached ({failure})", "RFC 4004 3.1"),
    };

    public static RequestRefusal? Check(RegistrationRequest request, ForeignAgentOptions options)
    {
        const RegistrationFlags reserved = RegistrationFlags.Reserved | RegistrationFlags.ReservedLast;
        if ((request.Flags & reserved) != 0)
        {
            return new(RegistrationReplyCode.ForeignPoorlyFormedRequest, "fa.rrq.reserved_bits", "reserved flag bits are set", "RFC 5944 3.7.2.1");
        }

        if (request.Extensions.Find<VendorExtension>(e => e.IsForeignCritical(options.EnterpriseNumber)) is not null)
        {
            return new(RegistrationReplyCode.ForeignUnknownVendorExtensionFromMobileNode, "fa.rrq.critical_vendor_extension", "a critical vendor extension is not known here", "RFC 3115 2.4");
        }

        if ((request.Flags & RegistrationFlags.Decapsulation) != 0 || !request.CareOfAddress.Equals(options.CareOfAddress))
        {
            return new(RegistrationReplyCode.ForeignInvalidCareOfAddress, "fa.rrq.care_of_address", $"care-of address {request.CareOfAddress} is not this agent's", "RFC 5944 3.7.2.1, spec 7.1 (D = 0)");
        }

        if ((request.Flags & (RegistrationFlags.MinimalEncapsulation | RegistrationFlags.Gre)) != 0)
        {
            return new(RegistrationReplyCode.ForeignEncapsulationUnavailable, "fa.rrq.encapsulation", "only IP-in-IP encapsulation is offered", "RFC 5944 3.7.2.1");
        }

        if (options.ReverseTunnelMandatory && (request.Flags & RegistrationFlags.ReverseTunnel) == 0)
        {
            return new(RegistrationReplyCode.ForeignReverseTunnelMandatory, "fa.rrq.no_reverse_tunnel", "a reverse tunnel is mandatory here and T is not set", "RFC 3024 4.2.1");
        }

        if (request.Nai is null)
        {
            return new(RegistrationReplyCode.ForeignMissingNai, "fa.rrq.no_nai", "the request names no user", "RFC 2794 3, S105");
        }

        if (request.Lifetime != 0 && request.Lifetime > options.RegistrationLifetime.TotalSeconds)
        {
            return new(RegistrationReplyCode.ForeignLifetimeTooLong, "fa.rrq.lifetime", $"lifetime {request.Lifetime} s is longer than the {options.RegistrationLifetime.TotalSeconds:0} s offered", "RFC 5944 3.7.2.1");
        }

        return request.HomeAgent.Equals(request.CareOfAddress) && !request.HomeAgent.Equals(IPAddress.Any)
            ? new(RegistrationReplyCode.ForeignInvalidHomeAgentAddress, "fa.rrq.home_agent", "the home agent address is the care-of address", "RFC 5944 3.7.2.1")
            : null;
    }
}
