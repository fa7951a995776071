using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using Sojourn.Engine;
using Sojourn.Engine.Enrolment;
using Sojourn.Wire.Cmp;

namespace Sojourn.Roles.Enrolment;

/// <summary>
/// Carries CMP exchanges to an authority over HTTP (RFC 9811) and keeps what they bring in a <see cref="CredentialStore"/>: how a
/// terminal (TA1.105 to 107a), a home agent (TA1.181 to 183) or an operator gets, renews and withdraws a certificate.
/// </summary>
/// <remarks>CMP protects its messages itself: http and https serve alike.</remarks>
public sealed class CmpClient : IDisposable
{
    private const string MediaType = "application/pkixcmp";
    private const string WellKnownPath = "/.well-known/cmp";
    private static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(15);

    private readonly HttpClient _http;
    private readonly Uri _address;
    private readonly TimeProvider _time;
    private readonly IRandomSource _random;

    /// <param name="authority">e.g. <c>http://ca.home.example</c>; without a path the well-known one is used.</param>
    /// <param name="local">Address that requests leave from, such as a care-of address; null = what the routing table says.</param>
    /// <exception cref="ArgumentException">The address is no http or https URI.</exception>
    public CmpClient(Uri authority, IPAddress? local = null, TimeProvider? time = null, IRandomSource? random = null)
    {
        if (!authority.IsAbsoluteUri || authority.Scheme is not ("http" or "https"))
        {
            throw new ArgumentException("the authority's address begins with http:// or https://", nameof(authority));
        }

        _address = authority.AbsolutePath == "/" ? new Uri(authority, WellKnownPath) : authority;
        _time = time ?? TimeProvider.System;
        _random = random ?? SystemRandomSource.Instance;
        _http = LocalHttp.Client(local, AnswerLimit, CmpLimits.Message);
    }

    /// <summary>Carries an exchange to its end.</summary>
    /// <exception cref="OperationCanceledException">Only when <paramref name="cancellation"/> says so.</exception>
    public async Task<CmpEnd> RunAsync(CmpExchange exchange, CancellationToken cancellation = default)
    {
        var step = exchange.Begin(_time.GetUtcNow());
        while (step is CmpSend send)
        {
            if (send.After > TimeSpan.Zero)
            {
                await Task.Delay(send.After, _time, cancellation).ConfigureAwait(false);
            }

            try
            {
                var (answer, fault) = await PostAsync(send.Message, cancellation).ConfigureAwait(false);
                if (answer is null)
                {
                    return new CmpUnreachable($"{_address} {fault}");
                }

                step = exchange.Receive(answer, _time.GetUtcNow());
            }
            catch (Exception e) when (e is HttpRequestException or IOException or SocketException || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
            {
                return new CmpUnreachable($"{_address} does not answer: {(e is OperationCanceledException ? $"silent for {AnswerLimit.TotalSeconds:F0} s" : e.GetBaseException().Message)}");
            }
        }

        return (CmpEnd)step;
    }

    /// <summary>Why an exchange that should bring a certificate brought none; null = it did.</summary>
    public static string? RefusalOf(CmpEnd end) => end switch
    {
        CmpIssued => null,
        CmpRefused refused => refused.Reason,
        CmpUnreachable unreachable => unreachable.Reason,
        _ => $"the authority answered with {end.GetType().Name}",
    };

    /// <summary>First certificate for the key of a store, with an enrolment secret (ir); it is in the store when this ends with <see cref="CmpIssued"/>.</summary>
    /// <param name="reference">What the authority knows the secret by.</param>
    /// <exception cref="CredentialStoreException">The certificate cannot be written.</exception>
    public async Task<CmpEnd> EnrolAsync(CredentialStore store, string reference, KeyMaterial secret, bool implicitConfirmation = false, CancellationToken cancellation = default)
    {
        var requester = CmpRequester.BySecret(reference, secret, store.Authorities);
        var wish = new CertificateWish(CertificateRequestKind.Initial, store.Identifier, store.Key, implicitConfirmation);
        var end = await RunAsync(CmpExchange.Certificate(requester, wish, _random), cancellation).ConfigureAwait(false);
        if (end is CmpIssued issued)
        {
            store.Save(issued);
        }

        return end;
    }

    /// <summary>
    /// A new key of the same kind and its certificate, asked for with the old key (kur, TA-M36). The store changes when all is done:
    /// what breaks off before leaves the old key in force, and the update can be tried again.
    /// </summary>
    /// <exception cref="CredentialStoreException">The store has no certificate yet, or cannot be written.</exception>
    public async Task<CmpEnd> UpdateAsync(CredentialStore store, bool implicitConfirmation = false, CancellationToken cancellation = default)
    {
        using var next = store.MakeKey();
        var wish = new CertificateWish(CertificateRequestKind.KeyUpdate, store.Identifier, next.Key, implicitConfirmation);
        var end = await RunAsync(CmpExchange.Certificate(ByCertificate(store), wish, _random), cancellation).ConfigureAwait(false);
        if (end is CmpIssued issued)
        {
            store.Save(issued, next);
        }

        return end;
    }

    /// <summary>Has the store's certificate withdrawn (rr, TA-M37). The store keeps it.</summary>
    /// <param name="reason">CRLReason (RFC 5280 5.3.1).</param>
    /// <exception cref="CredentialStoreException">The store has no certificate.</exception>
    public Task<CmpEnd> RevokeAsync(CredentialStore store, int reason, CancellationToken cancellation = default) =>
        RunAsync(CmpExchange.Revocation(ByCertificate(store), store.Certificate!, reason, _random), cancellation);

    /// <summary>The authorities' certificates (genm caCerts, TA-M39), asked for with the store's certificate.</summary>
    /// <exception cref="CredentialStoreException">The store has no certificate.</exception>
    public Task<CmpEnd> AuthorityCertificatesAsync(CredentialStore store, CancellationToken cancellation = default) =>
        RunAsync(CmpExchange.AuthorityCertificates(ByCertificate(store), _random), cancellation);

    public void Dispose() => _http.Dispose();

    private static CmpRequester ByCertificate(CredentialStore store) =>
        CmpRequester.ByCertificate(store.ToCredential() ?? throw new CredentialStoreException($"{store.Path} holds no certificate yet"), store.Authorities);

    /// <returns>The answer, or why there is none.</returns>
    private async Task<(byte[]? Answer, string? Fault)> PostAsync(ReadOnlyMemory<byte> message, CancellationToken cancellation)
    {
        using var content = new ReadOnlyMemoryContent(message);
        content.Headers.ContentType = new MediaTypeHeaderValue(MediaType);
        using var response = await _http.PostAsync(_address, content, cancellation).ConfigureAwait(false);

        // An error message of CMP may come with a status of 4xx or 5xx (RFC 9811 section 3.1).
        return response.Content.Headers.ContentType?.MediaType == MediaType ? (await response.Content.ReadAsByteArrayAsync(cancellation).ConfigureAwait(false), null)
            : response.IsSuccessStatusCode ? (null, $"does not speak CMP: {response.Content.Headers.ContentType?.MediaType ?? "no media type"}")
            : (null, $"answers with HTTP status {(int)response.StatusCode}");
    }
}
