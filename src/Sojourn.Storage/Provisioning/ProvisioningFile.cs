using System.Globalization;
using System.Text;
using Sojourn.Storage.Customers;
using YamlDotNet.Core;
using YamlDotNet.Serialization;
using YamlDotNet.Serialization.NamingConventions;

namespace Sojourn.Storage.Provisioning;

/// <summary>Reads and writes provisioning YAML. An import is checked whole before anything is written.</summary>
public static class ProvisioningFile
{
    public static ProvisioningDocument Parse(string text, string name)
    {
        var deserializer = new DeserializerBuilder().WithNamingConvention(HyphenatedNamingConvention.Instance).Build();
        try
        {
            return deserializer.Deserialize<ProvisioningDocument?>(text) ?? new ProvisioningDocument();
        }
        catch (YamlException e)
        {
            throw new StorageException(string.Create(CultureInfo.InvariantCulture, $"{name}:{e.Start.Line}:{e.Start.Column}: {e.InnerException?.Message ?? e.Message}"), e);
        }
    }

    /// <summary>Adds or replaces everything the file names; nothing else is touched. Relative key files are relative to the file.</summary>
    /// <returns>How many users, profiles, gateways and partners were written.</returns>
    /// <exception cref="StorageException">The first fault found; nothing was written.</exception>
    public static ImportSummary Import(string path, SubscriberStore store)
    {
        var directory = Path.GetDirectoryName(Path.GetFullPath(path))!;
        var document = Parse(File.ReadAllText(path), path);
        var users = document.Users.Select((u, i) => User(u, $"{path}: users[{i}]", directory)).ToList();
        var profiles = document.Users.SelectMany((u, i) => u.Profiles.Select((p, j) => Profile(p, u.Nai, $"{path}: users[{i}].profiles[{j}]", directory))).ToList();
        var allowances = document.Users.Select((u, i) => (u.Nai, Allowance: u.Allowed is { } a ? Allowance(a, $"{path}: users[{i}].allowed") : null)).Where(a => a.Allowance is not null).ToList();
        var passwords = document.Users.Select((u, i) => (u.Nai, Hash: u.PasswordHashFile is { } f ? Hash(Path.Combine(directory, f), $"{path}: users[{i}].password-hash-file") : null)).Where(p => p.Hash is not null).ToList();
        var gateways = document.Gateways.Select((g, i) => Gateway(g, $"{path}: gateways[{i}]")).ToList();
        foreach (var number in profiles.GroupBy(p => p.ProfileNumber).Where(g => g.Count() > 1).Select(g => g.Key))
        {
            throw new StorageException($"{path}: profile number {number} is used twice");
        }

        store.InOneTransaction(() =>
        {
            users.ForEach(store.Put);
            allowances.ForEach(a => store.PutAllowance(a.Nai, a.Allowance!));
            passwords.ForEach(p => store.SetPasswordHash(p.Nai, p.Hash));
            profiles.ForEach(store.Put);
            gateways.ForEach(store.Put);
            document.Partners.ForEach(store.PutPartner);
        });
        return new ImportSummary(users.Count, profiles.Count, gateways.Count, document.Partners.Count);
    }

    public static Subscriber User(UserEntry entry, string where, string directory) => new(
        Sojourn.Storage.Nai.TryNormalize(entry.Nai, out var reason) ?? throw new StorageException($"{where}: nai '{entry.Nai}' {reason}"),
        Words.Spi(entry.MnAaaSpi ?? throw new StorageException($"{where}: mn-aaa-spi is missing"), $"{where}.mn-aaa-spi"),
        Words.Key(Path.Combine(directory, entry.MnAaaKeyFile ?? throw new StorageException($"{where}: mn-aaa-key-file is missing")), $"{where}.mn-aaa-key-file"),
        entry.HomeAddress is null ? null : Words.Address(entry.HomeAddress, $"{where}.home-address"),
        entry.HomeAgent,
        entry.Enabled);

