// Readings taken
// - M11, "a company row needs the company's list": every destination a subscriber may choose stands in the subscriber's own
//   allowance, a company's because the company lists the user, a partner's because the provider offers it. One rule for both.
// - A value that stands in the profile may stay, whoever put it there; only a new value must be allowed.
// - Whether a path may go straight to the correspondent's gateway is that gateway's property (S112): direct may be chosen
//   when the CN-GW row of the destination is dynamic. By home is always possible.
// - Keys agreed in a contract belong to one gateway: a profile that has some may only move between that gateway's correspondents.
using System.Globalization;
using System.Net;
using Sojourn.Engine.Aaa;
using Sojourn.Storage;
using Sojourn.Storage.Customers;
using Sojourn.Storage.Provisioning;

namespace Sojourn.WebConsole.Customers;

/// <summary>What a subscriber typed and chose in the form of a profile, as it came.</summary>
internal sealed record ProfileWish(string Destination, string UpClass, string DownClass, string Security, string Route)
{
    public static ProfileWish Of(VpnInstance profile) => new(
        Shown(profile.Destination), Number(profile.UpClass), Number(profile.DownClass), Words.Name(profile.SecurityType), Words.Name(profile.Route));

    /// <summary>A single host is shown as its address.</summary>
    public static string Shown(IPNetwork destination) =>
        destination.PrefixLength == destination.BaseAddress.GetAddressBytes().Length * 8 ? destination.BaseAddress.ToString() : destination.ToString();

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);
}

/// <summary>What is wrong with a field of the form.</summary>
/// <param name="Field">Name of the field: <c>destination</c>, <c>up-class</c>, <c>down-class</c>, <c>security</c>, <c>route</c>.</param>
/// <param name="Text">Says what is wrong and what is allowed.</param>
internal sealed record FieldFault(string Field, string Text);

/// <summary>Decides whether a subscriber may have what they wish for.</summary>
internal static class WishDecision
{
    public const int Classes = 6;

    /// <returns>The profile as wished, or the faults: never both.</returns>
    public static (VpnInstance? Profile, IReadOnlyList<FieldFault> Faults) Decide(ProfileWish wish, ProfileBefore before, CorrespondentGatewayTable gateways)
    {
        var (profile, allowance) = (before.Profile, before.Account.Allowance);
        var faults = new List<FieldFault>();
        var destination = Destination(wish.Destination, before, gateways, faults);
        var up = Class("up-class", wish.UpClass, profile.UpClass, allowance, faults);
        var down = Class("down-class", wish.DownClass, profile.DownClass, allowance, faults);
        var security = Security(wish.Security, profile, allowance, faults);
        var route = Route(wish.Route, profile.Route, destination, gateways, faults);
        return faults.Count > 0 ? (null, faults) : (profile with
        {
            Destination = destination!.Value,
            UpClass = up,
            DownClass = down,
            SecurityType = security,
            Algorithm = security == SecurityType.EncapsulationOnly || profile.Algorithm.Fits(security) ? profile.Algorithm : Words.DefaultAlgorithm(security),
            Route = route,
        }, []);
    }

    /// <summary>Security levels the form offers: the present one and the allowed ones that the profile's contract keys fit.</summary>
    public static IReadOnlyList<SecurityType> SecurityTypes(VpnInstance profile, CustomerAllowance allowance) =>
        [.. allowance.SecurityTypes.Where(type => Fits(profile, type)).Append(profile.SecurityType).Distinct().OrderDescending()];

    public static IReadOnlyList<int> ClassesFor(int present, CustomerAllowance allowance) =>
        [.. Enumerable.Range(0, Classes).Where(c => c <= allowance.HighestClass || c == present)];

    public static bool TakesDirectPath(IPNetwork destination, CorrespondentGatewayTable gateways) =>
        gateways.Find(destination) is { Type: GatewayType.Dynamic };

