using System.Net;

namespace Sojourn.Roles.Configuration;

public sealed class MobileRouterSection : OptionSection
{
    [Option("Inner links: their prefixes move with this node, and it advertises itself there as router.", Required = true, Unique = nameof(AdvertisedLinkSection.Interface))]
    public List<AdvertisedLinkSection> Links { get; set; } = [];

    [Option("Networks that are registered with the home agent, where they are more than the prefixes of the links, as one prefix over all of them.", Family = AddressFamilies.IPv6, Example = "2001:db8:9::/48", Otherwise = "the prefixes of the links")]
    public List<IPNetwork> Networks { get; set; } = [];

    [Option("Register without naming the networks: those that the home agent has listed for this router count (implicit mode, RFC 3963 5.2).")]
    public bool Implicit { get; set; }

    /// <summary>What moves along.</summary>
    public IReadOnlyList<IPNetwork> Registered => Networks.Count > 0 ? Networks : [.. Links.SelectMany(link => link.Prefixes)];
}
