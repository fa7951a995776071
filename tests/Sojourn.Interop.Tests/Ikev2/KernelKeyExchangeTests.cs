using System.Globalization;
using System.Text.RegularExpressions;
using Sojourn.Engine;
using Sojourn.Engine.Ikev2;
using Xunit;

namespace Sojourn.Interop.Tests.Ikev2;

/// <summary>Runs only where strongSwan is installed and the virtual machine can be had.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class CharonMachineTheoryAttribute : TheoryAttribute
{
    public CharonMachineTheoryAttribute() => Skip = CharonMachine.Missing;
}

/// <summary>Keys that IKEv2 made are used by our packet path at one end and by the Linux kernel at the other.</summary>
public partial class KernelKeyExchangeTests
{
    [CharonMachineTheory]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public async Task The_kernels_own_esp_carries_what_ike_has_keyed_and_keyed_again(bool weBegin, bool inUdp)
    {
        await using var company = await CompanyGateway.StartAsync(certificates: true, weBegin ? "at-once" : "never", kind: IkeAuthenticationKind.EcdsaP256, peer: CompanyPeer.LinuxKernel, inUdp: inUdp);
        var machine = company.Machine;
        if (!weBegin)
        {
            await machine.ControlAsync("--initiate", "--child", "net", "--timeout", "20");
        }

        await CarriesAsync(company, null, inUdp);
        var keys = await OutboundAsync(company);
        company.Node.Post(new RekeyChild((await company.ChildSasAsync())[^1].Id));
        await CarriesAsync(company, keys, inUdp);
        keys = await OutboundAsync(company);
        await machine.ControlAsync("--rekey", "--child", "net");
        await CarriesAsync(company, keys, inUdp);
        Assert.All(company.OnCore().Where(p => !p.IsUdp), p => Assert.False(p.IcmpType is 0 or 8, "a ping in clear between the gateways"));

        // The kernel has refused nothing it was sent under the keys.
        var refused = await machine.Machine.ExecuteAsync("cat /proc/net/xfrm_stat", CancellationToken.None);
        foreach (var counter in new[] { "XfrmInError", "XfrmInStateProtoError", "XfrmInStateModeError", "XfrmInStateSeqError", "XfrmInStateMismatch", "XfrmInTmplMismatch", "XfrmOutError", "XfrmOutStateProtoError" })
        {
            Assert.Matches(new Regex($@"^{counter}\s+0\s*$", RegexOptions.Multiline), refused);
        }

        await company.JudgeAsync();
    }

    /// <summary>Both hosts ping, and the kernel itself has counted the packets under the SPIs of the child SA.</summary>
    private static async Task CarriesAsync(CompanyGateway company, SaParameters? other, bool inUdp)
    {
        await company.UntilAsync(async () => (await company.PathsAsync()).Any(p => p.State == PathState.Active && p.Outbound != other), "no path carries packets", seconds: 60);
        var first = company.CoreFrames;
        await company.UntilAsync(async () => (await company.PingAsync("host", CompanyGateway.Company, 10)).Received == 10, "no ten pings in a row are answered", seconds: 30);
        await company.UntilAsync(async () => (await company.PingAsync("company", CompanyGateway.Host, 10, size: 1200)).Received == 10, "no ten pings in a row are answered", seconds: 30);
        Assert.True(company.OnCore(first).Count(p => inUdp ? p.IsUdp && p.DestinationPort == 4500 : p.Protocol == 50) >= 40, "the pings were not in ESP");

        // Twenty packets went each way; after a rekeying the first may still have gone under the old keys.
        var path = (await company.PathsAsync()).Single(p => p.State == PathState.Active);
        var states = await company.Machine.Machine.ExecuteAsync("ip -s xfrm state list nokeys", CancellationToken.None);
        foreach (var spi in new[] { path.Outbound!.Spi, path.Inbound!.Spi })
        {
            var match = State().Matches(states).FirstOrDefault(m => uint.Parse(m.Groups[1].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture) == spi);
            Assert.True(match is not null && long.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture) >= 15, $"the kernel has not carried 15 packets under {spi:x8}\n{states}");
        }
    }

    private static async Task<SaParameters?> OutboundAsync(CompanyGateway company) => (await company.PathsAsync()).Single(p => p.State == PathState.Active).Outbound;

    [GeneratedRegex(@"spi 0x([0-9a-f]+).*?lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)", RegexOptions.Singleline)]
    private static partial Regex State();
}
