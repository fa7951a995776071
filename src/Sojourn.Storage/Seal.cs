using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Sojourn.Storage;

/// <summary>
/// Seals secrets at rest: AES-256-GCM under keys derived from the master key (HKDF-SHA-256 with a random 32-octet salt), bound to
/// where the box is stored so that one row's secret cannot be moved to another. Each life of a node draws a salt and counts
/// nonces under its key, so that deriving keys does not cost more than what is sealed.
/// Box = version 2 (1) || salt (32) || nonce (12) || tag (16) || ciphertext. A box of version 1 has a salt of its own and no nonce.
/// </summary>
public sealed class Seal
{
    private const byte OneKeyEach = 1;
    private const byte Version = 2;
    private const int SaltLength = 32;
    private const int NonceLength = 12;
    private const int TagLength = 16;
    private const int KeyLength = 32;
    private const int MostKeysKept = 16;

    /// <summary>Boxes under one key, far below what counted nonces allow.</summary>
    private const ulong MostBoxes = 1UL << 32;

    private static readonly byte[] Info = "sojourn seal v1"u8.ToArray();
    private static readonly byte[] InfoOfMany = "sojourn seal v2"u8.ToArray();

    private readonly KeyMaterial _master;
    private readonly Lock _gate = new();
    private readonly List<(byte[] Salt, AesGcm Cipher)> _ciphers = [];
    private byte[] _salt = [];
    private AesGcm? _cipher;
    private ulong _boxes;

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
        var box = new byte[1 + SaltLength + NonceLength + TagLength + secret.Length];
        box[0] = Version;
        var nonce = box.AsSpan(1 + SaltLength, NonceLength);
        lock (_gate)
        {
            if (_cipher is null || _boxes == MostBoxes)
            {
                _cipher?.Dispose();
                _salt = RandomNumberGenerator.GetBytes(SaltLength);
                _cipher = CipherFor(_salt, InfoOfMany);
                _boxes = 0;
            }

            _salt.CopyTo(box.AsSpan(1));
            BinaryPrimitives.WriteUInt64BigEndian(nonce[^sizeof(ulong)..], _boxes++);
            _cipher.Encrypt(nonce, secret, box.AsSpan(1 + SaltLength + NonceLength + TagLength), box.AsSpan(1 + SaltLength + NonceLength, TagLength), Encoding.UTF8.GetBytes(place));
        }

        return box;
    }

    /// <exception cref="StorageException">The box was sealed with another key, for another place, or damaged.</exception>
    public byte[] Open(ReadOnlySpan<byte> box, string place)
    {
        var nonceLength = box.IsEmpty ? 0 : box[0] switch
        {
            OneKeyEach => 0,
            Version => NonceLength,
            _ => int.MaxValue / 2,
        };
        if (box.Length < 1 + SaltLength + nonceLength + TagLength)
        {
            throw new StorageException($"the sealed value of {place} is damaged");
        }

        var salt = box.Slice(1, SaltLength);
        var sealedPart = box[(1 + SaltLength + nonceLength)..];
        var secret = new byte[sealedPart.Length - TagLength];
        try
        {
            if (nonceLength == 0)
            {
                // The key serves this box only, which is what makes the constant nonce safe.
                using var cipher = CipherFor(salt, Info);
                cipher.Decrypt(stackalloc byte[NonceLength], sealedPart[TagLength..], sealedPart[..TagLength], secret, Encoding.UTF8.GetBytes(place));
            }
            else
            {
                lock (_gate)
                {
                    Kept(salt).Decrypt(box.Slice(1 + SaltLength, NonceLength), sealedPart[TagLength..], sealedPart[..TagLength], secret, Encoding.UTF8.GetBytes(place));
                }
            }
        }
        catch (AuthenticationTagMismatchException)
        {
            throw new StorageException($"the sealed value of {place} does not open: another sealing key, or damaged");
        }

        return secret;
    }

    /// <summary>The ciphers last used to open boxes stay, the latest last.</summary>
    private AesGcm Kept(ReadOnlySpan<byte> salt)
    {
        for (var i = _ciphers.Count - 1; i >= 0; i--)
        {
            if (salt.SequenceEqual(_ciphers[i].Salt))
            {
                var found = _ciphers[i];
                _ciphers.RemoveAt(i);
                _ciphers.Add(found);
                return found.Cipher;
            }
        }

        if (_ciphers.Count == MostKeysKept)
        {
            _ciphers[0].Cipher.Dispose();
            _ciphers.RemoveAt(0);
        }

        var made = CipherFor(salt, InfoOfMany);
        _ciphers.Add((salt.ToArray(), made));
        return made;
    }

    private AesGcm CipherFor(ReadOnlySpan<byte> salt, ReadOnlySpan<byte> info)
    {
        Span<byte> key = stackalloc byte[KeyLength];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, _master.Octets, key, salt, info);
        var cipher = new AesGcm(key, TagLength);
        CryptographicOperations.ZeroMemory(key);
        return cipher;
    }
}

/// <summary>A storage fault a person can act on; the message says what and where.</summary>
public sealed class StorageException(string message, Exception? inner = null) : Exception(message, inner);
