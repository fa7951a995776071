// Reading: whether the registration with the anchor point is under IPsec is left open; it always is here (RFC 5380 11.2), data are
// where an association for them is configured (spec terminal SP6).
using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>Preset associations with one anchor point; they are made for a regional address.</summary>
/// <param name="Signalling">ESP in transport mode for local binding updates and acknowledgements.</param>
/// <param name="Data">ESP in tunnel mode for what goes between regional address and anchor point; null = it is tunnelled in clear.</param>
public sealed record AnchorAssociations(IPAddress Anchor, Func<IPAddress, ChildSa> Signalling, Func<IPAddress, ChildSa>? Data);

/// <summary>Policies and associations of the HMIPv6 part (TM-P12), apart from those of Mobile IPv6 (TM6.52, TM-M4).</summary>
internal sealed class AnchorSecurity(IReadOnlyList<AnchorAssociations> presets, IRandomSource random) : IDisposable
{
    /// <summary>Octets of outer header, ESP header, IV, padding, trailer and ICV at most.</summary>
    public const int TunnelOverhead = 40 + TransportEsp.MaximumOverhead;

    private readonly TransportEsp _signalling = new(random);
    private readonly TunnelEsp _data = new(random);
    private readonly Dictionary<IPAddress, (IPAddress Regional, long Number)> _established = [];
    private long _last;

    public TransportEsp Signalling => _signalling;

    public TunnelEsp Data => _data;

    public IEnumerable<ChildSaUse> Uses => _signalling.Uses.Concat(_data.Uses);

    public bool ProtectsData(IPAddress anchor) => presets.Any(p => p.Anchor.Equals(anchor) && p.Data is not null);

    /// <summary>Number of what stands with an anchor point; null = nothing does.</summary>
    public long? NumberOf(IPAddress anchor) => _established.TryGetValue(anchor, out var known) ? known.Number : null;

    /// <summary>Has the associations of an anchor point stand for a regional address; null = none are configured with it.</summary>
    public SignallingAssociation? Establish(IPAddress anchor, IPAddress regional, IPAddress onLink)
    {
        if (presets.FirstOrDefault(p => p.Anchor.Equals(anchor)) is not { } preset)
        {
            return null;
        }

        if (!_established.TryGetValue(anchor, out var known) || !known.Regional.Equals(regional))
        {
            if (known.Regional is not null)
            {
                // Their SPIs are the preset's, so no two pairs of one anchor point can stand.
                _signalling.RemoveAll(known.Number);
                _data.Remove(known.Number);
            }

            known = (regional, --_last);
            _established[anchor] = known;
            _signalling.Install(preset.Signalling(regional) with { Id = known.Number }, known.Number);
            if (preset.Data is { } data)
            {
                _data.Install(data(regional) with { Id = known.Number }, known.Number);
            }
        }

        return new SignallingAssociation(known.Number, regional, onLink, anchor.ToString(), Moves: false);
    }

    public void Dispose()
    {
        _signalling.Dispose();
        _data.Dispose();
    }
}
