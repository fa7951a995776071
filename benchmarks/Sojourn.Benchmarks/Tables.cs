using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Udp;

namespace Sojourn.Benchmarks;

/// <summary>
/// The path table with many users, each with a selector and a pair of associations of its own: what one costs to install and to keep, and
/// whether a packet of any of them costs more than a packet of a single one.
/// </summary>
internal static class Tables
{
    private const int Packets = 200_000, Trials = 5, Payload = 1400, Short = 64, OneByOne = 20_000;

    private static readonly IPAddress s_local = IPAddress.Parse("192.0.2.1"), s_remote = IPAddress.Parse("198.51.100.1");
    private static readonly IPNetwork s_company = IPNetwork.Parse("203.0.113.0/24");
    private static readonly PathOrigin s_origin = new("benchmark", "NV-A33");
    private static readonly DateTimeOffset s_now = DateTimeOffset.UnixEpoch;

    /// <param name="sizes">Numbers of users, each measured in a table of its own.</param>
    /// <param name="batch">Paths installed by one change.</param>
    public static void Run(IReadOnlyList<int> sizes, int batch, TextWriter output)
    {
        // The first round compiles everything and is not shown.
        Measure(Math.Min(20_000, sizes.Max()), batch);
        output.WriteLine("users      in changes of many: /s, CPU µs, octets made | of one: the same     | octets kept, once used more | ns: find, seal 64, seal 1400, open 1400 | of 64 users only: the same");
        foreach (var size in sizes)
        {
            output.WriteLine(Measure(size, batch));
            GC.Collect();
        }
    }

    private static string Measure(int users, int batch)
    {
        var empty = Memory();
        var paths = new List<VpnPath>(users);
        for (var user = 0; user < users; user++)
        {
            paths.Add(PathOf(user));
        }

        var given = Memory() - empty;
        var (near, far) = (NewTable(), NewTable());
        var whole = users - Math.Min(OneByOne, users / 2);
        var many = Cost(near, paths, 0, whole, batch);
        var one = Cost(near, paths, whole, users, 1);
        var kept = (Memory() - empty) / users;
        paths.Clear();
        for (var at = 0; at < users; at += batch)
        {
            Install(far, [.. Enumerable.Range(at, Math.Min(batch, users - at)).Select(user => PathOf(user).Mirror())]);
        }

        // Each side uses one of its two associations, so both sides together are what a side that uses both takes.
        var idle = Resident();
        for (var user = 0; user < users; user++)
        {
            Carry(near, far, user, Short);
        }

        var used = Math.Max(0, Resident() - idle) / users;
        return string.Create(CultureInfo.InvariantCulture,
            $"{users,-10} {many,-42} | {one,-20} | {kept,-6} + {used,-18} | {Packet(users),-38} | {Packet(Math.Min(users, 64))}   (paths as given: {given / users} octets of those kept)");

        // In an order that no cache can guess.
        string Packet(int among)
        {
            var order = Enumerable.Range(0, Packets).Select(_ => RandomNumberGenerator.GetInt32(among)).ToArray();
            var find = Best(order, (user, inner, _) => near.Classify(Address(inner, user), s_now).Verdict == OutboundVerdict.Protect, Short);
            var seal64 = Best(order, (user, inner, room) => near.Outbound(Address(inner, user), room, s_now).Verdict == OutboundVerdict.Send, Short);
            var seal = Best(order, (user, inner, room) => near.Outbound(Address(inner, user), room, s_now).Verdict == OutboundVerdict.Send, Payload);
            var both = Best(order, (user, inner, room) =>
            {
                var sent = near.Outbound(Address(inner, user), room, s_now);
                return far.Inbound(room.AsSpan(sent.Offset, sent.Length), room.AsSpan(room.Length / 2), s_now).Verdict == InboundVerdict.Deliver;
            }, Payload);
            return string.Create(CultureInfo.InvariantCulture, $"{find:F0}, {seal64:F0}, {seal:F0}, {both - seal:F0}");
        }
    }

