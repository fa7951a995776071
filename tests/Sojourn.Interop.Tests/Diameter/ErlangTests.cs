using System.Globalization;
using System.Net;
using Sojourn.Engine.Diameter;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Interop.Tests.Diameter;

/// <summary>Erlang/OTP's diameter with its own RFC 4004 dictionary, as AAAH and as client of ours.</summary>
public class ErlangTests
{
    private const string Packages = "erlang-base, erlang-diameter, erlang-ssl and erlang-examples";
    private const string Escript = "/usr/bin/escript";
    private const string Ours = "aaaf.visited.example";
    private const string Theirs = "aaah.home.example";

    private static readonly string Dictionary = Directory.Exists("/usr/lib/erlang/lib")
        ? Directory.EnumerateDirectories("/usr/lib/erlang/lib", "diameter-*").Select(d => Path.Combine(d, "examples", "dict", "rfc4004_mip.dia")).FirstOrDefault(File.Exists) ?? ""
        : "";

    private sealed class ErlangFactAttribute : FactAttribute
    {
        public ErlangFactAttribute()
        {
            if (!File.Exists(Escript) || Dictionary.Length == 0)
            {
                Skip = $"Erlang's diameter or its RFC 4004 dictionary is not there: install {Packages}";
            }
        }
    }

    [ErlangFact]
    [Trait("Row", "M1")]
    public async Task Erlang_as_home_server_understands_our_amr_and_we_its_ama()
    {
        using var credentials = new Credentials();
        using var tls = credentials.Issue(Ours);
        credentials.Issue(Theirs).Dispose();
        var port = Rig.FreePort();
        await using var server = Run("server", port, Theirs, "home.example", credentials.Folder, Dictionary);
        await server.WaitForAsync("READY");
        await using var client = new RunningNode(Rig.Options(Ours, Peer(port)), Rig.Transport(tls));
        await client.WaitOpenAsync(Theirs);

        var ama = await client.AskAsync(client.Amr("home.example").Build());
        await server.WaitForAsync("END AMR");

        Assert.True(ama.ResultCode == DiameterResult.Success, $"{ama.ResultCode}\n{server.Output}");
        Assert.True(ama.Avps.TryGetGroup(AvpKeys.MipFaToMnMsa, out var association));
        Assert.True(association.TryGetUnsigned32(AvpKeys.MipFaToMnSpi, out var spi) && spi == 4097);
        Assert.True(association.TryGetOctets(AvpKeys.MipSessionKey, out var key) && key.Length == 32 && key.Span[31] == 5);
        Assert.True(ama.Avps.TryGetAddress(AvpKeys.MipHomeAgentAddress, out var agent) && agent.Equals(IPAddress.Parse("10.0.3.2")));
        Assert.True(ama.Avps.TryGetUnsigned32(AvpKeys.AuthorizationLifetime, out var lifetime) && lifetime == 1800);
        Assert.True(ama.Avps.TryGetOctets(AvpKeys.MipRegReply, out var reply));
        Assert.Equal("03000708", Convert.ToHexString(reply.Span));

        Assert.Equal("<<\"alice@home.example\">>", server.Avp("AMR", "User-Name"));
        Assert.Equal("<<1,2,3,4,5,6>>", server.Avp("AMR", "MIP-Reg-Request"));
        Assert.Equal("[{10,99,0,10}]", server.Avp("AMR", "MIP-Mobile-Node-Address"));
        Assert.Equal("[16]", server.Avp("AMR", "MIP-Feature-Vector"));
        Assert.Equal("[<<\"mobility-session-1\">>]", server.Avp("AMR", "Acct-Multi-Session-Id"));
        Assert.Contains("'MIP-MN-AAA-SPI' => 512", server.Avp("AMR", "MIP-MN-AAA-Auth"));
        Assert.Equal($"<<\"{Ours}\">>", server.Avp("AMR", "Origin-Host"));
    }

    [ErlangFact]
    public async Task Erlang_as_home_agent_understands_our_har_and_we_its_haa()
    {
        using var credentials = new Credentials();
        using var tls = credentials.Issue(Ours);
        credentials.Issue(Theirs).Dispose();
        var port = Rig.FreePort();
        await using var server = Run("server", port, Theirs, "home.example", credentials.Folder, Dictionary);
        await server.WaitForAsync("READY");
        await using var client = new RunningNode(Rig.Options(Ours, Peer(port)), Rig.Transport(tls));
        await client.WaitOpenAsync(Theirs);

        var haa = await client.AskAsync(DiameterDictionary.Default.Request(DiameterCommands.HomeAgentMip)
            .Add(AvpKeys.SessionId, client.NewSession())
            .Add(AvpKeys.AuthApplicationId, DiameterApplications.MobileIpv4)
            .Add(AvpKeys.AuthorizationLifetime, 600)
            .Add(AvpKeys.AuthSessionState, 0)
            .Add(AvpKeys.MipRegRequest, new byte[] { 9, 8, 7 })
            .Add(AvpKeys.UserName, "alice@home.example")
            .Add(AvpKeys.DestinationRealm, "home.example")
            .Add(AvpKeys.DestinationHost, Theirs)
            .Add(AvpKeys.MipFeatureVector, 64)
            .AddGroup(AvpKeys.MipHaToMnMsa, g => g
                .Add(AvpKeys.MipAlgorithmType, 2)
                .Add(AvpKeys.MipReplayMode, 2)
                .Add(AvpKeys.MipSessionKey, new byte[] { 1, 2, 3, 4 }))
            .Build());
        await server.WaitForAsync("END HAR");

        Assert.True(haa.ResultCode == DiameterResult.Success, $"{haa.ResultCode}\n{server.Output}");
        Assert.True(haa.Avps.TryGetUnsigned32(AvpKeys.MipFaToHaSpi, out var spi) && spi == 8193);
        Assert.Equal("[<<\"" + Theirs + "\">>]", server.Avp("HAR", "Destination-Host"));
        Assert.Contains("'MIP-Replay-Mode' => 2", server.Avp("HAR", "MIP-HA-to-MN-MSA"));
        Assert.Contains("<<1,2,3,4>>", server.Avp("HAR", "MIP-HA-to-MN-MSA"));
    }

