using System.Buffers.Binary;
using System.Security.Cryptography;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>
/// What protects the messages of one IKE SA in one direction: AES-GCM or ChaCha20-Poly1305 (RFC 5282, RFC 7634), or AES-CBC
/// with HMAC-SHA-2 (RFC 7296 3.14). The nonce of the first two is a counter and never repeats under a key.
/// </summary>
public sealed class IkeCipher : IDisposable
{
    private const int SaltLength = 4, TagLength = 16;

    private readonly AesGcm? _gcm;
    private readonly ChaCha20Poly1305? _chaCha;
    private readonly Aes? _aes;
    private readonly byte[] _salt = [];
    private readonly byte[] _integrityKey = [];
    private readonly ushort _integrity;
    private ulong _counter;

    public IkeCipher(IkeSuite suite, KeyMaterial encryption, KeyMaterial integrity)
    {
        if (suite.IsAead)
        {
            var key = encryption.Octets[..^SaltLength];
            _salt = encryption.Octets[^SaltLength..].ToArray();
            if (suite.Encryption == IkeEncryption.AesGcm16)
            {
                _gcm = new AesGcm(key, TagLength);
            }
            else
            {
                _chaCha = new ChaCha20Poly1305(key);
            }

            (IvLength, BlockLength, IcvLength) = (8, 1, TagLength);
        }
        else
        {
            _aes = Aes.Create();
            _aes.Key = encryption.Octets.ToArray();
            _integrity = suite.Integrity;
            _integrityKey = integrity.Octets.ToArray();
            (IvLength, BlockLength, IcvLength) = (16, 16, suite.IntegrityKeyLength / 2);
        }
    }

    public int IvLength { get; }

    public int IcvLength { get; }

    /// <summary>What plaintext with padding and Pad Length is a multiple of.</summary>
    private int BlockLength { get; }

    /// <summary>Octets that protection adds to a plaintext of <paramref name="length"/>.</summary>
    public int Overhead(int length) => IvLength + Padding(length) + 1 + IcvLength;

    /// <summary>The longest plaintext that has room in <paramref name="room"/> octets.</summary>
    public int Fits(int room) => ((room - IvLength - IcvLength) / BlockLength * BlockLength) - 1;

    /// <summary>Protects a message: <paramref name="message"/> begins with what is only authenticated, has room for IV, plaintext, padding and ICV behind it, and is exactly as long.</summary>
    public void Seal(Span<byte> message, int ivOffset, ReadOnlySpan<byte> plaintext, IRandomSource random)
    {
        var padding = Padding(plaintext.Length);
        var iv = message.Slice(ivOffset, IvLength);
        var body = message.Slice(ivOffset + IvLength, plaintext.Length + padding + 1);
        var icv = message.Slice(ivOffset + IvLength + body.Length, IcvLength);
        plaintext.CopyTo(body);
        body[plaintext.Length..^1].Clear();
        body[^1] = (byte)padding;
        if (_aes is not null)
        {
            random.Fill(iv);
            _aes.EncryptCbc(body, iv, body, PaddingMode.None);
            Authenticate(message[..^IcvLength], icv);
            return;
        }

        BinaryPrimitives.WriteUInt64BigEndian(iv, ++_counter);
        Span<byte> nonce = stackalloc byte[12];
        _salt.CopyTo(nonce);
        iv.CopyTo(nonce[SaltLength..]);
        if (_gcm is not null)
        {
            _gcm.Encrypt(nonce, body, body, icv, message[..ivOffset]);
        }
        else
        {
            _chaCha!.Encrypt(nonce, body, body, icv, message[..ivOffset]);
        }
    }

    /// <summary>Opens a message whose IV stands at <paramref name="ivOffset"/>. Null when it is not authentic or its padding is not right.</summary>
    public byte[]? Open(ReadOnlySpan<byte> message, int ivOffset)
    {
        var length = message.Length - ivOffset - IvLength - IcvLength;
        if (length < BlockLength || length % BlockLength != 0)
        {
            return null;
        }

        var iv = message.Slice(ivOffset, IvLength);
        var body = message.Slice(ivOffset + IvLength, length);
        var icv = message[^IcvLength..];
        var plaintext = new byte[length];
        if (_aes is not null)
        {
            Span<byte> expected = stackalloc byte[IcvLength];
            Authenticate(message[..^IcvLength], expected);
            if (!CryptographicOperations.FixedTimeEquals(expected, icv))
            {
                return null;
            }

            _aes.DecryptCbc(body, iv, plaintext, PaddingMode.None);
        }
        else
        {
            Span<byte> nonce = stackalloc byte[12];
            _salt.CopyTo(nonce);
            iv.CopyTo(nonce[SaltLength..]);
            try
            {
                if (_gcm is not null)
                {
                    _gcm.Decrypt(nonce, body, icv, plaintext, message[..ivOffset]);
                }
                else
                {
                    _chaCha!.Decrypt(nonce, body, icv, plaintext, message[..ivOffset]);
                }
            }
            catch (AuthenticationTagMismatchException)
            {
                return null;
            }
        }

        var padding = plaintext[^1];
        return padding + 1 > length ? null : plaintext[..(length - padding - 1)];
    }

    public void Dispose()
    {
        _gcm?.Dispose();
        _chaCha?.Dispose();
        _aes?.Dispose();
        CryptographicOperations.ZeroMemory(_integrityKey);
        CryptographicOperations.ZeroMemory(_salt);
    }

    private int Padding(int length) => BlockLength - 1 - (length % BlockLength);

    private void Authenticate(ReadOnlySpan<byte> message, Span<byte> icv)
    {
        Span<byte> full = stackalloc byte[64];
        var length = _integrity switch
        {
            IkeIntegrity.HmacSha256 => HMACSHA256.HashData(_integrityKey, message, full),
            IkeIntegrity.HmacSha384 => HMACSHA384.HashData(_integrityKey, message, full),
            _ => HMACSHA512.HashData(_integrityKey, message, full),
        };
        full[..(length / 2)].CopyTo(icv);
    }
}
