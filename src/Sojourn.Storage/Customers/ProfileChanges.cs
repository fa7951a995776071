using System.Globalization;
using Sojourn.Storage.Provisioning;

namespace Sojourn.Storage.Customers;

/// <summary>What a customer can change of a profile, in the words of provisioning.</summary>
public static class ProfileChanges
{
    /// <summary><c>field old -> new</c> for each field that differs.</summary>
    public static IReadOnlyList<string> Between(VpnInstance before, VpnInstance after)
    {
        (string Field, string Old, string New)[] fields =
        [
            ("destination", before.Destination.ToString(), after.Destination.ToString()),
            ("up-class", Number(before.UpClass), Number(after.UpClass)),
            ("down-class", Number(before.DownClass), Number(after.DownClass)),
            ("security", Words.Name(before.SecurityType), Words.Name(after.SecurityType)),
            ("algorithm", Words.Name(before.Algorithm), Words.Name(after.Algorithm)),
            ("route", Words.Name(before.Route), Words.Name(after.Route)),
        ];
        return [.. fields.Where(f => f.Old != f.New).Select(f => $"{f.Field} {f.Old} -> {f.New}")];
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);
}
