using System.Net;

namespace Sojourn.Roles.Configuration;

public sealed class CorrespondentSection : OptionSection
{
    [Option("The host's link. The kernel's own IPv6 is switched off on it; a router has to advertise itself there.", Required = true, Syntax = TextSyntax.Interface, Example = "eth0")]
    public string Link { get; set; } = "";

    [Option("TUN device that applications use. It has the address.", Syntax = TextSyntax.Interface)]
    public string Device { get; set; } = "host0";

    [Option("The host's address, of the link's prefix.", Required = true, Family = AddressFamilies.IPv6, Example = "2001:db8:2::2")]
    public IPAddress Address { get; set; } = null!;

    [Option("Most bindings at one time.", Minimum = "1", Maximum = "1000000")]
    public int MaximumBindings { get; set; } = 10_000;
}
