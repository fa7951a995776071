using System.Net;
using System.Text.Json;
using Sojourn.DataPath.Netlink;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// Switches the kernel's own IPv6 off on a link (spec terminal TM-M1) and puts back what it had there: the setting, and the addresses and
/// routes that somebody configured, which the kernel forgets meanwhile. What it learned by itself it learns again. All is written into a
/// file first: what a killed process could not put back, the next one finds there and does not take for the link's own state.
/// </summary>
internal sealed class KernelIpv6Suspension : IDisposable
{
    /// <summary>rtm_protocol of what the kernel makes itself: redirects, prefixes of addresses, router advertisements.</summary>
    private const byte Redirect = 1, Kernel = 2, RouterAdvertisement = 9;

    private readonly NetworkNamespace _network = NetworkNamespace.Current();
    private readonly Rtnetlink _route = new();
    private readonly string? _file;
    private readonly Note? _note;

    /// <summary>What was there before.</summary>
    /// <param name="Boot">Identifies the life of the kernel: after it nothing has to be put back.</param>
    /// <param name="Network">Identifies the namespace.</param>
    private sealed record Note(string Boot, string Network, int Index, string Link, IReadOnlyList<NotedAddress> Addresses, IReadOnlyList<NotedRoute> Routes);

    private sealed record NotedAddress(string Address, int PrefixLength);

    private sealed record NotedRoute(string Destination, uint Table, string? Gateway, string? Source, uint Metric, byte Protocol, bool OnLink, int Mtu);

    /// <param name="folder">Where the note is kept; null = in memory only.</param>
    /// <exception cref="IOException">The note cannot be written, or the system refuses.</exception>
    public KernelIpv6Suspension(LinkState link, string? folder)
    {
        try
        {
            _file = folder is null ? null : Path.Combine(folder, $"link-{link.Name}.json");
            _note = ReadNote(link);
            if (_note is null && Sysctl.TryRead("ipv6", "conf", link.Name, "disable_ipv6") == "0")
            {
                _note = Take(link);
                Write();
            }

            Sysctl.Change("1", "ipv6", "conf", link.Name, "disable_ipv6");
        }
        catch
        {
            _route.Dispose();
            _network.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        try
        {
            if (_note is not null && _route.Links().Any(link => link.Index == _note.Index))
            {
                _network.Run(() => Sysctl.Change("0", "ipv6", "conf", _note.Link, "disable_ipv6"));
                PutBack(_note);
            }

            if (_file is not null)
            {
                File.Delete(_file);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The interface has gone, and its settings with it; or the note stays for the next process.
        }
        finally
        {
            _route.Dispose();
            _network.Dispose();
        }
    }

    private static string Boot => File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim();

    private Note Take(LinkState link) => new(
        Boot, NetworkNamespace.OwnIdentity, link.Index, link.Name,
        [.. _route.Addresses().Where(a => a.Interface == link.Name && a.Permanent && IsKept(a.Address)).Select(a => new NotedAddress(a.Address.ToString(), a.PrefixLength))],
        [
            .. _route.Routes().Where(r => r.Interface == link.Name && r.Type == RouteType.Unicast && r.Destination.BaseAddress.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6
                && r.Protocol is not (Redirect or Kernel or RouterAdvertisement) && r.Table != Route.LocalTable)
            .Select(r => new NotedRoute(r.Destination.ToString(), r.Table, r.Gateway?.ToString(), r.PreferredSource?.ToString(), r.Metric, r.Protocol, r.OnLink, r.Mtu)),
        ]);

    /// <summary>The link-local address comes back by itself.</summary>
    private static bool IsKept(IPAddress address) => address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 && !address.IsIPv6LinkLocal;

    /// <summary>First the routes to where gateways are, then those through gateways.</summary>
    private void PutBack(Note note)
    {
        foreach (var address in note.Addresses)
        {
            Quietly(() => _route.AddAddress(note.Link, IPAddress.Parse(address.Address), address.PrefixLength));
        }

        foreach (var route in note.Routes.OrderBy(r => r.Gateway is not null))
        {
            Quietly(() => _route.ReplaceRoute(new Route
            {
                Destination = IPNetwork.Parse(route.Destination),
                Table = route.Table,
                Interface = note.Link,
                Gateway = route.Gateway is { } gateway ? IPAddress.Parse(gateway) : null,
                PreferredSource = route.Source is { } source ? IPAddress.Parse(source) : null,
                Metric = route.Metric,
                Protocol = route.Protocol,
                OnLink = route.OnLink,
                Mtu = route.Mtu,
            }));
        }
    }

    /// <summary>A link that is down, or an address somebody took away meanwhile, refuses what depended on it; the rest is put back.</summary>
    private static void Quietly(Action put)
    {
        try
        {
            put();
        }
        catch (NetlinkException)
        {
        }
    }

    /// <summary>What a process left that did not end by itself; null when there is nothing, or it is about another interface than this one.</summary>
    private Note? ReadNote(LinkState link)
    {
        if (_file is null || !File.Exists(_file))
        {
            return null;
        }

        try
        {
            return JsonSerializer.Deserialize<Note>(File.ReadAllText(_file)) is { } note && note.Boot == Boot && note.Network == NetworkNamespace.OwnIdentity && note.Index == link.Index && note.Link == link.Name ? note : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private void Write()
    {
        if (_file is not null)
        {
            var fresh = _file + ".new";
            File.WriteAllText(fresh, JsonSerializer.Serialize(_note));
            File.Move(fresh, _file, overwrite: true);
        }
    }
}
