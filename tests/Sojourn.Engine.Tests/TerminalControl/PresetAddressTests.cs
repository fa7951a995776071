using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.DynamicDns;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.TerminalControl;
using Sojourn.Engine.Tests.Ikev2;
using Sojourn.Wire.Dns;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Sojourn.Wire.Udp;
using Xunit;

namespace Sojourn.Engine.Tests.TerminalControl;

/// <summary>
/// Embodiment 4 with key exchange and ESP: no delegating router, the home agent keeps certificates.
/// <code>
/// terminal                                home agent                 certification authority
///    | --- 125 IKE_AUTH -------------------> | 171 certificate kept
///    | &lt;-- 129, 131 ------------------------ |
///    | === 133, 136 binding under ESP =====> |
///    |                                       | 172p another home prefix
///    |                                       | --- 173 query Q1 ---------> |
///    |                                       | &lt;-- 175 allowed ----------- |
///    | &lt;== 176 prefix advertisement, ESP === |
/// </code>
/// </summary>
public class PresetAddressTests
{
    private const string First = "mn1.home.example", Second = "mn2.home.example";
    private static readonly IPNetwork s_old = HomeNetwork.PrefixOf(HomeNetwork.Home1), s_new = IPNetwork.Parse("2001:db8:a:9::/64");
    private static readonly IPAddress s_newHome = IPAddress.Parse("2001:db8:a:9::10"), s_neighbour = IPAddress.Parse("2001:db8:a:1::20");
    private static readonly IPEndPoint s_nameServer = IPEndPoint.Parse("[2001:db8:e::53]:53");
    private static readonly TransactionKey s_key = new(DnsName.FromText("ha"), TransactionAlgorithm.HmacSha256, new KeyMaterial(new byte[32]));

    private static HomeNetwork Make(Func<TerminalControlOptions, TerminalControlOptions>? change = null)
    {
        var day = TestAuthority.Epoch + TimeSpan.FromDays(1);
        return new HomeNetwork(o => (change?.Invoke(o) ?? o) with { PresetPrefixes = [new HomePrefix(s_old, day, day, OnLink: false)] });
    }

    private static TestTerminal Try(HomeNetwork network, string identifier, IPAddress home, IPAddress careOf, Func<IkePeer, IkePeer>? change = null, int seed = 40)
    {
        var terminal = network.Terminal(identifier, home, careOf, change, seed: seed);
        terminal.SignOn();
        network.Run(3);
        return terminal;
    }

    /// <summary>The old prefix is deprecated and ends after <paramref name="left"/>.</summary>
    private static void Renumber(HomeNetwork network, TimeSpan left)
    {
        var day = network.Now + TimeSpan.FromDays(1);
        network.Tell(new SetHomePrefixes([new HomePrefix(s_new, day, day, OnLink: false), new HomePrefix(s_old, network.Now + left, network.Now, OnLink: false)]));
    }

    private static List<AskPermission> Asked(HomeNetwork network) => [.. network.All.OfType<AskPermission>()];

    private static int Advertisements(TestTerminal terminal) => terminal.All.Count(e => e is HomePrefixesLearned);

    [Fact]
    [Trait("Row", "TA-A26")]
    [Trait("Row", "TA4.121-125")]
    [Trait("Row", "TA4.171")]
    [Trait("Row", "TA4.129-132")]
    [Trait("Row", "TA4.133-137")]
    [Trait("Row", "TA-G23")]
    public void A_terminal_with_a_preset_home_address_is_registered_and_its_certificate_kept()
    {
        var network = Make();
        network.Registered();
        Assert.Empty(network.Asked);
        var row = Assert.Single(network.Device.Certificates!.Rows);
        Assert.Equal((HomeNetwork.Home1, First), (row.HomeAddress, row.Identifier));
        using var certificate = System.Security.Cryptography.X509Certificates.X509CertificateLoader.LoadCertificate(row.Certificate.Span);
        Assert.Contains(First, certificate.Subject + certificate.Extensions.OfType<System.Security.Cryptography.X509Certificates.X509SubjectAlternativeNameExtension>().SelectMany(e => e.EnumerateDnsNames()).FirstOrDefault(), StringComparison.Ordinal);
        Assert.Equal(First, network.Binding(HomeNetwork.Home1)!.Identifier);
    }

