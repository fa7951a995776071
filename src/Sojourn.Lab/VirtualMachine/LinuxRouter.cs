using System.Globalization;
using System.Net;
using System.Text;

namespace Sojourn.Lab.VirtualMachine;

/// <summary>Settings of a virtual machine that forwards between its cards.</summary>
public static class LinuxRouter
{
    /// <summary>Gives card <c>ethN</c> the address number N, sets routes, and forwards.</summary>
    public static Task ConfigureAsync(
        this LinuxVirtualMachine machine, IReadOnlyList<(IPAddress Address, int PrefixLength)> addresses, IReadOnlyList<(IPNetwork Destination, IPAddress Gateway)> routes, CancellationToken cancellation)
    {
        var text = new StringBuilder("ip link set lo up\n");
        foreach (var ((address, length), number) in addresses.Select((a, i) => (a, i)))
        {
            text.Append(CultureInfo.InvariantCulture, $"ip address add {address}/{length} dev eth{number}\n");
        }

        foreach (var (destination, gateway) in routes)
        {
            text.Append(CultureInfo.InvariantCulture, $"ip route add {destination} via {gateway}\n");
        }

        return machine.ExecuteAsync(text.Append("echo 1 >/proc/sys/net/ipv4/ip_forward\n").ToString(), cancellation);
    }
}
