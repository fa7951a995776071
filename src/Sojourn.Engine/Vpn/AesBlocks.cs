using System.Security.Cryptography;

namespace Sojourn.Engine;

/// <summary>
/// AES on single blocks under one key. The native contexts are made once: making them costs more than all the blocks of a key
/// wrap. Any thread may call; a lock guards contexts and work block.
/// </summary>
internal sealed class AesBlocks(KeyMaterial key) : IDisposable
{
    public const int BlockLength = 16;

    private readonly Lock _gate = new();
    private readonly byte[] _block = new byte[BlockLength];
    private ICryptoTransform? _encryptor;
    private ICryptoTransform? _decryptor;

    /// <summary>Encrypts 16 octets in place.</summary>
    public void Encrypt(Span<byte> block)
    {
        lock (_gate)
        {
            Transform(_encryptor ??= Make(static aes => aes.CreateEncryptor()), block);
        }
    }

    /// <summary>Decrypts 16 octets in place.</summary>
    public void Decrypt(Span<byte> block)
    {
        lock (_gate)
        {
            Transform(_decryptor ??= Make(static aes => aes.CreateDecryptor()), block);
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _encryptor?.Dispose();
            _decryptor?.Dispose();
            (_encryptor, _decryptor) = (null, null);
        }
    }

    private void Transform(ICryptoTransform transform, Span<byte> block)
    {
        block.CopyTo(_block);
        transform.TransformBlock(_block, 0, BlockLength, _block, 0);
        _block.CopyTo(block);
        CryptographicOperations.ZeroMemory(_block);
    }

    private ICryptoTransform Make(Func<Aes, ICryptoTransform> make)
    {
        using var aes = Aes.Create();
        aes.Mode = CipherMode.ECB;
        aes.Padding = PaddingMode.None;
        aes.SetKey(key.Octets);
        return make(aes);
    }
}
