using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Lab.Nodes;

namespace Sojourn.Benchmarks;

/// <summary>How a home agent reads and how many servers it has.</summary>
internal sealed record HomeAgentForm(string Name, int Servers, bool Segments);

/// <summary>
/// TCP throughput through a home agent's tunnels, by how its packet path is made up, in turns on the same machine:
/// <code>
/// cn (iperf3) ── ha (home agent's tunnels) ── far (care-of address: the same tunnels' other end) ── mn (iperf3 server at the home address)
/// </code>
/// Both ends are tables and devices of this process, with bindings and associations entered directly; the far end is made the same way in every turn.
/// </summary>
internal static class HomeAgentServers
{
    private const string Home = "2001:db8:1::100", Agent = "2001:db8:1::1", CareOf = "2001:db8:5::1";

    private static readonly HomeAgentForm[] s_forms =
    [
        new("one packet at a time", 1, Segments: false), new("long segments", 1, Segments: true), new("two servers", 2, Segments: false), new("two servers, long segments", 2, Segments: true),
    ];

    public static async Task RunAsync(int rounds, int seconds, TextWriter output, CancellationToken cancellation)
    {
        _ = LabCommand.Find("iperf3") ?? throw new InvalidOperationException("this benchmark needs iperf3");
        var figures = new Dictionary<(bool Esp, string Direction, int Flows, string Form), List<(double Rate, double Cpu)>>();
        for (var round = 0; round <= rounds; round++)
        {
            foreach (var esp in (bool[])[false, true])
            {
                foreach (var form in s_forms)
                {
                    using var line = new Line(form, esp);
                    foreach (var (direction, flows) in new[] { ("down", 1), ("down", 4), ("up", 1), ("up", 4) })
                    {
                        var figure = await line.TransferAsync(direction, flows, round == 0 ? 1 : seconds, cancellation);
                        if (round > 0)
                        {
                            (figures.TryGetValue((esp, direction, flows, form.Name), out var list) ? list : figures[(esp, direction, flows, form.Name)] = []).Add(figure);
                        }
                    }
                }
            }
        }

        await output.WriteLineAsync("tunnel    direction  flows  home agent                  Mbit/s (median)  CPU s/GB  ratio to one packet at a time (median of the rounds)");
        foreach (var ((esp, direction, flows, form), list) in figures.OrderBy(f => (f.Key.Esp, f.Key.Direction, f.Key.Flows)))
        {
            var former = figures[(esp, direction, flows, s_forms[0].Name)];
            await output.WriteLineAsync(string.Create(CultureInfo.InvariantCulture,
                $"{(esp ? "ESP" : "plain"),-8}  {direction,-9}  {flows,5}  {form,-26}  {Statistics.Median(list.Select(f => f.Rate)),15:F0}  {Statistics.Median(list.Select(f => f.Cpu)),8:F2}  {Statistics.Median(list.Zip(former, (f, b) => f.Rate / b.Rate)):F2}"));
        }
    }

    /// <summary>Namespaces, tunnels and the iperf3 server of one turn.</summary>
    private sealed class Line : IDisposable
    {
        private readonly BenchmarkHosts _hosts = new("cn", "ha", "far", "mn");
        private readonly List<RoutedDevice> _devices = [];

