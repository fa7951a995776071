using System.Net;
using Sojourn.Engine.Access;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Ipv6Host;

namespace Sojourn.Engine.Terminal;

/// <summary>What makes an access link usable: device authentication (spec TA1.103 to 104x), and with the M flag an address of its server (TA1.102).</summary>
public sealed partial class TerminalNode
{
    private sealed class AccessLink(TerminalLink options, DeviceAuthentication? proof)
    {
        public string Interface { get; } = options.Interface;

        public Ipv6Host.Ipv6Host Host { get; } = new(new Ipv6HostOptions { Interface = options.Interface, LinkAddress = options.LinkAddress, Mtu = options.Mtu });

        /// <summary>Null: this link asks for no proof.</summary>
        public Supplicant? Supplicant { get; } = proof is null ? null : new Supplicant(new SupplicantOptions { Interface = options.Interface, Eap = proof.Eap, Required = proof.Required });

        /// <summary>The access network lets the device use the link (TA1.104).</summary>
        public bool Admitted => Supplicant?.IsAdmitted != false;

        public LinkConfigured? Configured { get; set; }

        /// <summary>Counts up over the links as they become usable, so that the newest has the highest; 0 = it is not usable.</summary>
        public int Usable { get; set; }

        /// <summary>DHCPv6 client of the link, once a router has asked for one (M flag).</summary>
        public RequestingRouter? AddressClient { get; set; }

        /// <summary>Epoch of the link whose servers <see cref="AddressClient"/> asks.</summary>
        public int AddressEpoch { get; set; }

        /// <summary>What the server gave.</summary>
        public IPAddress? Leased { get; set; }

        /// <summary>No server answered or none gave an address, in spite of the M flag.</summary>
        public bool LeaseUnavailable { get; set; }

        public bool Holds(IPAddress address) => Configured is { Up: true } link && link.Addresses.Any(a => a.Address.Equals(address));
    }

    /// <summary>Row TA1.104: what was said on the shut port nobody heard, so the addresses are tested and the routers asked anew.</summary>
    private void OnAdmission(LinkAdmission admission)
    {
        var link = FindLink(admission.Interface)!;
        if (admission.Allowed)
        {
            Say("terminal.admitted", EventSeverity.Information, $"{admission.Interface} may be used{(admission.Reason.Length > 0 ? ": " + admission.Reason : "")}", "TA1.104");
            Tell(link.Host, new TestAddressesAgain());
        }
        else if (link.Configured is not { Up: false })
        {
            _trouble = $"the access network does not let the device use {admission.Interface}: {admission.Reason}";
            Say("terminal.not_admitted", EventSeverity.Warning, _trouble, "TA1.104x");
        }

        if (link.Configured is not null)
        {
            Configure(link);
            Choose(link);
        }
    }

    /// <summary>M flag: the address is the server's choice (spec TA1.102), and on another link another server's.</summary>
    private void Configure(AccessLink link)
    {
        var configured = link.Configured!;
        if (link.AddressClient is { } former && link.AddressEpoch != configured.Epoch)
        {
            Tell(former, new ReleaseLease(LeaseKind.Address, IaidOf(link), Tell: false), keeps: false);
            (link.AddressClient, link.LeaseUnavailable) = (null, false);
        }

        if (configured is { Up: true, Managed: true } && link is { Admitted: true, AddressClient: null })
        {
            var client = new RequestingRouter(new RequestingRouterOptions { Duid = _duid, Interface = link.Interface }, _random);
            (link.AddressClient, link.AddressEpoch) = (client, configured.Epoch);
            Tell(client, new EngineStarted([]), keeps: false);
            Tell(client, new AcquireAddress(IaidOf(link)), keeps: false);
        }
    }

    /// <summary>Somebody else has the address: the server is told, and gives another (RFC 8415 18.2.8).</summary>
    private void OnDuplicate(DuplicateAddressFound duplicate)
    {
        if (FindLink(duplicate.Interface) is { AddressClient: { } client } link && duplicate.Address.Equals(link.Leased))
        {
            Tell(client, new DeclineAddress(IaidOf(link)), keeps: false);
        }
    }

    private void OnLeased(AccessLink link, AddressLeased leased)
    {
        if (!leased.Address.Equals(link.Leased))
        {
            Say("terminal.address_leased", EventSeverity.Information, $"{leased.Address} on {link.Interface} from DHCPv6 server {leased.Server}", "TA1.102");
        }

        (link.Leased, link.LeaseUnavailable) = (leased.Address, false);
        Tell(link.Host, new AddHostAddress(leased.Address, leased.PreferredUntil, leased.ValidUntil));
    }
}
