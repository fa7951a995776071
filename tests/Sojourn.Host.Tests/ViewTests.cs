using System.Net;
using System.Text.Json;
using Sojourn.Engine;
using Sojourn.Host.Configuration;
using Sojourn.Host.Control;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Xunit;

namespace Sojourn.Host.Tests;

/// <summary>What tables show of profiles, paths and keys.</summary>
public sealed class ViewTests
{
    private static readonly byte[] Root = [.. Enumerable.Range(1, 32).Select(i => (byte)(i * 7))];

    [Fact]
    [Trait("Row", "NV-A17")]
    [Trait("Row", "NV-A32")]
    public void The_vpn_cache_shows_every_field_of_a_profile_and_of_its_key_a_fingerprint()
    {
        var session = new VpnSession { Session = "s1", Nai = "alice@home.example", HomeAddress = IPAddress.Parse("10.99.0.10"), Profiles = [Profile(1), Profile(2)] };
        var json = JsonSerializer.SerializeToElement(NodeTables.View(CacheRow.Of(session)), ControlJson.Options);

        Assert.Equal(2, json.GetProperty("profileCount").GetInt32());
        var profile = json.GetProperty("profiles")[0];
        Assert.Equal(
            ["profileNumber", "view", "source", "destination", "tos", "upTos", "downTos", "security", "sourceGateway", "destinationGateway", "gatewayType", "upSpi", "downSpi", "algorithm", "keying", "keyFingerprint", "revision", "keyExpiry", "supplier", "trigger"],
            profile.EnumerateObject().Select(member => member.Name));
        Assert.Equal("10.99.0.10/32", profile.GetProperty("source").GetString());
        Assert.Equal(0xB8, profile.GetProperty("tos").GetInt32());
        Assert.Equal("0x10000001", profile.GetProperty("upSpi").GetString());
        Assert.Equal("aes128-gcm16", profile.GetProperty("algorithm").GetString());
        Assert.Equal("first-packet", profile.GetProperty("trigger").GetString());
        Assert.Equal(8, profile.GetProperty("keyFingerprint").GetString()!.Length);
        Assert.DoesNotContain(Convert.ToHexString(Root), json.GetRawText(), StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    [Trait("Row", "NV-A32")]
    public void A_key_that_finds_its_way_into_a_document_stops_the_document()
    {
        var keys = new AssociationKeys(new KeyMaterial(Root), new KeyMaterial([]));
        Assert.Throws<JsonException>(() => JsonSerializer.Serialize(keys, ControlJson.Options));
    }

    [Fact]
    public void A_path_that_is_wanted_and_not_installed_shows_as_down()
    {
        var path = new VpnPath
        {
            Id = new PathId("s1", "7/fa-ha"),
            Source = IPNetwork.Parse("10.99.0.10/32"),
            Destination = IPNetwork.Parse("192.168.50.0/24"),
            MarkDscp = 46,
            SecurityType = SecurityType.EncapsulationOnly,
            LocalGateway = IPAddress.Parse("10.0.1.2"),
            RemoteGateway = IPAddress.Parse("10.0.3.2"),
            State = PathState.InboundOnly,
            Origin = new PathOrigin("foreign-agent", "NV1.12", "s1", "alice@home.example"),
        };
        var view = JsonSerializer.SerializeToElement(NodeTables.View(path, null), ControlJson.Options);
        Assert.False(view.GetProperty("installed").GetBoolean());
        Assert.Equal("inbound-only", view.GetProperty("state").GetString());
        Assert.Equal("ip-in-ip", view.GetProperty("encapsulation").GetString());
        Assert.Equal("s1#7/fa-ha", view.GetProperty("id").GetString());
        Assert.Equal(46, view.GetProperty("markDscp").GetInt32());
        Assert.Equal("NV1.12", view.GetProperty("origin").GetProperty("row").GetString());
    }

    [Fact]
    public void Both_ends_derive_the_same_preset_keys_and_the_directions_differ()
    {
        var secret = new KeyMaterial(Root);
        var (a, b) = (IPAddress.Parse("10.0.3.2"), IPAddress.Parse("10.0.5.2"));
        var there = PresetKeys.Derive(secret, SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, a, b);
        var back = PresetKeys.Derive(secret, SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, b, a);
        Assert.Equal(there.Encryption, PresetKeys.Derive(secret, SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256, a, b).Encryption);
        Assert.NotEqual(there.Encryption, back.Encryption);
        Assert.NotEqual(there.Authentication, back.Authentication);
        Assert.NotEqual(there.Authentication, PresetKeys.Derive(secret, SecurityType.Ah, IpsecAlgorithm.HmacSha256, a, b).Authentication);
        Assert.Equal((16, 32), (there.Encryption.Length, there.Authentication.Length));
    }

    [Fact]
    public void Key_export_writes_each_association_once_and_only_for_its_owner()
    {
        using var material = new ConfigurationMaterial();
        var export = new EspKeyExport(material.At("keys/esp_sa"));
        var path = Esp(IpsecAlgorithm.Aes128Gcm16, 0x10000001, 20);
        export.Write([path]);
        export.Write([path, Esp(IpsecAlgorithm.ChaCha20Poly1305, 0x10000002, 36)]);

        var lines = File.ReadAllLines(export.Path);
        Assert.Equal(2, lines.Length);
        Assert.StartsWith("\"IPv4\",\"10.0.1.2\",\"10.0.3.2\",\"0x10000001\",\"AES-GCM with 16 octet ICV [RFC4106]\",\"0x", lines[0]);
        Assert.StartsWith("# 10.0.1.2 > 10.0.3.2 SPI 0x10000002", lines[1]);
        Assert.Equal(ConfigurationMaterial.Private, File.GetUnixFileMode(export.Path));
    }

    [Fact]
    public void A_diff_names_objects_by_their_id_and_says_what_waits_for_a_restart()
    {
        using var material = new ConfigurationMaterial();
        const string text = """
            node: sgw
            role: gateway
            associations:
              - { name: a, peer: 10.0.3.2, algorithm: hmac-sha256, spi-out: 0x1001, spi-in: 0x1002, key-file: keys/k32 }
              - { name: b, peer: 10.0.3.3, algorithm: hmac-sha256, spi-out: 0x1003, spi-in: 0x1004, key-file: keys/k48 }
            standing-tunnels:
              - { name: one, association: a, source: 192.168.50.0/24, destination: 10.99.0.0/24 }
            gateway: { type: static, address: 10.0.5.2, serves: [ 192.168.50.0/24 ] }
            """;
        var before = ConfigurationReader.Read(text, material.At("sgw.yaml")).Node!;
        Assert.Empty(ConfigurationDiff.Between(before, ConfigurationReader.Read(text, material.At("sgw.yaml")).Node!));

        material.Secret("keys/k48", 48);
        var lines = text.Split('\n');
        var swapped = string.Join('\n', [lines[0], lines[1], lines[2], lines[4], lines[3].Replace("0x1002", "0x2002"), .. lines[5..]]).Replace("10.0.5.2", "10.0.5.9");
        var changes = ConfigurationDiff.Between(before, ConfigurationReader.Read(swapped, material.At("sgw.yaml")).Node!);

        Assert.Equal(["associations[a].spi-in", "associations[b].key-file", "gateway.address"], changes.Select(change => change.Option).Order(StringComparer.Ordinal));
        Assert.Equal((true, true, false), (changes[0].Applied, changes[1].Applied, changes[2].Applied));
    }

    private static VpnPath Esp(IpsecAlgorithm algorithm, uint spi, int keyLength) => new()
    {
        Id = new PathId("s1", spi.ToString()),
        Source = IPNetwork.Parse("10.99.0.10/32"),
        Destination = IPNetwork.Parse("192.168.50.0/24"),
        SecurityType = SecurityType.Esp,
        LocalGateway = IPAddress.Parse("10.0.1.2"),
        RemoteGateway = IPAddress.Parse("10.0.3.2"),
        Outbound = new SaParameters
        {
            Spi = spi,
            Source = IPAddress.Parse("10.0.1.2"),
            Destination = IPAddress.Parse("10.0.3.2"),
            Algorithm = algorithm,
            Keys = new AssociationKeys(new KeyMaterial(SystemRandomSource.Instance.NextBytes(keyLength)), new KeyMaterial([])),
        },
        Origin = new PathOrigin("foreign-agent", "NV1.12"),
    };

    private static VpnProfile Profile(uint number) => new()
    {
        ProfileNumber = number,
        View = Engine.ProfileView.Up,
        Source = IPNetwork.Parse("10.99.0.10/32"),
        Destination = IPNetwork.Parse("192.168.50.0/24"),
        UpTos = 0xB8,
        DownTos = 0x28,
        SecurityType = SecurityType.Esp,
        SourceGateway = IPAddress.Parse("10.0.1.2"),
        DestinationGateway = IPAddress.Parse("10.0.3.2"),
        GatewayType = GatewayType.Static,
        UpSpi = 0x10000001,
        DownSpi = 0x10000101,
        Algorithm = IpsecAlgorithm.Aes128Gcm16,
        Keying = new ProfileKeying.Derived(new KeyMaterial(Root), 5),
        Trigger = ProfileTrigger.FirstPacket,
    };
}
