using System.Net;
using Sojourn.Engine;
using Sojourn.Host;
using Sojourn.Host.Observation;
using Sojourn.Roles.Hosting;

namespace Sojourn.Cli.Terminals;

/// <summary>What a terminal is at one moment, for the person in front of it. With <c>--json</c> a line each; members may be added.</summary>
/// <param name="State">Of docs/terminal.md, <c>REG</c> when registered.</param>
/// <param name="Anchor">Anchor point or gateway with an own registration; null without.</param>
/// <param name="Methods">Scenario numbers that are valid.</param>
/// <param name="Translations">Entries of the translation table.</param>
/// <param name="HandOver">The last one, with its phases.</param>
/// <param name="Rose">Counters that rose since the status before, and by how much.</param>
/// <param name="Events">What happened since the status before.</param>
internal sealed record TerminalStatus(
    string Schema, string Node, DateTimeOffset At, string State, IPAddress? HomeAddress, IPAddress? CareOfAddress, IPAddress? VirtualAddress, IPAddress? HomeAgent, IPAddress? Anchor,
    DateTimeOffset? Expires, IReadOnlyList<MobileTunnelRow> Tunnels, IReadOnlyList<int> Methods, int Translations, TerminalHandOver? HandOver,
    IReadOnlyDictionary<string, long> Rose, IReadOnlyList<TerminalEvent> Events)
{
    /// <summary>True when there is something to say that the status before did not.</summary>
    public bool Differs(TerminalStatus? before) =>
        before is null || Events.Count > 0 || State != before.State || Translations != before.Translations || !Equals(HomeAddress, before.HomeAddress) || !Equals(CareOfAddress, before.CareOfAddress)
        || !Equals(VirtualAddress, before.VirtualAddress) || !Equals(HomeAgent, before.HomeAgent) || !Equals(Anchor, before.Anchor) || !Tunnels.SequenceEqual(before.Tunnels) || !Methods.SequenceEqual(before.Methods);
}

internal sealed record TerminalHandOver(DateTimeOffset At, IReadOnlyList<EventPhase> Phases);

internal sealed record TerminalEvent(DateTimeOffset Time, EventSeverity Level, string Id, string Event, string Text);

/// <summary>Reads the status of a terminal that runs in this process, again and again.</summary>
internal sealed class TerminalWatch(NodeHost host)
{
    private IReadOnlyDictionary<string, long> _counters = new Dictionary<string, long>();
    private long _lastEvent;

    public async Task<TerminalStatus> ReadAsync()
    {
        var tables = host.Tables;
        var session = (await tables.Sessions().ConfigureAwait(false)).Sessions[0];
        var translations = (await tables.Translations().ConfigureAwait(false)).Entries;
        var counters = tables.Counters().Counters;
        var rose = new SortedDictionary<string, long>(counters.Where(c => c.Value > _counters.GetValueOrDefault(c.Key)).ToDictionary(c => c.Key, c => c.Value - _counters.GetValueOrDefault(c.Key)), StringComparer.Ordinal);
        _counters = new Dictionary<string, long>(counters);
        var events = host.Events.Latest(int.MaxValue, e => e.Number > _lastEvent);
        _lastEvent = events.Count > 0 ? events[^1].Number : _lastEvent;
        var handOver = host.Events.Latest(1, e => e.Event.Kind == "handover.timed");
        return new TerminalStatus(
            "sojourn/terminal-up/1", host.Node.Options.Node, DateTimeOffset.UtcNow, session.State, session.HomeAddress, session.CareOfAddress,
            translations.FirstOrDefault(t => t.Kind == "own")?.Ipv4Address, session.HomeAgent, (await AnchorAsync(session).ConfigureAwait(false)),
            session.Expires, (await tables.MobileTunnels().ConfigureAwait(false)).Tunnels, [.. (await tables.Scenarios().ConfigureAwait(false)).Scenarios.Where(s => s.Valid).Select(s => s.Number)],
            translations.Count, handOver is [var last] ? new TerminalHandOver(last.Time, last.Event.Phases ?? []) : null, rose,
            [.. events.Where(e => e.Event.Severity > EventSeverity.Debug).Select(e => new TerminalEvent(e.Time, e.Event.Severity, e.Id, e.Event.Kind, e.Event.Text))]);
    }

    /// <summary>A registration of another address than the home address is a regional one (RFC 5380): its peer is the anchor point.</summary>
    private async Task<IPAddress?> AnchorAsync(SessionRow session) =>
        (await host.Tables.Bindings().ConfigureAwait(false)).Bindings.FirstOrDefault(b => !b.HomeAddress.Equals(session.HomeAddress))?.Supplier;
}
