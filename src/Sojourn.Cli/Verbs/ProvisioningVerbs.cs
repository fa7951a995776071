using System.CommandLine;
using System.Globalization;
using Sojourn.Engine;
using Sojourn.Storage;
using Sojourn.Storage.Customers;
using Sojourn.Storage.Provisioning;
using static Sojourn.Cli.DatabaseVerb;

namespace Sojourn.Cli.Verbs;

/// <summary>
/// <c>sojourn user|profile|gateway|partner …</c> and <c>sojourn database import|export|audit</c>: who may log in, what paths
/// they get, and by which gateways. A running AAA server sees every change at its next request. Keys come from files and
/// are never shown.
/// </summary>
internal static class ProvisioningVerbs
{
    private static readonly Option<string> DatabaseFile = new("--database", "-d")
    {
        Description = "Subscriber database of the home AAA server; made when missing",
        DefaultValueFactory = _ => "subscribers.db",
        Recursive = true,
    };

    private static readonly Option<string?> SealKeyFile = new("--seal-key") { Description = "File of the sealing key [default: DATABASE.seal-key]", Recursive = true };

    public static Command User()
    {
        var nai = new Argument<string>("nai") { Description = "user@realm" };
        var spi = new Option<string?>("--mn-aaa-spi") { Description = "SPI of the secret shared with the node, e.g. 0x200" };
        var key = new Option<string?>("--mn-aaa-key-file") { Description = "File with that secret in hexadecimal, 16 octets or more" };
        var home = new Option<string?>("--home-address") { Description = "Fixed home address; none = from the home agent's pool" };
        var agent = new Option<string?>("--home-agent") { Description = "Diameter identity of the home agent; none = the realm's default" };
        var disabled = new Option<bool>("--disabled") { Description = "Keep the user, but refuse logins" };
        return Group("user", "Subscribers of this home network",
            Verb("add", "Add a subscriber", [nai, spi, key, home, agent, disabled], (parse, store, output) =>
            {
                var name = parse.GetValue(nai)!;
                Require(store.FindSubscriber(name) is null, $"user {name} exists already; use: sojourn user set");
                store.Put(ProvisioningFile.User(Entry(parse), $"user {name}", Environment.CurrentDirectory));
                output.WriteLine($"added {name}");
            }),
            Verb("set", "Change a subscriber; what is not given stays", [nai, spi, key, home, agent, disabled], (parse, store, output) =>
            {
                var name = parse.GetValue(nai)!;
                var present = store.FindSubscriber(name) ?? throw new StorageException($"user {name} is not known");
                var where = $"user {name}";
                store.Put(present with
                {
                    MnAaaSpi = parse.GetValue(spi) is { } s ? Words.Spi(s, $"{where}: --mn-aaa-spi") : present.MnAaaSpi,
                    MnAaaKey = parse.GetValue(key) is { } k ? Words.Key(k, $"{where}: --mn-aaa-key-file") : present.MnAaaKey,
                    HomeAddress = parse.GetValue(home) is { } h ? Words.Address(h, $"{where}: --home-address") : present.HomeAddress,
                    HomeAgent = parse.GetValue(agent) ?? present.HomeAgent,
                    Enabled = !parse.GetValue(disabled),
                });
                output.WriteLine($"changed {name}");
            }),
            Verb("list", "List subscribers", [], (parse, store, output) => List(
                parse, output, "sojourn/users/1", store.Subscribers(),
                u => Fields(u, store.FindCustomer(u.Nai)!),
                u => $"{u.Nai,-32} {u.HomeAddress?.ToString() ?? "from pool",-16} {(u.Enabled ? "" : "disabled")}")),
            Verb("remove", "Remove a subscriber with all profiles", [nai], (parse, store, output) =>
            {
                Require(store.RemoveSubscriber(parse.GetValue(nai)!), $"user {parse.GetValue(nai)} is not known");
                output.WriteLine($"removed {parse.GetValue(nai)}");
            }),
            CustomerVerbs.Password(nai),
            CustomerVerbs.Allow(nai));

        UserEntry Entry(ParseResult parse) => new()
        {
            Nai = parse.GetValue(nai)!,
            MnAaaSpi = parse.GetValue(spi),
            MnAaaKeyFile = parse.GetValue(key),
            HomeAddress = parse.GetValue(home),
            HomeAgent = parse.GetValue(agent),
            Enabled = !parse.GetValue(disabled),
        };
    }

