using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Enrolment;
using Sojourn.Engine.Ikev2;
using Sojourn.Roles.Configuration;
using Sojourn.Wire.Cmp;

namespace Sojourn.Roles.Enrolment;

/// <summary>A credential store cannot be opened, read or written. The text is for the operator and quotes no secret.</summary>
public sealed class CredentialStoreException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// Identifier, key pair, certificate and authorities of a terminal or a home agent (spec authentication D13, D14): a directory, or a
/// PKCS#12 file, on a medium that may be taken away (7.6).
/// </summary>
/// <remarks>
/// What is needed while associations run is in memory. But <see cref="Key"/> signs only while the store is there: before every signature
/// its key file is looked for, and after a change read again, since another card may have been put in (TA-N28). Private keys stay inside
/// the platform's cryptography and are not handed out; octets read on the way there are wiped. Used by one thread, but for
/// <see cref="IsPresent"/> and <see cref="Key"/>.
/// </remarks>
public abstract class CredentialStore : IDisposable
{
    private readonly Lock _gate = new();
    private (long Length, DateTime Written)? _seen;

    private protected CredentialStore(string path, string? password)
    {
        Path = path;
        Password = password;
    }

    public string Path { get; }

    /// <summary>Canonical; see <see cref="TerminalIdentifier"/>.</summary>
    public string Identifier { get; private set; } = "";

    /// <summary>Signs while the store is there.</summary>
    public SigningKey Key { get; private set; } = null!;

    /// <summary>SubjectPublicKeyInfo.</summary>
    public ReadOnlyMemory<byte> PublicKey { get; private set; }

    /// <summary>Null before the first enrolment.</summary>
    public X509Certificate2? Certificate { get; private set; }

    /// <summary>Between the certificate and an authority, nearest first.</summary>
    public IReadOnlyList<X509Certificate2> Intermediates { get; private set; } = [];

    /// <summary>Who is trusted; none before the first enrolment, unless somebody has put them there.</summary>
    public IReadOnlyList<X509Certificate2> Authorities { get; private set; } = [];

    private protected string? Password { get; }

    /// <summary>The file that has to be there for a signature.</summary>
    private protected abstract string KeyPath { get; }

    /// <summary>Opens what is there.</summary>
    /// <param name="path">A directory, or a PKCS#12 file.</param>
    /// <param name="passwordFile">Its first line opens an encrypted key; closed to group and others.</param>
    /// <exception cref="CredentialStoreException">It is not there, or cannot be used.</exception>
    public static CredentialStore Open(string path, string? passwordFile = null)
    {
        var password = PasswordOf(passwordFile);
        CredentialStore store = Directory.Exists(path) ? new DirectoryCredentialStore(path, password)
            : File.Exists(path) ? new Pkcs12CredentialStore(path, password)
            : throw new CredentialStoreException($"there is no credential store {path}");
        try
        {
            store.Load();
            return store;
        }
        catch
        {
            store.Dispose();
            throw;
        }
    }

    /// <summary>Makes a store with a new key and no certificate.</summary>
    /// <param name="path">A directory that is empty or not there, or the name of a file ending in <c>.p12</c> or <c>.pfx</c>.</param>
    /// <param name="identifier">Host name or distinguished name.</param>
    /// <param name="passwordFile">Encrypts the key; a PKCS#12 file needs one.</param>
    /// <exception cref="CredentialStoreException">There is one already, or it cannot be written.</exception>
    public static CredentialStore Create(string path, string identifier, CredentialKeyKind kind = CredentialKeyKind.P256, string? passwordFile = null)
    {
        if (TerminalIdentifier.TryCanonical(identifier, out var reason) is null)
        {
            throw new CredentialStoreException($"'{identifier}' {reason}");
        }

        var password = PasswordOf(passwordFile);
        CredentialStore store = System.IO.Path.GetExtension(path).ToLowerInvariant() is ".p12" or ".pfx" ? new Pkcs12CredentialStore(path, password) : new DirectoryCredentialStore(path, password);
        using var key = NewCredentialKey.Make(kind);
        Guarded(() => store.Begin(identifier.Trim(), key.Pkcs8), $"cannot make {path}");
        return Open(path, passwordFile);
    }

    /// <summary>Whether the key file is there and still holds the same key. Any thread.</summary>
    public bool IsPresent()
    {
        lock (_gate)
        {
            try
            {
                if (Stamp() is not { } stamp)
                {
                    return false;
                }

                if (stamp != _seen)
                {
                    using var content = Read();
                    if (!content.Key(() => true).PublicKey.AsSpan().SequenceEqual(PublicKey.Span))
                    {
                        return false;
                    }

                    _seen = stamp;
                }

                return true;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException or CredentialStoreException)
            {
                return false;
            }
        }
    }

    /// <summary>For IKE and CMP; null before the first enrolment.</summary>
    /// <param name="url">Where the certificate can be fetched, for hash-and-URL.</param>
    public IkeCredential? ToCredential(Uri? url = null) => Certificate is { } certificate ? new IkeCredential(certificate, Intermediates, Key, url) : null;

    /// <summary>The certificate with its key, for the TLS of one connection; the caller disposes of it. Null before the first enrolment.</summary>
    /// <exception cref="CredentialStoreException">The store has been taken away, or its key is of a kind that the platform's TLS does not take.</exception>
    public X509Certificate2? WithKey()
    {
        if (Certificate is not { } certificate)
        {
            return null;
        }

        X509Certificate2? whole = null;
        lock (_gate)
        {
            Guarded(
                () =>
                {
                    using var content = Read();
                    using var own = certificate.GetECDsaPublicKey();
                    if (own is not null)
                    {
                        using var ec = ECDsa.Create();
                        ec.ImportPkcs8PrivateKey(content.Pkcs8, out _);
                        whole = certificate.CopyWithPrivateKey(ec);
                        return;
                    }

                    using var rsa = RSA.Create();
                    rsa.ImportPkcs8PrivateKey(content.Pkcs8, out _);
                    whole = certificate.CopyWithPrivateKey(rsa);
                },
                $"cannot use {Path} for TLS");
        }

        return whole;
    }

