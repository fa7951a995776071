namespace Sojourn.Host.Observation;

/// <summary>What the rules that events cite say, in a sentence each; for <c>explain</c>.</summary>
public static class RuleSentences
{
    private static readonly (string Rule, string Sentence)[] Sentences =
    [
        ("NV9.1", "A user who is not in the VPN database gets no profile, and his packets to a protected destination go nowhere."),
        ("NV9.2", "Users of the shared association need one preset between the two gateways; nothing secret is in their profiles."),
        ("NV9.3", "A path is AH, ESP or encapsulation only, and its cipher suite must fit that."),
        ("NV9.6", "A registration again at the same agent changes no path."),
        ("NV9.7", "A wrong authenticator never gets a tunnel, and what stood before stays as it was."),
        ("NV9.8", "At deregistration, and when the lifetime ends in silence, every table loses the user's rows."),
        ("NV9.9", "A gateway that does not answer three binding updates lets the registration be refused, unless the operator chose to go on without it."),
        ("NV9.10", "A binding update that is forged, replayed, from an unknown home agent or for a foreign home address changes nothing."),
        ("NV9.11", "The last location wins."),
        ("NV1.13", "The foreign agent passes the reply on after both directions of its tunnel stand."),
        ("NV1.15", "Without a path no packet reaches a protected destination."),
        ("NV4.7", "The correspondent must lie behind the gateway that takes the update."),
        ("NV-A3", "A user who is not listed gets no profile."),
        ("NV-A20", "After a cache is emptied, the next move goes on to the home AAA server."),
        ("NV-A21", "A profile with an unknown algorithm or a clashing SPI is refused and no tunnel is made."),
        ("M2", "Keys travel wrapped for their next holder, over protected connections, or not at all."),
        ("M3", "Every association key is derived afresh per direction, gateway pair and registration."),
        ("M5", "A typed-in key never goes with a counter-mode cipher, and its counter survives a restart."),
        ("M6", "Mobility messages are authenticated with HMAC-SHA-256; older algorithms need the interoperability switch."),
        ("M8", "A binding update between foreign agents needs a key that only they share."),
        ("M9", "A gateway takes binding updates only under a contract: which home agent, for which home addresses, how long, how often."),
        ("M10", "A new agent sends nothing before the home agent's authenticated reply."),
        ("M13", "SPIs 0 to 255 are never used, and a clash is refused."),
        ("S105", "The VPN database is searched by NAI."),
        ("S109", "The care-of address is the one in the registration request."),
        ("S113", "A dynamic gateway is reached directly, unless the user prefers the way by home."),
        ("S115", "A correspondent that no row of the gateway table names gets a path up to the home agent, or is refused, as the operator chose."),
        ("S235", "New state stands before old state goes."),
        ("TA-R81", "A certificate is issued only to an identifier that is eligible, and only to whoever proves to own it."),
        ("TA-R82", "A certificate needs a sound key, proof of its possession, and names that belong to the identifier."),
        ("TA-M32", "A certificate and its permission count when the terminal has confirmed it; otherwise both are withdrawn."),
        ("TA-M35", "A message that is not protected, late, or not readable changes nothing."),
        ("TA-M36", "A key is changed by whoever signs with the old one."),
        ("TA-M37", "A certificate is withdrawn by its holder or the operator, and the permission goes with it."),
        ("TA-H21", "Permissions are told only to configured askers with a good certificate."),
        ("TA-H2", "An enrolment secret serves once."),
        ("TA-R61", "A prefix is offered only when one is free."),
        ("TA-R62", "Only a client whose DUID and IAID belong to a known identifier is given a prefix."),
        ("TA-R63", "Only an identifier that the certification authority permits is given a prefix."),
        ("TA-R66", "A Request is granted only for what was offered to the same client, and is stored before the Reply."),
        ("TA-L4", "When a prefix ends, its entry, associations and bindings end with it."),
        ("TA-L5", "When the authority is silent twice, nothing new is allowed; what runs goes on."),
        ("TA-L6", "A refusal is remembered for five seconds, and one question per client is under way at a time."),
        ("TA-L2", "A binding lasts no longer than the prefix of its home address."),
        ("TA-L3", "An association lasts no longer than the certificate it was made with."),
        ("TA-G4", "A home address is good only for whoever its prefix was allocated to."),
        ("TA-G26", "A home agent serves the prefixes that are routed to it and no others."),
        ("TA-R71", "The Home Address option takes the source's place before anything is judged."),
        ("TA-R72", "Signalling is taken only under an association of the very home address, found by SPI and destination, once."),
        ("TA-R73", "What an association lets in must be what its selectors and the policy name."),
        ("TA-R74", "A binding is recorded as Mobile IPv6 allows; a refusal is answered under the association."),
        ("TA-R75", "Without a policy no acknowledgement leaves."),
        ("TA-R76", "Without an association no acknowledgement leaves."),
        ("TA-R78", "What has no right to be a binding update is discarded without a word."),
        ("TA-N17", "A terminal is who its certificate says, and names exactly one home address."),
        ("TA-M15", "Associations for signalling lie between the home address and the home agent, without an address translator between them."),
        ("TA1.128x", "Without an allocated prefix there is no association."),
        ("TA1.132a", "A terminal with an association may register its home address."),
        ("TA-H9", "A client speaks from where its lease began, or from where its identity says it may be."),
        ("TA-M22", "Messages are taken from configured links and relay agents only."),
        ("TA-M28", "A delegated prefix is routed to where its terminal is reached."),
        ("RFC 8415", "DHCPv6."),
        ("RFC 2794", "A mobile node names itself by its NAI and may ask for a home address."),
        ("RFC 3024", "Reverse tunnelling is asked for with the T bit and is mandatory here."),
        ("RFC 3115", "A critical vendor extension that is not understood makes the message be dropped or refused."),
        ("RFC 3539", "A peer that does not answer the watchdog is suspect, then down."),
        ("RFC 3543", "An agent believes a revocation only from the node's home agent, close to its own clock and later than the registration."),
        ("RFC 4004 5.4", "Keys go from the AAA server only to who is entitled to them."),
        ("RFC 4004", "The Diameter Mobile IPv4 application decides about registrations at the AAA server."),
        ("RFC 4301", "Security policy decides before a packet is carried, and an association has a bounded life."),
        ("RFC 4303", "ESP has an SPI of 256 or more and a sequence number that never repeats."),
        ("RFC 4721", "A registration answers a challenge that the foreign agent advertised and has not seen used."),
        ("RFC 5649", "A wrapped key opens only with the right wrapping key."),
        ("RFC 5944 3.6", "A mobile node believes a reply only when it proves itself and answers a request of its own."),
        ("RFC 5944 3.7.2", "A foreign agent checks a request before it passes it on: lifetime, care-of address, encapsulation, home agent."),
        ("RFC 5944 3.7.3", "A foreign agent passes on only replies that answer a request under way."),
        ("RFC 5944 3.8.2", "A home agent accepts a request only with a valid authenticator of the mobile node."),
        ("RFC 5944 5.7", "The Identification must be fresh: close to the clock and later than the last one accepted."),
        ("RFC 5944 1.8", "An extension numbered below 128 that is unknown makes the message be dropped."),
        ("RFC 5944 2.4", "A mobile node trusts an agent as long as its advertisements keep coming."),
        ("RFC 5944", "Mobile IPv4."),
        ("RFC 6733 section 5.3", "Peers exchange capabilities first and must have an application in common."),
        ("RFC 6733 section 5.6", "The peer state machine decides which connections stay."),
        ("RFC 6733 section 6.1", "A request is routed by its destination host and realm."),
        ("RFC 6733 section 7.1", "A request that cannot be served is answered with the result code that says why."),
        ("RFC 6733", "Diameter base protocol."),
    ];

    /// <summary>The sentence of the longest rule that begins what was cited; null when none does. Of several cited rules the first counts.</summary>
    public static string? Find(string? cited)
    {
        if (cited is null)
        {
            return null;
        }

        return cited.Split(", ").Select(rule => Sentences
            .Where(pair => rule == pair.Rule || (rule.StartsWith(pair.Rule, StringComparison.Ordinal) && !char.IsAsciiDigit(rule[pair.Rule.Length])))
            .OrderByDescending(pair => pair.Rule.Length).Select(pair => pair.Sentence).FirstOrDefault()).FirstOrDefault(sentence => sentence is not null);
    }
}