    public static VpnInstance Profile(ProfileEntry entry, string nai, string where, string directory)
    {
        var security = Words.Security(entry.Security, $"{where}.security");
        var contract = entry.Contract;
        return new VpnInstance
        {
            ProfileNumber = entry.Number > 0 ? entry.Number : throw new StorageException($"{where}.number: must be 1 to 4294967295"),
            Nai = nai,
            UserSpecific = Words.UserSpecific(entry.Share, $"{where}.share"),
            Destination = Words.Prefix(entry.Destination, $"{where}.destination"),
            UpClass = entry.UpClass,
            DownClass = entry.DownClass,
            SecurityType = security,
            Algorithm = entry.Algorithm is { } algorithm ? Words.Algorithm(algorithm, $"{where}.algorithm") : Words.DefaultAlgorithm(security),
            Route = Words.Route(entry.Route, $"{where}.route"),
            Trigger = Words.Trigger(entry.Trigger, $"{where}.trigger"),
            Enabled = entry.Enabled,
            UpSpi = contract is null ? null : Words.Spi(contract.UpSpi, $"{where}.contract.up-spi"),
            DownSpi = contract is null ? null : Words.Spi(contract.DownSpi, $"{where}.contract.down-spi"),
            ContractAlgorithm = contract is null ? null : Words.Algorithm(contract.Algorithm, $"{where}.contract.algorithm"),
            ContractKeys = contract is null ? null : new ProfileKeying.Contract(
                Keys(contract.UpEncryptionKeyFile, contract.UpAuthenticationKeyFile, $"{where}.contract.up", directory),
                Keys(contract.DownEncryptionKeyFile, contract.DownAuthenticationKeyFile, $"{where}.contract.down", directory)),
        };
    }

    public static CorrespondentGatewayRow Gateway(GatewayEntry entry, string where) => new(
        Words.Prefix(entry.Correspondents, $"{where}.correspondents"),
        Words.Address(entry.Gateway, $"{where}.gateway"),
        Words.Gateway(entry.Type, $"{where}.type"),
        entry.Name);

    public static CustomerAllowance Allowance(AllowedEntry entry, string where) => new(
        [.. entry.Destinations.Select(d => Words.Prefix(d, $"{where}.destinations"))],
        [.. entry.Security.Select(s => Words.Security(s, $"{where}.security"))],
        entry.HighestClass is >= 0 and <= 5 ? entry.HighestClass : throw new StorageException($"{where}.highest-class: {entry.HighestClass} is out of range; allowed: 0 to 5"));

