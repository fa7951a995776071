using System.Buffers.Binary;
using System.Net;
using System.Security.Cryptography;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.VirtualInternet.Net;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>What must never be seen on a wire, over all lives of all machines.</summary>
internal sealed class TerminalLedger(TerminalNetwork network)
{
    private readonly Dictionary<uint, (UInt128 Key, bool HasCounterIv)> _keys = [];
    private readonly Dictionary<(UInt128 Key, uint Sequence), string> _sequences = [];
    private readonly Dictionary<(UInt128 Key, ulong Iv), string> _vectors = [];

    /// <summary>Protected packets that were looked at.</summary>
    public int Protected { get; private set; }

    /// <summary>Either end has a child SA.</summary>
    public void Learn(ChildSa child)
    {
        foreach (var association in (SaParameters[])[child.Inbound, child.Outbound])
        {
            var key = association.Keys.Encryption.Octets.Length > 0 ? association.Keys.Encryption : association.Keys.Authentication;
            _keys[association.Spi] = (BinaryPrimitives.ReadUInt128BigEndian(SHA256.HashData(key.Octets)), !association.Algorithm.AllowsStaticKey());
        }
    }

    /// <summary>A packet leaves a machine for the core.</summary>
    public void OnCore(Machine from, ReadOnlySpan<byte> packet)
    {
        // What only passes an access router has been looked at on its link.
        if (from is not AccessRouterMachine)
        {
            Look(from, packet);
        }
    }

    /// <summary>A terminal sends a frame. Nothing of a home address leaves it but inside the tunnel.</summary>
    public void OnLink(TerminalMachine from, ReadOnlySpan<byte> packet)
    {
        Look(from, packet);
        var source = IPv6Octets.Read(packet[8..]);
        if (AuthenticationWorld.Pool.Contains(source))
        {
            throw network.Violation($"{from} sends a packet from home address {source} past its tunnel");
        }
    }

    private void Look(Machine from, ReadOnlySpan<byte> packet)
    {
        if (!IPv6Header.TryParse(packet, out var header, out _) || !IPv6ExtensionWalk.TryFindUpper(header, out var upper))
        {
            throw network.Violation($"{from} sends what cannot be read");
        }

        var rest = header.Packet[upper.UpperOffset..];
        switch (upper.UpperProtocol)
        {
            case IpProtocol.Esp:
                Sent(from, rest);
                break;
            case IpProtocol.Mobility when (MobilityHeaderType)rest[2] is MobilityHeaderType.BindingUpdate or MobilityHeaderType.BindingAcknowledgement:
            case IpProtocol.Icmpv6 when (Icmpv6MessageType)rest[0] is Icmpv6MessageType.MobilePrefixSolicitation or Icmpv6MessageType.MobilePrefixAdvertisement:
                throw network.Violation($"{from} sends signalling in clear: {PacketNames.Of(packet)} from {header.SourceAddress} to {header.DestinationAddress}");
        }
    }

    private void Sent(Machine from, ReadOnlySpan<byte> esp)
    {
        Protected++;
        var spi = BinaryPrimitives.ReadUInt32BigEndian(esp);
        if (!_keys.TryGetValue(spi, out var association))
        {
            throw network.Violation($"{from} sends under spi {spi:x}, which no key exchange has made");
        }

        var who = $"{from} (life {from.Life}), spi {spi:x}";
        var sequence = BinaryPrimitives.ReadUInt32BigEndian(esp[4..]);
        if (!_sequences.TryAdd((association.Key, sequence), who))
        {
            throw network.Violation($"sequence number {sequence} repeats under one key: {_sequences[(association.Key, sequence)]}, then {who}");
        }

        if (association.HasCounterIv && !_vectors.TryAdd((association.Key, BinaryPrimitives.ReadUInt64BigEndian(esp[8..])), who))
        {
            throw network.Violation($"an initialisation vector repeats under one key, at last from {who}");
        }
    }
}
