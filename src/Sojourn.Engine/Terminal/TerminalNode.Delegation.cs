// Readings:
// - The prefix comes from home, whatever link the terminal is on: a move is no reason to have it confirmed. While there is none, a new
//   link is a reason to ask at once.
// - The home address lies in the first /64 of the delegated prefix (spec TA-M28).
using System.Buffers.Binary;
using System.Net;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Wire.Dhcpv6;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>DHCPv6: the home prefix (spec TA1.108 to 115), and a care-of address where a router asks for it (M flag, TA1.102).</summary>
public sealed partial class TerminalNode
{
    private const ushort ClientPort = Dhcpv6Limits.ClientPort;

    private RequestingRouter? _prefixClient;
    private Duid _duid;
    private bool _prefixAsked;

    private DateTimeOffset? DelegationDeadline
    {
        get
        {
            var next = _prefixClient?.NextDeadline;
            foreach (var link in _links)
            {
                next = Earlier(next, link.AddressClient?.NextDeadline);
            }

            return next;
        }
    }

    private void PrepareDelegation()
    {
        if (_options.PrefixRequest is { } request)
        {
            if (!Duid.TryParse(request.Duid.Span, out _duid, out var error))
            {
                throw new ArgumentException($"DUID: {error}");
            }

            _prefixClient = new RequestingRouter(new RequestingRouterOptions { Duid = _duid, Interface = AnyLink }, _random);
        }
        else
        {
            _duid = Duid.OfLinkLayer(1, _options.Links[0].LinkAddress.ToArray());
        }
    }

    private void StartDelegation(EngineStarted started)
    {
        if (_prefixClient is not null)
        {
            Tell(_prefixClient, started);
        }
    }

    private void WakeDelegation()
    {
        if (_prefixClient is not null)
        {
            Wake(_prefixClient);
        }

        foreach (var link in _links)
        {
            if (link.AddressClient is { } client)
            {
                Wake(client, keeps: false);
            }
        }
    }

    private bool AskForPrefix()
    {
        if (_prefixAsked || _prefixClient is null)
        {
            return false;
        }

        _prefixAsked = true;
        Tell(_prefixClient, new AcquirePrefix(_options.PrefixRequest!.Iaid));
        return true;
    }

    /// <summary>The link that counts has changed, or something of it.</summary>
    private void LinkSeen(bool another)
    {
        if (another && _prefixAsked && _home is null && _active is not null)
        {
            Tell(_prefixClient!, new LinkChanged(AnyLink, true));
        }
    }

    private uint IaidOf(AccessLink link) => (uint)_links.IndexOf(link) + 1;

    private void OnDhcp(DatagramReceived datagram)
    {
        // Each takes the transactions that are its own.
        if (_prefixClient is not null)
        {
            Tell(_prefixClient, datagram with { Interface = AnyLink });
        }

        if (FindLink(datagram.Interface!)?.AddressClient is { } client)
        {
            Tell(client, datagram, keeps: false);
        }
        else if (_prefixClient is null)
        {
            _out.Count("terminal.not_for_applications");
        }
    }

    private bool CarryOutDelegation(Effect effect)
    {
        switch (effect)
        {
            case PrefixDelegated delegated:
                _prefixAsked = true;
                OnPrefix(delegated.Prefix, delegated.ValidUntil);
                return true;
            case PrefixLost lost:
                if (_home is not null && lost.Prefix.Contains(_home.HomeAddress))
                {
                    LoseHome($"the home prefix {lost.Prefix} is gone: {lost.Reason}");
                }

                return true;
            case AddressLeased leased:
                OnLeased(_links[(int)leased.Iaid - 1], leased);
                return true;
            case AddressLost lost:
                var from = _links[(int)lost.Iaid - 1];
                from.Leased = null;
                Tell(from.Host, new RemoveHostAddress(lost.Address));
                return true;
            case LeaseUnavailable unavailable:
                if (unavailable.Kind == LeaseKind.Address && _links[(int)unavailable.Iaid - 1] is { LeaseUnavailable: false } without)
                {
                    without.LeaseUnavailable = true;
                    Choose(without);
                }

                _trouble = unavailable.Text;
                _out.Count(unavailable.Kind == LeaseKind.Prefix ? "terminal.prefix_unavailable" : "terminal.address_unavailable");
                return true;
            default:
                return false;
        }
    }

    private void OnPrefix(IPNetwork delegated, DateTimeOffset validUntil)
    {
        if (delegated.PrefixLength > 64)
        {
            Say("terminal.prefix_unusable", EventSeverity.Warning, $"no home address fits into {delegated}", "TA-M28");
            return;
        }

        var prefix = new IPNetwork(delegated.BaseAddress, 64);
        UseHome(AddressIn(prefix), prefix, validUntil);
    }

    /// <summary>Home address = prefix + interface identifier (spec TA1.115).</summary>
    private IPAddress AddressIn(IPNetwork prefix)
    {
        Span<byte> octets = stackalloc byte[IPv6Octets.Size];
        IPv6Octets.Write(octets, prefix.BaseAddress);
        if (_options.InterfaceIdentifier is { } identifier)
        {
            BinaryPrimitives.WriteUInt64BigEndian(octets[8..], identifier);
        }
        else
        {
            var link = _options.Links[0].LinkAddress.ToArray();
            ReadOnlySpan<byte> modified = [(byte)(link[0] ^ 2), link[1], link[2], 0xFF, 0xFE, link[3], link[4], link[5]];
            modified.CopyTo(octets[8..]);
        }

        return new IPAddress(octets);
    }
}
