using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Sojourn.Engine;
using Sojourn.Engine.Accounting;
using Sojourn.Host.Configuration;
using Sojourn.Storage;
using Xunit;

namespace Sojourn.Host.Tests;

/// <summary>Usage of a home AAA server by control API and command line.</summary>
public sealed class UsageApiTests : IDisposable
{
    private readonly ConfigurationMaterial _material = new();

    public void Dispose() => _material.Dispose();

    [Fact]
    public async Task Usage_is_shown_by_day_and_user_and_exported_line_by_line()
    {
        File.Delete(_material.At("subscribers.db"));
        using (var subscribers = Database.Open(_material.At("subscribers.db")))
        {
            new SubscriberStore(subscribers, TimeProvider.System).PutPartner("visited.example");
        }

        _material.Secret("keys/aaaf", 32);
        var read = ConfigurationReader.ReadFile(_material.Write("aaah.yaml", $$"""
            node: aaah
            role: aaa
            diameter: { identity: aaah.home.example, realm: home.example, allow-plain-tcp: true, listen: [ { address: 127.0.0.1, port: {{FreePort()}} } ], peers: [ { identity: aaaf.visited.example, realm: visited.example } ] }
            key-wrap: [ { peer: aaaf.visited.example, key-file: keys/aaaf } ]
            aaa:
              serves: home
              database: subscribers.db
              home-agents: [ { identity: ha.home.example, address: 10.0.3.2, network: 10.99.0.0/24 } ]
              accounting-interval: 5m
            log: { file: aaah.jsonl }
            """));
        Assert.True(read.Node is not null, string.Join('\n', read.Findings));
        Directory.CreateDirectory(read.Node.StateDirectory.FullPath);
        using (var database = Database.Open(read.Node.DatabasePath, read.Node.SealKeyFile?.FullPath))
        {
            var state = new StateStore(database);
            for (uint i = 0; i < 1100; i++)
            {
                // More records than a page, most of them with nothing to charge.
                state.Apply([new StoreUsage(Record("=alice@home.example", "s" + i, 0, AccountingRecordType.Start))]);
            }

            state.Apply([
                new StoreUsage(Record("bob@home.example", "b", 1, AccountingRecordType.Interim, new ProfileUsage(7, 46 << 2, 10 << 2, 3, new UsageFigures(1, 100, 2, 200)))),
                new StoreUsage(Record("bob@home.example", "b", 2, AccountingRecordType.Stop, new ProfileUsage(7, 46 << 2, 10 << 2, 4, new UsageFigures(3, 300, 2, 200)))),
                new StoreUsage(Record("bob@home.example", "h", 1, AccountingRecordType.Stop, new ProfileUsage(7, 46 << 2, 10 << 2, 4, new UsageFigures(3, 300, 2, 200))) with { Meter = UsageMeterPlace.HomeAgent }),
            ]);
        }

        await using var node = await NodeHost.StartAsync(read.Node);
        var shown = JsonDocument.Parse((await Commands.Run("show", "usage", "--json", "--since", "2026-11-01", "--socket", node.SocketPath)).Output).RootElement;
        var rows = shown.GetProperty("usage").EnumerateArray().Select(r => (
            r.GetProperty("day").GetString(), r.GetProperty("measuredBy").GetString(), r.GetProperty("upClass").GetInt32(), r.GetProperty("downClass").GetInt32(), r.GetProperty("octetsUp").GetUInt64())).ToList();
        Assert.Equal([("2026-11-20", "foreign-agent", 5, 1, 300UL), ("2026-11-20", "home-agent", 5, 1, 300UL)], rows);
        Assert.Equal([300UL, 300UL], shown.GetProperty("totals").EnumerateArray().Select(t => t.GetProperty("octetsUp").GetUInt64()));
        Assert.Contains("TOTAL OF", (await Commands.Run("show", "usage", "--socket", node.SocketPath)).Output);
        Assert.Contains("bob@home.example", (await Commands.Run("show", "usage", "--socket", node.SocketPath)).Output);
        Assert.DoesNotContain("bob@home.example", (await Commands.Run("show", "usage", "--until", "2026-11-20", "--socket", node.SocketPath)).Output);

        var lines = (await Commands.Run("usage", "export", "--csv", "--socket", node.SocketPath)).Output.Split("\r\n");
        Assert.StartsWith("id,time,record,nai,", lines[0]);
        Assert.Equal(1 + 1100 + 2 + 1, lines.Length);
        Assert.Contains(",start,'=alice@home.example,", lines[1]);
        Assert.Equal(["1,100,2,200", "2,200,0,0"], lines[^3..^1].Select(l => string.Join(',', l.Split(',')[^4..])));
        Assert.Equal(2, (await Commands.Run("usage", "export", "--nai", "bob@home.example", "--measured-by", "home-agent", "--socket", node.SocketPath)).Output.Split("\r\n", StringSplitOptions.RemoveEmptyEntries).Length);

        var wrong = await Commands.Run("show", "usage", "--since", "yesterday", "--socket", node.SocketPath);
        Assert.Equal(1, wrong.Status);
        Assert.Contains("2026-11-01", wrong.Error);
    }

    private static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }

    private static UsageRecord Record(string nai, string session, uint number, AccountingRecordType type, params ProfileUsage[] profiles) => new(
        new AccountingRecord
        {
            Session = session,
            Number = number,
            Type = type,
            MobilitySession = "m",
            Nai = nai,
            HomeAddress = IPAddress.Parse("10.99.0.10"),
            At = new DateTimeOffset(2026, 11, 20, 12, 0, 0, TimeSpan.Zero),
            SessionTime = 60,
            Profiles = profiles,
        },
        "fa1.visited.example", "visited.example", UsageMeterPlace.ForeignAgent, true, DateTimeOffset.UnixEpoch);
}
