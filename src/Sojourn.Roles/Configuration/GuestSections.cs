using System.Net;
using Sojourn.Engine.Terminal;
using Sojourn.Engine.Translation;

namespace Sojourn.Roles.Configuration;

/// <summary>Whether a terminal's own tunnel header stands inside the one of ESP that has the same ends (spec terminal OPT).</summary>
public enum MobileTunnelHeader : byte
{
    Drop,
    Keep,
}

public sealed class TranslationSection : OptionSection
{
    [Option("IPv4 addresses that exist in this terminal only: the first is the host's, the others stand for correspondents.", Family = AddressFamilies.IPv4)]
    public IPNetwork Ipv4Pool { get; set; } = new TranslationOptions().Ipv4Pool;

    [Option("Prefix of a NAT64 in the network through which IPv4 destinations are reached (RFC 6052).", Family = AddressFamilies.IPv6, Example = "64:ff9b::/96", Otherwise = "IPv4 destinations are refused")]
    public IPNetwork? Ipv6Pool { get; set; }

    [Option("Servers that the resolver for IPv4 applications asks; applications find it at the last address of `ipv4-pool`.", Family = AddressFamilies.IPv6, Example = "2001:db8:a::53", Otherwise = "no name is found")]
    public List<IPAddress> NameServers { get; set; } = [];

    [Option("How long a correspondent that TCP speaks to keeps its address after the last packet.", Minimum = "10s", Maximum = "7d")]
    public TimeSpan TcpIdle { get; set; } = new TranslationOptions().TcpIdle;

    [Option("The same for every other correspondent.", Minimum = "10s", Maximum = "7d")]
    public TimeSpan Idle { get; set; } = new TranslationOptions().Idle;

    internal TranslationOptions ToOptions() => new() { Ipv4Pool = Ipv4Pool, Ipv6Pool = Ipv6Pool is { } pool ? new Nat64Prefix(pool) : null, TcpIdle = TcpIdle, Idle = Idle };
}

public sealed class DataPolicySection : OptionSection
{
    [Option("Addresses of the other side.", Required = true, Family = AddressFamilies.IPv6, Example = "::/0")]
    public IPNetwork Peers { get; set; }

    [Option("`protect`: only under ESP, to the home agent in tunnel mode, by the short way in transport mode; `discard`: not at all; `bypass`: as without an entry.")]
    public DataTreatment Treatment { get; set; } = DataTreatment.Protect;

    [Option("Number of the upper-layer protocol.", Minimum = "0", Maximum = "255", Otherwise = "every protocol")]
    public int? Protocol { get; set; }

    internal DataPolicyEntry ToEntry() => new(Peers, Treatment, (byte?)Protocol);
}