    [Fact]
    [Trait("Row", "TA-H15")]
    [Trait("Row", "TA-G20")]
    public void A_terminal_that_claims_the_home_address_of_another_gets_nothing_and_changes_nothing()
    {
        var network = Make();
        var genuine = network.Registered();
        var before = network.Device.Certificates!.Find(HomeNetwork.Home1);
        var thief = Try(network, Second, HomeNetwork.Home1, HomeNetwork.CareOf2);
        Assert.False(thief.Registered);
        Assert.Empty(thief.Ike.IkeSas);
        Assert.Contains(network.Events("association.refused"), e => e.Rule == "TA-G4" && e.Peer == Second);
        Assert.Same(before, Assert.Single(network.Device.Certificates.Rows));
        Assert.True(genuine.Registered);
        Assert.Equal(HomeNetwork.CareOf1, network.Binding(HomeNetwork.Home1)!.CareOfAddress);

        // Outside the home prefixes there is nothing for anybody.
        Assert.False(Try(network, "mn3.home.example", HomeNetwork.Home2, HomeNetwork.Moved, seed: 90).Registered);
        Assert.Single(network.Device.Certificates.Rows);
    }

    [Fact]
    [Trait("Row", "TA-H16")]
    [Trait("Row", "TA-G20")]
    public void With_a_bad_signature_no_certificate_is_kept()
    {
        var network = Make();
        var forger = Try(network, First, HomeNetwork.Home1, HomeNetwork.CareOf2, p => p with { Credential = p.Credential! with { PrivateKey = TestAuthority.Home.Issue(First).PrivateKey } });
        Assert.False(forger.Registered);
        Assert.Empty(network.Device.Certificates!.Rows);
        Assert.DoesNotContain(network.All, e => e is SaveState);
    }

    [Fact]
    [Trait("Row", "TA4.172p")]
    [Trait("Row", "TA4.173")]
    [Trait("Row", "TA4.176")]
    [Trait("Row", "TA-A27")]
    [Trait("Row", "TA-N27")]
    [Trait("Row", "TA-C28")]
    [Trait("Row", "TA-G22")]
    [Trait("Row", "TA-G24")]
    public void The_new_home_prefix_goes_to_the_approved_terminal_under_ESP_and_its_row_follows_it()
    {
        var network = Make();
        var approved = network.Registered();
        var other = network.Registered(Second, s_neighbour, HomeNetwork.CareOf2, seed: 70);
        Renumber(network, TimeSpan.FromMinutes(30));
        Assert.Equal([First, Second], Asked(network).Select(a => a.Identifier).Order());
        Assert.All(Asked(network), a => network.Tell(new PermissionAnswered(a.Number, a.Identifier == First ? new PermissionDecision(true, PermissionReason.Ok) : PermissionDecision.Refused(PermissionReason.FlagClear))));
        network.Run(30);
        Assert.Equal((2, 0), (Advertisements(approved), Advertisements(other)));
        Assert.Equal(2, Asked(network).Count);
        Assert.DoesNotContain(network.Sent, p => p[6] == IpProtocol.Icmpv6 && p[40] is 146 or 147);
        Assert.Equal((s_newHome, s_new), Assert.Single(approved.All.OfType<HomePrefixChanged>().Select(c => (c.Next.HomeAddress, c.Next.HomePrefix)).Distinct()));

        // The terminal's next life, from discovery on, at the next care-of address.
        var again = network.Registered(First, s_newHome, HomeNetwork.Moved, seed: 90);
        Assert.Equal(s_newHome, network.Device.Certificates!.Find(First)!.HomeAddress);
        Assert.Equal(2, network.Device.Certificates.Count);
        Assert.NotNull(network.Binding(HomeNetwork.Home1));
        Assert.True(again.Registered);

        // Nobody else may have the old address while its binding lasts.
        Assert.False(Try(network, "mn3.home.example", HomeNetwork.Home1, IPAddress.Parse("2001:db8:d::77"), seed: 110).Registered);
        network.Run(TimeSpan.FromMinutes(30).TotalSeconds);
        Assert.Equal(s_newHome, Assert.Single(network.Device.Bindings).HomeAddress);
        Assert.Equal(s_newHome, Assert.Single(network.Device.Terminals).HomeAddress);
    }

