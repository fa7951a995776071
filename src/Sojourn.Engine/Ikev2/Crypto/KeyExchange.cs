using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using Sojourn.Wire.Ikev2;

namespace Sojourn.Engine.Ikev2;

/// <summary>The initiator's half of one key exchange: its public value waits for the responder's.</summary>
public interface IPendingKeyExchange : IDisposable
{
    ushort Group { get; }

    ReadOnlyMemory<byte> PublicValue { get; }

    /// <summary>False when the peer's value is not one of the group's, or gives no secret.</summary>
    bool TryComplete(ReadOnlySpan<byte> peerValue, [NotNullWhen(true)] out KeyMaterial? shared);
}

/// <summary>
/// Key exchange methods, shaped so that a Diffie-Hellman group and a key encapsulation mechanism look the same: one side
/// begins with a value, the other answers with one and has the secret.
/// </summary>
public interface IKeyExchangeProvider
{
    bool Supports(ushort group);

    /// <exception cref="ArgumentOutOfRangeException"><see cref="Supports"/> says no.</exception>
    IPendingKeyExchange Begin(ushort group, IRandomSource random);

    /// <summary>False when the peer's value is not one of the group's, or gives no secret.</summary>
    bool TryAnswer(ushort group, ReadOnlySpan<byte> peerValue, IRandomSource random, out byte[] ownValue, [NotNullWhen(true)] out KeyMaterial? shared);
}

/// <summary>
/// P-256, P-384, P-521 (RFC 5903) through the platform, Curve25519 (RFC 8031) and the MODP groups 14 to 16 (RFC 3526)
/// through libcrypto, ML-KEM-768 where the platform has it (draft-ietf-ipsecme-ikev2-mlkem).
/// </summary>
public sealed class PlatformKeyExchanges : IKeyExchangeProvider
{
    public static readonly PlatformKeyExchanges Instance = new();

    public bool Supports(ushort group) => group switch
    {
        IkeGroup.P256 or IkeGroup.P384 or IkeGroup.P521 => true,
        IkeGroup.Curve25519 or IkeGroup.Modp2048 or IkeGroup.Modp3072 or IkeGroup.Modp4096 => Libcrypto.IsAvailable,
        IkeGroup.MlKem768 => MLKem.IsSupported,
        _ => false,
    };

    public IPendingKeyExchange Begin(ushort group, IRandomSource random) => group switch
    {
        IkeGroup.Curve25519 => new X25519Exchange(random),
        IkeGroup.P256 or IkeGroup.P384 or IkeGroup.P521 => new EllipticExchange(group),
        IkeGroup.Modp2048 or IkeGroup.Modp3072 or IkeGroup.Modp4096 => new ModpExchange(group, random),
        IkeGroup.MlKem768 when MLKem.IsSupported => new MlKemExchange(),
        _ => throw new ArgumentOutOfRangeException(nameof(group), group, $"no key exchange method that {nameof(Supports)} allows"),
    };

    public bool TryAnswer(ushort group, ReadOnlySpan<byte> peerValue, IRandomSource random, out byte[] ownValue, [NotNullWhen(true)] out KeyMaterial? shared)
    {
        if (group == IkeGroup.MlKem768)
        {
            return MlKemExchange.TryEncapsulate(peerValue, out ownValue, out shared);
        }

        using var own = Begin(group, random);
        ownValue = own.PublicValue.ToArray();
        return own.TryComplete(peerValue, out shared);
    }

    private sealed class X25519Exchange : IPendingKeyExchange
    {
        private const int Size = 32;
        private readonly Libcrypto.RawKey _key;

        public X25519Exchange(IRandomSource random)
        {
            Span<byte> secret = stackalloc byte[Size];
            random.Fill(secret);
            _key = new Libcrypto.RawKey(Libcrypto.X25519, secret);
            secret.Clear();
            PublicValue = _key.PublicValue();
        }

        public ushort Group => IkeGroup.Curve25519;

        public ReadOnlyMemory<byte> PublicValue { get; }

        public bool TryComplete(ReadOnlySpan<byte> peerValue, [NotNullWhen(true)] out KeyMaterial? shared)
        {
            // libcrypto refuses a result of all zeros (RFC 8031 5).
            var secret = peerValue.Length == Size ? _key.Agree(peerValue) : null;
            shared = secret is null ? null : new KeyMaterial(secret);
            CryptographicOperations.ZeroMemory(secret);
            return shared is not null;
        }

        public void Dispose() => _key.Dispose();
    }