    public static Command Profile()
    {
        var number = new Argument<uint>("number") { Description = "Profile number, unique in the database" };
        var nai = new Option<string>("--user") { Description = "Whose VPN it is", Required = true };
        var destination = new Option<string>("--destination") { Description = "Correspondent or its domain, e.g. 192.168.50.0/24", Required = true };
        var share = new Option<string>("--share") { Description = "user: associations of this user's own; shared: those preset between the gateways", DefaultValueFactory = _ => "user" };
        var security = new Option<string>("--security") { Description = "esp, ah or encapsulation", DefaultValueFactory = _ => "esp" };
        var algorithm = new Option<string?>("--algorithm") { Description = string.Join(", ", Words.AlgorithmNames) };
        var up = new Option<int>("--up-class") { Description = "Service class towards the correspondent, 0 to 5" };
        var down = new Option<int>("--down-class") { Description = "Service class towards the user, 0 to 5" };
        var route = new Option<string>("--route") { Description = "direct or home", DefaultValueFactory = _ => "direct" };
        var trigger = new Option<string>("--trigger") { Description = "registration or first-packet", DefaultValueFactory = _ => "registration" };
        var disabled = new Option<bool>("--disabled") { Description = "Keep the profile, but do not distribute it" };
        Option[] all = [nai, destination, share, security, algorithm, up, down, route, trigger, disabled];
        return Group("profile", "VPN profiles of subscribers (one instance = one VPN of one user)",
            Verb("add", "Add a profile", [number, .. all], (parse, store, output) => Put(parse, store, output, mustExist: false)),
            Verb("set", "Replace a profile; contract keys stay", [number, .. all], (parse, store, output) => Put(parse, store, output, mustExist: true)),
            Verb("list", "List profiles", [], (parse, store, output) => List(
                parse, output, "sojourn/vpn-db/1", store.VpnInstances(), Fields,
                p => string.Create(CultureInfo.InvariantCulture, $"{p.ProfileNumber,6}  {p.Nai,-28} {p.Destination,-20} {Words.Name(p.SecurityType),-13} {(p.UserSpecific ? "user" : "shared"),-7} class {p.UpClass}/{p.DownClass} {(p.Enabled ? "" : "disabled")}"))),
            Verb("remove", "Remove a profile", [number], (parse, store, output) =>
            {
                Require(store.RemoveVpn(parse.GetValue(number)), $"profile {parse.GetValue(number)} is not known");
                output.WriteLine($"removed profile {parse.GetValue(number)}");
            }));

        void Put(ParseResult parse, SubscriberStore store, TextWriter output, bool mustExist)
        {
            var id = parse.GetValue(number);
            var present = store.VpnInstances().FirstOrDefault(p => p.ProfileNumber == id);
            Require(mustExist == (present is not null), mustExist ? $"profile {id} is not known" : $"profile {id} exists already; use: sojourn profile set");
            var instance = ProvisioningFile.Profile(
                new ProfileEntry
                {
                    Number = id,
                    Share = parse.GetValue(share)!,
                    Destination = parse.GetValue(destination)!,
                    UpClass = parse.GetValue(up),
                    DownClass = parse.GetValue(down),
                    Security = parse.GetValue(security)!,
                    Algorithm = parse.GetValue(algorithm),
                    Route = parse.GetValue(route)!,
                    Trigger = parse.GetValue(trigger)!,
                    Enabled = !parse.GetValue(disabled),
                },
                parse.GetValue(nai)!, $"profile {id}", Environment.CurrentDirectory);
            store.Put(instance with { ContractKeys = present?.ContractKeys, ContractAlgorithm = present?.ContractAlgorithm, UpSpi = present?.UpSpi, DownSpi = present?.DownSpi });
            output.WriteLine($"{(mustExist ? "changed" : "added")} profile {id}");
        }
    }

    public static Command Gateway()
    {
        var correspondents = new Argument<string>("correspondents") { Description = "Prefix of the hosts behind the gateway" };
        var address = new Option<string>("--gateway") { Description = "Address of the gateway", Required = true };
        var type = new Option<string>("--type") { Description = "static (set by hand) or dynamic (takes binding updates)", DefaultValueFactory = _ => "static" };
        var name = new Option<string?>("--name") { Description = "Name for people" };
        return Group("gateway", "Which gateway serves which correspondents (CN-GW address table)",
            Verb("add", "Add or replace a row", [correspondents, address, type, name], (parse, store, output) =>
            {
                store.Put(ProvisioningFile.Gateway(
                    new GatewayEntry { Correspondents = parse.GetValue(correspondents)!, Gateway = parse.GetValue(address)!, Type = parse.GetValue(type)!, Name = parse.GetValue(name) }, "gateway"));
                output.WriteLine($"{parse.GetValue(correspondents)} is behind {parse.GetValue(address)}");
            }),
            Verb("list", "List the table", [], (parse, store, output) => List(
                parse, output, "sojourn/cn-gw/1", store.CorrespondentGateways,
                g => new { correspondents = g.Correspondents.ToString(), gateway = g.Gateway.ToString(), type = g.Type == GatewayType.Dynamic ? "dynamic" : "static", name = g.Name },
                g => $"{g.Correspondents,-20} {g.Gateway,-16} {(g.Type == GatewayType.Dynamic ? "dynamic" : "static"),-8} {g.Name}")),
            Verb("remove", "Remove a row", [correspondents], (parse, store, output) =>
            {
                Require(store.RemoveGateway(Words.Prefix(parse.GetValue(correspondents)!, "gateway")), $"no row for {parse.GetValue(correspondents)}");
                output.WriteLine($"removed {parse.GetValue(correspondents)}");
            }));
    }

