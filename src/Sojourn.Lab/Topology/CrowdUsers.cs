using System.Globalization;
using System.Net;
using System.Text;

namespace Sojourn.Lab.Topology;

/// <summary>
/// Users by the number, for scenarios with many: <c>provisioning: crowd:</c> with <c>users</c> (how many), <c>first-address</c>
/// (home addresses from there on), <c>key-file</c> (one secret for all), <c>destinations</c> (one profile each, in turn) and
/// <c>profile</c> (the other words of every profile).
/// </summary>
public sealed class CrowdUsers
{
    private const uint FirstProfile = 1000;
    private readonly IReadOnlyList<string> _destinations;
    private readonly string _keyFile, _profile;
    private readonly IPAddress _first;

    private CrowdUsers(Tree tree)
    {
        Count = int.Parse(tree["users"].Text, CultureInfo.InvariantCulture);
        _first = IPAddress.Parse(tree["first-address"].Text);
        _keyFile = tree["key-file"].Text;
        _profile = tree["profile"].Text;
        _destinations = [.. tree["destinations"].Items.Select(d => d.Text)];
    }

    public int Count { get; }

    /// <summary>SPI of every user's association with the home AAA server.</summary>
    public const uint MnAaaSpi = 0x200;

    /// <summary>Null when the scenario has no crowd.</summary>
    public static CrowdUsers? Of(Tree provisioning) => provisioning["crowd"] is { Exists: true } tree ? new CrowdUsers(tree) : null;

    public static string NaiOf(int user) => string.Create(CultureInfo.InvariantCulture, $"user{user}@home.example");

    public IPAddress AddressOf(int user)
    {
        var octets = _first.GetAddressBytes();
        var number = ((octets[2] << 8) | octets[3]) + user;
        return new IPAddress([octets[0], octets[1], (byte)(number >> 8), (byte)number]);
    }

    /// <summary>Where the user's profile leads.</summary>
    public IPNetwork DestinationOf(int user) => IPNetwork.Parse(_destinations[user % _destinations.Count]);

    /// <summary>The users as a provisioning file.</summary>
    public string ToYaml()
    {
        var text = new StringBuilder("users:\n");
        for (var user = 0; user < Count; user++)
        {
            text.Append(CultureInfo.InvariantCulture, $"  - nai: {NaiOf(user)}\n    mn-aaa-spi: {MnAaaSpi}\n    mn-aaa-key-file: {_keyFile}\n    home-address: {AddressOf(user)}\n    profiles:\n")
                .Append(CultureInfo.InvariantCulture, $"      - {{ number: {FirstProfile + user}, destination: {DestinationOf(user)}, {_profile} }}\n");
        }

        return text.ToString();
    }
}
