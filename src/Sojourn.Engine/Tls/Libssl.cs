using System.Runtime.InteropServices;

namespace Sojourn.Engine.Tls;

/// <summary>
/// What of OpenSSL 3 a TLS connection over memory needs. The platform's SslStream wants a stream of its own and exports no keys
/// (RFC 5705), which EAP lives by. Nothing here opens a file or a socket.
/// </summary>
internal static partial class Libssl
{
    public const int VerifyNone = 0, VerifyPeer = 1, VerifyFailWithoutCertificate = 2;
    public const int ControlMinimumVersion = 123, ControlChainCertificate = 89, ControlSessionCache = 44;
    public const int Tls12 = 0x0303, Tls13 = 0x0304;
    public const int ErrorWantRead = 2;
    public const ulong NoTicket = 1UL << 14, NoRenegotiation = 1UL << 30, IgnoreUnexpectedEnd = 1UL << 7;

    private const string Ssl = "libssl.so.3", Crypto = "libcrypto.so.3";

    /// <summary>The last error of this thread, and forgets them all. OpenSSL's texts name no secrets.</summary>
    public static string TakeError()
    {
        var code = ERR_get_error();
        ERR_clear_error();
        return code.Value == 0 ? "no reason given" : Marshal.PtrToStringUTF8(ERR_reason_error_string(code)) ?? "unknown reason";
    }

    [LibraryImport(Ssl)]
    public static partial nint TLS_method();

    [LibraryImport(Ssl)]
    public static partial nint SSL_CTX_new(nint method);

    [LibraryImport(Ssl)]
    public static partial void SSL_CTX_free(nint context);

    [LibraryImport(Ssl)]
    public static partial CLong SSL_CTX_ctrl(nint context, int command, CLong number, nint value);

    [LibraryImport(Ssl)]
    public static partial ulong SSL_CTX_set_options(nint context, ulong options);

    [LibraryImport(Ssl)]
    public static partial int SSL_CTX_set_num_tickets(nint context, nuint count);

    [LibraryImport(Ssl)]
    public static partial int SSL_CTX_use_certificate(nint context, nint certificate);

    [LibraryImport(Ssl)]
    public static partial int SSL_CTX_use_PrivateKey(nint context, nint key);

    [LibraryImport(Ssl)]
    public static partial nint SSL_CTX_get_cert_store(nint context);

    [LibraryImport(Ssl)]
    public static partial int SSL_CTX_add_client_CA(nint context, nint certificate);

    [LibraryImport(Ssl)]
    public static partial nint SSL_new(nint context);

    [LibraryImport(Ssl)]
    public static partial void SSL_free(nint ssl);

    [LibraryImport(Ssl)]
    public static partial void SSL_set_bio(nint ssl, nint read, nint write);

    [LibraryImport(Ssl)]
    public static partial void SSL_set_accept_state(nint ssl);

    [LibraryImport(Ssl)]
    public static partial void SSL_set_connect_state(nint ssl);

    [LibraryImport(Ssl)]
    public static partial void SSL_set_verify(nint ssl, int mode, nint callback);

    [LibraryImport(Ssl, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int SSL_set1_host(nint ssl, string name);

    [LibraryImport(Ssl)]
    public static partial nint SSL_get0_param(nint ssl);

    [LibraryImport(Ssl)]
    public static partial CLong SSL_get_verify_result(nint ssl);

    [LibraryImport(Ssl)]
    public static partial int SSL_do_handshake(nint ssl);

    [LibraryImport(Ssl)]
    public static partial int SSL_read(nint ssl, Span<byte> octets, int count);

    [LibraryImport(Ssl)]
    public static partial int SSL_write(nint ssl, ReadOnlySpan<byte> octets, int count);

    [LibraryImport(Ssl)]
    public static partial int SSL_get_error(nint ssl, int result);

    [LibraryImport(Ssl)]
    public static partial int SSL_version(nint ssl);

    [LibraryImport(Ssl)]
    public static partial nint SSL_get1_peer_certificate(nint ssl);

    [LibraryImport(Ssl)]
    public static partial int SSL_export_keying_material(nint ssl, Span<byte> output, nuint length, ReadOnlySpan<byte> label, nuint labelLength, ReadOnlySpan<byte> context, nuint contextLength, int useContext);

    [LibraryImport(Crypto)]
    public static partial nint BIO_s_mem();

    [LibraryImport(Crypto)]
    public static partial nint BIO_new(nint method);

    [LibraryImport(Crypto)]
    public static partial int BIO_free(nint bio);

    [LibraryImport(Crypto)]
    public static partial int BIO_read(nint bio, Span<byte> octets, int count);

    [LibraryImport(Crypto)]
    public static partial int BIO_write(nint bio, ReadOnlySpan<byte> octets, int count);

    [LibraryImport(Crypto)]
    public static partial nuint BIO_ctrl_pending(nint bio);

    [LibraryImport(Crypto)]
    public static partial nint d2i_X509(nint into, in nint octets, CLong length);

    [LibraryImport(Crypto)]
    public static partial int i2d_X509(nint certificate, ref nint into);

    [LibraryImport(Crypto)]
    public static partial void X509_free(nint certificate);

    [LibraryImport(Crypto)]
    public static partial int X509_STORE_add_cert(nint store, nint certificate);

    [LibraryImport(Crypto)]
    public static partial void X509_VERIFY_PARAM_set_time(nint parameters, CLong secondsSince1970);

    [LibraryImport(Crypto)]
    public static partial nint X509_verify_cert_error_string(CLong error);

    [LibraryImport(Crypto)]
    public static partial nint d2i_AutoPrivateKey(nint into, in nint octets, CLong length);

    [LibraryImport(Crypto)]
    public static partial void EVP_PKEY_free(nint key);

    [LibraryImport(Crypto)]
    private static partial CULong ERR_get_error();

    [LibraryImport(Crypto)]
    public static partial void ERR_clear_error();

    [LibraryImport(Crypto)]
    private static partial nint ERR_reason_error_string(CULong code);
}