    [ErlangFact]
    [Trait("Row", "M1")]
    public async Task A_peer_without_vpn_support_refuses_our_avps_instead_of_ignoring_them()
    {
        using var credentials = new Credentials();
        using var tls = credentials.Issue(Ours);
        credentials.Issue(Theirs).Dispose();
        var port = Rig.FreePort();
        await using var server = Run("server", port, Theirs, "home.example", credentials.Folder, Dictionary);
        await server.WaitForAsync("READY");
        await using var client = new RunningNode(Rig.Options(Ours, Peer(port)), Rig.Transport(tls));
        await client.WaitOpenAsync(Theirs);

        var ama = await client.AskAsync(client.Amr("home.example").Add(VpnAvpKeys.Default.ServiceUpdateRequest, 1).Build());

        Assert.True(ama.ResultCode == DiameterResult.AvpUnsupported, $"{ama.ResultCode}\n{server.Output}");
        Assert.True(ama.Avps.TryGetGroup(AvpKeys.FailedAvp, out var failed));
        Assert.Equal(VpnAvpKeys.Default.ServiceUpdateRequest, failed[0].Key);
    }

    [ErlangFact]
    [Trait("Row", "M1")]
    public async Task Erlang_as_client_gets_answers_from_our_server()
    {
        using var credentials = new Credentials();
        using var tls = credentials.Issue("aaah2.home.example");
        credentials.Issue("fa.visited.example").Dispose();
        await using var server = new RunningNode(
            Rig.Options("aaah2.home.example", new DiameterPeerOptions("fa.visited.example", "visited.example")), Rig.Transport(tls),
            (request, builder) => builder
                .Add(AvpKeys.MipRegReply, new byte[] { 3, 1, 2 })
                .Add(AvpKeys.MipHomeAgentAddress, IPAddress.Parse("10.0.3.2"))
                .Build());
        await using var client = Run("client", server.EndPoint.Port, "fa.visited.example", "visited.example", credentials.Folder, Dictionary, "aaah2.home.example", "home.example");

        Assert.True(await client.EndAsync() == 0, client.Output);

        Assert.Equal(["AMR", "HAR"], server.Requests.Select(DiameterDictionary.Default.NameOf));
        var amr = server.Requests.First();
        Assert.True(amr.Avps.TryGetText(AvpKeys.UserName, out var name) && name == "carol@home.example");
        Assert.True(amr.Avps.TryGetAddress(AvpKeys.MipMobileNodeAddress, out var address) && address.Equals(IPAddress.Parse("10.99.0.77")));
        Assert.True(amr.Avps.TryGetGroup(AvpKeys.MipMnAaaAuth, out var auth) && auth.TryGetUnsigned32(AvpKeys.MipAuthenticatorOffset, out var offset) && offset == 50);
        var har = server.Requests.Last();
        Assert.True(har.Avps.TryGetGroup(AvpKeys.MipHaToFaMsa, out var association) && association.TryGetUnsigned32(AvpKeys.MipHaToFaSpi, out var spi) && spi == 4660);
        Assert.Equal("[<<3,1,2>>]", client.Avp("AMA", "MIP-Reg-Reply"));
        Assert.Equal("2001", client.Avp("AMA", "Result-Code"));
        Assert.Equal("[{10,0,3,2}]", client.Avp("HAA", "MIP-Home-Agent-Address"));
        Assert.DoesNotContain(client.Lines, l => l.StartsWith("ERRORS", StringComparison.Ordinal) && l != "ERRORS []");
    }

    private static DiameterPeerOptions Peer(int port) => new(Theirs, "home.example", new IPEndPoint(IPAddress.Loopback, port));

    private static Stranger Run(string mode, int port, params string[] rest) =>
        new(Escript, [Path.Combine(AppContext.BaseDirectory, "Diameter", "Peers", "diameter_peer.escript"), mode, port.ToString(CultureInfo.InvariantCulture), .. rest]);
}
