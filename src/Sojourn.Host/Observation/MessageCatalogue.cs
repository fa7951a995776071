using System.Text;
using Sojourn.Engine;

namespace Sojourn.Host.Observation;

/// <summary>A message: the event's kind, its number in the log, what it means, what to do.</summary>
public sealed record CatalogueEntry(string Kind, string Id, string Meaning, string Action);

/// <summary>Every message of the log in one place; docs/messages.md is made from it. Numbers are never reused.</summary>
public static class MessageCatalogue
{
    /// <summary>Number of an event whose kind is not listed; a test keeps that from happening.</summary>
    public const string Unlisted = "SJ0000";

    private const string Nothing = "None.";
    private const string SeeReason = "The text and `sojourn explain` name the rule that decided.";

    public static readonly IReadOnlyList<CatalogueEntry> Entries =
    [
        new("node.started", "SJ1001", "The node is up: engine, ports and control socket.", Nothing),
        new("node.stopping", "SJ1002", "The node says goodbye to its peers and removes its paths and routes.", Nothing),
        new("node.stopped", "SJ1003", "Everything is taken back.", Nothing),
        new("node.reloaded", "SJ1004", "A changed configuration was taken over; the text lists what changed.", "Restart the node when the text says that options wait for one."),
        new("node.reload_refused", "SJ1005", "The changed configuration has errors. The old one stays in force.", "Correct the file (`sojourn check`) and reload again."),
        new("node.key_export", "SJ1006", "Keys of associations are written to a file. Whoever reads it reads the traffic.", "Switch `key-export` off outside a laboratory."),
        new("node.cleared", "SJ1007", "An operator ended sessions.", Nothing),
        new("node.not_audited", "SJ1008", "An operator's action could not be written to the audit trail.", "Free disk space; check the state directory."),
        new("host.engine_fault", "SJ1101", "A fault inside the program while handling an input. The node goes on.", "Report it with the log around it."),
        new("host.effect_fault", "SJ1102", "The system refused something the protocol asked for.", "Look at the text: a missing interface, privilege or address."),
        new("host.effect_without_port", "SJ1103", "A fault inside the program: nothing carries out an effect.", "Report it."),
        new("host.state_not_saved", "SJ1104", "State could not be stored, so the messages that promise it were not sent.", "Free disk space; check the state directory's permissions."),
        new("host.stop_timeout", "SJ1105", "The node did not end in time and was cut off.", "Report it with the log around it."),
        new("host.close_failed", "SJ1106", "A resource could not be given back at the end.", "Check for left-over routes or interfaces."),
        new("path.refused", "SJ1201", "The packet path does not take a path; no traffic flows on it.", SeeReason),
        new("path.not_installed", "SJ1202", "The system refused routes, rules or sockets of a path.", "Check privileges (CAP_NET_ADMIN, CAP_NET_RAW) and clashing routes."),
        new("path.not_reserved", "SJ1203", "Sequence numbers of several new paths could not be stored together; each path tries by itself.", "Free disk space; check the state directory."),
        new("registration.requested", "SJ2001", "A mobile node asks to be registered.", Nothing),
        new("registration.accepted", "SJ2002", "A mobile node is registered.", Nothing),
        new("registration.renewed", "SJ2003", "A registration was extended; its paths did not change.", Nothing),
        new("registration.refused", "SJ2004", "A registration was refused.", SeeReason),
        new("registration.refused_by_home", "SJ2005", "The home agent refused a registration.", SeeReason),
        new("registration.dropped", "SJ2006", "A registration message was dropped without an answer.", SeeReason),
        new("registration.reply.dropped", "SJ2007", "A mobile node dropped a reply it cannot trust or match.", "One is a stray; many mean wrong keys or a forger."),
        new("registration.ended", "SJ2008", "A mobile node deregistered.", Nothing),
        new("registration.removed", "SJ2009", "A registration was taken out.", Nothing),
        new("registration.expired", "SJ2010", "A registration's lifetime ran out.", Nothing),
        new("advertisement.malformed", "SJ2011", "An agent advertisement cannot be read.", "Look for a broken or hostile router on the link."),
        new("agent.discovered", "SJ2012", "A mobile node heard a foreign agent.", Nothing),
        new("agent.changed", "SJ2013", "A mobile node moves to another foreign agent.", Nothing),
        new("agent.lost", "SJ2014", "A foreign agent is no longer heard.", Nothing),
        new("agent.restarted", "SJ2015", "A foreign agent began anew; the node registers again.", Nothing),
        new("agent.unanswering", "SJ2016", "A foreign agent does not answer.", "Check the agent and its AAA server."),
        new("visitor.left", "SJ2017", "A visitor left or was told to.", Nothing),
        new("visitor.expired", "SJ2018", "A visitor's registration ran out.", Nothing),
        new("mip4.malformed", "SJ2019", "A Mobile IP message cannot be read.", "One is noise; many mean a broken or hostile sender."),
        new("mip4.unknown_extension", "SJ2020", "A message with an extension that must be understood was dropped.", "Check what the sender supports."),
        new("visitor.restored", "SJ2021", "A visitor was restored after a restart.", Nothing),
        new("visitor.not_restored", "SJ2022", "A saved visitor was not taken back: it has ended, or does not fit the configuration any more.", Nothing),
        new("binding.accepted", "SJ2101", "A gateway took a binding update and built the path.", Nothing),
        new("binding.refused", "SJ2102", "A gateway refused a binding update.", SeeReason),
        new("binding.removed", "SJ2103", "A binding was removed.", Nothing),
        new("binding.expired", "SJ2104", "A binding's lifetime ran out; its paths are gone.", Nothing),
        new("binding.cleared", "SJ2105", "An operator ended a binding.", Nothing),
        new("binding.requested", "SJ2106", "A gateway asked the home agent for a new binding update.", Nothing),
        new("binding.restored", "SJ2107", "A binding was restored after a restart.", Nothing),
        new("binding.not_restored", "SJ2108", "A saved binding does not fit the configuration any more.", "None, when the contract was ended on purpose."),
        new("binding.unreadable", "SJ2109", "A saved binding cannot be read.", "Check that state directory and sealing key belong together."),
        new("ba.refused", "SJ2110", "A binding acknowledgement does not prove itself.", "Compare the contract's key on both sides."),
        new("bu.sent", "SJ2111", "A binding update went out.", Nothing),
        new("bu.failed", "SJ2112", "A gateway did not take a binding update.", "Check the gateway and the contract; `unanswered-update` decides what happens to the registration."),
        new("profile.triggered", "SJ2131", "A packet of the correspondent's or the node's meets a profile that waits for it; its gateway is told.", Nothing),
        new("profile.distributed", "SJ2132", "A gateway has the profile that waited for its first packet; the direct path stands.", Nothing),
        new("profile.not_distributed", "SJ2133", "A profile that waited cannot be used at the home agent though its gateway has it.", SeeReason),
        new("profile.activated", "SJ2134", "A foreign agent sends by a profile that waited for its first packet.", Nothing),
        new("profile.not_activated", "SJ2135", "The home agent does not distribute a profile on a packet of the mobile node's own.", "If it should: `trigger-from-mobile-node` at the home agent; else check the correspondent's gateway."),
        new("handoff.asked", "SJ2121", "This agent asked a visitor's old agent to send after him.", Nothing),
        new("handoff.answered", "SJ2122", "The old agent sends on what still reaches it.", Nothing),
        new("handoff.refused", "SJ2123", "The old agent does not send on.", SeeReason),
        new("handoff.unanswered", "SJ2124", "The old agent is silent; the visitor is served, packets under way to the old agent are lost.", "Check the old agent and the way to it."),
        new("handoff.impossible", "SJ2125", "There is no key for a hand-off of this user between the two agents.", "Give the agents an association (`neighbours`), or users keys of their own."),
        new("handoff.begun", "SJ2126", "A visitor went to another agent; what still arrives here is sent after him.", Nothing),
        new("handoff.ended", "SJ2127", "Nothing is sent after a visitor any more; nothing of him is left here.", Nothing),
        new("handoff.dropped", "SJ2128", "A hand-off request was dropped.", "One that comes again and again is somebody without the user's keys: find the sender."),
        new("handover.timed", "SJ2129", "A registration at another place was granted: how long each of its phases took at this node, in milliseconds (`phases`).", "None; `sojourn explain --hand-over` shows the latest."),
        new("handover.first_packet", "SJ2130", "The first packet came by the paths of a hand-over: how long after they were set.", Nothing),
        new("registration.revoked", "SJ2136", "The home agent has ended a registration at this agent; everything of the visitor is gone.", Nothing),
        new("revocation.acknowledged", "SJ2137", "A foreign agent has ended a registration that the home agent revoked.", Nothing),
        new("revocation.dropped", "SJ2138", "A revocation was dropped.", "One that comes again and again is somebody without the agents' key, or a clock that is off."),
        new("registration.wanted", "SJ2139", "The home AAA server has news of a visitor's service; the node was made to register again.", Nothing),
        new("session.ended", "SJ2201", "An AAA server ended a session.", Nothing),
        new("session.dropped", "SJ2202", "A session left the cache.", Nothing),
        new("session.moved", "SJ2203", "A session moved to another foreign agent inside the domain.", Nothing),
        new("session.move_withdrawn", "SJ2204", "A move was taken back because the home agent refused it.", SeeReason),
        new("session.restored", "SJ2205", "A session was restored after a restart.", Nothing),
        new("session.out_of_date", "SJ2207", "A user's VPN data have changed while a session of his lasts; the foreign agent is asked for a registration.", Nothing),
        new("profiles.cached", "SJ2206", "VPN profiles were put into the cache.", Nothing),
        new("diameter.peer.opened", "SJ2301", "A Diameter peer can be reached.", Nothing),
        new("diameter.peer.closed", "SJ2302", "A Diameter peer cannot be reached any more.", "None after DPR; else check the peer."),
        new("diameter.peer.suspect", "SJ2303", "A Diameter peer does not answer the watchdog; requests go elsewhere.", "Check the peer and the way to it."),
        new("diameter.peer.unreachable", "SJ2304", "A Diameter peer could not be dialled.", "Check address, port, certificate and the peer."),
        new("diameter.peer.refused", "SJ2305", "A Diameter connection was refused.", SeeReason),
        new("diameter.request.refused", "SJ2306", "A Diameter request was refused.", SeeReason),
        new("diameter.request.undelivered", "SJ2307", "A Diameter request could not be delivered.", "Check routes and peers (`sojourn show peers`)."),
        new("diameter.message.malformed", "SJ2308", "A Diameter message cannot be read; the connection is closed.", "Check what the peer is."),
        new("diameter.message.invalid", "SJ2309", "A Diameter message breaks its grammar.", "Check what the peer supports."),
        new("diameter.answer.invalid", "SJ2310", "A Diameter answer breaks its grammar.", "Check what the peer supports."),
        new("diameter.answer.unknown", "SJ2311", "A Diameter answer belongs to no request.", "None, when a peer was slow; many mean a broken peer."),
        new("diameter.capabilities.refused", "SJ2312", "A capabilities exchange failed.", "Compare identities, realms and applications on both sides."),
        new("diameter.connection.plain", "SJ2313", "A connection without TLS was refused.", "Give the peer a certificate, or allow plain TCP."),
        new("diameter.connection.silent", "SJ2314", "A connection did not say who it is in time.", "One is a scanner; many may be an attack."),
        new("diameter.connection.too_many", "SJ2315", "Too many connections that have not said who they are.", "Find out who connects; it may be an attack."),
        new("diameter.connection.broken", "SJ2316", "A connection was closed because of what came on it.", "Check what the peer is."),
        new("accounting.refused", "SJ2501", "A home AAA server refused an accounting record.", SeeReason),
        new("accounting.record_refused", "SJ2502", "The home AAA server refused a record for good; what it says is lost for accounting.", "Compare realms, roaming contracts and versions with the home network."),
        new("accounting.record_lost", "SJ2503", "More records wait for their acknowledgement than are kept; the oldest was given up.", "Find out why the home AAA server does not answer (`sojourn show peers`)."),
        new("accounting.forgotten", "SJ2504", "Accounting records older than `usage-retention` were removed.", Nothing),
        new("accounting.not_forgotten", "SJ2505", "Old accounting records could not be removed; the next try is in an hour.", "Free disk space; check the state directory."),
        new("prefix.delegated", "SJ2601", "A prefix was delegated to a terminal.", Nothing),
        new("prefix.ended", "SJ2602", "A delegated prefix ended: its time was over, the client released it, the authority withdrew its permission, or an operator ended it.", Nothing),
        new("prefix.refused", "SJ2603", "A prefix was refused; at most ten a second are logged, the counter `prefix.refused` has all.", SeeReason),
        new("prefix.release_refused", "SJ2604", "A Release or Decline came from elsewhere than the lease's place and was ignored.", "One is a client that moved; more may be somebody who uses another's DUID."),
        new("prefix.authority_unreachable", "SJ2605", "The certification authority did not answer twice; nothing new is delegated, leases run on.", "Check the authority and the way to it."),
        new("prefix.route_failed", "SJ2606", "The system refused a route of a delegated prefix.", "Check that the next hop is reachable and that nobody else has a route for the prefix."),
        new("dhcp6.malformed", "SJ2607", "A DHCPv6 message cannot be read; at most ten a second are logged.", "One is noise; many mean a broken or hostile sender."),
        new("dhcp6.illegal", "SJ2608", "A DHCPv6 message lacks what it must have, has what it must not, or comes from the wrong side.", "Check what the sender is."),
        new("dhcp6.not_served", "SJ2609", "A DHCPv6 message came by a link or relay agent that is not served.", "Add it to `interfaces` or `relays` if it should be."),
        new("binding.deregistered", "SJ2610", "A terminal gave its binding up: it is at home, or goes.", Nothing),
        new("binding.discarded", "SJ2611", "A binding update was discarded without an answer; the rule says at which step.", "Many are forgeries, or a terminal whose association is gone."),
        new("binding.unanswered", "SJ2612", "A binding update could not be acknowledged under an association, and so was not at all.", "Look why the association went; the terminal makes a new one."),
        new("homeagent.found", "SJ2613", "A terminal found its home agent.", Nothing),
        new("homeagent.unknown", "SJ2614", "No home agent answered a terminal's discovery.", "Check that a home agent serves the home prefix and answers its anycast address."),
        new("careof.changed", "SJ2615", "A terminal is away from home at a new care-of address.", Nothing),
        new("home.reached", "SJ2616", "A terminal is at home.", Nothing),
        new("address.duplicate", "SJ2617", "An address that was to be used belongs to somebody else on the link.", "Find out who; with random identifiers another address is taken."),
        new("binding.registered", "SJ2618", "A home agent recorded where a terminal is, or a terminal heard so.", Nothing),
        new("binding.updated", "SJ2619", "A terminal's binding was renewed or follows it to another place.", Nothing),
        new("binding.revoked", "SJ2620", "A binding ended because the terminal's association was withdrawn.", "Look why it was withdrawn: `sojourn ca audit`, the prefix's lease."),
        new("ike.sa.up", "SJ2701", "A key exchange with a peer succeeded.", Nothing),
        new("ike.sa.down", "SJ2702", "The association with a peer ended; the text says why.", "None, when either side ended it."),
        new("ike.init.refused", "SJ2703", "A peer offers no algorithms that are taken here.", "Compare the proposals of both sides."),
        new("ike.auth.refused", "SJ2704", "A peer could not show who it is, or may not do what it asked. It is told no more than that.", SeeReason),
        new("ike.child.refused", "SJ2705", "A child association was refused.", "Compare selectors, mode and algorithms of both sides."),
        new("ike.rekey.refused", "SJ2706", "A peer did not take new keys; the association runs on until its lifetime ends.", "Compare the proposals of both sides."),
        new("ike.mobike.refused", "SJ2707", "An association could not be moved to another address.", "Check that both sides speak MOBIKE and the address is allowed."),
        new("ike.initiate.refused", "SJ2708", "An exchange was asked for with a peer that has no address.", "Give the peer an address, or let it begin."),
        new("console.login", "SJ2401", "A subscriber logged in to the customer page.", Nothing),
        new("console.login_refused", "SJ2402", "A login to the customer page was refused; at most one a second is logged, the counter `console.login.refused` has all.", "One is a slip; many are guessing, which is slowed down."),
        new("console.profile_changed", "SJ2403", "A subscriber changed a profile on the customer page.", "None; it counts from the next login, or a service update, on. A renewal keeps what the session has."),
        new("console.fault", "SJ2404", "A fault while answering a request of the web console; nothing was changed.", "Free disk space; check the subscriber database."),
        new("ca.issued", "SJ3001", "A certificate was issued.", Nothing),
        new("ca.refused", "SJ3002", "A message to the certification authority was refused.", SeeReason),
        new("ca.secret_reused", "SJ3003", "An enrolment secret that had done its service came again, with another key.", "It may be stolen: look after the terminal, revoke its certificate if in doubt (`sojourn ca certificate revoke`)."),
        new("ca.not_confirmed", "SJ3004", "A certificate was issued but not taken; it is revoked and carries no permission.", "None; the terminal may try again. If it never succeeds, look why it refuses the certificate."),
        new("ca.revoked", "SJ3005", "A certificate was withdrawn, and the permission that goes with it.", Nothing),
        new("ca.batch_split", "SJ3006", "Requests could not be committed together and are tried one by one.", "Nothing, if it is rare; else look at the events around it."),
        new("ca.fault", "SJ3007", "A request of the certification authority could not be carried out; nothing was changed.", "Free disk space; check the authority's database."),
        new("ca.query_refused", "SJ3008", "Somebody with a trusted certificate asked for permissions who may not.", "If it may: `ca.queries.askers`. If its certificate was withdrawn: find out who still uses it."),
        new("ca.withdrawal_not_told", "SJ3009", "A delegating router or home agent does not take a withdrawal; it is told again until it does.", "Check the receiver, its address and its certificate."),
        new("ca.withdrawal_told", "SJ3010", "A receiver that did not take withdrawals takes them again.", Nothing),
    ];

