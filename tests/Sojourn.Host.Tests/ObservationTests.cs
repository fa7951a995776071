using System.Net;
using System.Text.Json;
using System.Text.RegularExpressions;
using Sojourn.Engine;
using Sojourn.Host.Observation;
using Sojourn.Roles.Configuration;
using Xunit;

namespace Sojourn.Host.Tests;

public sealed partial class ObservationTests
{
    [Fact]
    public void A_log_line_has_the_fixed_fields_and_the_catalogue_number()
    {
        using var material = new ConfigurationMaterial();
        var file = new FileReference("log.jsonl", material.At("log.jsonl"));
        using (var log = new JsonLog("fa1", new LogOptions { File = file, Level = LogThreshold.Warning }))
        {
            var refusal = new EngineEvent("registration.refused", EventSeverity.Warning, "the lifetime \"0\" is\ntoo short")
            {
                Session = "s1",
                Nai = "alice@home.example",
                HomeAddress = IPAddress.Parse("10.99.0.10"),
                CareOfAddress = IPAddress.Parse("10.0.1.2"),
                Peer = "aaaf",
                Spi = 0x1001,
                Rule = "RFC 5944 3.7.2.1",
            };
            log.Write(new RecordedEvent(1, DateTimeOffset.UnixEpoch, MessageCatalogue.IdOf(refusal), refusal));
            log.Write(new RecordedEvent(2, DateTimeOffset.UnixEpoch, "SJ1001", new EngineEvent("node.started", EventSeverity.Information, "below the threshold")));
        }

        var line = Assert.Single(File.ReadAllLines(file.FullPath));
        var fields = JsonDocument.Parse(line).RootElement;
        Assert.Equal(
            ["time", "level", "id", "event", "node", "session", "peer", "nai", "hoa", "coa", "spi", "rule", "text"],
            fields.EnumerateObject().Select(member => member.Name));
        Assert.Equal("SJ2004", fields.GetProperty("id").GetString());
        Assert.Equal("0x1001", fields.GetProperty("spi").GetString());
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file.FullPath) & ~UnixFileMode.GroupRead);
    }

    [Fact]
    public void A_full_ring_gives_up_its_oldest_events()
    {
        var ring = new EventRing(3);
        for (var i = 0; i < 10; i++)
        {
            ring.Add(DateTimeOffset.UnixEpoch, "SJ0000", new EngineEvent("test.event", EventSeverity.Debug, i.ToString()));
        }

        Assert.Equal(["7", "8", "9"], ring.Latest(100, _ => true).Select(recorded => recorded.Event.Text));
        Assert.Equal(["9"], ring.Latest(1, _ => true).Select(recorded => recorded.Event.Text));
    }

    [Fact]
    public async Task A_follower_gets_old_and_new_events_once_each()
    {
        var ring = new EventRing(16);
        ring.Add(DateTimeOffset.UnixEpoch, "SJ0000", new EngineEvent("a.b", EventSeverity.Debug, "old"));
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        var seen = new List<string>();
        await foreach (var recorded in ring.Follow(10, new EventFilter(Kind: "a").Matches, limit.Token))
        {
            seen.Add(recorded.Event.Text);
            if (seen.Count == 1)
            {
                ring.Add(DateTimeOffset.UnixEpoch, "SJ0000", new EngineEvent("ab.c", EventSeverity.Debug, "another family"));
                ring.Add(DateTimeOffset.UnixEpoch, "SJ0000", new EngineEvent("a.c", EventSeverity.Debug, "new"));
            }
            else
            {
                break;
            }
        }

        Assert.Equal(["old", "new"], seen);
    }

    [Fact]
    public void Metrics_show_counters_and_what_is_configured_beside_what_is_up()
    {
        using var metrics = new NodeMetrics("fa1", "foreign-agent");
        using var text = new PrometheusText(metrics.Includes);
        metrics.Count("mip4.rrq.bad_authenticator", 2);
        metrics.Count("mip4.rrq.bad_authenticator", 1);
        metrics.Take(new MetricSnapshot(new Dictionary<string, long> { ["visitors"] = 4 }, [("diameter-peer", "aaaf.\"x\"", false)], new Dictionary<string, long>()));

        var page = text.Write();

        Assert.Contains("# TYPE sojourn_events_total counter\nsojourn_events_total{event=\"mip4.rrq.bad_authenticator\"} 3\n", page);
        Assert.Contains("sojourn_configured{kind=\"diameter-peer\",name=\"aaaf.\\\"x\\\"\"} 1\n", page);
        Assert.Contains("sojourn_up{kind=\"diameter-peer\",name=\"aaaf.\\\"x\\\"\"} 0\n", page);
        Assert.Contains("sojourn_state{of=\"visitors\"} 4\n", page);

        metrics.Take(MetricSnapshot.Empty);
        Assert.DoesNotContain("sojourn_up{", text.Write());
        Assert.Contains("event=\"mip4.rrq.bad_authenticator\"} 3\n", text.Write());
    }

    [Fact]
    public void A_health_reason_that_holds_keeps_its_beginning()
    {
        var time = new SteppedTime();
        var board = new HealthBoard(time);
        Assert.Equal("ok", board.Summary);
        board.Replace("down.", [("down.peer.a", EventSeverity.Warning, "a is down")]);
        var since = Assert.Single(board.Reasons).Since;
        time.Step(TimeSpan.FromMinutes(1));
        board.Replace("down.", [("down.peer.a", EventSeverity.Warning, "a is still down"), ("down.peer.b", EventSeverity.Warning, "b is down")]);
        Assert.Equal(since, board.Reasons.First(reason => reason.Code == "down.peer.a").Since);
        Assert.NotEqual(since, board.Reasons.First(reason => reason.Code == "down.peer.b").Since);
        Assert.Equal("degraded", board.Summary);
        board.Set("host.engine_fault", EventSeverity.Error, "broken");
        Assert.Equal("failed", board.Summary);
        board.Replace("down.", []);
        Assert.Equal("host.engine_fault", Assert.Single(board.Reasons).Code);
    }

    [Fact]
    public void The_message_page_is_what_the_catalogue_says() => ConfigurationReferenceTests.Generated("docs/messages.md", MessageCatalogue.Markdown());

    [Fact]
    public void Numbers_and_names_of_messages_are_unique()
    {
        Assert.Equal(MessageCatalogue.Entries.Count, MessageCatalogue.Entries.DistinctBy(entry => entry.Id).Count());
        Assert.Equal(MessageCatalogue.Entries.Count, MessageCatalogue.Entries.DistinctBy(entry => entry.Kind).Count());
    }

    [Fact]
    public void Every_event_in_the_sources_stands_in_the_catalogue()
    {
        var sources = Path.Combine(ConfigurationReferenceTests.Root, "src");
        var kinds = Directory.EnumerateFiles(sources, "*.cs", SearchOption.AllDirectories)
            .Where(path => !path.Contains("/obj/", StringComparison.Ordinal))
            .SelectMany(path => EventKind().Matches(File.ReadAllText(path)).Select(match => match.Groups[1].Value))
            .Distinct().Order(StringComparer.Ordinal).ToList();
        Assert.True(kinds.Count > 30, "the pattern no longer finds the events");
        Assert.Equal([], kinds.Where(kind => MessageCatalogue.Find(kind) is null));
    }

    [Fact]
    public void A_cited_clause_finds_the_sentence_of_the_longest_rule()
    {
        Assert.Contains("Identification", RuleSentences.Find("RFC 5944 5.7.1"));
        Assert.Contains("foreign agent checks", RuleSentences.Find("RFC 5944 3.7.2.1, spec 7.1 (D = 0)"));
        Assert.Contains("contract", RuleSentences.Find("M9"));
        Assert.Contains("binding update that is forged", RuleSentences.Find("NV9.10"));
        Assert.NotEqual(RuleSentences.Find("NV9.1"), RuleSentences.Find("NV9.10"));
        Assert.Null(RuleSentences.Find(null));
        Assert.Null(RuleSentences.Find("house rule"));
    }

    [GeneratedRegex("(?:EngineEvent|Event|Tell|Report|ReportDropped|ReportAccepted|Announce)\\((?:effects, )?\"([a-z0-9_]+(?:\\.[a-z0-9_]+)+)\"")]
    private static partial Regex EventKind();

    private sealed class SteppedTime : TimeProvider
    {
        private DateTimeOffset _now = DateTimeOffset.UnixEpoch;

        public override DateTimeOffset GetUtcNow() => _now;

        public void Step(TimeSpan time) => _now += time;
    }
}
