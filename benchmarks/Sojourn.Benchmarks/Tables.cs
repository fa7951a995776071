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
    private const int Packets = 200_000, Trials = 9, Few = 64, Payload = 1400, Short = 64, OneByOne = 20_000;

    private static readonly IPAddress s_local = IPAddress.Parse("192.0.2.1"), s_remote = IPAddress.Parse("198.51.100.1");
    private static readonly IPNetwork s_company = IPNetwork.Parse("203.0.113.0/24");
    private static readonly PathOrigin s_origin = new("benchmark", "NV-A33");
    private static readonly DateTimeOffset s_now = DateTimeOffset.UnixEpoch;

    /// <param name="sizes">Numbers of users, each in tables of its own; the first is what the others are compared with.</param>
    /// <param name="batch">Paths installed by one change.</param>
    public static void Run(IReadOnlyList<int> sizes, int batch, TextWriter output)
    {
        // The first compiles everything and is not shown.
        _ = new TablePair(Math.Min(20_000, sizes.Max()), batch);
        output.WriteLine("users      in changes of many: /s, CPU µs, octets made | of one: the same     | octets kept, of them paths as given, once used more");
        var tables = new List<TablePair>();
        foreach (var size in sizes)
        {
            tables.Add(new TablePair(size, batch));
            output.WriteLine(tables[^1].Installation);
        }

        // In turns: what else the machine does changes from minute to minute.
        output.WriteLine($"\nns, best of {Trials} turns: find, seal {Short}, seal {Payload}, both {Payload} | packets of {Payload} a second, sealed and opened, to those of the first table: median over the turns");
        foreach (var among in (int[])[1, Few, int.MaxValue])
        {
            // As many talk in each, so that the tables alone differ.
            var compared = tables.FindAll(table => among == int.MaxValue || table.Users >= among);
            output.WriteLine(among == int.MaxValue ? "all users talk" : $"{among} of the users talk");
            var turns = Enumerable.Range(0, Trials).Select(_ => compared.Select(table => table.Packet(Math.Min(table.Users, among))).ToArray()).ToArray();
            for (var at = 0; at < compared.Count; at++)
            {
                var best = Enumerable.Range(0, 4).Select(what => turns.Min(turn => turn[at][what])).ToArray();
                var ratio = Statistics.Median([.. turns.Select(turn => turn[0][3] / turn[at][3])]);
                output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{compared[at].Users,-10} {string.Join(", ", best.Select(time => time.ToString("F0", CultureInfo.InvariantCulture))),-30} | {ratio:F3}"));
            }
        }
    }

    /// <summary>Two ends with the same users.</summary>
    private sealed class TablePair
    {
        private readonly PathTable _near = NewTable(), _far = NewTable();

        public TablePair(int users, int batch)
        {
            Users = users;
            var empty = Memory();
            var paths = new List<VpnPath>(users);
            for (var user = 0; user < users; user++)
            {
                paths.Add(PathOf(user));
            }

            var given = Memory() - empty;
            var whole = users - Math.Min(OneByOne, users / 2);
            var many = Cost(_near, paths, 0, whole, batch);
            var one = Cost(_near, paths, whole, users, 1);
            var kept = Memory() - empty;
            paths = [];
            for (var at = 0; at < users; at += batch)
            {
                Install(_far, [.. Enumerable.Range(at, Math.Min(batch, users - at)).Select(user => PathOf(user).Mirror())]);
            }

            // Each side uses one of its two associations, so both sides together are what a side that uses both takes.
            var idle = Resident();
            for (var user = 0; user < users; user++)
            {
                Carry(_near, _far, user, Short);
            }

            var used = Math.Max(0, Resident() - idle);
            Installation = string.Create(CultureInfo.InvariantCulture, $"{users,-10} {many,-42} | {one,-20} | {kept / users}, {given / users}, {used / users}");
        }

        public int Users { get; }

        public string Installation { get; }

        /// <summary>Nanoseconds of each step for packets of users drawn by lot, in an order that no cache can guess.</summary>
        public double[] Packet(int among)
        {
            var order = Enumerable.Range(0, Packets).Select(_ => RandomNumberGenerator.GetInt32(among)).ToArray();
            return
            [
                Time(order, (user, inner, _) => _near.Classify(Address(inner, user), s_now).Verdict == OutboundVerdict.Protect, Short),
                Time(order, (user, inner, room) => _near.Outbound(Address(inner, user), room, s_now).Verdict == OutboundVerdict.Send, Short),
                Time(order, (user, inner, room) => _near.Outbound(Address(inner, user), room, s_now).Verdict == OutboundVerdict.Send, Payload),
                Time(order, (user, inner, room) =>
                {
                    var sent = _near.Outbound(Address(inner, user), room, s_now);
                    return _far.Inbound(room.AsSpan(sent.Offset, sent.Length), room.AsSpan(room.Length / 2), s_now).Verdict == InboundVerdict.Deliver;
                }, Payload),
            ];
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

    /// <summary>Nanoseconds of one call.</summary>
    private static double Time(int[] order, Func<int, byte[], byte[], bool> call, int length)
    {
        var (inner, room) = (new byte[length], new byte[8192]);
        Write(inner);
        var clock = Stopwatch.StartNew();
        foreach (var user in order)
        {
            if (!call(user, inner, room))
            {
                throw new InvalidOperationException($"a packet of user {user} was not carried");
            }
        }

        return clock.Elapsed.TotalNanoseconds / order.Length;
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
