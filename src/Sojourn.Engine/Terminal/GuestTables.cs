// Reading: part 25 and part 24 keep lists of their own. This one is part 24's: correspondents only, made and deleted by scenario
// programs, asked by step 102; what is for the home agent itself takes the tunnel.
using System.Net;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal.Scenarios;

namespace Sojourn.Engine.Terminal;

/// <summary>IP-in-IP tunnel information of part 24 (spec terminal 3.4): one record per home agent, changed in place when the care-of address does .</summary>
/// <param name="CareOfAddress">Start.</param>
/// <param name="HomeAgent">End.</param>
public sealed record TunnelInformation(IPAddress CareOfAddress, IPAddress HomeAgent, IPAddress HomeAddress);

/// <summary>An entry of part 24's binding list (table 210), asked by step 102.</summary>
public sealed record CorrespondentEntry(IPAddress Peer, IPAddress HomeAddress, IPAddress CareOfAddress, DateTimeOffset Expires);

/// <summary>Gives the home address its virtual IPv4 address (table 230); null in a terminal without translation.</summary>
/// <returns>The address; null when the pool has none.</returns>
public delegate IPAddress? BindVirtualAddress(IPAddress home, DateTimeOffset expires, DateTimeOffset now);

/// <summary>What scenario programs set and part 24 goes by: tunnel information, own binding list, addresses of interface 19.</summary>
public sealed class GuestTables(Func<IPAddress, bool> holds, BindVirtualAddress? translation = null) : IScenarioGuest
{
    public const int MaximumCorrespondents = 64;

    private Dictionary<IPAddress, TunnelInformation> _tunnels = [];
    private Dictionary<IPAddress, CorrespondentEntry> _correspondents = [];

    public IReadOnlyCollection<TunnelInformation> Tunnels => _tunnels.Values;

    public IReadOnlyCollection<CorrespondentEntry> Correspondents => _correspondents.Values;

    /// <summary>Home address on interface 19; null = it has none.</summary>
    public IPAddress? HostHome { get; private set; }

    /// <summary>Virtual IPv4 address on interface 19; null = it has none.</summary>
    public IPAddress? HostVirtual { get; private set; }

    /// <summary>The anchor point that has bound the terminal (spec terminal 3.5); null = none.</summary>
    public AnchorRegistration? Anchor { get; private set; }

    /// <summary>What the host part was told last (steps 96, 97).</summary>
    public AnchorRegistration? AnchorAtHost { get; private set; }

    public TunnelInformation? TunnelOf(IPAddress? home) => _tunnels.Values.FirstOrDefault(t => t.HomeAddress.Equals(home));

    public CorrespondentEntry? Find(IPAddress peer, DateTimeOffset now) => _correspondents.TryGetValue(peer, out var entry) && entry.Expires > now ? entry : null;

    /// <inheritdoc/>
    public bool TrySetTunnel(IPAddress homeAgent, IPAddress careOf, IPAddress home)
    {
        if (!holds(careOf) || homeAgent.Equals(careOf))
        {
            return false;
        }

        // Type 3: the acknowledgement comes to the on-link address, registered is the regional one.
        careOf = Anchor is { Mode: AnchorMode.Direct } anchor && anchor.OnLink.Equals(careOf) ? anchor.Regional : careOf;
        _tunnels[homeAgent] = new TunnelInformation(careOf, homeAgent, home);
        return true;
    }

    /// <inheritdoc/>
    public bool TrySetCorrespondent(IPAddress peer, IPAddress home, IPAddress careOf, DateTimeOffset expires)
    {
        if (!holds(careOf) || (_correspondents.Count >= MaximumCorrespondents && !_correspondents.ContainsKey(peer)))
        {
            return false;
        }

        _correspondents[peer] = new CorrespondentEntry(peer, home, careOf, expires);
        return true;
    }

    /// <inheritdoc/>
    public bool RemoveCorrespondent(IPAddress peer) => _correspondents.Remove(peer);

    /// <inheritdoc/>
    public bool TryBindVirtualAddress(IPAddress home, DateTimeOffset expires, DateTimeOffset now)
    {
        if (translation?.Invoke(home, expires, now) is not { } address)
        {
            return false;
        }

        (HostVirtual, HostHome) = (address, null);
        return true;
    }

    /// <inheritdoc/>
    public void ShowHomeAddress(IPAddress home) => (HostHome, HostVirtual) = (home, null);

    /// <inheritdoc/>
    public bool TrySetAnchor(AnchorRegistration registration)
    {
        if (!holds(registration.OnLink) || registration.Regional.Equals(registration.OnLink) || registration.Anchor.Equals(registration.Regional))
        {
            return false;
        }

        Anchor = registration;
        return true;
    }

    /// <inheritdoc/>
    public bool HostKnows(AnchorRegistration registration) => registration.IsSameForHost(AnchorAtHost);

    /// <inheritdoc/>
    public void TellHost(AnchorRegistration registration) => AnchorAtHost = registration;

    /// <summary>No anchor point is in force any more; what the host part knows of the last one it knows in vain.</summary>
    public void ForgetAnchor() => (Anchor, AnchorAtHost) = (null, null);

    /// <summary>The binding of a home address is over: its tunnel goes, what the host sees stays.</summary>
    public void RemoveTunnel(IPAddress home)
    {
        foreach (var tunnel in _tunnels.Values.Where(t => t.HomeAddress.Equals(home)).ToList())
        {
            _tunnels.Remove(tunnel.HomeAgent);
        }
    }

    /// <summary>The home address is gone, and with it everything that was made for it.</summary>
    public void Forget(IPAddress home)
    {
        RemoveTunnel(home);
        _correspondents.Clear();
        (HostHome, HostVirtual) = (null, null);
    }

    internal State Save() => new(new(_tunnels), new(_correspondents), HostHome, HostVirtual, Anchor, AnchorAtHost);

    internal void Restore(State before) =>
        (_tunnels, _correspondents, HostHome, HostVirtual, Anchor, AnchorAtHost) = (before.Tunnels, before.Correspondents, before.Home, before.Virtual, before.Anchor, before.AnchorAtHost);

    internal sealed record State(
        Dictionary<IPAddress, TunnelInformation> Tunnels, Dictionary<IPAddress, CorrespondentEntry> Correspondents, IPAddress? Home, IPAddress? Virtual, AnchorRegistration? Anchor, AnchorRegistration? AnchorAtHost);
}