    /// <summary>Paths a second, and for each of them processor time of the process and what was allocated.</summary>
    private static string Cost(PathTable table, List<VpnPath> paths, int from, int to, int batch)
    {
        if (from == to)
        {
            return "";
        }

        var (processor, allocated, clock) = (Environment.CpuUsage.TotalTime, GC.GetAllocatedBytesForCurrentThread(), Stopwatch.StartNew());
        for (var at = from; at < to; at += batch)
        {
            Install(table, paths.GetRange(at, Math.Min(batch, to - at)));
        }

        var count = to - from;
        return string.Create(CultureInfo.InvariantCulture,
            $"{count / clock.Elapsed.TotalSeconds:F0}, {(Environment.CpuUsage.TotalTime - processor).TotalMicroseconds / count:F1}, {(GC.GetAllocatedBytesForCurrentThread() - allocated) / count}");
    }

    private static long Resident()
    {
        _ = Memory();
        return Environment.WorkingSet;
    }

    private static PathTable NewTable() => new(new PathTableOptions(), SystemRandomSource.Instance);

    private static long Memory()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return GC.GetTotalMemory(forceFullCollection: true);
    }

    private static void Install(PathTable table, IReadOnlyList<VpnPath> paths)
    {
        if (table.Change(paths, [], s_now).Refusal is { } refusal)
        {
            throw new InvalidOperationException(refusal.Text);
        }
    }

    private static void Carry(PathTable near, PathTable far, int user, int length)
    {
        Span<byte> inner = stackalloc byte[length];
        Span<byte> outer = stackalloc byte[length + PathTable.MaximumOverhead];
        Span<byte> opened = stackalloc byte[length + PathTable.MaximumOverhead];
        Write(inner);
        var sent = near.Outbound(Address(inner, user), outer, s_now);
        if (far.Inbound(outer[..sent.Length], opened, s_now).Verdict != InboundVerdict.Deliver)
        {
            throw new InvalidOperationException($"a packet of user {user} did not arrive");
        }
    }

    /// <summary>Nanoseconds of one call; the best trial, since what else the machine does only adds.</summary>
    private static double Best(int[] order, Func<int, byte[], byte[], bool> call, int length)
    {
        var (inner, room) = (new byte[length], new byte[8192]);
        Write(inner);
        var best = double.MaxValue;
        for (var trial = 0; trial < Trials; trial++)
        {
            var clock = Stopwatch.StartNew();
            foreach (var user in order)
            {
                if (!call(user, inner, room))
                {
                    throw new InvalidOperationException($"a packet of user {user} was not carried");
                }
            }

            best = Math.Min(best, clock.Elapsed.TotalNanoseconds / order.Length);
        }

        return best;
    }

    private static void Write(Span<byte> packet)
    {
        UdpHeader.Write(packet[IPv4Header.MinimumLength..], 4000, 5000);
        IPv4Header.Write(packet, 0, packet.Length, 0, IPv4Header.DontFragmentFlag, 64, IpProtocol.Udp, HostOf(0).GetAddressBytes(), s_company.BaseAddress.GetAddressBytes());
    }

    /// <summary>Makes it a packet of this user.</summary>
    private static Span<byte> Address(Span<byte> packet, int user)
    {
        BinaryPrimitives.WriteInt32BigEndian(packet[12..], (10 << 24) | user);
        IPv4Header.WriteChecksum(packet[..IPv4Header.MinimumLength]);
        return packet;
    }

    private static IPAddress HostOf(int user) => new([10, (byte)(user >> 16), (byte)(user >> 8), (byte)user]);

    private static VpnPath PathOf(int user) => new()
    {
        Id = new PathId($"user {user}", "1"),
        Source = new IPNetwork(HostOf(user), 32),
        Destination = s_company,
        SecurityType = SecurityType.Esp,
        LocalGateway = s_local,
        RemoteGateway = s_remote,
        Outbound = Association(user, s_local, s_remote, 0),
        Inbound = Association(user, s_remote, s_local, 1),
        Origin = s_origin,
    };

    /// <summary>Keys as different as real ones; both ends make the same.</summary>
    private static SaParameters Association(int user, IPAddress source, IPAddress destination, int direction)
    {
        var key = new byte[IpsecAlgorithm.Aes128Gcm16.EncryptionKeyLength()];
        BinaryPrimitives.WriteInt32BigEndian(key, (2 * user) + direction);
        return new SaParameters
        {
            Spi = 0x1000 + (2 * (uint)user) + (uint)direction,
            Source = source,
            Destination = destination,
            Algorithm = IpsecAlgorithm.Aes128Gcm16,
            Keys = new AssociationKeys(new KeyMaterial(key), new KeyMaterial([])),
        };
    }
}
