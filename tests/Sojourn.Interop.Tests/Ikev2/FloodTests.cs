using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Sojourn.DataPath.Netlink;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine;
using Sojourn.Lab.Nodes;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.KeyExchange;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Udp;
using Xunit;
using Xunit.Abstractions;

namespace Sojourn.Interop.Tests.Ikev2;

/// <summary>First requests, 50,000 a second, beside one genuine peer that logs in again and again.</summary>
[Collection(nameof(FloodTests))]
[CollectionDefinition(nameof(FloodTests), DisableParallelization = true)]
public class FloodTests(ITestOutputHelper output)
{
    private const int Rate = 50_000;
    private static readonly TimeSpan s_login = TimeSpan.FromSeconds(2);
    private static readonly IPAddress s_own = IPAddress.Parse("10.9.0.1"), s_peer = IPAddress.Parse("10.9.0.2");

    /// <param name="inThePeersName">Every request carries the genuine peer's address and another port; else each has a source that does not exist.</param>
    [StrongSwanTheory]
    [InlineData(false, 20)]
    [InlineData(true, 8)]
    [Trait("Row", "TA-H17")]
    public async Task A_genuine_peer_gets_through_a_flood_of_first_requests_and_memory_stays_bounded(bool inThePeersName, int seconds)
    {
        var name = string.Create(CultureInfo.InvariantCulture, $"sjflood-{Environment.ProcessId}");
        var folder = Directory.CreateTempSubdirectory("sojourn-flood-").FullName;
        using var own = NetworkNamespace.Create(name + "-own");
        using var outside = NetworkNamespace.Create(name + "-out");
        try
        {
            Join(own, outside);

            // Flood and node share two processors, so a first request may find the buffer full; a genuine peer asks again after half a second.
            await using var charon = await Charon.StartAsync(outside.Name, folder, Connections(), daemon: "retransmit_timeout = 0.5\nretransmit_base = 1.0");
            var engine = new IkeEngine(
                new IkeOptions
                {
                    Peers =
                    [
                        new IkePeer
                        {
                            Name = "company", Address = inThePeersName ? s_peer : null, LocalIdentity = IkeIdentity.OfName(StrongSwan.OwnName), RemoteIdentity = IkeIdentity.OfName(StrongSwan.PeerName),
                            PreSharedKey = new KeyMaterial(Encoding.ASCII.GetBytes(StrongSwan.Secret)),
                            Children = [new IkeChildOptions { Name = "net", LocalSelectors = [TrafficSelector.Of(StrongSwan.OwnNetwork)], RemoteSelectors = [TrafficSelector.Of(StrongSwan.PeerNetwork)] }],
                        },
                    ],
                },
                SystemRandomSource.Instance);
            var counted = new ConcurrentDictionary<string, long>();
            void Count(string counter, long amount) => counted.AddOrUpdate(counter, amount, (_, present) => present + amount);
            using var host = new EngineHost(engine, new EngineHostOptions { Node = "own", Count = Count });
            using var port = own.Run(() => new IkePort(host.Post, Count, packetPath: null, engine.Cookies));
            host.Start([port, new Rest()]);

            GC.Collect();
            var before = GC.GetTotalMemory(forceFullCollection: true);
            var flood = new Flood(inThePeersName, TimeSpan.FromSeconds(seconds));
            var thread = new Thread(() => outside.Run(flood.Run));
            thread.Start();
            await Task.Delay(1000);
            var logins = new List<(TimeSpan Took, string Said)>();
            var mostHalfOpen = 0;
            while (thread.IsAlive && flood.Running < TimeSpan.FromSeconds(seconds) - s_login)
            {
                var clock = Stopwatch.StartNew();
                var said = await charon.ControlAsync("--initiate", "--child", "net", "--timeout", "5");
                logins.Add((clock.Elapsed, said));
                mostHalfOpen = Math.Max(mostHalfOpen, await host.Query(() => engine.HalfOpenCount));
                await charon.ControlAsync("--terminate", "--ike", "own");
                await Task.Delay(500);
            }

            var (user, system) = ProcessorTime("UDP 500");
            var kept = GC.GetTotalMemory(forceFullCollection: true) - before;
            thread.Join();
            var took = logins.Select(l => l.Took.TotalMilliseconds).Order().ToList();
            var demanded = counted.GetValueOrDefault("ike.init.cookie_demanded");
            var seen = string.Create(
                CultureInfo.InvariantCulture,
                $"{flood.Sent} first requests in {flood.Elapsed.TotalSeconds:F1} s ({flood.Sent / flood.Elapsed.TotalSeconds:F0}/s), {demanded} answered with a cookie, {Dropped(own)} dropped by the kernel for want of room, {counted.GetValueOrDefault("host.mailbox.datagrams_dropped")} by the engine's mailbox; {logins.Count} logins, median {took[took.Count / 2]:F0} ms, worst {took[^1]:F0} ms; at most {mostHalfOpen} half-open, {kept >> 10} KiB more memory; {user / demanded * 1e6:F1} + {system / demanded * 1e6:F1} us of processor (user + system) for an answer");
            output.WriteLine(seen);
            Console.WriteLine(seen);
            Assert.True(flood.Sent / flood.Elapsed.TotalSeconds > Rate * 0.5, "the flood is too thin: " + seen);
            Assert.True(demanded > flood.Sent / 3, seen);
            Assert.True(logins.Count >= 3, seen);
            Assert.All(logins, l => Assert.True(l.Said.Contains("initiate completed successfully", StringComparison.Ordinal) && l.Took < s_login, $"{l.Took}: {l.Said}\n{seen}\n{charon.Log()}"));
            Assert.True(mostHalfOpen <= 150 && kept < 16 << 20, seen);
        }
        finally
        {
            NetworkNamespace.Delete(own.Name);
            NetworkNamespace.Delete(outside.Name);
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Seconds that threads of this process with a name have used.</summary>
    private static (double User, double System) ProcessorTime(string thread)
    {
        // proc(5): utime and stime are fields 14 and 15, in hundredths of a second; the name in parentheses is field 2.
        var times = Directory.GetDirectories("/proc/self/task").Where(t => File.ReadAllText(t + "/comm").TrimEnd() == thread)
            .Select(t => File.ReadAllText(t + "/stat")).Select(s => s[(s.LastIndexOf(')') + 2)..].Split(' ')).ToList();
        return (times.Sum(f => double.Parse(f[11], CultureInfo.InvariantCulture)) / 100, times.Sum(f => double.Parse(f[12], CultureInfo.InvariantCulture)) / 100);
    }

    /// <summary>UDP datagrams that found the receive buffer full, in this network namespace.</summary>
    private static long Dropped(NetworkNamespace space) => space.Run(() =>
    {
        var lines = File.ReadLines("/proc/thread-self/net/snmp").Where(l => l.StartsWith("Udp: ", StringComparison.Ordinal)).Select(l => l.Split(' ')).ToList();
        return long.Parse(lines[1][Array.IndexOf(lines[0], "RcvbufErrors")], CultureInfo.InvariantCulture);
    });

    private static string Connections() =>
        $$"""
        connections {
          own {
            local_addrs = {{s_peer}}
            remote_addrs = {{s_own}}
            version = 2
            encap = yes
            local {
              auth = psk
              id = {{StrongSwan.PeerName}}
            }
            remote {
              auth = psk
              id = {{StrongSwan.OwnName}}
            }
            children {
              net {
                local_ts = {{StrongSwan.PeerNetwork}}
                remote_ts = {{StrongSwan.OwnNetwork}}
              }
            }
          }
        }
        secrets {
          ike-own {
            id = {{StrongSwan.OwnName}}
            secret = "{{StrongSwan.Secret}}"
          }
        }
        """;

    /// <summary>A plain pair of interfaces; what is answered to sources that do not exist goes to a host that drops it.</summary>
    private static void Join(NetworkNamespace own, NetworkNamespace outside)
    {
        using (var route = new Rtnetlink())
        {
            route.CreateVeth("up0", "up0", own, outside);
        }

        void SetUp(NetworkNamespace space, IPAddress address, IPAddress? router)
        {
            using var route = Rtnetlink.Open(space);
            route.SetUp("lo");
            route.SetUp("up0");
            route.AddAddress("up0", address, 24);
            if (router is not null)
            {
                route.AddRoute(new Route { Destination = IPNetwork.Parse("0.0.0.0/0"), Gateway = router });
            }
        }

        SetUp(own, s_own, s_peer);
        SetUp(outside, s_peer, null);

        // kernel-libipsec wants an address of its own inside the local selector.
        using var inside = Rtnetlink.Open(outside);
        inside.AddAddress("lo", IPAddress.Parse("10.2.0.1"), 32);
    }

    /// <summary>Effects that are no datagram are nobody's here.</summary>
    private sealed class Rest : IEffectPort
    {
        public bool TryCarryOut(Effect effect) => true;
    }

    /// <summary>Sends a valid IKE_SA_INIT request again and again, each with another port and SPI.</summary>
    private sealed class Flood(bool inThePeersName, TimeSpan duration)
    {
        private const int Headers = IPv4Header.MinimumLength + UdpHeader.HeaderLength;

        private readonly Stopwatch _clock = new();

        public long Sent { get; private set; }

        public TimeSpan Elapsed { get; private set; }

        public TimeSpan Running => _clock.Elapsed;

        public void Run()
        {
            var packet = Packet();
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Raw, ProtocolType.Udp);
            socket.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.HeaderIncluded, true);
            var to = new IPEndPoint(s_own, 0).Serialize();
            _clock.Start();
            while (_clock.Elapsed < duration)
            {
                if (Sent >= _clock.Elapsed.TotalSeconds * Rate)
                {
                    Thread.Sleep(1);
                    continue;
                }

                // 10.64.0.0/10 unless it is the peer's, any port, an SPI of its own.
                var number = (uint)Sent;
                if (!inThePeersName)
                {
                    BinaryPrimitives.WriteUInt32BigEndian(packet.AsSpan(12), 0x0A400000 | ((number * 2654435761u) >> 10));
                }

                BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(20), (ushort)(1024 + (number % 60_000)));
                BinaryPrimitives.WriteUInt64BigEndian(packet.AsSpan(Headers), 0x5000000000000000UL | number);
                try
                {
                    socket.SendTo(packet, SocketFlags.None, to);
                }
                catch (SocketException)
                {
                    // A full queue of the device; the rate says how many went out.
                    continue;
                }

                Sent++;
            }

            Elapsed = _clock.Elapsed;
        }

        private static byte[] Packet()
        {
            var random = SystemRandomSource.Instance;
            using var exchange = PlatformKeyExchanges.Instance.Begin(IkeGroup.Curve25519, random);
            var message = new IkeMessage(
                new IkeHeader(1, 0, IkeExchange.IkeSaInit, IkeFlags.Initiator, 0),
                [
                    new SecurityAssociationPayload([.. IkeProposals.Ike.Select((p, i) => p with { Number = (byte)(i + 1) })]),
                    new KeyExchangePayload(IkeGroup.Curve25519, exchange.PublicValue.ToArray()),
                    new NoncePayload(random.NextBytes(32)),
                ]).ToArray();
            var packet = new byte[Headers + message.Length];
            message.CopyTo(packet, Headers);

            // The kernel fills in the header's checksum; UDP goes without one.
            UdpHeader.Write(packet.AsSpan(IPv4Header.MinimumLength), 500, 500);
            IPv4Header.Write(packet, 0, packet.Length, 0, 0, 64, IpProtocol.Udp, s_peer.GetAddressBytes(), s_own.GetAddressBytes());
            return packet;
        }
    }
}