    /// <summary>A new key of the same kind as the present one, for a key update. It is in no store until it is saved with its certificate.</summary>
    public NewCredentialKey MakeKey() => NewCredentialKey.Make(SubjectPublicKeyInfo.TryParse(PublicKey, out var key, out _) ? key switch
    {
        { Algorithm.Oid: CmpOids.Ed25519 } => CredentialKeyKind.Ed25519,
        { Algorithm.Oid: CmpOids.Rsa } => CredentialKeyKind.Rsa3072,
        { NamedCurve: CmpOids.P384 } => CredentialKeyKind.P384,
        _ => CredentialKeyKind.P256,
    } : CredentialKeyKind.P256);

    /// <summary>Stores certificate and authorities beside the key pair (TA1.107a); with a new key, in its place, all or nothing.</summary>
    /// <exception cref="CredentialStoreException">The store is not there any more, or cannot be written. What it had, it has.</exception>
    public void Save(CmpIssued issued, NewCredentialKey? key = null)
    {
        if (!IsPresent())
        {
            throw new CredentialStoreException($"the credential store {Path} has been taken away");
        }

        lock (_gate)
        {
            Guarded(() => Write(key?.Pkcs8, [issued.Certificate, .. issued.Intermediates], issued.Authorities), $"cannot write {Path}");
            Load();
        }
    }

    public void Dispose()
    {
        Key?.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Makes the store with a key alone.</summary>
    private protected abstract void Begin(string identifier, byte[] pkcs8);

    private protected abstract StoreContent Read();

    /// <param name="pkcs8">New key; null = the one that is there stays.</param>
    private protected abstract void Write(byte[]? pkcs8, IReadOnlyList<X509Certificate2> chain, IReadOnlyList<X509Certificate2> authorities);

    /// <summary>Writes a file so that its old or its new content is there after a crash.</summary>
    private protected static void Replace(string path, ReadOnlySpan<byte> content, UnixFileMode mode = UnixFileMode.UserRead | UnixFileMode.UserWrite)
    {
        var beside = path + ".writing";
        File.Delete(beside);
        using (var stream = new FileStream(beside, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = mode }))
        {
            stream.Write(content);
            stream.Flush(flushToDisk: true);
        }

        File.Move(beside, path, overwrite: true);
    }

    private void Load() => Guarded(
        () =>
        {
            var stamp = Stamp();
            using var content = Read();
            var key = content.Key(IsPresent);
            var publicKey = key.PublicKey;
            var own = content.Certificates.FirstOrDefault(c => c.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(publicKey));
            if (own is null && content.NeedsOwn)
            {
                throw new CredentialStoreException($"the certificate in {Path} is not for the key in it");
            }

            var named = content.Identifier is { } text
                ? TerminalIdentifier.TryCanonical(text, out var reason) ?? throw new CredentialStoreException($"the identifier in {Path} {reason}")
                : null;
            var certified = own is not null && CertificateFields.TryParse(own.RawDataMemory, out var fields, out _) ? TerminalIdentifier.Of(fields) : null;
            if (named is not null && certified is not null && named != certified)
            {
                throw new CredentialStoreException($"the certificate in {Path} is for {certified}, not for {named}");
            }

            Identifier = named ?? certified ?? throw new CredentialStoreException($"{Path} does not say whose it is");
            (Key, PublicKey, _seen) = (key, publicKey, stamp);
            Certificate = own;
            Intermediates = [.. content.Certificates.Where(c => c != own)];
            Authorities = content.Authorities;
        },
        $"cannot use {Path}");

    private (long, DateTime)? Stamp()
    {
        var file = new FileInfo(KeyPath);
        return file.Exists ? (file.Length, file.LastWriteTimeUtc) : null;
    }

    private static string? PasswordOf(string? file)
    {
        if (file is null)
        {
            return null;
        }

        return SecretFile.CheckPrivate(file) is { } fault ? throw new CredentialStoreException($"password file: {fault}")
            : File.ReadLines(file).FirstOrDefault() is { Length: > 0 } line ? line : throw new CredentialStoreException($"password file: '{file}' is empty");
    }

    private static void Guarded(Action act, string what)
    {
        try
        {
            act();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException or ArgumentException or FormatException or System.Formats.Asn1.AsnContentException)
        {
            throw new CredentialStoreException($"{what}: {e.Message}", e);
        }
    }

    /// <summary>What lies in a store. Wipes the key when it is done with.</summary>
    /// <param name="Identifier">As written; null = only the certificate says.</param>
    /// <param name="Certificates">Own one and intermediates.</param>
    /// <param name="NeedsOwn">A certificate that is not the key's is a fault.</param>
    private protected sealed record StoreContent(
        string? Identifier, byte[] Pkcs8, IReadOnlyList<X509Certificate2> Certificates, IReadOnlyList<X509Certificate2> Authorities, bool NeedsOwn) : IDisposable
    {
        public SigningKey Key(Func<bool> isPresent) => SigningKey.FromPkcs8(Pkcs8, isPresent);

        public void Dispose() => CryptographicOperations.ZeroMemory(Pkcs8);
    }
}
