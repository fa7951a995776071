using System.CommandLine;
using System.Text;
using Sojourn.Storage;
using Sojourn.Storage.Customers;
using Sojourn.Storage.Provisioning;

namespace Sojourn.Cli.Verbs;

/// <summary><c>sojourn user password|allow</c>: access to the customer page and what may be chosen there.</summary>
internal static class CustomerVerbs
{
    public static Command Password(Argument<string> nai)
    {
        var file = new Option<string?>("--password-file") { Description = "File whose first line is the password, closed to group and others; none = asked for, or one line of standard input" };
        var remove = new Option<bool>("--remove") { Description = "Take the access to the customer page away" };
        return ProvisioningVerbs.Verb("password", "Set the password of the customer page; it is never an argument", [nai, file, remove], (parse, store, output) =>
        {
            var name = parse.GetValue(nai)!;
            if (store.FindCustomer(name) is null)
            {
                throw new StorageException($"user {name} is not known");
            }

            if (parse.GetValue(remove))
            {
                store.SetPasswordHash(name, null);
                output.WriteLine($"{name} has no access to the customer page");
                return;
            }

            var password = parse.GetValue(file) is { } path ? FromFile(path) : Ask(name);
            if (CustomerPassword.Fault(password) is { } fault)
            {
                throw new StorageException($"the password {fault}");
            }

            store.SetPasswordHash(name, CustomerPassword.Hash(password));
            output.WriteLine($"password of {name} set");
        });
    }

    public static Command Allow(Argument<string> nai)
    {
        var destinations = new Option<string[]>("--destination") { Description = "Correspondents that may be chosen: this prefix or anything inside it; repeat for more", AllowMultipleArgumentsPerToken = true };
        var security = new Option<string[]>("--security") { Description = "Security levels that may be chosen: esp, ah, encapsulation", AllowMultipleArgumentsPerToken = true };
        var highest = new Option<int?>("--highest-class") { Description = "Highest service class that may be chosen, 0 to 5" };
        var nothing = new Option<bool>("--nothing") { Description = "Allow nothing any more; the page then only shows" };
        return ProvisioningVerbs.Verb("allow", "What a subscriber may choose on the customer page; each option given replaces its list, the others stay", [nai, destinations, security, highest, nothing], (parse, store, output) =>
        {
            var name = parse.GetValue(nai)!;
            var present = store.FindCustomer(name)?.Allowance ?? throw new StorageException($"user {name} is not known");
            var where = $"user {name}";
            var allowance = parse.GetValue(nothing) ? CustomerAllowance.Nothing : present;
            allowance = new CustomerAllowance(
                parse.GetValue(destinations) is { Length: > 0 } d ? [.. d.Select(text => Words.Prefix(text, $"{where}: --destination"))] : allowance.Destinations,
                parse.GetValue(security) is { Length: > 0 } s ? [.. s.SelectMany(text => text.Split(',')).Select(text => Words.Security(text, $"{where}: --security"))] : allowance.SecurityTypes,
                parse.GetValue(highest) ?? allowance.HighestClass);
            store.PutAllowance(name, allowance);
            output.WriteLine(Text(name, allowance));
        });
    }

    public static string Text(string nai, CustomerAllowance allowance) =>
        $"{nai} may choose destinations {Listed(allowance.Destinations.Select(d => d.ToString()))}; security {Listed(allowance.SecurityTypes.Select(Words.Name))}; classes 0 to {allowance.HighestClass}";

    private static string Listed(IEnumerable<string> values) => string.Join(", ", values) is { Length: > 0 } text ? text : "none";

    internal static string FromFile(string path)
    {
        const UnixFileMode others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
        if (!File.Exists(path))
        {
            throw new StorageException($"--password-file: {path} does not exist");
        }

        return (File.GetUnixFileMode(path) & others) == 0
            ? File.ReadLines(path).FirstOrDefault() ?? ""
            : throw new StorageException($"--password-file: {path} is open to group or others; run: chmod 600 {path}");
    }

    internal static string Ask(string nai)
    {
        if (Console.IsInputRedirected)
        {
            return Console.In.ReadLine() ?? "";
        }

        var first = Hidden($"Password for {nai}: ");
        return first == Hidden("Once more: ") ? first : throw new StorageException("the two passwords differ");
    }

    private static string Hidden(string prompt)
    {
        Console.Error.Write(prompt);
        var typed = new StringBuilder();
        while (Console.ReadKey(intercept: true) is { Key: not ConsoleKey.Enter } key)
        {
            if (key.Key == ConsoleKey.Backspace)
            {
                typed.Length = Math.Max(0, typed.Length - 1);
            }
            else if (key.KeyChar != 0)
            {
                typed.Append(key.KeyChar);
            }
        }

        Console.Error.WriteLine();
        return typed.ToString();
    }
}