    private static IPNetwork? Destination(string text, ProfileBefore before, CorrespondentGatewayTable gateways, List<FieldFault> faults)
    {
        var profile = before.Profile;
        IPNetwork wished;
        try
        {
            wished = Words.Prefix(text.Trim(), "destination");
        }
        catch (StorageException)
        {
            return Fault($"“{Shorten(text)}” is not an address such as 192.168.50.10 or a network such as 192.168.50.0/24 with zero host bits.");
        }

        if (wished == profile.Destination)
        {
            return wished;
        }

        var allowed = before.Account.Allowance.Destinations;
        if (!allowed.Any(prefix => prefix.PrefixLength <= wished.PrefixLength && prefix.Contains(wished.BaseAddress)))
        {
            return Fault($"{ProfileWish.Shown(wished)} is not among the destinations of your contract.");
        }

        if (profile.ContractKeys is not null && gateways.Find(wished)?.Gateway is var gateway && !Equals(gateway, gateways.Find(profile.Destination)?.Gateway))
        {
            return Fault($"This path uses keys agreed with one company. {ProfileWish.Shown(wished)} is not reached through that company's gateway.");
        }

        return before.Others.FirstOrDefault(other => other.Destination == wished) is { } other
            ? Fault($"Path {other.ProfileNumber} leads to {ProfileWish.Shown(wished)} already.")
            : wished;

        IPNetwork? Fault(string what)
        {
            IEnumerable<string> names = [Shown(profile.Destination), .. before.Account.Allowance.Destinations.Select(Shown)];
            faults.Add(new FieldFault("destination", $"{what} Allowed: {string.Join(", ", names.Distinct())}."));
            return null;
        }

        static string Shown(IPNetwork prefix) => ProfileWish.Shown(prefix) is var text && text.Contains('/', StringComparison.Ordinal) ? $"{text} or any address in it" : text;
    }

    private static int Class(string field, string text, int present, CustomerAllowance allowance, List<FieldFault> faults)
    {
        var allowed = ClassesFor(present, allowance);
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var wished) && allowed.Contains(wished))
        {
            return wished;
        }

        faults.Add(new FieldFault(field, $"“{Shorten(text)}” cannot be chosen as service class. Allowed: {string.Join(", ", allowed)}."));
        return present;
    }

    private static SecurityType Security(string text, VpnInstance profile, CustomerAllowance allowance, List<FieldFault> faults)
    {
        var allowed = SecurityTypes(profile, allowance);
        foreach (var type in allowed.Where(type => Words.Name(type) == text))
        {
            return type;
        }

        faults.Add(new FieldFault("security", $"“{Shorten(text)}” cannot be chosen as security level. Allowed: {string.Join(", ", allowed.Select(Words.Name))}."));
        return profile.SecurityType;
    }

    private static RoutePreference Route(string text, RoutePreference present, IPNetwork? destination, CorrespondentGatewayTable gateways, List<FieldFault> faults)
    {
        if (text == Words.Name(present) || text == Words.Name(RoutePreference.ViaHome))
        {
            return Words.Route(text, "route");
        }

        if (text == Words.Name(RoutePreference.Direct) && (destination is null || TakesDirectPath(destination.Value, gateways)))
        {
            return RoutePreference.Direct;
        }

        faults.Add(new FieldFault("route", text == Words.Name(RoutePreference.Direct)
            ? $"The gateway of {ProfileWish.Shown(destination!.Value)} takes no direct path. Allowed: {Words.Name(RoutePreference.ViaHome)}."
            : $"“{Shorten(text)}” is not a route. Allowed: {Words.Name(RoutePreference.Direct)}, {Words.Name(RoutePreference.ViaHome)}."));
        return present;
    }

    private static bool Fits(VpnInstance profile, SecurityType type) => profile.ContractKeys is null || profile.ContractAlgorithm is not { } algorithm || algorithm.Fits(type);

    private static string Shorten(string text) => text.Length <= 40 ? text : text[..40] + "…";
}
