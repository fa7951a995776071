using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Enrolment;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Enrolment;

namespace Sojourn.Cli.Verbs;

/// <summary>
/// <c>sojourn enrol …</c>: gets, renews and withdraws the certificate in a credential store, with CMP. For a home agent ahead of any
/// terminal (TA1.181, TA1.182), and for whoever else needs a certificate of the home network's authority.
/// </summary>
internal static class EnrolVerbs
{
    private static readonly Option<string> Store = new("--store") { Description = "Credential store: a directory, or a PKCS#12 file (.p12)", Required = true, Recursive = true };

    private static readonly Option<string?> PasswordFile = new("--password-file") { Description = "File whose first line opens the store's key; needed for PKCS#12", Recursive = true };

    private static readonly Option<string?> Url = new("--url") { Description = "The authority, e.g. http://ca.home.example", Recursive = true };

    private static readonly Option<string?> Local = new("--local") { Description = "Own address that requests leave from", Recursive = true };

    private static readonly Option<bool> Implicit = new("--implicit-confirm") { Description = "Ask to do without the confirmation message", Recursive = true };

    private static readonly Option<bool> Json = new("--json") { Description = "Print JSON", Recursive = true };

    private static readonly Dictionary<string, CredentialKeyKind> Kinds = new()
    {
        ["p256"] = CredentialKeyKind.P256,
        ["p384"] = CredentialKeyKind.P384,
        ["ed25519"] = CredentialKeyKind.Ed25519,
        ["rsa3072"] = CredentialKeyKind.Rsa3072,
    };

    public static Command Create()
    {
        var identifier = new Option<string?>("--identifier") { Description = "Whose certificate: host name or distinguished name; needed when the store is not there yet" };
        var reference = new Option<string?>("--reference") { Description = "Name the authority gave the secret" };
        var secret = new Option<string?>("--secret-file") { Description = "File whose first line is the enrolment secret, closed to group and others" };
        var kind = new Option<string>("--key") { Description = "Kind of key to make", DefaultValueFactory = _ => "p256" };
        kind.AcceptOnlyFromAmong([.. Kinds.Keys]);
        var command = new Command("enrol", "Get a certificate with an enrolment secret; the store is made when it is not there")
        {
            Store, PasswordFile, Url, Local, Implicit, Json, identifier, reference, secret, kind, Update(), Revoke(), Show(),
        };
        return Does(command, async (parse, cancellation) =>
        {
            var file = Needed(parse.GetValue(secret), "--secret-file");
            var name = Needed(parse.GetValue(reference), "--reference");
            var path = parse.GetValue(Store)!;
            using var client = Client(parse);
            var key = Secret(file);
            using var store = File.Exists(path) || (Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any())
                ? Open(parse)
                : CredentialStore.Create(path, Needed(parse.GetValue(identifier), "--identifier"), Kinds[parse.GetValue(kind)!], parse.GetValue(PasswordFile));
            if (parse.GetValue(identifier) is { } wanted && TerminalIdentifier.TryCanonical(wanted, out _) != store.Identifier)
            {
                throw new CredentialStoreException($"{path} is the store of {store.Identifier}");
            }

            var end = await client.EnrolAsync(store, name, key, parse.GetValue(Implicit), cancellation).ConfigureAwait(false);
            key.Wipe();
            return Told(parse, store, end);
        });
    }

    private static Command Update() => Does(new Command("update", "Put a new key and its certificate in place of the present ones"), async (parse, cancellation) =>
    {
        using var client = Client(parse);
        using var store = Open(parse);
        return Told(parse, store, await client.UpdateAsync(store, parse.GetValue(Implicit), cancellation).ConfigureAwait(false));
    });

    private static Command Revoke()
    {
        var reason = new Option<string>("--reason") { Description = string.Join(" | ", RevocationReason.Words.Keys), DefaultValueFactory = _ => "unspecified" };
        reason.AcceptOnlyFromAmong([.. RevocationReason.Words.Keys]);
        return Does(new Command("revoke", "Have the store's certificate withdrawn") { reason }, async (parse, cancellation) =>
        {
            using var client = Client(parse);
            using var store = Open(parse);
            return Told(parse, store, await client.RevokeAsync(store, RevocationReason.Words[parse.GetValue(reason)!], cancellation).ConfigureAwait(false));
        });
    }

