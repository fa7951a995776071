// Readings:
// - What an access link brings passes by its source address: the one the key exchange came from (spec TA-C15, I5). A regional
//   address passes only out of its own tunnel, so that a neighbour on the link cannot borrow it.
// - What goes towards terminals is not looked at: the answers of the servers in BeforeAccess have to arrive, and a terminal without
//   access cannot answer anybody else.
// - Before access a fragment is nobody's: its ports cannot be seen.
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.TerminalControl;
using Sojourn.Wire.Icmp;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;
using Sojourn.Wire.Udp;

namespace Sojourn.Engine.Access;

/// <summary>
/// What a gateway between visited and home network does with packets (spec G7): lets them pass, answers them with ICMPv6
/// "administratively prohibited", tunnels them for an anchor point, or keeps them for the engine because they are for its own
/// address. One control thread calls <see cref="Permit"/>, <see cref="Forbid"/> and <see cref="Change"/>; one thread for each side
/// calls <see cref="FromTerminal"/> and <see cref="FromHome"/>.
/// </summary>
public sealed class AccessPacketPath
{
    /// <summary>ICMPv6 errors a second; more are counted only (RFC 4443 2.4 f).</summary>
    private const int MostErrors = 100;

    private const int HopLimitOffset = 7;

    private readonly ConcurrentDictionary<UInt128, bool> _permitted = [];
    private readonly HashSet<(UInt128 Address, int Port)> _beforeAccess;
    private readonly HomeTunnel _tunnel;
    private readonly byte[] _address;
    private readonly IPNetwork? _regional;
    private long _forwarded, _forwardedBefore, _prohibited, _malformed;
    private DateTimeOffset _errorsSince;
    private int _errors;

    /// <param name="outerMtu">Largest packet towards terminals, octets; counts for the tunnel.</param>
    public AccessPacketPath(AccessGatewayOptions options, int outerMtu, IRandomSource random)
    {
        _address = options.Address.GetAddressBytes();
        _regional = options.Anchor?.RegionalPrefix;
        _beforeAccess = [.. options.BeforeAccess.Select(end => (NumberOf(end.Address.GetAddressBytes()), end.Port))];
        _tunnel = new HomeTunnel(options.Address, outerMtu, random, HomeTunnel.ReverseTunnelToAnchorBad);
    }

    /// <summary>Packets by what became of them, and the tunnel's drops.</summary>
    public IReadOnlyDictionary<string, long> Counters => new Dictionary<string, long>(_tunnel.Drops)
    {
        ["access.gateway.forwarded"] = Interlocked.Read(ref _forwarded),
        ["access.gateway.forwarded_before_access"] = Interlocked.Read(ref _forwardedBefore),
        ["access.gateway.prohibited"] = Interlocked.Read(ref _prohibited),
        ["access.gateway.malformed"] = Interlocked.Read(ref _malformed),
    };

    /// <summary>Carries out <see cref="PermitSource"/>.</summary>
    public void Permit(IPAddress source) => _permitted[NumberOf(source.GetAddressBytes())] = true;

    /// <summary>Carries out <see cref="ForbidSource"/>.</summary>
    public void Forbid(IPAddress source) => _permitted.TryRemove(NumberOf(source.GetAddressBytes()), out _);

    public PathChangeResult Change(ChangePaths change, DateTimeOffset now) => _tunnel.Change(change, now);

    /// <summary>Tunnels of the anchor point with their counters. Control thread.</summary>
    public IReadOnlyList<PathReport> Report(DateTimeOffset now) => _tunnel.Report(now);

    /// <summary>Octets that the output needs for a packet of this length.</summary>
    public static int OutputFor(int packet) => HomeTunnel.OutputFor(packet) + IcmpError.MaximumIPv6;

    /// <summary>Takes a packet that came by an access link, whomever it is for. Its hop limit counts the way through this node once.</summary>
    public HomeTunnelResult FromTerminal(ReadOnlySpan<byte> packet, Span<byte> output, DateTimeOffset now)
    {
        if (!IPv6Header.TryParse(packet, out var header, out _))
        {
            Interlocked.Increment(ref _malformed);
            return new HomeTunnelResult(HomeTunnelVerdict.Drop, DropReason.Malformed, 0, 0);
        }

        if (header.Destination.SequenceEqual(_address))
        {
            return _tunnel.Forward(header.Packet, output, now);
        }

        if (_permitted.ContainsKey(NumberOf(header.Source)))
        {
            Interlocked.Increment(ref _forwarded);
            return _regional is { } regional && regional.Contains(new IPAddress(header.Destination)) ? _tunnel.Forward(header.Packet, output, now) : Pass(header.Packet, output);
        }

        if (PassesBeforeAccess(header))
        {
            Interlocked.Increment(ref _forwardedBefore);
            return Pass(header.Packet, output);
        }

        Interlocked.Increment(ref _prohibited);
        return Prohibit(header.Packet, output, now);
    }

    /// <summary>Takes a packet from elsewhere for the gateway's address or a regional one.</summary>
    public HomeTunnelResult FromHome(ReadOnlySpan<byte> packet, Span<byte> output, DateTimeOffset now) => _tunnel.Forward(packet, output, now);

    /// <summary>To the named servers alone, by TCP or, for one that answers by UDP, by UDP.</summary>
    private bool PassesBeforeAccess(IPv6Header header)
    {
        if (!IPv6ExtensionWalk.TryFindUpper(header, out var upper) || upper.IsFragment)
        {
            return false;
        }

        var body = header.Packet[upper.UpperOffset..];
        var port = upper.UpperProtocol switch
        {
            IpProtocol.Tcp when TcpHeader.TryParse(body, out var tcp, out _) => tcp.DestinationPort,
            IpProtocol.Udp when UdpHeader.TryParse(body, out var udp, out _) => udp.DestinationPort,
            _ => (ushort)0,
        };
        return port != 0 && _beforeAccess.Contains((NumberOf(header.Destination), port));
    }

    /// <summary>The kernel has taken one off the hop limit on the way here and takes another on the way out.</summary>
    private static HomeTunnelResult Pass(ReadOnlySpan<byte> packet, Span<byte> output)
    {
        packet.CopyTo(output);
        output[HopLimitOffset] += output[HopLimitOffset] < byte.MaxValue ? (byte)1 : (byte)0;
        return new HomeTunnelResult(HomeTunnelVerdict.Send, DropReason.None, 0, packet.Length);
    }

    /// <summary>ICMPv6 1/1, communication administratively prohibited (RFC 4443 3.1), so that the terminal learns that it has to ask for access.</summary>
    private HomeTunnelResult Prohibit(ReadOnlySpan<byte> octets, Span<byte> output, DateTimeOffset now)
    {
        if (now - _errorsSince >= TimeSpan.FromSeconds(1))
        {
            (_errorsSince, _errors) = (now, 0);
        }

        if (!IpPacket.TryParse(octets, out var packet, out _) || !IcmpError.MayAnswer(packet) || ++_errors > MostErrors)
        {
            return new HomeTunnelResult(HomeTunnelVerdict.Drop, DropReason.None, 0, 0);
        }

        return new HomeTunnelResult(HomeTunnelVerdict.Send, DropReason.None, 0, IcmpError.WriteProhibited(packet, _address, output));
    }

    private static UInt128 NumberOf(ReadOnlySpan<byte> address) => BinaryPrimitives.ReadUInt128BigEndian(address);
}
