using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Wire.Dns;

/// <summary>The data of a record (RDATA). Which shape a record has follows from its type and class.</summary>
public abstract record DnsData
{
    /// <summary>Octets as written: names in it are not compressed.</summary>
    public abstract int Length { get; }

    internal abstract void Write(Span<byte> destination);
}

/// <summary>A (RFC 1035 3.4.1) or AAAA (RFC 3596 2.2).</summary>
public sealed record DnsAddress(IPAddress Address) : DnsData
{
    public override int Length => Address.AddressFamily == AddressFamily.InterNetworkV6 ? 16 : 4;

    internal override void Write(Span<byte> destination) => Address.TryWriteBytes(destination, out _);
}

/// <summary>One name: NS, CNAME, PTR, DNAME and the old mailbox types.</summary>
public sealed record DnsTarget(DnsName Name) : DnsData
{
    public override int Length => Name.Length;

    internal override void Write(Span<byte> destination) => Name.Write(destination);
}

/// <summary>SOA (RFC 1035 3.3.13); times in seconds.</summary>
public sealed record DnsStartOfAuthority(DnsName Primary, DnsName Mailbox, uint Serial, uint Refresh, uint Retry, uint Expire, uint Minimum) : DnsData
{
    public override int Length => Primary.Length + Mailbox.Length + 20;

    internal override void Write(Span<byte> destination)
    {
        var at = Primary.Write(destination);
        at += Mailbox.Write(destination[at..]);
        foreach (var value in (ReadOnlySpan<uint>)[Serial, Refresh, Retry, Expire, Minimum])
        {
            BinaryPrimitives.WriteUInt32BigEndian(destination[at..], value);
            at += 4;
        }
    }
}

/// <summary>MX (RFC 1035 3.3.9); the lowest preference comes first.</summary>
public sealed record DnsMailExchange(ushort Preference, DnsName Exchange) : DnsData
{
    public override int Length => 2 + Exchange.Length;

    internal override void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt16BigEndian(destination, Preference);
        Exchange.Write(destination[2..]);
    }
}

/// <summary>SRV (RFC 2782).</summary>
public sealed record DnsService(ushort Priority, ushort Weight, ushort Port, DnsName Target) : DnsData
{
    public override int Length => 6 + Target.Length;

    internal override void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt16BigEndian(destination, Priority);
        BinaryPrimitives.WriteUInt16BigEndian(destination[2..], Weight);
        BinaryPrimitives.WriteUInt16BigEndian(destination[4..], Port);
        Target.Write(destination[6..]);
    }
}

/// <summary>
/// DHCID (RFC 4701 3): who has registered a name, as a digest of its identifier and the name, so that another updater's client
/// is recognised without being named.
/// </summary>
/// <param name="IdentifierType">0 htype and chaddr, 1 DHCPv4 client identifier, 2 DUID.</param>
/// <param name="DigestType">1 SHA-256.</param>
public sealed record DnsOwnerDigest(ushort IdentifierType, byte DigestType, OctetString Digest) : DnsData
{
    public const byte Sha256 = 1;

    public override int Length => 3 + Digest.Length;

    internal override void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt16BigEndian(destination, IdentifierType);
        destination[2] = DigestType;
        Digest.Span.CopyTo(destination[3..]);
    }
}

/// <summary>One option of OPT (RFC 6891 6.1.2).</summary>
public sealed record DnsExtensionOption(ushort Code, OctetString Data);

/// <summary>OPT (RFC 6891 6.1): the options; payload size and the rest stand in the record's class and time to live, see <see cref="DnsMessage.Extension"/>.</summary>
public sealed record DnsExtensionOptions(IReadOnlyList<DnsExtensionOption> Options) : DnsData
{
    public override int Length => Options.Sum(o => 4 + o.Data.Length);

    internal override void Write(Span<byte> destination)
    {
        foreach (var option in Options)
        {
            BinaryPrimitives.WriteUInt16BigEndian(destination, option.Code);
            BinaryPrimitives.WriteUInt16BigEndian(destination[2..], (ushort)option.Data.Length);
            option.Data.Span.CopyTo(destination[4..]);
            destination = destination[(4 + option.Data.Length)..];
        }
    }

    public bool Equals(DnsExtensionOptions? other) => other is not null && Options.SequenceEqual(other.Options);

    public override int GetHashCode() => Options.Count;
}

/// <summary>Octets of a type this codec has no reading for (RFC 3597), or none at all, as updates have it (RFC 2136 2.4, 2.5).</summary>
public sealed record DnsOpaque(OctetString Octets) : DnsData
{
    public static readonly DnsOpaque Empty = new(OctetString.Empty);

    public override int Length => Octets.Length;

    internal override void Write(Span<byte> destination) => Octets.Span.CopyTo(destination);
}
