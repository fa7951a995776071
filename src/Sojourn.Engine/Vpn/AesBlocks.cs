using System.Numerics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Security.Cryptography;
using Instructions = System.Runtime.Intrinsics.X86.Aes;

namespace Sojourn.Engine;

/// <summary>
/// AES on single blocks under one key (FIPS 197). A key wrap is some thirty blocks, each depending on the one before, and a call into
/// the platform's cryptography costs many times what a block does; so the processor's own instructions are used where it has
/// them, on a key schedule worked out once. Any thread may call.
/// </summary>
internal abstract class AesBlocks : IDisposable
{
    public const int BlockLength = 16;

    /// <param name="key">16, 24 or 32 octets.</param>
    public static AesBlocks Under(KeyMaterial key) => Instructions.IsSupported ? new ProcessorBlocks(key) : new PlatformBlocks(key);

    /// <summary>Encrypts 16 octets in place.</summary>
    public abstract void Encrypt(Span<byte> block);

    /// <summary>Decrypts 16 octets in place.</summary>
    public abstract void Decrypt(Span<byte> block);

    public abstract void Dispose();

    /// <summary>The AES instructions of x86-64, which take the same time whatever key and data are.</summary>
    internal sealed class ProcessorBlocks : AesBlocks
    {
        private const int WordsOfBlock = 4;

        private readonly Vector128<byte>[] _encryption;

        /// <summary>In the order of use, for the equivalent inverse cipher (FIPS 197 5.3.5).</summary>
        private readonly Vector128<byte>[] _decryption;

        public ProcessorBlocks(KeyMaterial key)
        {
            _encryption = Expand(key.Octets);
            _decryption = new Vector128<byte>[_encryption.Length];
            for (var i = 0; i < _decryption.Length; i++)
            {
                var round = _encryption[^(1 + i)];
                _decryption[i] = i == 0 || i == _decryption.Length - 1 ? round : Instructions.InverseMixColumns(round);
            }
        }

        public override void Encrypt(Span<byte> block)
        {
            var keys = _encryption;
            var state = Vector128.Create<byte>(block) ^ keys[0];
            for (var i = 1; i < keys.Length - 1; i++)
            {
                state = Instructions.Encrypt(state, keys[i]);
            }

            Instructions.EncryptLast(state, keys[^1]).CopyTo(block);
        }

        public override void Decrypt(Span<byte> block)
        {
            var keys = _decryption;
            var state = Vector128.Create<byte>(block) ^ keys[0];
            for (var i = 1; i < keys.Length - 1; i++)
            {
                state = Instructions.Decrypt(state, keys[i]);
            }

            Instructions.DecryptLast(state, keys[^1]).CopyTo(block);
        }

        public override void Dispose()
        {
            CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(_encryption.AsSpan()));
            CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(_decryption.AsSpan()));
        }

        /// <summary>FIPS 197 5.2, on words as they lie in memory.</summary>
        private static Vector128<byte>[] Expand(ReadOnlySpan<byte> key)
        {
            var given = key.Length / sizeof(uint);
            var rounds = new Vector128<byte>[given + 7];
            var words = MemoryMarshal.Cast<Vector128<byte>, uint>(rounds.AsSpan());
            key.CopyTo(MemoryMarshal.AsBytes(words));
            uint constant = 1;
            for (var i = given; i < rounds.Length * WordsOfBlock; i++)
            {
                var word = words[i - 1];
                if (i % given == 0)
                {
                    word = BitOperations.RotateRight(Substitute(word), 8) ^ constant;
                    constant = (constant << 1) ^ (constant >> 7) * 0x11B;
                }
                else if (given > 6 && i % given == WordsOfBlock)
                {
                    word = Substitute(word);
                }

                words[i] = words[i - given] ^ word;
            }

            return rounds;
        }

        /// <summary>SubWord, which the instruction for key schedules gives in its third word.</summary>
        private static uint Substitute(uint word) => Instructions.KeygenAssist(Vector128.Create(0, 0, 0, word).AsByte(), 0).AsUInt32()[2];
    }

    /// <summary>The platform's cryptography with contexts that are kept; a lock guards contexts and work block.</summary>
    internal sealed class PlatformBlocks(KeyMaterial key) : AesBlocks
    {
        private readonly Lock _gate = new();
        private readonly byte[] _block = new byte[BlockLength];
        private ICryptoTransform? _encryptor;
        private ICryptoTransform? _decryptor;

        public override void Encrypt(Span<byte> block)
        {
            lock (_gate)
            {
                Transform(_encryptor ??= Make(static aes => aes.CreateEncryptor()), block);
            }
        }

        public override void Decrypt(Span<byte> block)
        {
            lock (_gate)
            {
                Transform(_decryptor ??= Make(static aes => aes.CreateDecryptor()), block);
            }
        }

        public override void Dispose()
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
}
