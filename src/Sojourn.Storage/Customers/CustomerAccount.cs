using System.Net;

namespace Sojourn.Storage.Customers;

/// <summary>
/// What the provider lets a subscriber choose on the customer page. A value that stands in a profile may always stay;
/// a new one must be allowed.
/// </summary>
/// <param name="Destinations">Correspondents: each prefix itself, or anything inside it. A company's prefix stands here when the company lists the user (spec M11).</param>
/// <param name="SecurityTypes">Security levels.</param>
/// <param name="HighestClass">Highest service class, 0 to 5.</param>
public sealed record CustomerAllowance(IReadOnlyList<IPNetwork> Destinations, IReadOnlyList<SecurityType> SecurityTypes, int HighestClass)
{
    public static readonly CustomerAllowance Nothing = new([], [], 0);
}

/// <summary>A subscriber as the customer page knows one.</summary>
/// <param name="PasswordHash">See <see cref="CustomerPassword"/>; null = no access to the page.</param>
public sealed record CustomerAccount(string Nai, bool Enabled, string? PasswordHash, CustomerAllowance Allowance);

/// <summary>What a change starts from, read in the transaction that will write it.</summary>
/// <param name="Others">The same subscriber's other profiles, disabled ones too.</param>
public sealed record ProfileBefore(CustomerAccount Account, VpnInstance Profile, IReadOnlyList<VpnInstance> Others);
