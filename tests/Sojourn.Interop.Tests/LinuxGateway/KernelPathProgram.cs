using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Reflection;
using System.Text.Json;
using Sojourn.DataPath.PacketPath;
using Sojourn.DataPath.Xfrm;
using Sojourn.Engine;
using Sojourn.Engine.Ipsec;
using Sojourn.Lab.VirtualMachine;

namespace Sojourn.Interop.Tests.LinuxGateway;

/// <summary>What the guest's program answers.</summary>
/// <param name="Refused">Why paths were refused.</param>
/// <param name="Signals">What the packet path has told by itself since the last answer.</param>
internal sealed record KernelPathAnswer(IReadOnlyList<string> Refused, IReadOnlyList<string> Signals, IReadOnlyList<KernelPathAnswer.Association> Associations, IReadOnlyDictionary<string, long> Counters)
{
    /// <summary>One row of <c>show ipsec</c>.</summary>
    internal sealed record Association(uint Spi, ulong Packets, ulong Bytes, ulong Sequence, string Peer, IReadOnlyDictionary<string, long> Drops);
}

/// <summary>
/// The kernel back end alone, without a node around it, in a guest: what no configuration of a static gateway names (IPv6 outside, UDP
/// encapsulation, moves). This assembly is a program for that; it takes commands line by line and answers each through a pipe.
/// </summary>
internal static class KernelPathProgram
{
    private const string Folder = "/lab/path", SecretFile = Folder + "/secret", Pipe = Folder + "/answer";

    /// <summary>A file system with the program and the secret of its keys.</summary>
    public static Initramfs FileSystem(byte[] secret) => GuestProgram.FileSystem(new Dictionary<string, byte[]> { [SecretFile] = secret });

    /// <summary>Starts it in the background of a guest.</summary>
    public static Task StartAsync(LinuxVirtualMachine machine) => machine.ExecuteAsync(
        $"mkfifo {Folder}/commands {Pipe}; setsid {GuestProgram.CommandOf(Assembly.GetExecutingAssembly())} <>{Folder}/commands >{Folder}/console.txt 2>&1 &", CancellationToken.None);

    /// <summary>Gives a command and returns the answer.</summary>
    public static async Task<KernelPathAnswer> AskAsync(LinuxVirtualMachine machine, string command) =>
        JsonSerializer.Deserialize<KernelPathAnswer>(
            await machine.ExecuteAsync($"echo '{command}' >{Folder}/commands; timeout 60 cat {Pipe} || {{ cat {Folder}/console.txt; false; }}", CancellationToken.None))!;

    /// <summary>In the guest.</summary>
    public static int Main()
    {
        var secret = File.ReadAllBytes(SecretFile);
        var signals = new ConcurrentQueue<PathSignalled>();
        using var path = new KernelPacketPath(new PacketPathOptions { Signal = signals.Enqueue, NatKeepalive = null });
        while (Console.ReadLine() is { } line)
        {
            IReadOnlyList<string> refused;
            try
            {
                refused = [.. Carry(path, secret, line.Split(' ')).Select(r => r.Text)];
            }
            catch (Exception e) when (e is IOException or ArgumentException or FormatException)
            {
                refused = [e.Message];
            }

            var report = path.Report();
            var answer = new KernelPathAnswer(
                refused,
                [.. Drain(signals).Select(s => string.Create(CultureInfo.InvariantCulture, $"{s.Path.Leg} {s.Signal}"))],
                [.. report.Paths.SelectMany(p => new[] { p.Outbound, p.Inbound }).OfType<AssociationReport>()
                    .Select(a => new KernelPathAnswer.Association(a.Spi, a.Packets, a.Bytes, a.Sequence, a.Source.ToString(), a.Drops))],
                report.Counters);
            using var pipe = new StreamWriter(new FileStream(Pipe, FileMode.Open, FileAccess.Write));
            pipe.WriteLine(JsonSerializer.Serialize(answer));
        }

        return 0;
    }

    private static IEnumerable<PathRefusal> Carry(KernelPacketPath path, byte[] secret, string[] words)
    {
        switch (words)
        {
            case ["install"]:
                var all = path.Change([.. KernelForms.All.Select((form, number) => KernelForms.PathOf(form, number, secret).Mirror())], []);
                return ((PathRefusal?[])[all.Refusal, .. KernelForms.Refused.Select((r, i) => path.Change([KernelForms.PathOf(r.Form, KernelForms.All.Count + i, secret).Mirror()], []).Refusal)]).OfType<PathRefusal>();
            case ["move", var own, var kernel, .. var numbers]:
                return Change(numbers.Select(number => PathOf(number, (IPAddress.Parse(own), IPAddress.Parse(kernel)))));
            case ["packets", var soft, var hard, var number]:
                return Change([Limited(PathOf(number, null), new SaLifetime(SoftPackets: ulong.Parse(soft, CultureInfo.InvariantCulture), HardPackets: ulong.Parse(hard, CultureInfo.InvariantCulture)))]);
            case ["bytes", var soft, var hard, var number]:
                return Change([Limited(PathOf(number, null), new SaLifetime(SoftBytes: ulong.Parse(soft, CultureInfo.InvariantCulture), HardBytes: ulong.Parse(hard, CultureInfo.InvariantCulture)))]);
            case ["seconds", var soft, var hard, var number]:
                return Change([Limited(PathOf(number, null), new SaLifetime(SoftTime: Later(soft), HardTime: Later(hard)))]);
            case ["report"]:
                return [];
            default:
                throw new ArgumentException($"no such command: {string.Join(' ', words)}");
        }

        IEnumerable<PathRefusal> Change(IEnumerable<VpnPath> paths) => path.Change([.. paths], []).Refusal is { } refusal ? [refusal] : [];

        VpnPath PathOf(string number, (IPAddress Own, IPAddress Kernel)? ends) =>
            Numbered(int.Parse(number, CultureInfo.InvariantCulture), ends);

        VpnPath Numbered(int number, (IPAddress Own, IPAddress Kernel)? ends) => KernelForms.PathOf(KernelForms.All[number], number, secret, ends).Mirror();

        static DateTimeOffset Later(string seconds) => DateTimeOffset.UtcNow.AddSeconds(int.Parse(seconds, CultureInfo.InvariantCulture));
    }

    /// <summary>With limits of what is sent.</summary>
    public static VpnPath Limited(VpnPath path, SaLifetime lifetime) => path with { Outbound = path.Outbound! with { Lifetime = lifetime } };

    private static IEnumerable<PathSignalled> Drain(ConcurrentQueue<PathSignalled> signals)
    {
        while (signals.TryDequeue(out var signal))
        {
            yield return signal;
        }
    }
}
