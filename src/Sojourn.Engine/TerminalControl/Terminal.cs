using System.Net;
using Sojourn.Engine.MobileIpv6;

namespace Sojourn.Engine.TerminalControl;

/// <summary>A key exchange of a terminal and the association number its child SAs stand under.</summary>
internal sealed class TerminalSession
{
    public required Terminal Terminal { get; init; }

    /// <summary>Changes when the IKE SA is rekeyed.</summary>
    public required long IkeSa { get; set; }

    public required long Association { get; init; }

    /// <summary>The terminal's end of the key exchange.</summary>
    public required IPEndPoint Remote { get; set; }

    /// <summary>How the terminal named itself; the identifier or the home address (spec 7.1).</summary>
    public required string Identity { get; init; }

    /// <summary>End of the certificate, and with it of the association (spec L3).</summary>
    public required DateTimeOffset CertificateEnds { get; init; }

    /// <summary>The home agent has been told of the association.</summary>
    public bool Established { get; set; }
}

/// <summary>A terminal that has proved who it is and that its home address is its own: one home address with its key exchanges.</summary>
internal sealed class Terminal
{
    public required IPAddress HomeAddress { get; init; }

    public required string Identifier { get; init; }

    public required IPNetwork Prefix { get; init; }

    /// <summary>End of the prefix's valid lifetime as last heard (spec L2, L4).</summary>
    public required DateTimeOffset ValidUntil { get; set; }

    /// <summary>When the delegating router is asked again.</summary>
    public required DateTimeOffset NextCheck { get; set; }

    public bool Asking { get; set; }

    /// <summary>Its binding is gone; unless another comes until then, its key exchanges are ended (spec TA-M13).</summary>
    public DateTimeOffset? CloseAt { get; set; }

    /// <summary>Of its entry in the queue of wakes that counts.</summary>
    public DateTimeOffset? ScheduledAt { get; set; }

    /// <summary>Oldest first.</summary>
    public List<TerminalSession> Sessions { get; } = [];

    /// <summary>When something is due next.</summary>
    public DateTimeOffset Wake
    {
        get
        {
            var at = Asking || ValidUntil < NextCheck ? ValidUntil : NextCheck;
            at = CloseAt < at ? CloseAt.Value : at;
            foreach (var session in Sessions)
            {
                at = session.CertificateEnds < at ? session.CertificateEnds : at;
            }

            return at;
        }
    }

    public HomePrefix HomePrefix => new(Prefix, ValidUntil, ValidUntil, OnLink: false);
}

/// <summary>What is known of a terminal with an association, for people.</summary>
public sealed record TerminalView(
    IPAddress HomeAddress, string Identifier, string Identity, IPNetwork Prefix, DateTimeOffset ValidUntil, DateTimeOffset CertificateEnds, IPEndPoint Remote, long IkeSa, long Association, bool Established);
