using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.Aaa;

namespace Sojourn.Roles.Hosting;

/// <summary>A mobility session as one node knows it.</summary>
public sealed record SessionRow(
    string Session, string? Nai, IPAddress? HomeAddress, IPAddress? CareOfAddress, IPAddress? HomeAgent, DateTimeOffset? Expires, int Profiles, string State);

/// <summary>A mobility binding of a home agent, or one a home agent set at a correspondent gateway.</summary>
public sealed record BindingRow(
    string Session, string? Nai, IPAddress HomeAddress, IPAddress CareOfAddress, DateTimeOffset Expires, uint? ProfileNumber,
    IPNetwork? Correspondents, IPAddress? Supplier, bool RequestSent);

/// <summary>A row of the visitor list.</summary>
public sealed record VisitorRow(
    string Session, string Nai, IPAddress HomeAddress, IPAddress HomeAgent, string Interface, string LinkAddress, DateTimeOffset Expires, DateTimeOffset AuthorizedUntil);

/// <summary>An instance of the VPN information cache with every field of spec 3.2; a key shows as its fingerprint only.</summary>
public sealed record CacheRow(
    string Session, string? Nai, IPAddress HomeAddress, IPAddress? HomeAgent, IPAddress? CareOfAddress, DateTimeOffset? Expires,
    int ProfileCount, bool? OutboundReady, IReadOnlyList<VpnCacheProfile> Profiles)
{
    public static CacheRow Of(VpnSession session) => new(
        session.Session, session.Nai, session.HomeAddress, null, null, null,
        session.Profiles.Select(p => p.ProfileNumber).Distinct().Count(), session.OutboundReady, [.. session.Profiles.Select(VpnCacheProfile.Of)]);

    public static CacheRow Of(VpnCacheInstance instance) => new(
        instance.Session, instance.Nai, instance.HomeAddress, instance.HomeAgent, instance.CareOfAddress, instance.Expires, instance.ProfileCount, null, instance.Profiles);
}
