using System.Buffers.Binary;
using Sojourn.Wire.Ipsec;

namespace Sojourn.Engine.Ipsec;

/// <summary>AES-GCM and ChaCha20-Poly1305: nonce = salt | IV, additional data = SPI | sequence (RFC 4106 5, RFC 7634 2.1).</summary>
internal abstract class AeadCipher : IPacketCipher
{
    protected const int TagLength = 16;
    protected const int NonceLength = 12;
    protected const int SaltLength = 4;
    private readonly uint _salt;
    private readonly bool _extended;

    protected AeadCipher(AssociationKeys keys, bool extended)
    {
        _salt = BinaryPrimitives.ReadUInt32BigEndian(keys.Encryption.Octets[^SaltLength..]);
        _extended = extended;
    }

    public virtual string Library => "platform";

    public IvKind Iv => IvKind.Counter;

    public int IvLength => 8;

    public int IcvLength => TagLength;

    public int Alignment => 4;

    public void Seal(Span<byte> packet, uint sequenceHigh)
    {
        Span<byte> nonce = stackalloc byte[NonceLength];
        Span<byte> additional = stackalloc byte[12];
        var body = packet[(EspHeader.Length + 8)..^TagLength];
        Encrypt(Nonce(packet, nonce), body, packet[^TagLength..], Additional(packet, sequenceHigh, additional));
    }

    public bool Open(ReadOnlySpan<byte> packet, uint sequenceHigh, Span<byte> plaintext)
    {
        Span<byte> nonce = stackalloc byte[NonceLength];
        Span<byte> additional = stackalloc byte[12];
        var body = packet[(EspHeader.Length + 8)..^TagLength];
        return Decrypt(Nonce(packet, nonce), body, packet[^TagLength..], plaintext, Additional(packet, sequenceHigh, additional));
    }

    public abstract void Dispose();

    protected abstract void Encrypt(ReadOnlySpan<byte> nonce, Span<byte> body, Span<byte> tag, ReadOnlySpan<byte> additional);

    protected abstract bool Decrypt(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> body, ReadOnlySpan<byte> tag, Span<byte> plaintext, ReadOnlySpan<byte> additional);

    private ReadOnlySpan<byte> Nonce(ReadOnlySpan<byte> packet, Span<byte> nonce)
    {
        BinaryPrimitives.WriteUInt32BigEndian(nonce, _salt);
        packet.Slice(EspHeader.Length, 8).CopyTo(nonce[SaltLength..]);
        return nonce;
    }

    private ReadOnlySpan<byte> Additional(ReadOnlySpan<byte> packet, uint sequenceHigh, Span<byte> additional)
    {
        if (!_extended)
        {
            packet[..8].CopyTo(additional);
            return additional[..8];
        }

        packet[..4].CopyTo(additional);
        BinaryPrimitives.WriteUInt32BigEndian(additional[4..], sequenceHigh);
        packet.Slice(4, 4).CopyTo(additional[8..]);
        return additional;
    }
}