    public static Command Partner()
    {
        var realm = new Argument<string>("realm") { Description = "Realm of the visited network" };
        return Group("partner", "Realms with a roaming contract",
            Verb("add", "Add a realm", [realm], (parse, store, output) =>
            {
                store.PutPartner(parse.GetValue(realm)!);
                output.WriteLine($"added {parse.GetValue(realm)}");
            }),
            Verb("list", "List realms", [], (parse, store, output) => List(parse, output, "sojourn/partners/1", [.. store.RoamingPartners.Order(StringComparer.Ordinal)], p => p, p => p)),
            Verb("remove", "Remove a realm", [realm], (parse, store, output) =>
            {
                Require(store.RemovePartner(parse.GetValue(realm)!), $"realm {parse.GetValue(realm)} is not known");
                output.WriteLine($"removed {parse.GetValue(realm)}");
            }));
    }

    public static Command WholeDatabase()
    {
        var file = new Argument<string>("file") { Description = "Provisioning file (YAML)" };
        var keys = new Option<string?>("--keys-directory") { Description = "Also write the secrets, as files of mode 0600, there" };
        var count = new Option<int>("--count") { Description = "Newest entries shown", DefaultValueFactory = _ => 50 };
        return Group("database", "The subscriber database as a whole",
            Verb("import", "Add or replace everything a file names", [file], (parse, store, output) =>
            {
                var summary = ProvisioningFile.Import(parse.GetValue(file)!, store);
                output.WriteLine($"imported {summary.Users} users, {summary.Profiles} profiles, {summary.Gateways} gateways, {summary.Partners} partners");
            }),
            Verb("export", "Print the database as YAML, without secrets", [keys], (parse, store, output) =>
                output.Write(ProvisioningFile.Export(store, parse.GetValue(keys)))),
            Verb("audit", "Who changed what, newest first", [count], (parse, store, output) => List(
                parse, output, "sojourn/audit/1", store.Audit(parse.GetValue(count)),
                e => new { id = e.Id, at = e.At, actor = e.Actor, action = e.Action, @object = e.Object, detail = e.Detail },
                e => $"{e.At:yyyy-MM-dd HH:mm:ss}  {e.Actor,-16} {e.Action,-16} {e.Object}  {e.Detail}")));
    }

    private static object Fields(Subscriber u, CustomerAccount customer) => new
    {
        nai = u.Nai,
        mnAaaSpi = Words.Spi(u.MnAaaSpi),
        homeAddress = u.HomeAddress?.ToString(),
        homeAgent = u.HomeAgent,
        enabled = u.Enabled,
        customerPage = customer.PasswordHash is not null,
        allowed = new
        {
            destinations = customer.Allowance.Destinations.Select(d => d.ToString()),
            security = customer.Allowance.SecurityTypes.Select(Words.Name),
            highestClass = customer.Allowance.HighestClass,
        },
    };

    private static object Fields(VpnInstance p) => new
    {
        profileNumber = p.ProfileNumber,
        nai = p.Nai,
        vpnshare = p.UserSpecific ? 1 : 0,
        destaddr = p.Destination.ToString(),
        upclass = p.UpClass,
        downclass = p.DownClass,
        upSpi = p.UpSpi is { } u ? Words.Spi(u) : null,
        downSpi = p.DownSpi is { } d ? Words.Spi(d) : null,
        sectype = Words.Name(p.SecurityType),
        algorithm = Words.Name(p.Algorithm),
        contractAlgorithm = p.ContractAlgorithm is { } a ? Words.Name(a) : null,
        contractKeys = p.ContractKeys is not null,
        route = Words.Name(p.Route),
        trigger = p.Trigger == ProfileTrigger.FirstPacket ? "first-packet" : "registration",
        enabled = p.Enabled,
    };

    private static Command Group(string name, string description, params Command[] verbs)
    {
        var group = new Command(name, description) { DatabaseFile, SealKeyFile, Json };
        foreach (var verb in verbs)
        {
            group.Add(verb);
        }

        return group;
    }

    internal static Command Verb(string name, string description, IEnumerable<Symbol> symbols, Action<ParseResult, SubscriberStore, TextWriter> run) => DatabaseVerb.Create(name, description, symbols, parse =>
    {
        using var database = Database.Open(parse.GetValue(DatabaseFile)!, parse.GetValue(SealKeyFile));
        run(parse, new SubscriberStore(database, TimeProvider.System, $"cli:{Environment.UserName}"), parse.InvocationConfiguration.Output);
    });
}
