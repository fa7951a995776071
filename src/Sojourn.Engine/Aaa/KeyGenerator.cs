using System.Globalization;
using System.Security.Cryptography;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Aaa;

/// <summary>
/// The SPIs one issuer may hand out, both ends included, never below 256: 0-255 are reserved (RFC 4303 2.1, RFC 5944 1.6,
/// spec M13: ranges per issuer).
/// </summary>
public readonly record struct SpiRange
{
    /// <exception cref="ArgumentException">Below 256, or no whole aligned block of 256 inside.</exception>
    public SpiRange(uint first, uint last)
    {
        First = first;
        Last = last;
        if (first < KeyGenerator.SpiBlock || last < first || BlockCount == 0)
        {
            throw new ArgumentException($"SPI range {this} must start at 256 or above and hold at least one aligned block of 256");
        }
    }

    public uint First { get; }

    public uint Last { get; }

    internal uint FirstBlock => (uint)((First + (ulong)KeyGenerator.SpiBlock - 1) / KeyGenerator.SpiBlock);

    internal uint BlockCount
    {
        get
        {
            var end = ((ulong)Last + 1) / KeyGenerator.SpiBlock;
            return end > FirstBlock ? (uint)(end - FirstBlock) : 0;
        }
    }

    public bool Contains(uint spi) => spi >= First && spi <= Last;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"0x{First:x8}-0x{Last:x8}");
}

/// <summary>
/// Makes every secret and every SPI the AAAH hands out (spec block 315, S108). SPIs come as aligned blocks of 256, unique
/// among live sessions: inside its block a profile moves to a fresh SPI at every registration (spec M4).
/// </summary>
public sealed class KeyGenerator
{
    /// <summary>SPIs reserved together.</summary>
    public const uint SpiBlock = 256;

    /// <summary>Octets of a root or session key.</summary>
    public const int KeyLength = 32;

    private readonly SpiRange _range;
    private readonly IRandomSource _random;
    private readonly HashSet<uint> _live = [];
    private uint _next;

    public KeyGenerator(SpiRange range, IRandomSource random)
    {
        _range = range;
        _random = random;

        // A fresh start begins somewhere else, so that SPIs forgotten in a crash are not the first to be used again.
        _next = random.NextUInt32() % range.BlockCount;
    }

    /// <summary>Blocks in use.</summary>
    public int LiveBlocks => _live.Count;

    /// <summary>Root of a profile's derived keys (spec M3).</summary>
    public KeyMaterial NewRoot() => NewSessionKey();

    /// <summary>Key of an FA-HA association.</summary>
    public KeyMaterial NewSessionKey()
    {
        Span<byte> octets = stackalloc byte[KeyLength];
        _random.Fill(octets);
        var key = new KeyMaterial(octets);
        CryptographicOperations.ZeroMemory(octets);
        return key;
    }

    /// <summary>Key generation nonce (RFC 3957).</summary>
    public byte[] NewNonce() => _random.NextBytes(MobilityKeys.NonceLength);

    /// <summary>
    /// SPI of an association of a mobile node and an agent; those are looked up by home address, so nothing is reserved.
    /// Its second octet is an unused extension type and the third counts what stands behind it in nonce reply 41 or 43: a
    /// dissector that takes the reply for an extension with one octet of length is back in step at the next extension.
    /// </summary>
    public uint NewNodeAssociationSpi(NoncePeer peer)
    {
        const uint unusedType = 0xF0;
        var behind = 1 + sizeof(ushort) + (peer == NoncePeer.HomeAgent ? sizeof(ushort) : 0) + MobilityKeys.NonceLength;
        return 0x40000000 | (_random.NextUInt32() & 0x3F0000FF) | (unusedType << 16) | ((uint)behind << 8);
    }

    /// <summary>Reserves a free block and gives its first SPI; 0 when the range is used up.</summary>
    public uint ReserveSpiBlock()
    {
        var count = _range.BlockCount;
        if (_live.Count >= count)
        {
            return 0;
        }

        // Next fit: a released block rests until the whole range has been round.
        while (!_live.Add(_range.FirstBlock + _next))
        {
            _next = (_next + 1) % count;
        }

        var spi = (_range.FirstBlock + _next) * SpiBlock;
        _next = (_next + 1) % count;
        return spi;
    }

    /// <summary>Whether an SPI is this issuer's to give; a contract must not use one of these.</summary>
    public bool Issues(uint spi) => _range.Contains(spi);

    /// <summary>Marks the block of an SPI as used: a session came back from storage. SPIs of other issuers are left alone.</summary>
    public void Claim(uint spi)
    {
        if (_range.Contains(spi))
        {
            _live.Add(spi / SpiBlock);
        }
    }

    /// <summary>Gives the block of an SPI back.</summary>
    public void Release(uint spi)
    {
        if (_range.Contains(spi))
        {
            _live.Remove(spi / SpiBlock);
        }
    }
}
