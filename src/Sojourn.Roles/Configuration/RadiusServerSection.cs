using System.Net;

namespace Sojourn.Roles.Configuration;

public sealed class RadiusServerSection : OptionSection
{
    [Option("Name of the server, as the log shows it.", Required = true, Syntax = TextSyntax.Name, Example = "as1")]
    public string Name { get; set; } = "";

    [Option("Where it is asked (UDP).", Required = true, Example = "192.0.2.10:1812")]
    public IPEndPoint Address { get; set; } = null!;

    [Option("Secret shared with it, 16 octets or more.", Required = true, File = FileUse.Secret, Example = "keys/gw1")]
    public FileReference SecretFile { get; set; } = null!;
}
