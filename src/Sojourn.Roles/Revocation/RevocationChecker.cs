using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine;
using Sojourn.Engine.Revocation;
using Sojourn.Roles.Configuration;
using Sojourn.Roles.Enrolment;
using Sojourn.Wire.Cmp;

namespace Sojourn.Roles.Revocation;

/// <summary>
/// Asks whether certificates have been withdrawn: OCSP responders and CRLs over HTTP, in the order configured, until one knows
/// (spec authentication 7.6). CRLs are kept. May be called by any number of threads.
/// </summary>
public sealed class RevocationChecker : IDisposable
{
    private const string OcspRequestType = "application/ocsp-request", OcspResponseType = "application/ocsp-response";

    /// <summary>CRLs kept; addresses beyond them, which only an authority that is trusted can name, are fetched each time.</summary>
    private const int MostLists = 64;

    /// <summary>An address that could not be had is let alone for this long, so that a crowd of terminals does not wait for it one by one.</summary>
    private static readonly TimeSpan s_afterFault = TimeSpan.FromSeconds(1);

    private readonly RevocationSection _section;
    private readonly IReadOnlyList<CertificateFields> _authorities;
    private readonly TimeProvider _time;
    private readonly IRandomSource _random;
    private readonly HttpClient _http;
    private readonly ConcurrentDictionary<Uri, ListSlot> _lists = new();

    /// <param name="authorities">Whose certificates are asked about, and whose answers are believed.</param>
    /// <param name="local">Address that questions leave from; null = what the routing table says.</param>
    public RevocationChecker(RevocationSection section, IEnumerable<X509Certificate2> authorities, TimeProvider time, IRandomSource random, IPAddress? local = null)
    {
        (_section, _time, _random) = (section, time, random);
        _authorities = [.. authorities.Select(a => CertificateFields.TryParse(a.RawData, out var fields, out _) ? fields : null).OfType<CertificateFields>()];
        _http = LocalHttp.Client(local, section.Timeout, CmpLimits.RevocationList);
    }

    private sealed class ListSlot
    {
        public SemaphoreSlim Gate { get; } = new(1);

        public RevocationList? List { get; set; }

        public DateTimeOffset FetchAgain { get; set; } = DateTimeOffset.MinValue;

        public string Fault { get; set; } = "";
    }

    /// <summary>Never throws but when <paramref name="cancellation"/> says so.</summary>
    /// <param name="certificate">DER; of an authority that is trusted here, directly.</param>
    public async Task<RevocationAnswer> AskAsync(ReadOnlyMemory<byte> certificate, CancellationToken cancellation = default)
    {
        if (!CertificateFields.TryParse(certificate, out var fields, out var error))
        {
            return RevocationAnswer.Unknown($"the certificate cannot be read: {error}");
        }

        if (CertificateIssuers.Of(fields, _authorities) is not { } issuer)
        {
            return RevocationAnswer.Unknown("the certificate's issuer is none of the authorities trusted here");
        }

        var places = StatusLocations.Of(fields);
        var reasons = new List<string>();
        foreach (var method in _section.Order)
        {
            var answer = method == RevocationMethod.Ocsp
                ? await TryEachAsync(_section.OcspUri is { } responder ? [new Uri(responder)] : places.Ocsp, "no OCSP responder is named", uri => AskResponderAsync(uri, fields, issuer, cancellation)).ConfigureAwait(false)
                : await TryEachAsync(_section.CrlUri is { } list ? [new Uri(list)] : places.Lists, "no CRL is named", uri => AskListAsync(uri, fields, issuer, cancellation)).ConfigureAwait(false);
            if (answer.Status != RevocationStatus.Unknown)
            {
                return answer;
            }

            reasons.Add(answer.Text);
        }

        return RevocationAnswer.Unknown(string.Join("; ", reasons));
    }

    public void Dispose() => _http.Dispose();

    private static async Task<RevocationAnswer> TryEachAsync(IReadOnlyList<Uri> places, string otherwise, Func<Uri, Task<RevocationAnswer>> ask)
    {
        var answer = RevocationAnswer.Unknown(otherwise);
        foreach (var place in places)
        {
            answer = await ask(place).ConfigureAwait(false);
            if (answer.Status != RevocationStatus.Unknown)
            {
                break;
            }
        }

        return answer;
    }

    private async Task<RevocationAnswer> AskResponderAsync(Uri responder, CertificateFields certificate, CertificateFields issuer, CancellationToken cancellation)
    {
        var question = new OcspQuestion(certificate, issuer, _random, !_section.NonceOptional);
        using var content = new ReadOnlyMemoryContent(question.Request);
        content.Headers.ContentType = new MediaTypeHeaderValue(OcspRequestType);
        using var request = new HttpRequestMessage(HttpMethod.Post, responder) { Content = content };
        var (octets, fault) = await SendAsync(request, OcspResponseType, cancellation).ConfigureAwait(false);
        return octets is null ? RevocationAnswer.Unknown(fault) : question.Judge(octets, _time.GetUtcNow());
    }

    private async Task<RevocationAnswer> AskListAsync(Uri place, CertificateFields certificate, CertificateFields issuer, CancellationToken cancellation)
    {
        var slot = _lists.TryGetValue(place, out var kept) ? kept : _lists.Count < MostLists ? _lists.GetOrAdd(place, _ => new ListSlot()) : new ListSlot();
        await slot.Gate.WaitAsync(cancellation).ConfigureAwait(false);
        try
        {
            var now = _time.GetUtcNow();
            if (now >= slot.FetchAgain)
            {
                using var request = new HttpRequestMessage(HttpMethod.Get, place);
                var (octets, fault) = await SendAsync(request, null, cancellation).ConfigureAwait(false);
                now = _time.GetUtcNow();
                if (octets is not null && RevocationList.Take(octets, issuer, now, out fault) is { } list)
                {
                    (slot.List, slot.FetchAgain) = (list, now + _section.CrlRefresh < list.Until ? now + _section.CrlRefresh : list.Until);
                }
                else
                {
                    (slot.Fault, slot.FetchAgain) = (fault, now + s_afterFault);
                }
            }

            // A list that cannot be fetched anew counts to its end (RFC 5280 5.1.2.5).
            return slot.List is { } current && current.Until > now ? current.Judge(certificate) : RevocationAnswer.Unknown(slot.Fault);
        }
        finally
        {
            slot.Gate.Release();
        }
    }

    /// <param name="type">Media type the answer must have; null = any.</param>
    private async Task<(byte[]? Octets, string Fault)> SendAsync(HttpRequestMessage request, string? type, CancellationToken cancellation)
    {
        var place = request.RequestUri;
        try
        {
            using var response = await _http.SendAsync(request, cancellation).ConfigureAwait(false);
            return !response.IsSuccessStatusCode ? (null, $"{place} answers with HTTP status {(int)response.StatusCode}")
                : type is not null && response.Content.Headers.ContentType?.MediaType != type ? (null, $"{place} does not answer with {type}")
                : (await response.Content.ReadAsByteArrayAsync(cancellation).ConfigureAwait(false), "");
        }
        catch (Exception e) when (e is HttpRequestException or IOException or SocketException || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            return (null, $"{place} does not answer: {(e is OperationCanceledException ? $"silent for {_section.Timeout.TotalSeconds:0.#} s" : e.GetBaseException().Message)}");
        }
    }
}
