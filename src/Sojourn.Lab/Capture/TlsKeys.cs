using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace Sojourn.Lab.Capture;

/// <summary>
/// Opens TLS 1.3 (RFC 8446) in a capture with the secrets its ends wrote in the NSS key log format, so that Diameter can be
/// read from the wire as it was sent. The lab's nodes write that log; nothing outside the lab turns it on.
/// </summary>
public sealed class TlsKeys
{
    private readonly Dictionary<string, byte[]> _secrets = [];

    public TlsKeys(IEnumerable<string> lines)
    {
        foreach (var line in lines)
        {
            if (line.Split(' ') is [var label, var random, var secret])
            {
                _secrets[$"{label} {random.ToLowerInvariant()}"] = Convert.FromHexString(secret);
            }
        }
    }

    public static TlsKeys Read(IEnumerable<string> files) => new(files.Where(File.Exists).SelectMany(File.ReadLines));

    /// <summary>Application data of both directions of a connection, in order; empty when the secrets are missing.</summary>
    /// <param name="client">Octets the client sent.</param>
    /// <param name="server">Octets the server sent.</param>
    public (IReadOnlyList<TimedData> Client, IReadOnlyList<TimedData> Server) Open(TcpStream client, TcpStream server)
    {
        var hello = Handshake(client, 1);
        var answer = Handshake(server, 2);
        if (hello.Length < 38 || answer.Length < 39)
        {
            return ([], []);
        }

        var random = Convert.ToHexStringLower(hello.AsSpan(6, 32));
        var suite = BinaryPrimitives.ReadUInt16BigEndian(answer.AsSpan(39 + answer[38]));
        return (Open(client, "CLIENT", random, suite), Open(server, "SERVER", random, suite));
    }

    private List<TimedData> Open(TcpStream stream, string side, string random, ushort suite)
    {
        var opened = new List<TimedData>();
        using var handshake = Direction.Make(_secrets.GetValueOrDefault($"{side}_HANDSHAKE_TRAFFIC_SECRET {random}"), suite);
        using var application = Direction.Make(_secrets.GetValueOrDefault($"{side}_TRAFFIC_SECRET_0 {random}"), suite);
        var encrypted = false;
        foreach (var (type, record, time) in Records(stream))
        {
            if (type != 23)
            {
                continue;
            }

            if (!encrypted && handshake?.Open(record) is not null)
            {
                continue;
            }

            encrypted = true;
            var plain = application?.Open(record);
            var end = plain is null ? -1 : Array.FindLastIndex(plain, o => o != 0);
            if (end >= 0 && plain![end] == 23)
            {
                opened.Add(new TimedData(time, plain.AsMemory(0, end)));
            }
        }

        return opened;
    }

    /// <summary>The first plain handshake message of a type.</summary>
    private static byte[] Handshake(TcpStream stream, byte type) =>
        Records(stream).Where(r => r.Type == 22 && r.Record.Length > 5 && r.Record[5] == type).Select(r => r.Record[5..]).FirstOrDefault([]);

    private static IEnumerable<(byte Type, byte[] Record, long Time)> Records(TcpStream stream)
    {
        var data = stream.Data;
        for (var at = 0; at + 5 <= data.Length;)
        {
            var length = 5 + BinaryPrimitives.ReadUInt16BigEndian(data.AsSpan(at + 3));
            if (at + length > data.Length)
            {
                yield break;
            }

            yield return (data[at], data[at..(at + length)], stream.TimeOf(at + length - 1));
            at += length;
        }
    }

    /// <summary>Keys of one direction and one epoch (RFC 8446 7.3) with its record counter.</summary>
    private sealed class Direction : IDisposable
    {
        private readonly byte[] _iv;
        private readonly AesGcm? _gcm;
        private readonly ChaCha20Poly1305? _chacha;
        private ulong _sequence;

        private Direction(byte[] secret, ushort suite)
        {
            var hash = suite == 0x1302 ? HashAlgorithmName.SHA384 : HashAlgorithmName.SHA256;
            var key = Expand(hash, secret, "key", suite == 0x1301 ? 16 : 32);
            _iv = Expand(hash, secret, "iv", 12);
            if (suite == 0x1303)
            {
                _chacha = new ChaCha20Poly1305(key);
            }
            else
            {
                _gcm = new AesGcm(key, 16);
            }
        }

        public static Direction? Make(byte[]? secret, ushort suite) => secret is null || suite is < 0x1301 or > 0x1303 ? null : new Direction(secret, suite);

        /// <summary>Null when the record is not of this epoch.</summary>
        public byte[]? Open(byte[] record)
        {
            Span<byte> nonce = stackalloc byte[12];
            _iv.CopyTo(nonce);
            for (var i = 0; i < 8; i++)
            {
                nonce[11 - i] ^= (byte)(_sequence >> (8 * i));
            }

            if (record.Length < 5 + 17)
            {
                return null;
            }

            var plain = new byte[record.Length - 5 - 16];
            try
            {
                _gcm?.Decrypt(nonce, record.AsSpan(5..^16), record.AsSpan(^16..), plain, record.AsSpan(..5));
                _chacha?.Decrypt(nonce, record.AsSpan(5..^16), record.AsSpan(^16..), plain, record.AsSpan(..5));
            }
            catch (CryptographicException)
            {
                return null;
            }

            _sequence++;
            return plain;
        }

        public void Dispose()
        {
            _gcm?.Dispose();
            _chacha?.Dispose();
        }

        private static byte[] Expand(HashAlgorithmName hash, byte[] secret, string label, int length)
        {
            var name = Encoding.ASCII.GetBytes("tls13 " + label);
            return HKDF.Expand(hash, secret, length, [(byte)(length >> 8), (byte)length, (byte)name.Length, .. name, 0]);
        }
    }
}

/// <summary>A piece of a stream and when its last octet was sent.</summary>
public sealed record TimedData(long Time, ReadOnlyMemory<byte> Data);