    private static Command Show() => Does(new Command("show", "What is in the store; never the key"), (parse, _) =>
    {
        using var store = Open(parse);
        Print(parse, store);
        return Task.FromResult(ExitCode.Success);
    });

    private static int Told(ParseResult parse, CredentialStore store, CmpEnd end)
    {
        switch (end)
        {
            case CmpIssued:
                Print(parse, store);
                return ExitCode.Success;
            case CmpRevoked:
                parse.InvocationConfiguration.Output.WriteLine($"{store.Identifier}: certificate {store.Certificate!.SerialNumber.ToLowerInvariant()} is withdrawn");
                return ExitCode.Success;
            case CmpUnreachable unreachable:
                parse.InvocationConfiguration.Error.WriteLine($"sojourn: {unreachable.Reason}");
                return ExitCode.Unreachable;
            default:
                parse.InvocationConfiguration.Error.WriteLine($"sojourn: {store.Identifier}: {((CmpRefused)end).Reason}");
                return ExitCode.Refused;
        }
    }

    private static void Print(ParseResult parse, CredentialStore store)
    {
        var output = parse.InvocationConfiguration.Output;
        var (certificate, authority) = (store.Certificate, store.Authorities.Count > 0 ? store.Authorities[0] : null);
        if (parse.GetValue(Json))
        {
            output.WriteLine(JsonSerializer.Serialize(
                new
                {
                    schema = "sojourn/credential/1",
                    identifier = store.Identifier,
                    publicKey = Convert.ToBase64String(store.PublicKey.Span),
                    serial = certificate?.SerialNumber.ToLowerInvariant(),
                    notBefore = certificate?.NotBefore.ToUniversalTime(),
                    notAfter = certificate?.NotAfter.ToUniversalTime(),
                    authorities = store.Authorities.Select(a => new { name = a.Subject, sha256 = Fingerprint(a) }),
                },
                CliJson.Indented));
            return;
        }

        output.WriteLine(certificate is null
            ? $"{store.Identifier}: a key and no certificate yet"
            : $"{store.Identifier}: certificate {certificate.SerialNumber.ToLowerInvariant()} until {certificate.NotAfter.ToUniversalTime().ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture)}");
        if (authority is not null)
        {
            output.WriteLine($"authority {authority.Subject}, SHA-256 {Fingerprint(authority)}");
        }
    }

    private static string Fingerprint(X509Certificate2 certificate) => certificate.GetCertHashString(System.Security.Cryptography.HashAlgorithmName.SHA256).ToLowerInvariant();

    private static CredentialStore Open(ParseResult parse) => CredentialStore.Open(parse.GetValue(Store)!, parse.GetValue(PasswordFile));

    private static CmpClient Client(ParseResult parse)
    {
        var local = parse.GetValue(Local) is not { } text ? null : IPAddress.TryParse(text, out var address) ? address : throw new ArgumentException($"--local: '{text}' is no address");
        return Uri.TryCreate(Needed(parse.GetValue(Url), "--url"), UriKind.Absolute, out var uri) ? new CmpClient(uri, local) : throw new ArgumentException("--url: is no URI, e.g. http://ca.home.example");
    }

    private static KeyMaterial Secret(string file)
    {
        if (SecretFile.CheckPrivate(file) is { } fault)
        {
            throw new ArgumentException($"--secret-file: {fault}");
        }

        return File.ReadLines(file).FirstOrDefault() is { Length: > 0 } line ? new KeyMaterial(Encoding.UTF8.GetBytes(line)) : throw new ArgumentException($"--secret-file: '{file}' is empty");
    }

    private static string Needed(string? value, string option) => value ?? throw new ArgumentException($"{option} is needed");

    private static Command Does(Command command, Func<ParseResult, CancellationToken, Task<int>> act)
    {
        command.SetAction(async (parse, cancellation) =>
        {
            try
            {
                return await act(parse, cancellation).ConfigureAwait(false);
            }
            catch (ArgumentException e)
            {
                parse.InvocationConfiguration.Error.WriteLine($"sojourn: {e.Message}");
                return ExitCode.Usage;
            }
            catch (Exception e) when (e is CredentialStoreException or IOException or UnauthorizedAccessException)
            {
                parse.InvocationConfiguration.Error.WriteLine($"sojourn: {e.Message}");
                return ExitCode.Refused;
            }
        });
        return command;
    }
}
