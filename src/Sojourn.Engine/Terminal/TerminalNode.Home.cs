// Reading: a terminal with a configured home address that has followed its home prefix keeps the new address over restarts, until
// its operator configures another one or the new prefix has ended. Otherwise it would come back with an address nobody serves.
using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sojourn.Engine.MobileIpv6;

namespace Sojourn.Engine.Terminal;

/// <summary>A configured home address and what it has become (spec TA4.176a).</summary>
public sealed partial class TerminalNode
{
    private static readonly StateKey s_homeKey = new("terminal-home", "configured");

    private void StartHome(FixedHome configured, IReadOnlyList<SavedState> state)
    {
        var home = new SetHomeAddress(configured.Address, configured.Prefix, DateTimeOffset.MaxValue);
        if (state.FirstOrDefault(s => s.Key == s_homeKey) is { } saved)
        {
            if (Followed(saved.Value) is var (from, next) && from.Equals(configured.Address) && next.ValidUntil > _now)
            {
                home = next;
            }
            else
            {
                _out.Emit(new DropState(s_homeKey));
            }
        }

        UseHome(home.HomeAddress, home.HomePrefix, home.ValidUntil);
    }

    private void FollowPrefix(FixedHome configured, SetHomeAddress next)
    {
        _out.Emit(new SaveState(s_homeKey, JsonSerializer.SerializeToUtf8Bytes(
            new FollowedHome(configured.Address.ToString(), next.HomeAddress.ToString(), next.HomePrefix.ToString(), next.ValidUntil), FollowedHomeJson.Default.FollowedHome)));
        CloseKeyManagement();
        UseHome(next.HomeAddress, next.HomePrefix, next.ValidUntil);
    }

    private static (IPAddress From, SetHomeAddress Next)? Followed(ReadOnlyMemory<byte> octets)
    {
        try
        {
            return JsonSerializer.Deserialize(octets.Span, FollowedHomeJson.Default.FollowedHome) is { From: { } from, Address: { } address, Prefix: { } prefix } saved
                ? (IPAddress.Parse(from), new SetHomeAddress(IPAddress.Parse(address), IPNetwork.Parse(prefix), saved.ValidUntil))
                : null;
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            return null;
        }
    }
}

/// <param name="From">The configured address it takes the place of.</param>
internal sealed record FollowedHome(string? From, string? Address, string? Prefix, DateTimeOffset ValidUntil);

[JsonSerializable(typeof(FollowedHome))]
internal sealed partial class FollowedHomeJson : JsonSerializerContext;
