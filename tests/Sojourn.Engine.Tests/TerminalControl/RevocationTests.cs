using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Revocation;
using Sojourn.Engine.TerminalControl;
using Sojourn.Engine.Tests.Ikev2;
using Xunit;

namespace Sojourn.Engine.Tests.TerminalControl;

/// <summary>Certificates that were withdrawn, or that nobody knows about: rows N15, N16, G19, H18.</summary>
public sealed class RevocationTests
{
    [Theory]
    [InlineData(RevocationStatus.Good, true, null)]
    [InlineData(RevocationStatus.Revoked, false, "TA-N15")]
    [InlineData(RevocationStatus.Unknown, false, "TA-N16")]
    [Trait("Row", "TA-N15")]
    [Trait("Row", "TA-N16")]
    [Trait("Row", "TA-G19")]
    public void The_status_decides_before_anybody_is_asked_about_the_prefix(RevocationStatus status, bool allowed, string? rule)
    {
        var (network, terminal) = Waiting(RevocationPolicy.Required);
        var asked = Assert.Single(network.All.OfType<AskRevocation>());
        Assert.Equal(terminal.Credential.Certificate.RawData, asked.Certificate.ToArray());
        Assert.Empty(network.Asked);
        Assert.Empty(network.Device.IkeSas);
        network.Tell(new RevocationAnswered(asked.Request, new RevocationAnswer(status, "the test says so")));
        network.Run(2);
        Assert.Equal(allowed, network.Device.Associations.Any());
        Assert.Equal(allowed ? 1 : 0, network.Asked.Count);
        Assert.Equal(rule, network.Events("association.refused").SingleOrDefault()?.Rule);

        // A second answer to the same question is nobody's.
        network.Tell(new RevocationAnswered(asked.Request, new RevocationAnswer(RevocationStatus.Good, "late")));
        network.Run(2);
        Assert.Equal(allowed, network.Device.Associations.Any());
    }

    [Fact]
    [Trait("Row", "TA-N16")]
    public void Without_an_answer_in_time_the_status_is_unknown()
    {
        var (network, _) = Waiting(RevocationPolicy.Required);
        network.Run(9);
        Assert.Equal("TA-N16", Assert.Single(network.Events("association.refused")).Rule);
        Assert.Empty(network.Device.IkeSas);
        Assert.Empty(network.Asked);
    }

    [Fact]
    [Trait("Row", "TA-N16")]
    public void The_switch_that_allows_an_unknown_status_is_logged_and_lets_no_revoked_one_in()
    {
        var (network, _) = Waiting(RevocationPolicy.AllowUnknown);
        Assert.Single(network.Events("revocation.not_required"));
        network.Tell(new RevocationAnswered(network.All.OfType<AskRevocation>().Single().Request, RevocationAnswer.Unknown("nobody is there")));
        network.Run(2);
        Assert.Single(network.Device.Associations);
        Assert.Equal("TA-N16", Assert.Single(network.Events("revocation.unknown_allowed")).Rule);

        (network, _) = Waiting(RevocationPolicy.AllowUnknown);
        network.Tell(new RevocationAnswered(network.All.OfType<AskRevocation>().Single().Request, new RevocationAnswer(RevocationStatus.Revoked, "")));
        network.Run(2);
        Assert.Empty(network.Device.Associations);
        Assert.Empty(network.Device.IkeSas);
    }

    [Fact]
    [Trait("Row", "TA-H18")]
    public void Nobody_is_asked_about_a_certificate_whose_key_the_terminal_has_not_shown()
    {
        var mn1 = TestAuthority.Home.Issue("mn1.home.example");
        var (network, _) = Waiting(RevocationPolicy.Required, mn1 with { PrivateKey = TestAuthority.Home.Issue("mn2.home.example").PrivateKey });
        Assert.Empty(network.All.OfType<AskRevocation>());
        Assert.Equal(1, network.Counter("ike.auth.refused"));
    }

    private static (HomeNetwork Network, (IkeCredential Credential, TestTerminal Node) Terminal) Waiting(RevocationPolicy policy, IkeCredential? credential = null)
    {
        var network = new HomeNetwork(o => o with { Revocation = policy });
        credential ??= TestAuthority.Home.Issue("mn1.home.example");
        var terminal = network.Terminal("mn1.home.example", HomeNetwork.Home1, HomeNetwork.CareOf1, p => p with { Credential = credential });
        terminal.Initiate();
        network.Run(1);
        return (network, (credential, terminal));
    }
}