    private sealed class EllipticExchange : IPendingKeyExchange
    {
        private readonly ECDiffieHellman _key;
        private readonly ECCurve _curve;
        private readonly int _size;

        public EllipticExchange(ushort group)
        {
            Group = group;
            (_curve, _size) = group switch
            {
                IkeGroup.P256 => (ECCurve.NamedCurves.nistP256, 32),
                IkeGroup.P384 => (ECCurve.NamedCurves.nistP384, 48),
                _ => (ECCurve.NamedCurves.nistP521, 66),
            };
            _key = ECDiffieHellman.Create(_curve);
            var q = _key.ExportParameters(includePrivateParameters: false).Q;
            PublicValue = (byte[])[.. q.X!, .. q.Y!];
        }

        public ushort Group { get; }

        public ReadOnlyMemory<byte> PublicValue { get; }

        public bool TryComplete(ReadOnlySpan<byte> peerValue, [NotNullWhen(true)] out KeyMaterial? shared)
        {
            shared = null;
            if (peerValue.Length != 2 * _size)
            {
                return false;
            }

            try
            {
                // The import fails for a point that is not on the curve (RFC 6989 2.3).
                using var peer = ECDiffieHellman.Create(new ECParameters { Curve = _curve, Q = new ECPoint { X = peerValue[.._size].ToArray(), Y = peerValue[_size..].ToArray() } });
                using var point = peer.PublicKey;
                var secret = _key.DeriveRawSecretAgreement(point);
                shared = new KeyMaterial(secret);
                CryptographicOperations.ZeroMemory(secret);
                return true;
            }
            catch (CryptographicException)
            {
                return false;
            }
        }

        public void Dispose() => _key.Dispose();
    }

    private sealed class ModpExchange : IPendingKeyExchange
    {
        // Twice the strength of the largest group here (RFC 3526 8, RFC 7296 B.1).
        private const int ExponentLength = 48;
        private readonly byte[] _exponent;

        public ModpExchange(ushort group, IRandomSource random)
        {
            Group = group;
            _exponent = random.NextBytes(ExponentLength);
            PublicValue = Libcrypto.ModpPower(group, [2], _exponent)!;
        }

        public ushort Group { get; }

        public ReadOnlyMemory<byte> PublicValue { get; }

        public bool TryComplete(ReadOnlySpan<byte> peerValue, [NotNullWhen(true)] out KeyMaterial? shared)
        {
            var secret = peerValue.Length == PublicValue.Length ? Libcrypto.ModpPower(Group, peerValue, _exponent) : null;
            shared = secret is null ? null : new KeyMaterial(secret);
            CryptographicOperations.ZeroMemory(secret);
            return shared is not null;
        }

        public void Dispose() => CryptographicOperations.ZeroMemory(_exponent);
    }

    private sealed class MlKemExchange : IPendingKeyExchange
    {
        private readonly MLKem _key = MLKem.GenerateKey(MLKemAlgorithm.MLKem768);

        public ushort Group => IkeGroup.MlKem768;

        public ReadOnlyMemory<byte> PublicValue => _key.ExportEncapsulationKey();

        public bool TryComplete(ReadOnlySpan<byte> peerValue, [NotNullWhen(true)] out KeyMaterial? shared)
        {
            shared = null;
            if (peerValue.Length != MLKemAlgorithm.MLKem768.CiphertextSizeInBytes)
            {
                return false;
            }

            Span<byte> secret = stackalloc byte[MLKemAlgorithm.MLKem768.SharedSecretSizeInBytes];
            _key.Decapsulate(peerValue, secret);
            shared = new KeyMaterial(secret);
            secret.Clear();
            return true;
        }

        public static bool TryEncapsulate(ReadOnlySpan<byte> peerValue, out byte[] ownValue, [NotNullWhen(true)] out KeyMaterial? shared)
        {
            (ownValue, shared) = ([], null);
            if (!MLKem.IsSupported || peerValue.Length != MLKemAlgorithm.MLKem768.EncapsulationKeySizeInBytes)
            {
                return false;
            }

            try
            {
                using var peer = MLKem.ImportEncapsulationKey(MLKemAlgorithm.MLKem768, peerValue);
                ownValue = new byte[MLKemAlgorithm.MLKem768.CiphertextSizeInBytes];
                Span<byte> secret = stackalloc byte[MLKemAlgorithm.MLKem768.SharedSecretSizeInBytes];
                peer.Encapsulate(ownValue, secret);
                shared = new KeyMaterial(secret);
                secret.Clear();
                return true;
            }
            catch (CryptographicException)
            {
                return false;
            }
        }

        public void Dispose() => _key.Dispose();
    }
}
