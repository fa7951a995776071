using System.Net;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>
/// What a foreign agent keeps over a restart: its visitors with their profiles, and those it still sends after. Registrations
/// under way are not kept; the node repeats its request.
/// </summary>
public sealed partial class ForeignAgent
{
    private void Keep(Visitor visitor, EffectSink effects)
    {
        var session = Vpn.Find(visitor.Session);
        var record = VisitorRecord.Of(visitor, session?.Profiles ?? [], _profileAvps) with { Waiting = [.. session?.Waiting ?? new HashSet<uint>()] };
        effects.Emit(new SaveState(VisitorRecord.KeyOf(visitor.HomeAddress), record.Write()));
    }

    private void Keep(HandedOff away, EffectSink effects)
    {
        var record = VisitorRecord.Of(away.Visitor, away.Held.Values, _profileAvps) with
        {
            Departed = new VisitorRecord.Departure(
                away.NewAgent.ToString(), [.. away.Copies.Values.Select(_profileAvps.EncodeForStore)], new Dictionary<ulong, byte[]>(away.Answers), away.Latest, away.Until),
        };
        effects.Emit(new SaveState(VisitorRecord.KeyOf(away.Visitor.HomeAddress), record.Write()));
    }

    private static void Discard(IPAddress homeAddress, EffectSink effects) => effects.Emit(new DropState(VisitorRecord.KeyOf(homeAddress)));

    private void Restore(IReadOnlyList<SavedState> state, DateTimeOffset now, EffectSink effects)
    {
        var visitors = state.Where(s => s.Key.Table == VisitorRecord.Table).ToList();
        var forgotten = 0;
        foreach (var saved in visitors)
        {
            string? problem;
            try
            {
                problem = VisitorRecord.Read(saved.Value) is { } record ? Restore(record, now, effects) : "the record cannot be read";
            }
            catch (Exception damaged) when (damaged is FormatException or ArgumentException)
            {
                problem = damaged.Message;
            }

            if (problem is not null)
            {
                forgotten++;
                effects.Emit(new DropState(saved.Key));
                effects.Emit(new Report(new EngineEvent("visitor.not_restored", EventSeverity.Warning, $"saved visitor {saved.Key.Key} dropped: {problem}") { Rule = "NV9.8" }));
            }
        }

        if (visitors.Count > 0 && forgotten == 0)
        {
            foreach (var advertiser in _advertisers.Values)
            {
                advertiser.CountOn();
            }
        }

        ScheduleSweep(now);
    }

    /// <summary>Null when the visitor, or the way after it, stands again.</summary>
    private string? Restore(VisitorRecord record, DateTimeOffset now, EffectSink effects)
    {
        if (Profiles(record.Profiles) is not { } profiles || Profiles(record.Departed?.Copies ?? []) is not { } copies)
        {
            return "a profile cannot be read";
        }

        var visitor = record.ToVisitor();
        return record.Departed is { } departed ? Restore(visitor, profiles, copies, departed, now, effects) : Restore(visitor, profiles, record.Waiting ?? [], now, effects);
    }

    private string? Restore(Visitor visitor, IReadOnlyList<VpnProfile> profiles, uint[] waiting, DateTimeOffset now, EffectSink effects)
    {
        if (visitor.Expires <= now)
        {
            return "its lifetime has ended";
        }

        if (!_advertisers.ContainsKey(visitor.Interface))
        {
            return $"{visitor.Interface} is no access link any more";
        }

        if (Vpn.Set(SessionOf(visitor, profiles, null) with { OutboundReady = true, Waiting = waiting.ToHashSet() }, now, effects) is { } refusal)
        {
            return refusal.Text;
        }

        _visitors[visitor.HomeAddress] = visitor;
        effects.Emit(new AddVisitor(visitor.HomeAddress, visitor.Interface, visitor.LinkAddress));
        effects.Emit(new Report(Event("visitor.restored", EventSeverity.Information, $"restored after a restart, with {profiles.Count} VPN profile(s)", visitor.Session, visitor.Nai, visitor.HomeAddress, "M3")));
        return null;
    }

    private string? Restore(Visitor visitor, IReadOnlyList<VpnProfile> held, IReadOnlyList<VpnProfile> copies, VisitorRecord.Departure departed, DateTimeOffset now, EffectSink effects)
    {
        if (departed.Until <= now)
        {
            return "its hand-off has ended";
        }

        var away = new HandedOff
        {
            Visitor = visitor,
            NewAgent = IPAddress.Parse(departed.NewAgent),
            Held = held.ToDictionary(p => p.ProfileNumber),
            Latest = departed.Latest,
            Until = departed.Until,
        };
        foreach (var copy in copies)
        {
            away.Copies[copy.ProfileNumber] = copy;
        }

        foreach (var (identification, answer) in departed.Answers ?? [])
        {
            away.Answers[identification] = answer;
        }

        if (Vpn.Set(SessionOf(away), now, effects) is { } refusal)
        {
            return refusal.Text;
        }

        _handedOff[visitor.HomeAddress] = away;
        _handOffTimes.Enqueue(visitor.HomeAddress, away.Until);
        return null;
    }

    private List<VpnProfile>? Profiles(byte[][] stored)
    {
        var profiles = new List<VpnProfile>(stored.Length);
        foreach (var octets in stored)
        {
            if (octets is null || !_profileAvps.TryDecodeFromStore(octets, out var profile, out _))
            {
                return null;
            }

            profiles.Add(profile);
        }

        return profiles;
    }
}
