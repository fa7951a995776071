using System.Security.Cryptography;
using System.Text;

namespace Sojourn.Storage;

/// <summary>
/// Seals secrets at rest: AES-256-GCM under a key derived per box (HKDF-SHA-256 over the master key with a random
/// 32-octet salt), bound to where the box is stored so that one row's secret cannot be moved to another.
/// Box = version (1) || salt (32) || tag (16) || ciphertext.
/// </summary>
public sealed class Seal
{
    private const byte Version = 1;
    private const int SaltLength = 32;
    private const int TagLength = 16;
    private const int KeyLength = 32;
    private static readonly byte[] Info = "sojourn seal v1"u8.ToArray();

    private readonly KeyMaterial _master;

    public Seal(KeyMaterial master)
    {
        if (master.Length != KeyLength)
        {
            throw new ArgumentException($"a sealing key has {KeyLength} octets, not {master.Length}", nameof(master));
        }

        _master = master;
    }

    /// <summary>
    /// Reads the sealing key from <paramref name="path"/> (64 hex digits); makes it with mode 0600 when it does not exist and
    /// <paramref name="create"/> is set.
    /// </summary>
    /// <exception cref="StorageException">The file is missing, readable by others, or not 64 hex digits.</exception>
    public static Seal FromFile(string path, bool create)
    {
        if (!File.Exists(path))
        {
            if (!create)
            {
                throw new StorageException($"sealing key {path} does not exist; without it the database's secrets cannot be read");
            }

            var fresh = RandomNumberGenerator.GetBytes(KeyLength);
            using (var file = new FileStream(path, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            }))
            {
                file.Write(Encoding.ASCII.GetBytes(Convert.ToHexStringLower(fresh) + "\n"));
                file.Flush(flushToDisk: true);
            }

            var made = new Seal(new KeyMaterial(fresh));
            CryptographicOperations.ZeroMemory(fresh);
            return made;
        }

        const UnixFileMode others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
        if ((File.GetUnixFileMode(path) & others) != 0)
        {
            throw new StorageException($"sealing key {path} is readable by others than its owner; run: chmod 600 {path}");
        }

        byte[] octets;
        try
        {
            octets = Convert.FromHexString(File.ReadAllText(path).Trim());
        }
        catch (FormatException)
        {
            throw new StorageException($"sealing key {path} is not hexadecimal; expected {KeyLength * 2} hex digits");
        }

        if (octets.Length != KeyLength)
        {
            throw new StorageException($"sealing key {path} has {octets.Length} octets; expected {KeyLength}");
        }

        var seal = new Seal(new KeyMaterial(octets));
        CryptographicOperations.ZeroMemory(octets);
        return seal;
    }

    public byte[] Close(ReadOnlySpan<byte> secret, string place)
    {
        var box = new byte[1 + SaltLength + TagLength + secret.Length];
        box[0] = Version;
        var salt = box.AsSpan(1, SaltLength);
        RandomNumberGenerator.Fill(salt);
        using var cipher = CipherFor(salt);
        cipher.Encrypt(stackalloc byte[12], secret, box.AsSpan(1 + SaltLength + TagLength), box.AsSpan(1 + SaltLength, TagLength), Encoding.UTF8.GetBytes(place));
        return box;
    }

    /// <exception cref="StorageException">The box was sealed with another key, for another place, or damaged.</exception>
    public byte[] Open(ReadOnlySpan<byte> box, string place)
    {
        if (box.Length < 1 + SaltLength + TagLength || box[0] != Version)
        {
            throw new StorageException($"the sealed value of {place} is damaged");
        }

        var secret = new byte[box.Length - 1 - SaltLength - TagLength];
        using var cipher = CipherFor(box.Slice(1, SaltLength));
        try
        {
            cipher.Decrypt(stackalloc byte[12], box[(1 + SaltLength + TagLength)..], box.Slice(1 + SaltLength, TagLength), secret, Encoding.UTF8.GetBytes(place));
        }
        catch (AuthenticationTagMismatchException)
        {
            throw new StorageException($"the sealed value of {place} does not open: another sealing key, or damaged");
        }

        return secret;
    }

    // The key serves one box only, which is what makes the constant nonce safe.
    private AesGcm CipherFor(ReadOnlySpan<byte> salt)
    {
        Span<byte> key = stackalloc byte[KeyLength];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, _master.Octets, key, salt, Info);
        var cipher = new AesGcm(key, TagLength);
        CryptographicOperations.ZeroMemory(key);
        return cipher;
    }
}

/// <summary>A storage fault a person can act on; the message says what and where.</summary>
public sealed class StorageException(string message, Exception? inner = null) : Exception(message, inner);
