using System.CommandLine;
using System.Text.Json;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn show TABLE</c>: one line per row, <c>--all</c> for every field, <c>--json</c> for programs.</summary>
internal static class ShowVerb
{
    private sealed record Table(string Name, string Text, string Rows, bool Everything, params (string Heading, string Path)[] Columns);

    private static readonly Table[] Tables =
    [
        new("paths", "Paths: wanted and installed", "paths", false,
            ("PATH", "id"), ("STATE", "state"), ("UP", "installed"), ("SOURCE", "source"), ("DESTINATION", "destination"), ("DSCP", "markDscp"), ("SECURITY", "security"),
            ("ALGORITHM", "algorithm"), ("LOCAL", "localGateway"), ("REMOTE", "remoteGateway"), ("SPI OUT", "outbound.spi"), ("SPI IN", "inbound.spi"),
            ("OUT", "packetsOut"), ("IN", "packetsIn"), ("USER", "origin.nai"), ("ROW", "origin.row")),
        new("sessions", "Mobility sessions", "sessions", false,
            ("SESSION", "session"), ("USER", "nai"), ("HOME ADDRESS", "homeAddress"), ("CARE-OF", "careOfAddress"), ("HOME AGENT", "homeAgent"), ("STATE", "state"), ("PROFILES", "profiles"), ("EXPIRES", "expires")),
        new("bindings", "Mobility bindings", "bindings", false,
            ("SESSION", "session"), ("USER", "nai"), ("HOME ADDRESS", "homeAddress"), ("CARE-OF", "careOfAddress"), ("PROFILE", "profileNumber"), ("CORRESPONDENTS", "correspondents"), ("SUPPLIER", "supplier"), ("EXPIRES", "expires")),
        new("visitors", "Visitor list", "visitors", false,
            ("SESSION", "session"), ("USER", "nai"), ("HOME ADDRESS", "homeAddress"), ("HOME AGENT", "homeAgent"), ("INTERFACE", "interface"), ("LINK ADDRESS", "linkAddress"), ("EXPIRES", "expires"), ("AUTHORIZED UNTIL", "authorizedUntil")),
        new("leases", "Delegated prefixes", "leases", false,
            ("PREFIX", "prefix"), ("STATE", "state"), ("IDENTIFIER", "identifier"), ("CLIENT", "client"), ("IAID", "iaid"), ("WHERE", "location"), ("NEXT HOP", "nextHop"), ("VALID UNTIL", "validUntil")),
        new("certificates", "Certificates of terminals with preset home addresses", "certificates", false,
            ("HOME ADDRESS", "homeAddress"), ("IDENTIFIER", "identifier"), ("SUBJECT", "subject"), ("SERIAL", "serial"), ("NOT AFTER", "notAfter"), ("KEPT", "kept")),
        new("names", "Terminals' names in the name service", "names", false, ("NAME", "name"), ("HOME ADDRESS", "homeAddress"), ("STATE", "state")),
        new("scenarios", "A terminal's scenario policy", "scenarios", false, ("NUMBER", "number"), ("VALID", "valid"), ("SUBSTANCE", "substance")),
        new("binding-list", "A terminal's binding update lists", "bindings", false,
            ("LIST", "list"), ("PEER", "peer"), ("HOME ADDRESS", "homeAddress"), ("CARE-OF", "careOfAddress"), ("STATE", "state"), ("EXPIRES", "expires")),
        new("tunnels", "A terminal's tunnel information", "tunnels", false,
            ("START", "start"), ("END", "end"), ("HOME ADDRESS", "homeAddress"), ("PROTECTED", "protected"), ("MOBILE HEADER", "mobileHeader"), ("PATH MTU", "pathMtu")),
        new("servers", "Servers of a home agent's packet path", "servers", false,
            ("SERVER", "server"), ("RECEIVED", "received"), ("SENT", "sent"), ("TUNNELS", "tunnels"), ("NESTED", "nested"), ("CONTROL", "control"), ("DROPPED", "dropped")),
        new("policy", "A terminal's policy for packets of applications", "policy", false, ("TRAFFIC", "traffic"), ("PEERS", "peers"), ("PROTOCOL", "protocol"), ("TREATMENT", "treatment")),
        new("sa", "A terminal's associations", "associations", false,
            ("NAME", "name"), ("MODE", "mode"), ("SPI IN", "spiIn"), ("SPI OUT", "spiOut"), ("ALGORITHM", "algorithm"), ("LOCAL", "local"), ("REMOTE", "remote"), ("IN", "packetsIn"), ("OUT", "packetsOut")),
        new("translation", "A terminal's IPv4-IPv6 translation table", "entries", false,
            ("IPV6", "ipv6Address"), ("IPV4", "ipv4Address"), ("KIND", "kind"), ("ORIGIN", "origin"), ("NAME", "name"), ("LAST USE", "lastUse"), ("EXPIRES", "expires")),
        new("vpn-cache", "VPN information cache: all fields (spec 3.2)", "instances", true),
        new("vpn-db", "VPN database: all fields (spec 3.1)", "instances", true),
        new("cn-gw", "CN-GW address table", "gateways", false, ("CORRESPONDENTS", "correspondents"), ("GATEWAY", "gateway"), ("TYPE", "type"), ("NAME", "name")),
        new("peers", "Diameter peers", "peers", false,
            ("PEER", "identity"), ("REALM", "realm"), ("UP", "up"), ("STATE", "state"), ("WATCHDOG", "watchdog"), ("TLS", "secured"), ("REMOTE", "remote"), ("PENDING", "pending"), ("SINCE", "since"), ("LAST CLOSE", "lastCloseReason")),
        new("qos", "Marking filters; traffic classes with --json", "filters", false,
            ("PATH", "path"), ("SOURCE", "source"), ("DESTINATION", "destination"), ("DSCP", "dscp"), ("TOS", "tos"), ("CLASS", "class")),
        new("ipsec", "IPsec information table", "associations", false,
            ("PATH", "path"), ("DIR", "direction"), ("PROTOCOL", "protocol"), ("SPI", "spi"), ("ALGORITHM", "algorithm"), ("FROM", "tunnelSource"), ("TO", "tunnelDestination"),
            ("SELECTOR", "selectorSource"), ("TOWARDS", "selectorDestination"), ("ENC BITS", "encryptionKeyLength"), ("AUTH BITS", "authenticationKeyLength"), ("KEY", "keyFingerprint"),
            ("SEQUENCE", "sequence"), ("WINDOW", "replayWindow"), ("PACKETS", "packets"), ("HOLDERS", "holders"), ("LIBRARY", "library")),
        new("routes", "Routes and rules of this node's making", "routes", false,
            ("DESTINATION", "destination"), ("SOURCE", "source"), ("GATEWAY", "gateway"), ("INTERFACE", "interface"), ("METRIC", "metric"), ("TABLE", "table"), ("KIND", "kind")),
        new("audit", "What operators did to the node", "entries", false, ("TIME", "at"), ("WHO", "actor"), ("WHAT", "action"), ("OBJECT", "object"), ("DETAIL", "detail")),
        new("counters", "All counters", "counters", true),
        new("config", "Configuration in force", "options", true),
    ];

