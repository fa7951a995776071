using System.Net;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;

namespace Sojourn.Roles.Hosting;

/// <summary>A row of a terminal's scenario policy (spec terminal, table 220).</summary>
public sealed record ScenarioRow(int Number, string Substance, bool Valid);

/// <summary>A row of a terminal's binding update lists (spec terminal, table 210).</summary>
/// <param name="List"><c>registration</c>: part 25's, of everybody who was told; <c>forwarding</c>: part 24's, of correspondents that packets go to directly.</param>
/// <param name="State"><c>registered</c>, or <c>sent</c> while there is no answer.</param>
public sealed record BindingListRow(string List, IPAddress Peer, IPAddress HomeAddress, IPAddress CareOfAddress, string State, DateTimeOffset? Expires);

/// <summary>Tunnel information of a terminal (spec terminal 3.4).</summary>
/// <param name="Start">Care-of address.</param>
/// <param name="End">Home agent.</param>
/// <param name="MobileHeader"><c>keep</c> or <c>drop</c> under ESP.</param>
public sealed record MobileTunnelRow(IPAddress Start, IPAddress End, IPAddress HomeAddress, bool Protected, string MobileHeader, int PathMtu);

/// <summary>A row of a terminal's policy for packets of applications (spec terminal 3.8).</summary>
/// <param name="Traffic"><c>data</c> or <c>home-test</c>.</param>
public sealed record DataPolicyRow(string Traffic, IPNetwork? Peers, int? Protocol, string Treatment);

/// <summary>A pair of associations that a key exchange made, with what went under them.</summary>
public sealed record ChildSaRow(
    string Name, string Mode, string SpiIn, string SpiOut, string Algorithm, string Local, string Remote, ulong PacketsIn, ulong PacketsOut)
{
    public static ChildSaRow Of(ChildSaUse use)
    {
        var child = use.Child;
        return new ChildSaRow(
            child.Name, child.Mode.ToString().ToLowerInvariant(), $"0x{child.Inbound.Spi:x8}", $"0x{child.Outbound.Spi:x8}", child.Outbound.Algorithm.ToString(),
            string.Join(", ", child.LocalSelectors.Select(Text)), string.Join(", ", child.RemoteSelectors.Select(Text)), use.PacketsIn, use.PacketsOut);
    }

    private static string Text(Wire.Ikev2.TrafficSelector selector)
    {
        var addresses = selector.StartAddress.Equals(selector.EndAddress) ? $"{selector.StartAddress}" : $"{selector.StartAddress}-{selector.EndAddress}";
        return selector.Protocol == 0 ? addresses : selector is { StartPort: 0, EndPort: ushort.MaxValue } ? $"{addresses} protocol {selector.Protocol}" : $"{addresses} protocol {selector.Protocol} type {selector.StartPort >> 8}";
    }
}

/// <summary>A row of a terminal's translation table (spec terminal, table 230).</summary>
public sealed record TranslationRow(IPAddress Ipv6Address, IPAddress Ipv4Address, string Kind, string Origin, DateTimeOffset LastUse, DateTimeOffset Expires, string? Name);
