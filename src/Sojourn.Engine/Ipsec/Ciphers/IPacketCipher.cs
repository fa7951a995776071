namespace Sojourn.Engine.Ipsec;

/// <summary>What goes into the IV field of an ESP packet.</summary>
public enum IvKind : byte
{
    /// <summary>There is none (RFC 2410).</summary>
    None,

    /// <summary>Eight octets that must never repeat under one key: the 64-bit sequence number (RFC 4106 3.1, RFC 7634 2).</summary>
    Counter,

    /// <summary>Octets nobody can predict (RFC 3602 3).</summary>
    Unpredictable,
}

/// <summary>
/// ESP's combined cryptography for one association and direction, so that a faster library can take its place. One
/// caller at a time. The packet runs from the SPI to the ICV: <c>SPI | sequence | IV | plaintext or ciphertext | ICV</c>.
/// </summary>
public interface IPacketCipher : IDisposable
{
    /// <summary>What computes: <c>platform</c>, <c>libcrypto</c> or <c>libipsec-mb</c>. For operators.</summary>
    string Library => "platform";

    IvKind Iv { get; }

    int IvLength { get; }

    int IcvLength { get; }

    /// <summary>What plaintext and trailer are padded to: the cipher's block, at least 4 (RFC 4303 2.4).</summary>
    int Alignment { get; }

    /// <summary>Encrypts in place and fills in the ICV. SPI, sequence number, IV and plaintext stand in the packet.</summary>
    /// <param name="sequenceHigh">High half of the sequence number; used only with extended sequence numbers.</param>
    void Seal(Span<byte> packet, uint sequenceHigh);

    /// <summary>
    /// Checks the ICV and decrypts into <paramref name="plaintext"/>, which has exactly the ciphertext's length. The
    /// packet is left as it is, so that another association can be tried. False = not authentic; then
    /// <paramref name="plaintext"/> holds nothing of use.
    /// </summary>
    bool Open(ReadOnlySpan<byte> packet, uint sequenceHigh, Span<byte> plaintext);
}

/// <summary>AH's cryptography for one association and direction. One caller at a time.</summary>
public interface IPacketAuthenticator : IDisposable
{
    /// <summary>Octets of IV at the start of AH's ICV field (RFC 4543 4); 0 when there are none.</summary>
    int IvLength { get; }

    int TagLength { get; }

    /// <param name="covered">The packet with mutable fields and ICV cleared, then the high half of an extended sequence number.</param>
    void Compute(ReadOnlySpan<byte> covered, ReadOnlySpan<byte> iv, Span<byte> tag);
}

/// <summary>Makes the ciphers of an association. Key lengths have been checked against <see cref="IpsecAlgorithms"/>.</summary>
public interface ICipherProvider
{
    IPacketCipher CreateCipher(IpsecAlgorithm algorithm, AssociationKeys keys, bool extendedSequence);

    IPacketAuthenticator CreateAuthenticator(IpsecAlgorithm algorithm, AssociationKeys keys);
}
