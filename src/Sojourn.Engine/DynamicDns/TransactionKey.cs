using System.Buffers.Binary;
using System.Security.Cryptography;
using Sojourn.Wire.Dns;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.DynamicDns;

/// <summary>MACs of TSIG (RFC 8945 6); the ones with MD5 and SHA-1 are not taken.</summary>
public enum TransactionAlgorithm : byte
{
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

/// <summary>What a look at the signature of a message came to, in the order of RFC 8945 5.2.</summary>
public enum TransactionCheck : byte
{
    Valid,

    /// <summary>No TSIG, or one without a MAC, as servers put it on answers about a wrong key or MAC (5.3.2).</summary>
    Unsigned,

    /// <summary>Another key or algorithm.</summary>
    OtherKey,

    /// <summary>The MAC is shorter than the algorithm's; allowed by 5.2.2.1, not taken here.</summary>
    Truncated,
    WrongMac,

    /// <summary>Time Signed is farther from now than its Fudge.</summary>
    OutOfTime,
}

/// <summary>A key shared with a name server, which signs and checks DNS messages (TSIG, RFC 8945).</summary>
public sealed class TransactionKey(DnsName name, TransactionAlgorithm algorithm, KeyMaterial secret)
{
    /// <summary>How far the clocks of both sides may differ (RFC 8945 10 recommends it).</summary>
    public static readonly TimeSpan Fudge = TimeSpan.FromSeconds(300);

    private static readonly DnsName[] s_names = [DnsName.FromText("hmac-sha256"), DnsName.FromText("hmac-sha384"), DnsName.FromText("hmac-sha512")];

    public DnsName Name => name;

    public TransactionAlgorithm Algorithm => algorithm;

    private int MacLength => algorithm switch { TransactionAlgorithm.HmacSha256 => 32, TransactionAlgorithm.HmacSha384 => 48, _ => 64 };

    /// <summary>Writes a message with its signature.</summary>
    /// <param name="mac">To be handed to <see cref="Check"/> with the answer.</param>
    /// <param name="requestMac">For an answer: the MAC of the request, which is signed along.</param>
    public byte[] Sign(DnsMessage message, DateTimeOffset now, out OctetString mac, ReadOnlySpan<byte> requestMac = default)
    {
        var unsigned = new DnsTransactionSignature(s_names[(int)algorithm], Seconds(now), (ushort)Fudge.TotalSeconds, default, message.Identifier, DnsResponseCode.NoError, default);
        mac = Mac(message.ToArray(), unsigned, requestMac);
        return (message with { Additional = [.. message.Additional, new DnsRecord(name, DnsRecordType.TSIG, DnsClass.Any, 0, unsigned with { Mac = mac })] }).ToArray();
    }

    /// <summary>Checks the signature of a message that was read from <paramref name="octets"/>.</summary>
    /// <param name="requestMac">For an answer: the MAC of the request.</param>
    public TransactionCheck Check(ReadOnlySpan<byte> octets, DnsMessage message, ReadOnlySpan<byte> requestMac, DateTimeOffset now)
    {
        if (message.Signature is not { Data: DnsTransactionSignature signature } record || message.SignedLength is not { } length || signature.Mac.Length == 0)
        {
            return TransactionCheck.Unsigned;
        }

        if (record.Name != name || signature.Algorithm != s_names[(int)algorithm])
        {
            return TransactionCheck.OtherKey;
        }

        if (signature.Mac.Length < MacLength)
        {
            return TransactionCheck.Truncated;
        }

        // As it was before it was signed: one record less, and the identifier it had.
        var signed = octets[..length].ToArray();
        BinaryPrimitives.WriteUInt16BigEndian(signed, signature.Original);
        BinaryPrimitives.WriteUInt16BigEndian(signed.AsSpan(10), (ushort)(message.Additional.Count - 1));
        if (!CryptographicOperations.FixedTimeEquals(Mac(signed, signature, requestMac), signature.Mac.Span))
        {
            return TransactionCheck.WrongMac;
        }

        var (here, there) = (Seconds(now), signature.Seconds);
        return Math.Max(here, there) - Math.Min(here, there) <= signature.Fudge ? TransactionCheck.Valid : TransactionCheck.OutOfTime;
    }

    private static ulong Seconds(DateTimeOffset now) => (ulong)Math.Max(0, now.ToUnixTimeSeconds());

    private byte[] Mac(ReadOnlySpan<byte> message, DnsTransactionSignature signature, ReadOnlySpan<byte> requestMac)
    {
        var variables = signature.Variables(name);
        var digested = new byte[(requestMac.IsEmpty ? 0 : 2 + requestMac.Length) + message.Length + variables.Length];
        var at = 0;
        if (!requestMac.IsEmpty)
        {
            BinaryPrimitives.WriteUInt16BigEndian(digested, (ushort)requestMac.Length);
            requestMac.CopyTo(digested.AsSpan(2));
            at = 2 + requestMac.Length;
        }

        message.CopyTo(digested.AsSpan(at));
        variables.CopyTo(digested, at + message.Length);
        return algorithm switch
        {
            TransactionAlgorithm.HmacSha256 => HMACSHA256.HashData(secret.Octets, digested),
            TransactionAlgorithm.HmacSha384 => HMACSHA384.HashData(secret.Octets, digested),
            _ => HMACSHA512.HashData(secret.Octets, digested),
        };
    }
}
