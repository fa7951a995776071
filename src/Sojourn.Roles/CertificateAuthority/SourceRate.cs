using System.Net;
using System.Net.Sockets;

namespace Sojourn.Roles.CertificateAuthority;

/// <summary>
/// A bucket of tokens for each source: an IPv4 address, or an IPv6 /64 (spec L6). Bounded: when there are more sources than
/// buckets, the fullest tell least and are forgotten first.
/// </summary>
internal sealed class SourceRate(TimeProvider time, int perSecond, int mostSources = 16384)
{
    private readonly Dictionary<UInt128, (double Tokens, long At)> _buckets = [];
    private readonly Lock _gate = new();
    private readonly double _burst = perSecond * 10.0;

    /// <summary>Takes a token. False = this source asks too often.</summary>
    public bool Allows(IPAddress source)
    {
        var key = KeyOf(source);
        var now = time.GetTimestamp();
        lock (_gate)
        {
            var tokens = _buckets.TryGetValue(key, out var bucket)
                ? Math.Min(_burst, bucket.Tokens + (time.GetElapsedTime(bucket.At, now).TotalSeconds * perSecond))
                : _burst;
            if (tokens < 1)
            {
                return false;
            }

            if (_buckets.Count >= mostSources && !_buckets.ContainsKey(key))
            {
                Forget(now);
            }

            _buckets[key] = (tokens - 1, now);
            return true;
        }
    }

    /// <summary>Full buckets are as good as none; if there are not enough of them, the fullest half goes.</summary>
    private void Forget(long now)
    {
        var fullest = _buckets
            .Select(pair => (pair.Key, Tokens: pair.Value.Tokens + (time.GetElapsedTime(pair.Value.At, now).TotalSeconds * perSecond)))
            .OrderByDescending(pair => pair.Tokens).Take(mostSources / 2).Select(pair => pair.Key).ToList();
        fullest.ForEach(key => _buckets.Remove(key));
    }

    private static UInt128 KeyOf(IPAddress source)
    {
        var address = source.IsIPv4MappedToIPv6 ? source.MapToIPv4() : source;
        Span<byte> octets = stackalloc byte[16];
        address.TryWriteBytes(octets, out _);
        if (address.AddressFamily == AddressFamily.InterNetworkV6)
        {
            octets[8..].Clear();
        }
        else
        {
            octets[15] = 4;
        }

        return System.Buffers.Binary.BinaryPrimitives.ReadUInt128BigEndian(octets);
    }
}
