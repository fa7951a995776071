using System.Net;
using Sojourn.Engine.Dhcpv6;

namespace Sojourn.Roles.Hosting;

/// <summary>A delegated prefix as a delegating router, relay agent or requesting router knows it.</summary>
/// <param name="Identifier">The terminal; empty where only the delegating router knows.</param>
/// <param name="NextHop">Where packets to the prefix go.</param>
public sealed record LeaseRow(
    string Client, uint Iaid, string Identifier, IPNetwork Prefix, string State, string Location, IPAddress? NextHop, DateTimeOffset? Granted, DateTimeOffset? PreferredUntil,
    DateTimeOffset ValidUntil, DateTimeOffset? RenewAt, DateTimeOffset? RebindAt, string? Certificate)
{
    public static LeaseRow Of(PrefixLease lease) => new(
        lease.Key.Client.ToString(), lease.Key.Iaid, lease.Identifier, lease.Prefix, lease.State.ToString().ToLowerInvariant(), lease.Location, lease.NextHop, lease.Granted,
        lease.State == LeaseState.Expired ? null : lease.PreferredUntil, lease.ValidUntil, lease.RenewAt, lease.RebindAt, lease.Certificate);
}
