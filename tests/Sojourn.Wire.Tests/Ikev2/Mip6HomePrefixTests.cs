using System.Net;
using Sojourn.Wire.Ikev2;
using Xunit;

namespace Sojourn.Wire.Tests.Ikev2;

public sealed class Mip6HomePrefixTests
{
    [Fact]
    public void A_prefix_survives_as_a_configuration_attribute()
    {
        var prefix = new Mip6HomePrefix(IPNetwork.Parse("2001:db8:a:5::/64"), 3600);
        var attribute = prefix.ToAttribute();
        Assert.Equal("00000e10" + "20010db8000a00050000000000000000" + "40", attribute.Value.ToString());
        Assert.True(Mip6HomePrefix.TryRead(attribute, out var read));
        Assert.Equal(prefix, read);
    }

    [Theory]
    [InlineData("")] // a request
    [InlineData("00000e1020010db8000a0005000000000000000081")]
    [InlineData("00000e1020010db8000a000500000000000000004000")]
    public void What_is_no_prefix_is_not_read(string hex) =>
        Assert.False(Mip6HomePrefix.TryRead(new IkeConfigurationAttribute(IkeConfigurationAttributeType.Mip6HomePrefix, Convert.FromHexString(hex)), out _));
}
