using System.Net;
using System.Text;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>What scenarios with a gateway between visited and home network have in common: addresses, names, and what operators prepare.</summary>
public abstract class GatewayScenario : TerminalScenario
{
    protected const string Authority = "2001:db8:3::2", AuthorityName = "ca.home.example", HomeAgent = "2001:db8:a::1", HomeAgentName = "ha1.home.example";
    protected const string Gateway = "2001:db8:b::1", GatewayLink = "2001:db8:4::2", GatewayName = "gw.visited.example", RouterLink = "2001:db8:5::2";
    protected const string Server = "2001:db8:7::2", ServerName = "as.home.example", Correspondent = "2001:db8:6::2";

    // Codes of RADIUS, payloads and attribute of IKEv2, as tshark prints them.
    protected const string AccessRequest = "1", AccessAccept = "2", AccessReject = "3";
    protected const string ConfigurationPayload = "47", HomePrefixAttribute = "16";
    protected const string PermissionPort = "8444", IdentityPort = "8445";

    /// <summary>When a terminal was switched on.</summary>
    protected Dictionary<string, long> Started { get; } = [];

    /// <summary>What operators and issuers of cards do before a terminal is switched on; servers and gateway run afterwards.</summary>
    /// <param name="passwords">What users type, by their terminal's node.</param>
    protected async Task PrepareAsync(LabRun run, IReadOnlyDictionary<string, string> passwords, CancellationToken cancellation)
    {
        run.Progress.Step("The operator makes the authority, certifies servers and gateway, lists the terminals; their cards are written");
        var database = await MakeAuthorityAsync(run, cancellation);

        // The table of who may ask has to be there; nobody's terminal stands in it beforehand (spec G5).
        await Task.WhenAll(
        [
            IssueAsync(run, database, "ca", AuthorityName, [Authority], cancellation),
            IssueAsync(run, database, "as", ServerName, [Server], cancellation),
            IssueAsync(run, database, "gw", GatewayName, [Gateway], cancellation),
            IssueAsync(run, database, "ha", HomeAgentName, [HomeAgent, RouterLink], cancellation, "home-agent"),
            AllowPrefixAsync(run, "ha", "00:03:00:01:02:00:00:00:00:99", "1", "mn9.home.example", cancellation),
            .. passwords.Keys.Select(terminal => WriteCardAsync(run, database, terminal, terminal + ".home.example", terminal, cancellation)),
        ]);
        foreach (var (terminal, password) in passwords)
        {
            Guard($"the password of {terminal}", Encoding.ASCII.GetBytes(password));
        }

        await run.Node("ca").StartAsync(cancellation);
        await Task.WhenAll(new[] { "as", "ha" }.Select(node => run.Node(node).StartAsync(cancellation)));
        await run.Node("gw").StartAsync(cancellation);
    }

    /// <summary>The user types a password into the terminal and switches it on.</summary>
    protected async Task SwitchOnAsync(LabRun run, string terminal, string password, CancellationToken cancellation)
    {
        var file = System.IO.Path.Combine(run.Directory.FolderOf(terminal), "password");
        System.IO.File.Delete(file);
        await using (var stream = new System.IO.FileStream(file, new System.IO.FileStreamOptions { Mode = System.IO.FileMode.CreateNew, Access = System.IO.FileAccess.Write, UnixCreateMode = System.IO.UnixFileMode.UserRead | System.IO.UnixFileMode.UserWrite }))
        {
            await stream.WriteAsync(Encoding.ASCII.GetBytes(password + "\n"), cancellation);
        }

        Started[terminal] = LabRun.Now;
        await run.Node(terminal).StartAsync(cancellation);
    }

    /// <summary>Which server an address belongs to; null = none.</summary>
    protected static string? ServerOf(IPAddress? address) => address?.ToString() switch
    {
        Authority => "ca",
        HomeAgent or RouterLink => "ha",
        Server => "as",
        Gateway or GatewayLink => "gw",
        Correspondent => "cn",
        _ => null,
    };

    /// <summary>What a ladder calls a packet; no name = it is not shown. Of what is protected one arrow stands for many.</summary>
    protected static (string? Name, LadderKind Kind) Describe(DissectedPacket packet) => packet switch
    {
        _ when EapolName(packet) is { } eapol => (eapol, LadderKind.Clear),
        _ when packet.First("cmp.body") is { } body => (body switch { InitializationRequest => "ir", InitializationResponse => "ip", CertificateConfirm => "certConf", PkiConfirm => "pkiConf", _ => $"CMP {body}" }, LadderKind.Diameter),
        _ when packet.First("radius.code") is { } code => (code switch { AccessRequest => "Access-Request", AccessAccept => "Access-Accept", AccessReject => "Access-Reject", _ => "Access-Challenge" }, LadderKind.Diameter),
        _ when packet.Of("dhcpv6.msgtype") is { Count: > 0 } types => (types[^1] switch { Solicit => "Solicit", Advertise => "Advertise", Request => "Request", Reply => "Reply", var type => $"DHCPv6 {type}" }, LadderKind.Diameter),
        _ when packet.First("isakmp.exchangetype") is { } exchange => (exchange switch { SaInit => "IKE_SA_INIT", Auth => "IKE_AUTH", _ => "INFORMATIONAL" }, LadderKind.Diameter),
        _ when packet.Is("icmpv6.type", DiscoveryRequest) || packet.Is("icmpv6.type", DiscoveryReply) => (packet.Is("icmpv6.type", DiscoveryRequest) ? "discovery request" : "discovery reply", LadderKind.MobileIp),
        _ when packet.First("mip6.mhtype") is { } message =>
            ((IsTunnelled(packet) || !(packet.To(Gateway) || packet.From(Gateway)) ? "" : "local ") + (message switch { BindingUpdate => "BU", BindingAcknowledgement => "BA", _ => $"MH {message}" }), LadderKind.Binding),
        _ when packet.Is("tcp.dstport", PermissionPort) || packet.Is("tcp.dstport", IdentityPort) => (packet.Is("tcp.dstport", PermissionPort) ? "permission query (TLS)" : "whose IAID (TLS)", LadderKind.Protected),
        _ when IsTunnelled(packet) => ("tunnel", LadderKind.Protected),
        _ => (null, LadderKind.Clear),
    };

    /// <summary>A packet in a packet.</summary>
    private static bool IsTunnelled(DissectedPacket packet) => packet.Of("ipv6.src").Count > 1;
}
