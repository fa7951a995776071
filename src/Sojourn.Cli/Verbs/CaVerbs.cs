using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Enrolment;
using Sojourn.Roles.CertificateAuthority;
using Sojourn.Roles.Enrolment;
using Sojourn.Storage;
using static Sojourn.Cli.DatabaseVerb;

namespace Sojourn.Cli.Verbs;

/// <summary>
/// <c>sojourn ca …</c>: makes a certification authority, says who may have a certificate, withdraws certificates. A running
/// authority sees every change with its next request. Secrets go to files and are never shown.
/// </summary>
internal static class CaVerbs
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private static readonly Option<string> DatabaseFile = new("--database", "-d") { Description = "Database of the authority", DefaultValueFactory = _ => "ca.db", Recursive = true };

    private static readonly Option<string?> SealKeyFile = new("--seal-key") { Description = "File of the sealing key [default: DATABASE.seal-key]", Recursive = true };

    private static readonly Dictionary<string, IdentifierKind> Kinds = new()
    {
        ["terminal"] = IdentifierKind.Terminal,
        ["home-agent"] = IdentifierKind.HomeAgent,
        ["node"] = IdentifierKind.Node,
    };

    private static string Actor => $"cli:{Environment.UserName}";

    public static Command Ca() => new("ca", "The certification authority: who may have a certificate and a home prefix")
    {
        DatabaseFile, SealKeyFile, Json, Init(), Export(), Identifier(), Secret(), Issue(), Certificate(), PermissionTable(), Crl(), Audit(),
    };

    private static Command Init()
    {
        var name = new Option<string>("--name") { Description = "Distinguished name of the authority", DefaultValueFactory = _ => "CN=Sojourn CA" };
        var days = new Option<int>("--days") { Description = "Lifetime of its certificate", DefaultValueFactory = _ => 3650 };
        var strong = new Option<bool>("--p384") { Description = "A P-384 key instead of P-256" };
        var again = new Option<bool>("--replace") { Description = "Make a new key although there is one; certificates of the old one are not trusted any more" };
        return Verb("init", "Make the authority's key and certificate", [name, days, strong, again], create: true, (parse, store, output) =>
        {
            Require(store.Authority() is null || parse.GetValue(again), "there is an authority in this database already; --replace makes a new one");
            Require(parse.GetValue(days) is > 0 and <= 36500, "--days: 1 to 36500");
            try
            {
                var now = DateTimeOffset.UtcNow;
                var (certificate, key) = EcdsaSigner.Create(parse.GetValue(name)!, parse.GetValue(strong), now.AddMinutes(-5), now.AddDays(parse.GetValue(days)), SystemRandomSource.Instance);
                store.PutAuthority(certificate, key, Actor);
                key.Wipe();
                output.WriteLine($"made {parse.GetValue(name)}, SHA-256 {Convert.ToHexStringLower(SHA256.HashData(certificate))}");
            }
            catch (CryptographicException)
            {
                throw new StorageException($"--name: '{parse.GetValue(name)}' is no distinguished name, e.g. CN=Home CA,O=Home");
            }
        });
    }

    private static Command Export() => Verb("export", "Print the authority's certificate (PEM)", [], create: false, (_, store, output) =>
        output.WriteLine(PemEncoding.WriteString("CERTIFICATE", (store.Authority() ?? throw new StorageException("there is no authority in this database; use: sojourn ca init")).Certificate)));

    private static Command Identifier()
    {
        var name = new Argument<string>("identifier") { Description = "Host name, or distinguished name such as \"CN=Node 7,O=Home\"" };
        var kind = new Option<string>("--kind") { Description = "terminal (may get a home prefix), home-agent, or node (TLS certificate for another part)", DefaultValueFactory = _ => "terminal" };
        kind.AcceptOnlyFromAmong([.. Kinds.Keys]);
        var addresses = new Option<string[]>("--address") { Description = "Address the certificate states; home agents and nodes", AllowMultipleArgumentsPerToken = true };
        var refused = new Option<bool>("--not-eligible") { Description = "Keep the identifier, but issue nothing to it" };
        return new Command("identifier", "Who may have a certificate")
        {
            Verb("add", "Add an identifier", [name, kind, addresses, refused], create: false, (parse, store, output) =>
            {
                var entry = Entry(parse);
                Require(store.Identifier(entry.Identifier) is null, $"identifier {entry.Identifier} exists already; use: sojourn ca identifier set");
                store.Put(entry, Actor);
                output.WriteLine($"added {entry.Identifier}");
            }),
            Verb("set", "Replace an identifier's entry; certificates stay", [name, kind, addresses, refused], create: false, (parse, store, output) =>
            {
                var entry = Entry(parse);
                Require(store.Identifier(entry.Identifier) is not null, $"identifier {entry.Identifier} is not known");
                store.Put(entry, Actor);
                output.WriteLine($"changed {entry.Identifier}");
            }),
            Verb("list", "List identifiers", [], create: false, (parse, store, output) => List(
                parse, output, "sojourn/ca-identifiers/1", store.Identifiers(),
                i => new { identifier = i.Identifier, kind = NameOf(i.Kind), eligible = i.Eligible, addresses = i.Addresses.Select(a => a.ToString()) },
                i => $"{i.Identifier,-40} {NameOf(i.Kind),-11} {(i.Eligible ? "" : "not eligible ")}{string.Join(' ', i.Addresses)}")),
            Verb("remove", "Remove an identifier: its certificates are withdrawn", [name], create: false, (parse, store, output) =>
            {
                var identifier = Canonical(parse.GetValue(name)!);
                Require(store.RemoveIdentifier(identifier, Actor), $"identifier {identifier} is not known");
                output.WriteLine($"removed {identifier}");
            }),
        };

        IdentifierEntry Entry(ParseResult parse)
        {
            var (text, which) = (parse.GetValue(name)!, Kinds[parse.GetValue(kind)!]);
            var list = (parse.GetValue(addresses) ?? []).Select(a => IPAddress.TryParse(a, out var address) ? address : throw new StorageException($"--address: '{a}' is no address")).ToList();
            Require(which != IdentifierKind.Terminal || list.Count == 0, "a terminal's certificate states no address: its home address is not known before it");
            return new IdentifierEntry(Canonical(text), text.Trim(), which, !parse.GetValue(refused), list);
        }
    }

    private static Command Secret()
    {
        var name = new Argument<string>("identifier") { Description = "Whom it is for" };
        var reference = new Option<string?>("--reference") { Description = "Name the terminal gives the secret (openssl cmp -ref) [default: random]" };
        var from = new Option<string?>("--secret-file") { Description = "File whose first line is the secret, closed to group and others [default: random]" };
        var to = new Option<string?>("--out") { Description = "File a random secret is written to, mode 0600" };
        var hours = new Option<int>("--hours") { Description = "How long it may be used", DefaultValueFactory = _ => 168 };
        return Verb("secret", "Make an enrolment secret; it serves once, and replaces an unused one", [name, reference, from, to, hours], create: false, (parse, store, output) =>
        {
            var identifier = Canonical(parse.GetValue(name)!);
            Require(parse.GetValue(from) is null != parse.GetValue(to) is null, "one of --secret-file and --out");
            Require(parse.GetValue(hours) is > 0 and <= 8760, "--hours: 1 to 8760");
            Require(parse.GetValue(reference) is not { } r || (r.Length is > 0 and <= 64 && r.All(c => c is > ' ' and < (char)127)), "--reference: 1 to 64 printable characters");
            Require(parse.GetValue(to) is not { } t || !File.Exists(t), $"--out: {parse.GetValue(to)} exists");
            var given = parse.GetValue(from) is { } file ? new KeyMaterial(Encoding.UTF8.GetBytes(FirstLine(file))) : null;
            var made = store.AddSecret(identifier, parse.GetValue(reference), given, TimeSpan.FromHours(parse.GetValue(hours)), Actor);
            if (parse.GetValue(to) is { } path)
            {
                using var stream = new FileStream(path, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = OwnerOnly });
                stream.Write(made.Secret.Octets);
                stream.Write("\n"u8);
            }

            output.WriteLine($"reference {made.Reference} for {identifier}, until {Time(made.Expires)}");
        });
    }

    private static Command Issue()
    {
        var name = new Argument<string>("identifier") { Description = "Whose certificate; it has to be known (sojourn ca identifier add)" };
        var path = new Option<string>("--store") { Description = "Credential store: a directory, or a PKCS#12 file (.p12); made with a new key when it is not there", Required = true };
        var password = new Option<string?>("--password-file") { Description = "File whose first line opens the store's key; needed for PKCS#12" };
        var uri = new Option<string?>("--public-uri") { Description = "What the certificate says about where CRL and OCSP are, as option ca.public-uri" };
        return Verb("issue", "Issue a certificate on the spot, for a server on the authority's own host such as its queries", [name, path, password, uri], create: false, (parse, store, output) =>
        {
            var identifier = Canonical(parse.GetValue(name)!);
            var folder = parse.GetValue(path)!;
            Require(parse.GetValue(uri) is not { } text || (Uri.TryCreate(text, UriKind.Absolute, out var at) && at.Scheme is "http" or "https"), "--public-uri: is no URI, e.g. http://ca.home.example");
            Require(store.Identifier(identifier) is not null, $"identifier {identifier} is not known; use: sojourn ca identifier add");
            using var credentials = Directory.Exists(folder) || File.Exists(folder)
                ? CredentialStore.Open(folder, parse.GetValue(password))
                : CredentialStore.Create(folder, identifier, passwordFile: parse.GetValue(password));
            Require(credentials.Identifier == identifier, $"{folder} is the store of {credentials.Identifier}");
            var end = LocalEnrolment.Enrol(store, credentials, parse.GetValue(uri), Actor, TimeProvider.System);
            Require(end is CmpIssued, end is CmpRefused refused ? refused.Reason : $"{end}");
            output.WriteLine($"{identifier}: certificate {credentials.Certificate!.SerialNumber.ToLowerInvariant()} until {Time(credentials.Certificate.NotAfter)} in {folder}");
        });
    }

    private static Command Certificate()
    {
        var serial = new Argument<string>("serial") { Description = "Serial number, hexadecimal" };
        var of = new Argument<string?>("identifier") { Description = "Whose; none = everybody's", Arity = ArgumentArity.ZeroOrOne };
        var reason = new Option<string>("--reason") { Description = string.Join(" | ", RevocationReason.Words.Keys), DefaultValueFactory = _ => "unspecified" };
        reason.AcceptOnlyFromAmong([.. RevocationReason.Words.Keys]);
        return new Command("certificate", "Certificates this authority issued")
        {
            Verb("list", "List certificates, newest first", [of], create: false, (parse, store, output) => List(
                parse, output, "sojourn/ca-certificates/1", store.CertificatesOf(parse.GetValue(of) is { } name ? Canonical(name) : null), Fields,
                c => $"{c.Serial}  {c.Identifier,-32} {NameOf(c.Status),-12} until {Time(c.NotAfter)}")),
            Verb("show", "Print a certificate (PEM)", [serial], create: false, (parse, store, output) =>
            {
                var certificate = store.Certificate(parse.GetValue(serial)!.ToLowerInvariant()) ?? throw new StorageException($"there is no certificate {parse.GetValue(serial)}");
                output.WriteLine(parse.GetValue(Json) ? JsonSerializer.Serialize(Fields(certificate), CliJson.Indented) : PemEncoding.WriteString("CERTIFICATE", certificate.Encoded.Span));
            }),
            Verb("revoke", "Withdraw a certificate, and the permission that goes with it", [serial, reason], create: false, (parse, store, output) =>
            {
                Require(store.Revoke(parse.GetValue(serial)!.ToLowerInvariant(), RevocationReason.Words[parse.GetValue(reason)!], Actor), $"there is no certificate {parse.GetValue(serial)} that is not revoked");
                output.WriteLine($"revoked {parse.GetValue(serial)}");
            }),
        };
    }

    private static Command PermissionTable()
    {
        var name = new Argument<string>("identifier") { Description = "Whose" };
        return new Command("permission", "Prefix allocation control table: who may be given a home prefix")
        {
            Verb("list", "List the table", [], create: false, (parse, store, output) => List(
                parse, output, "sojourn/ca-permissions/1", store.Permissions(),
                p => new { identifier = p.Identifier, allowed = p.Allowed, effective = p.Effective, serial = p.Serial, notAfter = p.NotAfter, setAt = p.SetAt, clearedAt = p.ClearedAt, clearedFor = p.ClearedFor },
                p => $"{p.Identifier,-40} {(p.Allowed ? p.Effective ? "OK" : "not confirmed" : $"clear ({p.ClearedFor})"),-22} serial {p.Serial} until {Time(p.NotAfter)}")),
            Verb("set", "Set the flag by hand", [name], create: false, (parse, store, output) => Change(parse, store, output, true)),
            Verb("clear", "Clear the flag by hand; the certificate stays", [name], create: false, (parse, store, output) => Change(parse, store, output, false)),
        };

        void Change(ParseResult parse, AuthorityStore store, TextWriter output, bool allowed)
        {
            var identifier = Canonical(parse.GetValue(name)!);
            Require(store.SetPermission(identifier, allowed, Actor), $"{identifier} has no row: it has had no certificate");
            output.WriteLine($"{identifier}: {(allowed ? "OK" : "clear")}");
        }
    }

    private static Command Crl() => Verb("crl", "Print a CRL made now (PEM); a running authority serves its own at /ca.crl", [], create: false, (_, store, output) =>
    {
        var (certificate, key) = store.Authority() ?? throw new StorageException("there is no authority in this database; use: sojourn ca init");
        using var signer = new EcdsaSigner(certificate, key);
        key.Wipe();
        var now = DateTimeOffset.UtcNow;
        var (number, revoked) = store.NextCrl(now);
        output.WriteLine(PemEncoding.WriteString("X509 CRL", new CertificationAuthority(signer, new AuthorityOptions(), SystemRandomSource.Instance).RevocationList(number, revoked, now)));
    });

    private static Command Audit()
    {
        var count = new Option<int>("--count") { Description = "Newest entries shown", DefaultValueFactory = _ => 50 };
        return Verb("audit", "What was issued, confirmed, withdrawn, and by whom; newest first", [count], create: false, (parse, store, output) => List(
            parse, output, "sojourn/audit/1", store.Audit(parse.GetValue(count)),
            e => new { id = e.Id, at = e.At, actor = e.Actor, action = e.Action, @object = e.Object, detail = e.Detail },
            e => $"{e.At:yyyy-MM-dd HH:mm:ss}  {e.Actor,-24} {e.Action,-20} {e.Object}  {e.Detail}"));
    }

    private static object Fields(IssuedCertificate c) => new
    {
        serial = c.Serial,
        identifier = c.Identifier,
        status = NameOf(c.Status),
        notBefore = c.NotBefore,
        notAfter = c.NotAfter,
        confirmBy = c.ConfirmBy,
        revokedAt = c.RevokedAt,
        reason = c.Reason is { } reason ? RevocationReason.Words.FirstOrDefault(pair => pair.Value == reason).Key : null,
    };

    private static Command Verb(string name, string description, IEnumerable<Symbol> symbols, bool create, Action<ParseResult, AuthorityStore, TextWriter> run) => DatabaseVerb.Create(name, description, symbols, parse =>
    {
        using var database = Database.Open(parse.GetValue(DatabaseFile)!, parse.GetValue(SealKeyFile), create);
        run(parse, new AuthorityStore(database, TimeProvider.System), parse.InvocationConfiguration.Output);
    });

    private static string Canonical(string text) =>
        TerminalIdentifier.TryCanonical(text, out var reason) ?? throw new StorageException($"'{text}' {reason}");

    private static string FirstLine(string path)
    {
        const UnixFileMode others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
        Require(File.Exists(path), $"--secret-file: {path} does not exist");
        Require((File.GetUnixFileMode(path) & others) == 0, $"--secret-file: {path} is open to group or others; run: chmod 600 {path}");
        return File.ReadLines(path).FirstOrDefault() ?? "";
    }

    private static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private static string NameOf(IdentifierKind kind) => Kinds.First(pair => pair.Value == kind).Key;

    private static string NameOf(CertificateStatus status) => status.ToString().ToLowerInvariant();
}