    private static readonly Dictionary<string, CatalogueEntry> ByKind = Entries.ToDictionary(entry => entry.Kind);

    public static string IdOf(EngineEvent engineEvent) => ByKind.TryGetValue(engineEvent.Kind, out var entry) ? entry.Id : Unlisted;

    public static CatalogueEntry? Find(string kind) => ByKind.GetValueOrDefault(kind);

    /// <summary>docs/messages.md.</summary>
    public static string Markdown()
    {
        var output = new StringBuilder("# Messages\n\nEvery event has a number that never changes, a name, and the fixed fields of the log. Generated from\n`src/Sojourn.Host/Observation/MessageCatalogue.cs`.\n\n");
        output.Append("Log fields: `time`, `level`, `id`, `event`, `node`, `session` (the same at every node a session touches), `peer`, `nai`, `hoa` (home\naddress), `coa` (care-of address), `spi`, `rule` (spec row or RFC clause that decided), `text`, `phases` (of a\nhand-over: milliseconds by name).\n\n");
        output.Append("| Id | Event | Meaning | What to do |\n|---|---|---|---|\n");
        foreach (var entry in Entries)
        {
            output.Append("| ").Append(entry.Id).Append(" | `").Append(entry.Kind).Append("` | ").Append(entry.Meaning).Append(" | ").Append(entry.Action).Append(" |\n");
        }

        return output.ToString();
    }
}
