using System.Net.Sockets;
using Sojourn.Host;
using Sojourn.Host.Configuration;
using Sojourn.Storage.Customers;
using Xunit;

namespace Sojourn.Interop.Tests.Radius;

/// <summary>An access-server node as an operator makes one; eapol_test (wpa_supplicant) and radclient (FreeRADIUS) ask it.</summary>
public sealed class AccessServerTests : IDisposable
{
    private readonly RadiusRig _rig = new();

    public void Dispose() => _rig.Dispose();

    [RadiusFact]
    [Trait("Row", "TA-P5")]
    [Trait("Row", "TA-M51")]
    public async Task A_user_of_eapol_test_gets_in_by_TTLS_with_the_right_password_only()
    {
        await using var node = await StartAsync();

        var (status, output) = await _rig.EapolTest(_rig.Supplicant(RadiusRig.Password));
        Assert.True(status == 0, output);
        Assert.Contains("MPPE keys OK: 1  mismatch: 0", output, StringComparison.Ordinal); // both ends have one key

        // The server names the terminal that the user stands for (attribute 1 of the Accept).
        Assert.Contains("Value: 'mn1.home.example'", output, StringComparison.Ordinal);

        (status, output) = await _rig.EapolTest(_rig.Supplicant("a wrong password"));
        Assert.NotEqual(0, status);
        Assert.Contains("Access-Reject", output, StringComparison.Ordinal);

        // Inside the tunnel only PAP is spoken; outside, MD5 never.
        (status, _) = await _rig.EapolTest(_rig.Supplicant(RadiusRig.Password, phase2: "auth=MSCHAPV2"));
        Assert.NotEqual(0, status);
        Assert.Contains(node.Events.Latest(100, _ => true), e => e.Event.Kind == "access.granted" && e.Event.Nai == "mn1.home.example");
    }

    [RadiusFact]
    [Trait("Row", "TA-M50")]
    [Trait("Row", "TA-H23")]
    public async Task A_device_of_eapol_test_gets_in_by_its_certificate_from_its_own_address_only()
    {
        await using var node = await StartAsync();

        var (status, output) = await _rig.EapolTest(_rig.Supplicant(null));
        Assert.True(status == 0, output);
        Assert.Contains("MPPE keys OK: 1  mismatch: 0", output, StringComparison.Ordinal);

        (status, _) = await _rig.EapolTest(_rig.Supplicant(null, "mn2")); // the address of mn1, cloned
        Assert.NotEqual(0, status);
        (status, _) = await _rig.EapolTest(_rig.Supplicant(null), "02:00:00:00:00:09");
        Assert.NotEqual(0, status);
        Assert.Equal(2, node.Events.Latest(100, _ => true).Count(e => e.Event.Kind == "access.refused" && e.Event.Text.Contains("not registered here", StringComparison.Ordinal)));
    }

    [RadiusFact]
    [Trait("Row", "TA-H24")]
    public async Task Guessing_with_eapol_test_is_delayed_and_in_the_log()
    {
        await using var node = await StartAsync();
        bool Delayed() => node.Events.Latest(100, _ => true).Any(e => e.Event is { Kind: "access.delayed", Nai: RadiusRig.User });

        // The delay grows with each guess; it shows once it is longer than the client needs to begin again.
        for (var i = 0; i < 10 && !Delayed(); i++)
        {
            var (status, _) = await _rig.EapolTest(_rig.Supplicant($"guess number {i}"));
            Assert.NotEqual(0, status);
        }

        Assert.True(Delayed());
    }

    [RadiusFact]
    public async Task A_hidden_password_of_radclient_is_taken_where_that_is_switched_on()
    {
        var right = $"User-Name = \"{RadiusRig.User}\", User-Password = \"{RadiusRig.Password}\", Message-Authenticator = 0x00";
        await using (await StartAsync())
        {
            Assert.Contains("Access-Reject", (await _rig.Radclient(right)).Output, StringComparison.Ordinal);
        }

        await using (await StartAsync("hidden-passwords: true"))
        {
            Assert.Contains("Access-Accept", (await _rig.Radclient(right)).Output, StringComparison.Ordinal);
            Assert.Contains("Access-Reject", (await _rig.Radclient(right.Replace("horse", "mule", StringComparison.Ordinal))).Output, StringComparison.Ordinal);
            Assert.Contains("No reply", (await _rig.Radclient(right, "another secret altogether")).Output, StringComparison.Ordinal);
            Assert.Contains("No reply", (await _rig.Radclient(right.Replace(", Message-Authenticator = 0x00", "", StringComparison.Ordinal))).Output, StringComparison.Ordinal);
        }
    }

    private async Task<NodeHost> StartAsync(string option = "address-only-devices: false")
    {
        File.WriteAllText(_rig.At("as.yaml"), $"""
            node: as1
            role: access-server
            log: {"{"} level: debug, file: node.jsonl {"}"}
            access-server:
              listen: [ 127.0.0.1:{_rig.Port} ]
              tls: {"{"} certificate-file: as.crt, key-file: as.key, ca-file: ca.pem {"}"}
              clients: [ {"{"} name: lo, address: 127.0.0.1/32, secret-file: secret {"}"} ]
              users: [ {"{"} name: {RadiusRig.User}, password-hash: "{CustomerPassword.Hash(RadiusRig.Password)}", identifier: mn1.home.example {"}"} ]
              devices: [ {"{"} address: "{RadiusRig.Station}", certificate-name: mn1.home.example {"}"} ]
              {option}
            """);
        var read = ConfigurationReader.ReadFile(_rig.At("as.yaml"));
        Assert.True(read.Node is not null, string.Join('\n', read.Findings));
        return await NodeHost.StartAsync(read.Node!);
    }
}
