using System.Diagnostics;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.Tests;

/// <summary>Namespaces with names of this process and test, removed again at the end. Needs root.</summary>
internal sealed class TestNetwork : IDisposable
{
    private static int _next;
    private readonly string _prefix = $"sjt{Environment.ProcessId}-{Interlocked.Increment(ref _next)}-";
    private readonly List<NetworkNamespace> _namespaces = [];

    public NetworkNamespace Host(string name)
    {
        var created = NetworkNamespace.Create(_prefix + name);
        _namespaces.Add(created);
        // Without this a link-local address is tentative for a second or two and the first packets find no neighbour.
        created.Run(() => Sysctl.Change("0", "ipv6", "conf", "default", "dad_transmits"));
        return created;
    }

    /// <summary>A veth link between two hosts, both ends up and addressed.</summary>
    /// <param name="offloads">Segments are not cut on it, and checksums left out; otherwise it is as a cable.</param>
    public static void Join(NetworkNamespace a, string aName, string? aAddress, NetworkNamespace b, string bName, string? bAddress, int mtu = 1500, bool offloads = false)
    {
        using (var route = Rtnetlink.Open(a))
        {
            route.CreateVeth(aName, bName, null, b);
        }

        End(a, aName, aAddress, mtu, offloads);
        End(b, bName, bAddress, mtu, offloads);
    }

    public static void End(NetworkNamespace host, string name, string? address, int mtu = 1500, bool offloads = false) => host.Run(() =>
    {
        using var route = new Rtnetlink();
        if (!offloads)
        {
            Ethtool.DisableOffloads(name);
        }

        route.SetMtu(name, mtu);
        route.SetUp(name);
        if (address is not null)
        {
            var (ip, length) = Split(address);
            route.AddAddress(name, ip, length, detectDuplicates: false);
        }
    });

    public static (System.Net.IPAddress Address, int Length) Split(string prefix)
    {
        var slash = prefix.IndexOf('/');
        return (System.Net.IPAddress.Parse(prefix[..slash]), int.Parse(prefix[(slash + 1)..]));
    }

    /// <summary>Runs an ordinary program inside a host and returns its exit status and output. Looking only: nothing is set this way.</summary>
    public static (int Status, string Output) Exec(NetworkNamespace host, string program, params string[] arguments)
    {
        using var process = Start(host, program, arguments);
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        if (!process.WaitForExit(60_000))
        {
            process.Kill();
            throw new TimeoutException($"{program} {string.Join(' ', arguments)}");
        }

        return (process.ExitCode, output + error.Result);
    }

    public static Process Start(NetworkNamespace host, string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        // A child inherits the namespace of the thread that forks it.
        return host.Run(() => Process.Start(start)!);
    }

    public static void WaitFor(Func<bool> condition, string what, int milliseconds = 5000)
    {
        var clock = Stopwatch.StartNew();
        while (!condition())
        {
            if (clock.ElapsedMilliseconds > milliseconds)
            {
                throw new TimeoutException($"waited {milliseconds} ms for: {what}");
            }

            Thread.Sleep(10);
        }
    }

    public void Dispose()
    {
        foreach (var host in _namespaces)
        {
            host.Dispose();
            NetworkNamespace.Delete(host.Name);
        }
    }
}
