using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Runtime.InteropServices;
using Sojourn.Engine;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Lab.Network;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv4;
using Sojourn.Wire.Udp;

namespace Sojourn.Benchmarks;

/// <summary>What came of a stretch of registrations.</summary>
internal sealed record LoadResult(int Accepted, int Refused, int Repeated, TimeSpan Elapsed, IReadOnlyDictionary<string, int> Refusals)
{
    public double PerSecond => Accepted / Elapsed.TotalSeconds;
}

/// <summary>
/// Mobile nodes on the foreign agent's link, each with its own link-layer address, home address and key. A node answers the
/// challenge last advertised, or the one in its last reply, asks for keys with both agents and proves itself with MN-AAA, as
/// <see cref="MobileNode"/> does at its first registration. At most a window of them waits for a reply at a time.
/// </summary>
internal sealed unsafe partial class MobileNodeLoad : IDisposable
{
    private const int HeaderLength = 14 + IPv4Header.MinimumLength + UdpHeader.HeaderLength;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly Population _population;
    private readonly PacketSocket _socket;
    private readonly Node[] _nodes;
    private readonly byte[] _frame = new byte[1600];
    private readonly byte[] _agentMac = new byte[6];
    private OctetString? _advertised;
    private ulong _lastIdentification;

    /// <summary>Call in the namespace of the nodes.</summary>
    public MobileNodeLoad(Population population, string name)
    {
        _population = population;
        _nodes = new Node[population.Count];
        _socket = new PacketSocket(name);
    }

    /// <summary>Waits until the agent has been heard.</summary>
    public void WaitForAgent(TimeSpan limit)
    {
        var watch = Stopwatch.StartNew();
        while (_advertised is null)
        {
            if (watch.Elapsed > limit)
            {
                throw new InvalidOperationException("the foreign agent does not advertise itself");
            }

            Await(100);
            while (_socket.TryReceive(out var frame, out _))
            {
                _ = Read(frame, out _, out _);
            }
        }
    }

    /// <summary>Registers users <paramref name="first"/> up to but without <paramref name="end"/>, <paramref name="window"/> at a time.</summary>
    public LoadResult Register(int first, int end, int window, CancellationToken cancellation)
    {
        var waiting = new Queue<(int User, ulong Identification, long Since)>();
        var refusals = new Dictionary<string, int>();
        var (accepted, refused, repeated, next, open) = (0, 0, 0, first, 0);

        // What was advertised while nobody registered.
        while (_socket.TryReceive(out var heard, out _))
        {
            _ = Read(heard, out _, out _);
        }

        var watch = Stopwatch.StartNew();
        while (accepted + refused < end - first)
        {
            cancellation.ThrowIfCancellationRequested();
            while (open < window && next < end)
            {
                Ask(next++, waiting);
                open++;
            }

            Await(20);
            while (_socket.TryReceive(out var frame, out _))
            {
                if (!Read(frame, out var user, out var reply) || user < first || user >= end || _nodes[user].Open != reply!.Identification)
                {
                    continue;
                }

                _nodes[user].Open = 0;
                open--;
                if (reply.Code is RegistrationReplyCode.Accepted)
                {
                    accepted++;
                }
                else
                {
                    refused++;
                    var name = reply.Code.ToString();
                    refusals[name] = refusals.GetValueOrDefault(name) + 1;
                }

                if (next < end)
                {
                    Ask(next++, waiting);
                    open++;
                }
            }

            while (waiting.TryPeek(out var oldest) && Stopwatch.GetElapsedTime(oldest.Since) > Patience)
            {
                waiting.Dequeue();
                if (_nodes[oldest.User].Open == oldest.Identification)
                {
                    repeated++;
                    Ask(oldest.User, waiting);
                }
            }
        }

        return new LoadResult(accepted, refused, repeated, watch.Elapsed, refusals);
    }

    public void Dispose() => _socket.Dispose();

