using System.Globalization;
using System.Net;
using Dapper;
using Microsoft.Data.Sqlite;
using Sojourn.Storage.Customers;
using Sojourn.Storage.Provisioning;

namespace Sojourn.Storage;

/// <summary>The customer page's side of the database (spec NV7.1, M11): password, allowance, changes of one's own profiles.</summary>
public sealed partial class SubscriberStore
{
    /// <summary>Null when the NAI is not listed.</summary>
    public CustomerAccount? FindCustomer(string nai)
    {
        if (Nai.TryNormalize(nai, out _) is not { } normal)
        {
            return null;
        }

        lock (database.Gate)
        {
            return Customer(normal, null);
        }
    }

    /// <summary>Sets the password of the customer page from its hash; null takes the access away.</summary>
    /// <exception cref="StorageException">The user is not known or the text is no hash.</exception>
    public void SetPasswordHash(string nai, string? hash)
    {
        var normal = Nai.TryNormalize(nai, out var reason) ?? throw new StorageException($"NAI '{nai}' {reason}");
        Require(hash is null || CustomerPassword.IsHash(hash), $"user {normal}: the password hash cannot be read; expected pbkdf2-sha512:ITERATIONS:SALT:HASH");
        var rows = Write(hash is null ? "user.password.remove" : "user.password", normal, null, (connection, transaction) =>
            connection.Execute("UPDATE subscriber SET password_sealed = @box WHERE nai = @normal",
                new { normal, box = hash is null ? null : database.Seal.Close(System.Text.Encoding.ASCII.GetBytes(hash), PasswordPlace(normal)) }, transaction));
        Require(rows == 1, $"user {normal} is not known");
    }

    /// <summary>Replaces what a subscriber may choose.</summary>
    /// <exception cref="StorageException">The user is not known or a value is out of range.</exception>
    public void PutAllowance(string nai, CustomerAllowance allowance)
    {
        var normal = Nai.TryNormalize(nai, out var reason) ?? throw new StorageException($"NAI '{nai}' {reason}");
        Require(allowance.HighestClass is >= 0 and <= 5, $"user {normal}: highest class {allowance.HighestClass} is out of range; allowed: 0 to 5");
        Require(allowance.SecurityTypes.All(Enum.IsDefined), $"user {normal}: unknown security type; allowed: esp, ah, encapsulation");
        var destinations = allowance.Destinations.Select(d => d.ToString()).Distinct().ToList();
        var security = string.Join(',', allowance.SecurityTypes.Distinct().Select(Words.Name));
        var detail = string.Create(CultureInfo.InvariantCulture, $"destinations {Listed(destinations)}; security {Listed(security.Split(',', StringSplitOptions.RemoveEmptyEntries))}; highest class {allowance.HighestClass}");
        var rows = Write("user.allow", normal, detail, (connection, transaction) =>
        {
            var changed = connection.Execute("UPDATE subscriber SET allowed_security = @security, highest_class = @highest WHERE nai = @normal",
                new { normal, security, highest = allowance.HighestClass }, transaction);
            connection.Execute("DELETE FROM allowed_destination WHERE nai = @normal", new { normal }, transaction);
            if (changed == 1)
            {
                connection.Execute("INSERT INTO allowed_destination (nai, destination) VALUES (@normal, @destination)", destinations.Select(destination => new { normal, destination }), transaction);
            }

            return changed;
        });
        Require(rows == 1, $"user {normal} is not known");
    }

    /// <summary>
    /// A subscriber changes a profile of their own. <paramref name="decide"/> sees the rows as they are and answers with
    /// the new one, or null to leave everything as it is; nobody else's write comes in between.
    /// </summary>
    /// <param name="origin">Where the subscriber is, for the audit trail.</param>
    /// <returns>The profile before and after; null when there is no such profile of this subscriber. After = before when nothing changed.</returns>
    /// <exception cref="StorageException">The new row breaks a rule of spec 3.1.</exception>
    public (VpnInstance Before, VpnInstance After)? ChangeOwnProfile(string nai, uint profileNumber, string origin, Func<ProfileBefore, VpnInstance?> decide)
    {
        if (Nai.TryNormalize(nai, out _) is not { } normal)
        {
            return null;
        }

        (VpnInstance Before, VpnInstance After)? done = null;
        string? detail = null;
        Write($"console:{normal}", "profile.change", string.Create(CultureInfo.InvariantCulture, $"{profileNumber}"), () => detail, (connection, transaction) =>
        {
            var own = Instances("WHERE nai = @normal", new { normal }, transaction);
            if (own.FirstOrDefault(p => p.ProfileNumber == profileNumber) is not { } before || Customer(normal, transaction) is not { Enabled: true } account)
            {
                return 0;
            }

            var after = decide(new ProfileBefore(account, before, [.. own.Where(p => p.ProfileNumber != profileNumber)])) ?? before;
            Require(after.ProfileNumber == before.ProfileNumber && after.Nai == before.Nai, "a profile's number and user cannot change");
            Check(after);
            done = (before, after);
            var changes = ProfileChanges.Between(before, after);
            if (changes.Count == 0)
            {
                return 0;
            }

            detail = $"from {origin}: {string.Join(", ", changes)}";
            return connection.Execute(
                """
                UPDATE vpn_instance SET destination = @destination, up_class = @upClass, down_class = @downClass, security_type = @security,
                    algorithm = @algorithm, route = @route
                WHERE profile_number = @number AND nai = @normal
                """,
                new
                {
                    destination = after.Destination.ToString(),
                    upClass = after.UpClass,
                    downClass = after.DownClass,
                    security = (int)after.SecurityType,
                    algorithm = (int)after.Algorithm,
                    route = (int)after.Route,
                    number = (long)profileNumber,
                    normal,
                },
                transaction);
        });
        return done;
    }

    private CustomerAccount? Customer(string normal, SqliteTransaction? transaction)
    {
        var row = database.Connection.Query<CustomerRow>("SELECT enabled, password_sealed, allowed_security, highest_class FROM subscriber WHERE nai = @normal", new { normal }, transaction).FirstOrDefault();
        return row is null ? null : new CustomerAccount(
            normal,
            row.enabled != 0,
            row.password_sealed is null ? null : System.Text.Encoding.ASCII.GetString(database.Seal.Open(row.password_sealed, PasswordPlace(normal))),
            new CustomerAllowance(
                [.. database.Connection.Query<string>("SELECT destination FROM allowed_destination WHERE nai = @normal", new { normal }, transaction).Select(IPNetwork.Parse).OrderBy(d => d.ToString(), StringComparer.Ordinal)],
                [.. row.allowed_security.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(word => Words.Security(word, normal))],
                (int)row.highest_class));
    }

    private static string PasswordPlace(string nai) => $"subscriber/{nai}/password";

    private static string Listed(IReadOnlyCollection<string> values) => values.Count == 0 ? "none" : string.Join(", ", values);

#pragma warning disable IDE1006 // Dapper fills it by column name.
    private sealed record CustomerRow(long enabled, byte[]? password_sealed, string allowed_security, long highest_class);
#pragma warning restore IDE1006
}