        public Line(HomeAgentForm form, bool esp)
        {
            try
            {
                foreach (var name in (string[])["cn", "ha", "far", "mn"])
                {
                    _hosts.Forward6(name);
                }

                _hosts.Join("cn", "to-ha", "ha", "to-cn", ["2001:db8:2::2/64"], ["2001:db8:2::1/64"]);
                _hosts.Join("ha", "to-far", "far", "to-ha", ["2001:db8:3::1/64"], ["2001:db8:3::2/64"]);
                _hosts.Join("far", "to-mn", "mn", "to-far", ["2001:db8:4::1/64"], ["2001:db8:4::2/64"]);
                _hosts.Via("cn", "::/0", "2001:db8:2::1", "to-ha");
                _hosts.Via("ha", "2001:db8:5::/64", "2001:db8:3::2", "to-far");
                _hosts.Via("far", "::/0", "2001:db8:3::1", "to-ha");
                _hosts.Via("far", Home + "/128", "2001:db8:4::2", "to-mn");
                _hosts.Via("mn", "::/0", "2001:db8:4::1", "to-far");
                _hosts.Address("mn", "lo", Home + "/128");
                var (agent, careOf, home) = (IPAddress.Parse(Agent), IPAddress.Parse(CareOf), IPAddress.Parse(Home));
                var path = MobileTunnel.AtHomeAgent(home, new IPNetwork(home, 128), MobileTunnel.IdOf(home), agent, careOf);
                if (esp)
                {
                    path = path with { SecurityType = SecurityType.Esp, Outbound = Association(agent, careOf, 0x1001), Inbound = Association(careOf, agent, 0x1002) };
                }

                Carry("ha", "home0", agent, path, form.Servers, form.Segments, [IPNetwork.Parse("2001:db8:1::/64")]);
                Carry("far", "far0", careOf, path.Mirror(), 1, true, [new IPNetwork(careOf, 128)]);
                using (var route = Rtnetlink.Open(_hosts["far"]))
                {
                    route.AddRule(new PolicyRule { Priority = 100, Table = 100, InboundInterface = "to-mn", IPv6 = true });
                    route.ReplaceRoute(new Route { Destination = IPNetwork.Parse("::/0"), Interface = "far0", Table = 100 });
                }

                _hosts.Start("mn", ["iperf3", "-s", "-6", "-B", Home]);
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        /// <returns>Mbit/s, and processor seconds of the process, both ends of the tunnels, for a gigabyte.</returns>
        public async Task<(double Rate, double Cpu)> TransferAsync(string direction, int flows, int seconds, CancellationToken cancellation)
        {
            var before = Process.GetCurrentProcess().TotalProcessorTime;
            var (rate, octets) = await Iperf3.TransferAsync(_hosts, "cn", Home, flows, seconds, cancellation, direction == "up" ? "-R" : null);
            return (rate, (Process.GetCurrentProcess().TotalProcessorTime - before).TotalSeconds / Math.Max(octets / 1e9, 1e-6));
        }

        public void Dispose()
        {
            foreach (var device in _devices)
            {
                device.Dispose();
            }

            _hosts.Dispose();
        }

        private static SaParameters Association(IPAddress source, IPAddress destination, uint spi) => new()
        {
            Spi = spi,
            Source = source,
            Destination = destination,
            Algorithm = IpsecAlgorithm.Aes128Gcm16,
            Keys = new AssociationKeys(
                new KeyMaterial(RandomNumberGenerator.GetBytes(IpsecAlgorithm.Aes128Gcm16.EncryptionKeyLength())), new KeyMaterial(RandomNumberGenerator.GetBytes(IpsecAlgorithm.Aes128Gcm16.AuthenticationKeyLength()))),
        };

        private void Carry(string space, string name, IPAddress own, VpnPath path, int servers, bool segments, IReadOnlyList<IPNetwork> prefixes)
        {
            var tunnel = new HomeTunnel(own, 1500, new SystemRandomSource());
            if (tunnel.Change(new ChangePaths([path], []), DateTimeOffset.UtcNow).Refusal is { } refusal)
            {
                throw new InvalidOperationException(refusal.ToString());
            }

            var device = _hosts[space].Run(() => new RoutedDevice(name, 1500, prefixes, servers, segments));
            _devices.Add(device);
            device.StartEach(_ =>
            {
                var output = new byte[HomeTunnel.OutputFor(9000)];
                return packet =>
                {
                    var result = tunnel.Forward(packet, output, DateTimeOffset.UtcNow);
                    foreach (var one in new PacketSequence(result.Verdict == HomeTunnelVerdict.Send ? output.AsSpan(result.Offset, result.Length) : default))
                    {
                        device.Write(one);
                    }
                };
            });
        }
    }
}