    private void Ask(int user, Queue<(int, ulong, long)> waiting)
    {
        ref var node = ref _nodes[user];
        _lastIdentification = Math.Max(Identification.FromTime(DateTimeOffset.UtcNow), _lastIdentification + 1);
        node.Open = _lastIdentification;
        var home = Population.HomeAddress(user);
        var octets = new RegistrationRequest
        {
            Flags = RegistrationFlags.ReverseTunnel,
            Lifetime = 7200,
            HomeAddress = home,
            HomeAgent = BenchmarkNetwork.HomeAgent,
            CareOfAddress = BenchmarkNetwork.ForeignAgent,
            Identification = node.Open,
            Extensions = MobileIpExtensions.Of(
                new NaiExtension(Population.Nai(user)),
                new KeyGenerationNonceRequestExtension(NoncePeer.HomeAgent, 0x03000000 | (uint)user),
                new KeyGenerationNonceRequestExtension(NoncePeer.ForeignAgent, 0x03800000 | (uint)user),
                new ChallengeExtension(node.Challenge ?? _advertised!.Value)),
        }.Sign(AuthenticationKind.MobileAaa, new MobilityAssociation(Population.MnAaaSpi, _population.Key(user))).ToArray();
        Send(user, home.GetAddressBytes(), octets);
        waiting.Enqueue((user, node.Open, Stopwatch.GetTimestamp()));
    }

    private void Send(int user, ReadOnlySpan<byte> source, ReadOnlySpan<byte> payload)
    {
        var frame = _frame.AsSpan(0, HeaderLength + payload.Length);
        _agentMac.CopyTo(frame);
        frame[6] = 0x02;
        frame[7] = 0;
        BinaryPrimitives.WriteInt32BigEndian(frame[8..], user);
        BinaryPrimitives.WriteUInt16BigEndian(frame[12..], 0x0800);
        var destination = BenchmarkNetwork.Access.GetAddressBytes();
        IPv4Header.Write(frame[14..], 0, frame.Length - 14, (ushort)user, 0, 64, IpProtocol.Udp, source, destination);
        payload.CopyTo(frame[HeaderLength..]);
        var datagram = frame[(14 + IPv4Header.MinimumLength)..];
        UdpHeader.Write(datagram, MobileIpv4Limits.Port, MobileIpv4Limits.Port);
        UdpHeader.WriteChecksum(datagram, source, destination);
        while (!_socket.TrySend(frame))
        {
            Thread.Yield();
        }
    }

    /// <summary>Takes in advertisements by the way; true for a Registration Reply to one of the nodes.</summary>
    private bool Read(ReadOnlySpan<byte> frame, out int user, out RegistrationReply? reply)
    {
        user = -1;
        reply = null;
        if (frame.Length < 34 || BinaryPrimitives.ReadUInt16BigEndian(frame[12..]) != 0x0800 || !IPv4Header.TryParse(frame[14..], out var packet, out _))
        {
            return false;
        }

        if (packet.Protocol == IpProtocol.Icmp && AgentAdvertisement.TryParse(packet.Payload, out var advertisement, out _) && advertisement.Challenge is { } challenge)
        {
            _advertised = challenge;
            frame.Slice(6, 6).CopyTo(_agentMac);
            return false;
        }

        if (packet.Protocol != IpProtocol.Udp || !UdpHeader.TryParse(packet.Payload, out var datagram, out _) || datagram.SourcePort != MobileIpv4Limits.Port
            || !MobileIpMessage.TryParse(datagram.Payload, out reply, out _))
        {
            return false;
        }

        user = _population.UserOf(BinaryPrimitives.ReadUInt32BigEndian(packet.Destination));
        if (user < 0)
        {
            return false;
        }

        _nodes[user].Challenge = reply.Extensions.Find<ChallengeExtension>()?.Challenge;
        return true;
    }

    private void Await(int milliseconds)
    {
        var descriptor = new PollDescriptor { Fd = _socket.Descriptor, Events = 1 };
        _ = Poll(&descriptor, 1, milliseconds);
    }

    private struct Node
    {
        /// <summary>Identification of the request that waits for its reply, 0 = none.</summary>
        public ulong Open;

        public OctetString? Challenge;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct PollDescriptor
    {
        public int Fd;
        public short Events;
        public short Returned;
    }

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int Poll(PollDescriptor* descriptors, nuint count, int timeout);
}
