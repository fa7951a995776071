using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Sojourn.Engine.Tls;

/// <summary>A certificate with its chain, and its key.</summary>
/// <param name="Chain">DER, the end's own first, without the anchor.</param>
/// <param name="PrivateKey">PKCS #8.</param>
public sealed record TlsIdentity(IReadOnlyList<ReadOnlyMemory<byte>> Chain, KeyMaterial PrivateKey);

/// <summary>
/// What all TLS connections of one purpose share: own identity and trust anchors. TLS 1.2 and 1.3, no session tickets, no
/// resumption (each access is authenticated in full), no renegotiation.
/// </summary>
/// <remarks>Randomness comes from OpenSSL itself, as with other cryptography of the platform; time is handed in with each connection.</remarks>
public sealed unsafe class TlsContext : IDisposable
{
    private nint _handle;

    /// <param name="identity">Null: a client without certificate.</param>
    /// <param name="anchors">DER. None: no peer with a certificate is believed.</param>
    /// <exception cref="CryptographicException">A certificate or key cannot be read, or they do not belong together.</exception>
    public TlsContext(TlsIdentity? identity, IEnumerable<ReadOnlyMemory<byte>> anchors)
    {
        Libssl.ERR_clear_error();
        _handle = Libssl.SSL_CTX_new(Libssl.TLS_method());
        Libssl.SSL_CTX_ctrl(_handle, Libssl.ControlMinimumVersion, new CLong(Libssl.Tls12), 0);
        Libssl.SSL_CTX_ctrl(_handle, Libssl.ControlSessionCache, new CLong(0), 0);
        Libssl.SSL_CTX_set_options(_handle, Libssl.NoTicket | Libssl.NoRenegotiation | Libssl.IgnoreUnexpectedEnd);
        try
        {
            if (Libssl.SSL_CTX_set_num_tickets(_handle, 0) != 1)
            {
                throw new CryptographicException("session tickets cannot be switched off: " + Libssl.TakeError());
            }

            if (identity is not null)
            {
                Use(identity);
            }

            var store = Libssl.SSL_CTX_get_cert_store(_handle);
            foreach (var anchor in anchors)
            {
                WithCertificate(anchor.Span, certificate =>
                    Libssl.X509_STORE_add_cert(store, certificate) == 1 && Libssl.SSL_CTX_add_client_CA(_handle, certificate) == 1);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The server's side of a connection.</summary>
    /// <param name="demandCertificate">The client has to prove itself with a certificate of the anchors.</param>
    /// <param name="now">What certificates are valid at.</param>
    public TlsSession Accept(bool demandCertificate, DateTimeOffset now) =>
        New(demandCertificate ? Libssl.VerifyPeer | Libssl.VerifyFailWithoutCertificate : Libssl.VerifyNone, null, isServer: true, now);

    /// <summary>The client's side of a connection. The server always has to prove itself.</summary>
    /// <param name="serverName">DNS name that the server's certificate must bear; null: any server of the anchors.</param>
    public TlsSession Connect(string? serverName, DateTimeOffset now) => New(Libssl.VerifyPeer, serverName, isServer: false, now);

    public void Dispose()
    {
        if (_handle != 0)
        {
            Libssl.SSL_CTX_free(_handle);
            _handle = 0;
        }
    }

    private TlsSession New(int verify, string? serverName, bool isServer, DateTimeOffset now)
    {
        ObjectDisposedException.ThrowIf(_handle == 0, this);
        Libssl.ERR_clear_error();
        var ssl = Libssl.SSL_new(_handle);
        Libssl.SSL_set_verify(ssl, verify, 0);
        Libssl.X509_VERIFY_PARAM_set_time(Libssl.SSL_get0_param(ssl), new CLong((nint)now.ToUnixTimeSeconds()));
        if (serverName is not null && Libssl.SSL_set1_host(ssl, serverName) != 1)
        {
            Libssl.SSL_free(ssl);
            throw new CryptographicException($"{serverName} is no DNS name");
        }

        if (isServer)
        {
            Libssl.SSL_set_accept_state(ssl);
        }
        else
        {
            Libssl.SSL_set_connect_state(ssl);
        }

        return new TlsSession(ssl);
    }

    private void Use(TlsIdentity identity)
    {
        for (var i = 0; i < identity.Chain.Count; i++)
        {
            var own = i == 0;
            WithCertificate(identity.Chain[i].Span, certificate => own
                ? Libssl.SSL_CTX_use_certificate(_handle, certificate) == 1
                : Libssl.SSL_CTX_ctrl(_handle, Libssl.ControlChainCertificate, new CLong(1), certificate).Value == 1);
        }

        fixed (byte* octets = identity.PrivateKey.Octets)
        {
            var key = Libssl.d2i_AutoPrivateKey(0, (nint)octets, new CLong(identity.PrivateKey.Length));

            // Refused also when the key is not that of the certificate.
            var taken = key != 0 && Libssl.SSL_CTX_use_PrivateKey(_handle, key) == 1;
            Libssl.EVP_PKEY_free(key);
            if (!taken)
            {
                throw new CryptographicException("the private key cannot be used: " + Libssl.TakeError());
            }
        }
    }

    private static void WithCertificate(ReadOnlySpan<byte> der, Func<nint, bool> use)
    {
        fixed (byte* octets = der)
        {
            var certificate = Libssl.d2i_X509(0, (nint)octets, new CLong(der.Length));
            var used = certificate != 0 && use(certificate);
            Libssl.X509_free(certificate);
            if (!used)
            {
                throw new CryptographicException("the certificate cannot be used: " + Libssl.TakeError());
            }
        }
    }
}
