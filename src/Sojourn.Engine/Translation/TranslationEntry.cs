using System.Net;
using Sojourn.Wire.Dns;

namespace Sojourn.Engine.Translation;

public enum TranslationKind : byte
{
    /// <summary>Home address and the virtual IPv4 address that the host has for it (V4h).</summary>
    Own,

    /// <summary>A correspondent's IPv6 address and the virtual IPv4 address that stands for it (V4c).</summary>
    Correspondent,

    /// <summary>An IPv4 destination and the virtual IPv6 address it is reached at (V6x).</summary>
    VirtualIpv6,
}

/// <summary>What an entry was made for.</summary>
public enum TranslationOrigin : byte
{
    Registration,
    Packet,
    Name,
}

/// <summary>A row of table 230 (spec terminal 3.3).</summary>
public sealed class TranslationEntry
{
    internal TranslationEntry(UInt128 ipv6, uint ipv4, TranslationKind kind, TranslationOrigin origin)
    {
        (Ipv6, Ipv4, Kind, Origin) = (ipv6, ipv4, kind, origin);
    }

    public IPAddress Ipv6Address => AddressBits.To6(Ipv6);

    public IPAddress Ipv4Address => AddressBits.To4(Ipv4);

    public TranslationKind Kind { get; }

    public TranslationOrigin Origin { get; }

    /// <summary>Of its last packet or name query; of an own entry its last acknowledgement.</summary>
    public DateTimeOffset LastUse { get; internal set; }

    /// <summary>From here on the entry counts no more.</summary>
    public DateTimeOffset Expires { get; internal set; }

    /// <summary>The name that led an application here; null when a packet did.</summary>
    public DnsName? Name { get; internal set; }

    /// <summary>It lives by the longer life time.</summary>
    public bool UsedByTcp { get; internal set; }

    internal UInt128 Ipv6 { get; }

    internal uint Ipv4 { get; }

    internal TranslationEntry? Earlier { get; set; }

    internal TranslationEntry? Later { get; set; }
}

/// <summary>Entries in the order of their last use. All of one list live equally long, so the first is the first to expire.</summary>
internal sealed class UseOrder
{
    private TranslationEntry? _last;

    public TranslationEntry? First { get; private set; }

    public void Append(TranslationEntry entry)
    {
        (entry.Earlier, entry.Later) = (_last, null);
        if (_last is null)
        {
            First = entry;
        }
        else
        {
            _last.Later = entry;
        }

        _last = entry;
    }

    public void Remove(TranslationEntry entry)
    {
        if (entry.Earlier is null)
        {
            First = entry.Later;
        }
        else
        {
            entry.Earlier.Later = entry.Later;
        }

        if (entry.Later is null)
        {
            _last = entry.Earlier;
        }
        else
        {
            entry.Later.Earlier = entry.Earlier;
        }
    }

    public void MoveToEnd(TranslationEntry entry)
    {
        if (!ReferenceEquals(entry, _last))
        {
            Remove(entry);
            Append(entry);
        }
    }
}
