// Readings:
// - S116 and NV-A14 let a plain registration leave everything as it is. With this on, a registration that the AAAH itself has asked
//   for, because the user's data have changed, counts as one with a service update request (NV7.2) wherever it comes from.
// - RFC 6733 8.3: the RAR goes to the access session, for it is the foreign agent that asks for authorization (AMR); the
//   home agent hears of it by the HAR that follows. An agent that does not have the session any more, or cannot be reached, changes
//   nothing: the next registration that reaches this server brings the news all the same.
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Aaa;

/// <summary>Tells sessions that their users' VPN data have changed (spec NV7, RFC 6733 8.3).</summary>
public sealed partial class HomeAaaServer
{
    private static readonly TimeSpan LookForChanges = TimeSpan.FromSeconds(1);

    /// <summary>Sessions whose next registration searches the VPN database again.</summary>
    private readonly HashSet<string> _outOfDate = new(StringComparer.Ordinal);
    private bool _announceChanges;
    private DateTimeOffset? _nextLook;
    private long? _changesSeen;
    private long? _changesVersion;

    /// <summary>Whether sessions are told of changes in the VPN database while they last. Set on the owner loop.</summary>
    public bool AnnounceChanges
    {
        get => _announceChanges;
        set
        {
            if (value != _announceChanges)
            {
                // What changed while nobody looked stays unannounced, as it was.
                (_announceChanges, _changesSeen, _changesVersion) = (value, null, null);
                _nextLook = value ? DateTimeOffset.MinValue : null;
            }
        }
    }

    private void Look(DateTimeOffset now, EffectSink effects)
    {
        if (_nextLook is not { } due || due > now)
        {
            return;
        }

        _nextLook = now + LookForChanges;
        var version = _directory.Version;
        if (version == _changesVersion)
        {
            return;
        }

        _changesVersion = version;
        var (position, users) = _directory.VpnChanges(_changesSeen);
        _changesSeen = position;
        if (users.Count == 0)
        {
            return;
        }

        var changed = users.ToHashSet(StringComparer.Ordinal);
        foreach (var session in _cache.All.Where(s => changed.Contains(s.Nai)).ToList())
        {
            _outOfDate.Add(session.Id);
            effects.Emit(new Report(new EngineEvent("session.out_of_date", EventSeverity.Information, $"the user's VPN data have changed; {session.AccessHost} is asked to have the node register again")
            {
                Session = session.Id,
                Nai = session.Nai,
                HomeAddress = session.HomeAddress,
                CareOfAddress = session.CareOfAddress,
                Peer = session.AccessHost,
                Rule = "RFC 6733 8.3",
            }));
            AskToReauthorize(session.AccessSession, (session.AccessHost, session.AccessRealm), session.Nai, session.Id, now, effects);
        }
    }
}