    [Fact]
    public void Who_registers_while_the_home_prefix_is_on_its_way_out_is_asked_about_and_told_then()
    {
        var network = Make();
        Renumber(network, TimeSpan.FromMinutes(30));
        Assert.Empty(Asked(network));
        var late = network.Registered();
        Assert.All(Asked(network), a => Assert.Equal(First, a.Identifier));
        Assert.Equal(0, Advertisements(late));
        network.Tell(new PermissionAnswered(Asked(network)[^1].Number, new PermissionDecision(true, PermissionReason.Ok)));
        network.Run(1);
        Assert.Equal(s_newHome, late.All.OfType<HomePrefixChanged>().First().Next.HomeAddress);
    }

    [Fact]
    public void A_withdrawn_identifier_loses_association_binding_and_row()
    {
        var network = Make();
        network.Registered();
        network.Tell(new AllocationWithdrawn(null, First, "revoked"));
        network.Run(2);
        Assert.Empty(network.Device.Certificates!.Rows);
        Assert.Single(network.Events("certificate.forgotten"));
        Assert.Empty(network.Device.Bindings);
        Assert.Empty(network.Device.Terminals);
    }

    [Fact]
    [Trait("Row", "TA-A20")]
    public void The_name_of_a_terminal_is_registered_from_the_home_agents_address_and_goes_with_the_binding()
    {
        var network = Make(o => o with
        {
            Names = NameRegistration.Always,
            NameService = new NameRegistrarOptions { Local = new IPEndPoint(HomeNetwork.Agent, 5300), Zones = [new DnsUpdateZone(DnsName.FromText("home.example"), [s_nameServer], s_key)] },
        });
        var terminal = network.Registered();
        var (update, mac) = Update(network);
        Assert.Equal([DnsClass.Any, DnsClass.Internet], update.Authorities.Select(r => r.Class));
        Assert.Equal(new DnsAddress(HomeNetwork.Home1), update.Authorities[1].Data);
        Assert.Empty(network.Events("name.registered"));
        Answer(network, update, mac);
        Assert.Single(network.Events("name.registered"));

        terminal.Leave();
        network.Run(1);
        (update, mac) = Update(network);
        Assert.Equal((DnsClass.None, new DnsAddress(HomeNetwork.Home1)), (update.Authorities.Single().Class, update.Authorities.Single().Data));
        Answer(network, update, mac);
        Assert.Single(network.Events("name.removed"));
    }

    private static (DnsMessage Update, byte[] Mac) Update(HomeNetwork network)
    {
        var packet = network.Elsewhere.Last(p => p[6] == IpProtocol.Udp);
        Assert.True(UdpHeader.TryParse(packet.AsSpan(40), out var datagram, out _));
        Assert.Equal((5300, 53), (datagram.SourcePort, datagram.DestinationPort));
        Assert.True(DnsMessage.TryParse(datagram.Payload, out var message, out _));
        Assert.Equal(TransactionCheck.Valid, s_key.Check(datagram.Payload, message, default, network.Now));
        return (message, ((DnsTransactionSignature)message.Signature!.Data).Mac.ToArray());
    }

    private static void Answer(HomeNetwork network, DnsMessage update, byte[] mac)
    {
        var octets = s_key.Sign(new DnsMessage { Identifier = update.Identifier, Opcode = DnsOpcode.Update, Flags = DnsFlags.Response, Questions = update.Questions }, network.Now, out _, mac);
        network.Deliver(HomeNetwork.Udp(new SendDatagram(s_nameServer, new IPEndPoint(HomeNetwork.Agent, 5300), octets)));
    }
}
