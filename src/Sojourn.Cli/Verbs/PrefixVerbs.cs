using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Storage;
using Sojourn.Wire.Dhcpv6;
using static Sojourn.Cli.DatabaseVerb;

namespace Sojourn.Cli.Verbs;

/// <summary>
/// <c>sojourn prefix …</c>: which terminal an IA_PD (DUID and IAID) belongs to, the delegating router's identity table. A running
/// router sees every change at its next message.
/// </summary>
internal static class PrefixVerbs
{
    private static readonly Option<string> DatabaseFile = new("--database", "-d")
    {
        Description = "Identity table of the delegating router; made when missing",
        DefaultValueFactory = _ => "prefixes.db",
        Recursive = true,
    };

    public static Command Prefix()
    {
        var duid = new Argument<string>("duid") { Description = "The client's DUID in hexadecimal; a stable one, DUID-LL or DUID-UUID, spares trouble" };
        var iaid = new Argument<string>("iaid") { Description = "Its IAID, decimal or 0x…" };
        var identifier = new Argument<string>("identifier") { Description = "The name the certification authority knows the terminal by" };
        var at = new Option<string[]>("--at")
        {
            Description = "Where the client may be: a relay agent's address, a location as `show leases` prints it, or * for anywhere; may be repeated [default: where its lease begins, until it ends]",
        };
        var file = new Argument<string>("file") { Description = "Lines of DUID, IAID, identifier and places, separated by white space; - = standard input" };
        var group = new Command("prefix", "Who may be delegated a prefix (identity table of the delegating router)") { DatabaseFile, Json };
        group.Add(Verb("add", "Add or replace a row", [duid, iaid, identifier, at], (parse, store, output) =>
        {
            var row = Row(parse.GetValue(duid)!, parse.GetValue(iaid)!, parse.GetValue(identifier)!, parse.GetValue(at) ?? []);
            store.Put([row]);
            output.WriteLine($"{row.Key} is {store.Find(row.Key)!.Identifier}{(row.Key.Client.IsStable ? "" : " (this kind of DUID changes when the client forgets it)")}");
        }));
        group.Add(Verb("import", "Add or replace all rows of a file, or none", [file], (parse, store, output) =>
        {
            var name = parse.GetValue(file)!;
            using var reader = name == "-" ? Console.In : new StreamReader(name);
            var rows = Rows(reader, name).ToList();
            store.Put(rows);
            output.WriteLine($"imported {rows.Count} rows");
        }));
        group.Add(Verb("remove", "Remove a row; the prefix ends at the client's next renewal", [duid, iaid], (parse, store, output) =>
        {
            var key = Key(parse.GetValue(duid)!, parse.GetValue(iaid)!);
            if (!store.Remove(key))
            {
                throw new StorageException($"there is no row for {key}");
            }

            output.WriteLine($"removed {key}");
        }));
        group.Add(Verb("list", "List the table", [], (parse, store, output) =>
        {
            var rows = store.List();
            if (parse.GetValue(Json))
            {
                output.WriteLine(JsonSerializer.Serialize(
                    new
                    {
                        schema = "sojourn/prefix-identities/1",
                        rows = rows.Select(row => new { duid = row.Key.Client.ToString(), iaid = row.Key.Iaid, identifier = row.Identifier, origin = row.Origin.ToString().ToLowerInvariant(), at = row.Relays }),
                    },
                    CliJson.Indented));
                return;
            }

            foreach (var row in rows)
            {
                output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{row.Identifier,-32} {row.Key.Client} {row.Key.Iaid} {string.Join(", ", row.Relays)}").TrimEnd());
            }
        }));
        return group;
    }

    private static IEnumerable<PrefixIdentity> Rows(TextReader reader, string name)
    {
        var number = 0;
        while (reader.ReadLine() is { } line)
        {
            number++;
            var words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 0 || words[0].StartsWith('#'))
            {
                continue;
            }

            if (words.Length < 3)
            {
                throw new StorageException($"{name}:{number}: a row has DUID, IAID and identifier");
            }

            PrefixIdentity row;
            try
            {
                row = Row(words[0], words[1], words[2], words[3..]);
            }
            catch (StorageException e)
            {
                throw new StorageException($"{name}:{number}: {e.Message}", e);
            }

            yield return row;
        }
    }

    private static PrefixIdentity Row(string duid, string iaid, string identifier, IReadOnlyList<string> at) => new(Key(duid, iaid), identifier, IdentityOrigin.Provisioned, at);

    private static AssociationKey Key(string duid, string iaid)
    {
        if (!Duid.TryParseText(duid, out var client))
        {
            throw new StorageException($"'{duid}' is not a DUID: 3 to 130 octets in hexadecimal are allowed");
        }

        var hexadecimal = iaid.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
        return uint.TryParse(hexadecimal ? iaid[2..] : iaid, hexadecimal ? NumberStyles.AllowHexSpecifier : NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? new AssociationKey(client, number)
            : throw new StorageException($"'{iaid}' is not an IAID: 0 to 4294967295, or 0x…, is allowed");
    }

    private static Command Verb(string name, string description, IEnumerable<Symbol> symbols, Action<ParseResult, PrefixIdentityStore, TextWriter> run) => DatabaseVerb.Create(name, description, symbols, parse =>
    {
        using var database = Database.Open(parse.GetValue(DatabaseFile)!);
        run(parse, new PrefixIdentityStore(database, TimeProvider.System, $"cli:{Environment.UserName}"), parse.InvocationConfiguration.Output);
    });
}