    public static Command Create()
    {
        var command = new Command("show", "Print a table of a node");
        foreach (var table in Tables)
        {
            var all = new Option<bool>("--all") { Description = "Every field of every row" };
            command.Subcommands.Add(NodeVerb.Create(table.Name, table.Text, show => show.Options.Add(all), call => Show(table, call, call.Parse.GetValue(all))));
        }

        command.Subcommands.Add(UsageVerbs.Show());
        command.Subcommands.Add(EventsVerb.Create());
        return command;
    }

    private static async Task<int> Show(Table table, NodeCall call, bool all)
    {
        var document = await call.Client.GetAsync(table.Name, call.Cancellation).ConfigureAwait(false);
        if (call.Json)
        {
            call.Output.WriteLine(TableText.Indent(document));
            return ExitCode.Success;
        }

        var rows = document.GetProperty(table.Rows);
        if (rows.ValueKind == JsonValueKind.Object)
        {
            TableText.WriteAll(call.Output, rows);
        }
        else if (!all && !table.Everything)
        {
            TableText.Write(call.Output, rows, table.Columns);
        }
        else if (rows.GetArrayLength() == 0)
        {
            call.Output.WriteLine("none");
        }
        else
        {
            foreach (var row in rows.EnumerateArray())
            {
                TableText.WriteAll(call.Output, row);
                call.Output.WriteLine();
            }
        }

        return ExitCode.Success;
    }
}
