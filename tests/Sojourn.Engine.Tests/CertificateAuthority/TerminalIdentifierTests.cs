using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.CertificateAuthority;
using Xunit;

namespace Sojourn.Engine.Tests.CertificateAuthority;

public sealed class TerminalIdentifierTests
{
    [Theory]
    [InlineData("MN1.Home.Example.", "mn1.home.example")]
    [InlineData("CN=Node  7 , O=Home", "CN=node 7,O=home")]
    [InlineData("CN=mn1.home.example", "mn1.home.example")]
    [InlineData("CN=mn1.home.example,O=Home", "CN=mn1.home.example,O=home")]
    [InlineData("CN=\"a,b\",C=DE", "CN=a\\,b,C=de")]
    [InlineData("mn1", null)]
    [InlineData("-a.example", null)]
    [InlineData("a..example", null)]
    [InlineData("mn1.home.example\0.evil.example", null)]
    [InlineData("", null)]
    [InlineData("FOO=", null)]
    [Trait("Row", "TA-G35")]
    public void One_spelling_stands_for_all(string text, string? canonical)
    {
        Assert.Equal(canonical, TerminalIdentifier.TryCanonical(text, out var reason));
        Assert.Equal(canonical is null, reason.Length > 0);
    }

    [Fact]
    public void A_name_in_der_and_as_text_have_the_same_form()
    {
        var name = new X500DistinguishedName("CN=Node 7,OU=Field,O=Home,C=DE");
        Assert.Equal(TerminalIdentifier.TryCanonical("CN=node 7,OU=field,O=home,C=de", out _), TerminalIdentifier.OfName(name.RawData));
    }
}