    /// <summary>
    /// The whole database as YAML. With <paramref name="keysDirectory"/> the secrets are written as files of mode 0600
    /// there and referred to; without it the references are left out and an import asks for them.
    /// </summary>
    public static string Export(SubscriberStore store, string? keysDirectory)
    {
        if (keysDirectory is not null)
        {
            Directory.CreateDirectory(keysDirectory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        var profiles = store.VpnInstances().ToLookup(p => p.Nai);
        var document = new ProvisioningDocument
        {
            Users = [.. store.Subscribers().Select(u => new UserEntry
            {
                Nai = u.Nai,
                MnAaaSpi = Words.Spi(u.MnAaaSpi),
                MnAaaKeyFile = KeyFile(keysDirectory, $"{u.Nai}.mn-aaa", u.MnAaaKey),
                HomeAddress = u.HomeAddress?.ToString(),
                HomeAgent = u.HomeAgent,
                Enabled = u.Enabled,
                PasswordHashFile = store.FindCustomer(u.Nai)?.PasswordHash is { } hash ? SecretFile(keysDirectory, $"{u.Nai}.password-hash", hash) : null,
                Allowed = Entry(store.FindCustomer(u.Nai)!.Allowance),
                Profiles = [.. profiles[u.Nai].Select(p => Entry(p, keysDirectory))],
            })],
            Gateways = [.. store.CorrespondentGateways.Select(g => new GatewayEntry
            {
                Correspondents = g.Correspondents.ToString(),
                Gateway = g.Gateway.ToString(),
                Type = g.Type == GatewayType.Dynamic ? "dynamic" : "static",
                Name = g.Name,
            })],
            Partners = [.. store.RoamingPartners.Order(StringComparer.Ordinal)],
        };
        return new SerializerBuilder()
            .WithNamingConvention(HyphenatedNamingConvention.Instance)
            .ConfigureDefaultValuesHandling(DefaultValuesHandling.OmitNull | DefaultValuesHandling.OmitEmptyCollections)
            .Build()
            .Serialize(document);
    }

    private static AllowedEntry? Entry(CustomerAllowance allowance) =>
        allowance is { Destinations.Count: 0, SecurityTypes.Count: 0, HighestClass: 0 } ? null : new AllowedEntry
        {
            Destinations = [.. allowance.Destinations.Select(d => d.ToString())],
            Security = [.. allowance.SecurityTypes.Select(Words.Name)],
            HighestClass = allowance.HighestClass,
        };

    private static ProfileEntry Entry(VpnInstance p, string? keysDirectory)
    {
        var stem = string.Create(CultureInfo.InvariantCulture, $"profile-{p.ProfileNumber}");
        return new ProfileEntry
        {
            Number = p.ProfileNumber,
            Share = p.UserSpecific ? "user" : "shared",
            Destination = p.Destination.ToString(),
            UpClass = p.UpClass,
            DownClass = p.DownClass,
            Security = Words.Name(p.SecurityType),
            Algorithm = Words.Name(p.Algorithm),
            Route = Words.Name(p.Route),
            Trigger = p.Trigger == ProfileTrigger.FirstPacket ? "first-packet" : "registration",
            Enabled = p.Enabled,
            Contract = p is { ContractKeys: { } keys, ContractAlgorithm: { } algorithm, UpSpi: { } up, DownSpi: { } down }
                ? new ContractEntry
                {
                    Algorithm = Words.Name(algorithm),
                    UpSpi = Words.Spi(up),
                    DownSpi = Words.Spi(down),
                    UpEncryptionKeyFile = KeyFile(keysDirectory, $"{stem}.up-encryption", keys.Up.Encryption),
                    UpAuthenticationKeyFile = KeyFile(keysDirectory, $"{stem}.up-authentication", keys.Up.Authentication),
                    DownEncryptionKeyFile = KeyFile(keysDirectory, $"{stem}.down-encryption", keys.Down.Encryption),
                    DownAuthenticationKeyFile = KeyFile(keysDirectory, $"{stem}.down-authentication", keys.Down.Authentication),
                }
                : null,
        };
    }

    private static AssociationKeys Keys(string? encryption, string? authentication, string where, string directory) => new(
        encryption is null ? new KeyMaterial([]) : Words.Key(Path.Combine(directory, encryption), $"{where}-encryption-key-file"),
        authentication is null ? new KeyMaterial([]) : Words.Key(Path.Combine(directory, authentication), $"{where}-authentication-key-file"));

    private static string Hash(string path, string where)
    {
        if (!File.Exists(path))
        {
            throw new StorageException($"{where}: file {path} does not exist");
        }

        var hash = File.ReadAllText(path).Trim();
        return CustomerPassword.IsHash(hash) ? hash : throw new StorageException($"{where}: {path} does not hold a password hash");
    }

    private static string? KeyFile(string? directory, string name, KeyMaterial key) =>
        key.Length == 0 ? null : SecretFile(directory, name, Convert.ToHexStringLower(key.Octets));

    private static string? SecretFile(string? directory, string name, string text)
    {
        if (directory is null)
        {
            return null;
        }

        var path = Path.Combine(directory, name);
        using var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite });
        file.Write(Encoding.ASCII.GetBytes(text + "\n"));
        return path;
    }
}

public sealed record ImportSummary(int Users, int Profiles, int Gateways, int Partners);
