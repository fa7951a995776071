using System.Net.Http.Json;
using Sojourn.Engine;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Hosting;
using Sojourn.Storage;

namespace Sojourn.Roles.CertificateAuthority;

/// <summary>
/// Tells delegating routers and home agents of withdrawals (Q3), each in order, again and again until it acknowledges. What is not
/// told yet stands in the store and survives a restart. A receiver polls with Q1 beside that, so a lost event is bounded.
/// </summary>
internal sealed class WithdrawalSender : IDisposable
{
    private const int Together = 64;
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(5);

    private readonly AuthorityStore _store;
    private readonly NodeServices _services;
    private readonly TlsCredentials _identity;
    private readonly List<(string Name, Uri Address)> _receivers;
    private readonly CancellationTokenSource _ended = new();
    private Task _sending = Task.CompletedTask;

    public WithdrawalSender(CaQueriesSection section, TlsCredentials identity, AuthorityStore store, NodeServices services)
    {
        _store = store;
        _services = services;
        _identity = identity;
        _receivers = [.. section.Askers.Where(asker => asker.WithdrawalUri is not null).Select(asker => (asker.Name, new Uri(asker.WithdrawalUri!)))];
    }

    public void Start() => _sending = Task.WhenAll(_receivers.Select(receiver => Task.Run(() => SendAsync(receiver.Name, receiver.Address))));

    public void Dispose()
    {
        _ended.Cancel();
        _sending.ContinueWith(_ => { }, TaskScheduler.Default).Wait(TimeSpan.FromSeconds(2));
        _ended.Dispose();
    }

    private async Task SendAsync(string receiver, Uri address)
    {
        using var http = QueryHttp.Client(address.DnsSafeHost, _identity, AnswerLimit);
        var pause = Interval;
        while (!_ended.IsCancellationRequested)
        {
            try
            {
                foreach (var (id, withdrawal) in _store.Untold(receiver, Together))
                {
                    using var response = await http.PostAsJsonAsync(address, new WithdrawalEvent(id, withdrawal.Identifier, withdrawal.Serial, withdrawal.Reason, withdrawal.At), QueryJson.Default.WithdrawalEvent, _ended.Token).ConfigureAwait(false);
                    response.EnsureSuccessStatusCode();
                    _store.Told(receiver, id);
                    _services.Count("ca.withdrawal.told", 1);
                }

                if (pause > Interval)
                {
                    _services.Report(new EngineEvent("ca.withdrawal_told", EventSeverity.Information, $"{receiver} takes withdrawals again") { Peer = receiver });
                }

                pause = Interval;
            }
            catch (Exception e) when (e is HttpRequestException or StorageException or IOException || (e is OperationCanceledException && !_ended.IsCancellationRequested))
            {
                _services.Count("ca.withdrawal.not_told", 1);
                if (pause == Interval)
                {
                    _services.Report(new EngineEvent("ca.withdrawal_not_told", EventSeverity.Warning, $"{receiver} does not take a withdrawal and is told again: {e.Message}") { Peer = receiver, Rule = "TA-M37" });
                }

                pause = pause * 2 > LongestPause ? LongestPause : pause * 2;
            }
            catch (OperationCanceledException)
            {
                return;
            }

            await Task.Delay(pause, _services.Time, _ended.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
