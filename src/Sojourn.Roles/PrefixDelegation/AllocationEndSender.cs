using System.Net.Http.Json;
using System.Threading.Channels;
using Sojourn.Engine;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Roles.CertificateAuthority;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Roles.Queries;

namespace Sojourn.Roles.PrefixDelegation;

/// <summary>
/// Tells home agents that an allocation has ended (Q3, spec L4), each in order and again and again until it acknowledges. What is not
/// told yet is lost with the process: a binding never outlives its prefix's lifetime (L2), and home agents ask again (Q2).
/// </summary>
internal sealed class AllocationEndSender : IDisposable
{
    /// <summary>Events that wait for one receiver; beyond them the oldest goes.</summary>
    private const int MostWaiting = 16_384;

    private static readonly TimeSpan ShortestPause = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(2);

    private readonly NodeServices _services;
    private readonly CancellationTokenSource _ended = new();
    private readonly List<Channel<AllocationEndedEvent>> _waiting = [];
    private readonly Task _sending;
    private long _id;

    public AllocationEndSender(DelegationQueriesSection section, TlsCredentials identity, NodeServices services)
    {
        _services = services;
        _id = services.Time.GetUtcNow().ToUnixTimeMilliseconds();
        var tasks = new List<Task>();
        foreach (var asker in section.Askers.Where(asker => asker.WithdrawalUri is not null))
        {
            var channel = Channel.CreateBounded<AllocationEndedEvent>(
                new BoundedChannelOptions(MostWaiting) { FullMode = BoundedChannelFullMode.DropOldest, SingleReader = true }, _ => services.Count("prefix.end.dropped", 1));
            _waiting.Add(channel);
            tasks.Add(Task.Run(() => SendAsync(asker.Name, new Uri(asker.WithdrawalUri!), identity, channel.Reader)));
        }

        _sending = Task.WhenAll(tasks);
    }

    /// <summary>On the engine's thread; never waits.</summary>
    public void Tell(AllocationEnded ended)
    {
        var told = new AllocationEndedEvent(++_id, ended.Prefix.ToString(), ended.Identifier, ended.Reason.ToString().ToLowerInvariant(), _services.Time.GetUtcNow());
        foreach (var channel in _waiting)
        {
            channel.Writer.TryWrite(told);
        }
    }

    public void Dispose()
    {
        _ended.Cancel();
        _sending.ContinueWith(_ => { }, TaskScheduler.Default).Wait(TimeSpan.FromSeconds(2));
        _ended.Dispose();
    }

    private async Task SendAsync(string receiver, Uri address, TlsCredentials identity, ChannelReader<AllocationEndedEvent> waiting)
    {
        using var http = QueryHttp.Client(address.DnsSafeHost, identity, AnswerLimit);
        var pause = TimeSpan.Zero;
        try
        {
            while (await waiting.WaitToReadAsync(_ended.Token).ConfigureAwait(false))
            {
                while (waiting.TryPeek(out var ended))
                {
                    if (await TellAsync(http, address, ended, receiver, pause == TimeSpan.Zero).ConfigureAwait(false))
                    {
                        if (pause > TimeSpan.Zero)
                        {
                            _services.Report(new EngineEvent("prefix.end_told", EventSeverity.Information, $"{receiver} takes ends of allocations again") { Peer = receiver });
                        }

                        // The oldest may have given way meanwhile: only what was told goes.
                        pause = TimeSpan.Zero;
                        if (waiting.TryPeek(out var first) && first.Id == ended.Id)
                        {
                            waiting.TryRead(out _);
                        }

                        continue;
                    }

                    pause = pause == TimeSpan.Zero ? ShortestPause : pause * 2 > LongestPause ? LongestPause : pause * 2;
                    await Task.Delay(pause, _services.Time, _ended.Token).ConfigureAwait(false);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The node stops.
        }
    }

    private async Task<bool> TellAsync(HttpClient http, Uri address, AllocationEndedEvent ended, string receiver, bool first)
    {
        try
        {
            using var response = await http.PostAsJsonAsync(address, ended, AllocationJson.Default.AllocationEndedEvent, _ended.Token).ConfigureAwait(false);
            response.EnsureSuccessStatusCode();
            _services.Count("prefix.end.told", 1);
            return true;
        }
        catch (Exception e) when (e is HttpRequestException or IOException || (e is OperationCanceledException && !_ended.IsCancellationRequested))
        {
            _services.Count("prefix.end.not_told", 1);
            if (first)
            {
                _services.Report(new EngineEvent("prefix.end_not_told", EventSeverity.Warning, $"{receiver} does not take the end of {ended.Prefix} and is told again: {e.Message}") { Peer = receiver, Rule = "TA-L4" });
            }

            return false;
        }
    }
}
