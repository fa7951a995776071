using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Sojourn.Engine.Tls;

public enum TlsProgress : byte
{
    /// <summary>More of the peer is needed.</summary>
    Continues,

    /// <summary>Both have proved what they had to; application data may flow.</summary>
    Finished,

    /// <summary>It is over; what <see cref="TlsSession.TakeOutput"/> gives is the alert.</summary>
    Failed,
}

/// <summary>
/// One TLS connection without a wire: octets of the peer go in with <see cref="Receive"/>, octets for the peer come out with
/// <see cref="TakeOutput"/>. Whoever carries them may be EAP.
/// </summary>
public sealed unsafe class TlsSession : IDisposable
{
    private readonly nint _in, _out;
    private nint _ssl;
    private TlsProgress _progress;

    internal TlsSession(nint ssl)
    {
        _ssl = ssl;
        _in = Libssl.BIO_new(Libssl.BIO_s_mem());
        _out = Libssl.BIO_new(Libssl.BIO_s_mem());
        Libssl.SSL_set_bio(ssl, _in, _out); // which frees them with the connection
    }

    /// <summary>Why the connection failed, for the log.</summary>
    public string Failure { get; private set; } = "";

    public bool IsTls13 => Libssl.SSL_version(Alive) == Libssl.Tls13;

    /// <summary>The peer's certificate; null when it has shown none. Verified once the handshake has finished.</summary>
    public X509Certificate2? PeerCertificate
    {
        get
        {
            var certificate = Libssl.SSL_get1_peer_certificate(Alive);
            if (certificate == 0)
            {
                return null;
            }

            nint at = 0;
            var der = new byte[Libssl.i2d_X509(certificate, ref at)];
            fixed (byte* octets = der)
            {
                at = (nint)octets;
                Libssl.i2d_X509(certificate, ref at);
            }

            Libssl.X509_free(certificate);
            return X509CertificateLoader.LoadCertificate(der);
        }
    }

    private nint Alive
    {
        get
        {
            ObjectDisposedException.ThrowIf(_ssl == 0, this);
            return _ssl;
        }
    }

    /// <summary>Takes what the peer sent, none at a client's beginning, and goes on with the handshake as far as that leads.</summary>
    public TlsProgress Receive(ReadOnlySpan<byte> octets)
    {
        var ssl = Alive;
        if (!octets.IsEmpty)
        {
            Libssl.BIO_write(_in, octets, octets.Length);
        }

        if (_progress == TlsProgress.Continues)
        {
            Libssl.ERR_clear_error();
            var result = Libssl.SSL_do_handshake(ssl);
            if (result == 1)
            {
                _progress = TlsProgress.Finished;
            }
            else if (Libssl.SSL_get_error(ssl, result) != Libssl.ErrorWantRead)
            {
                Fail();
            }
        }

        return _progress;
    }

    /// <summary>Application data that has come in, empty when there is none. A fault in it ends the connection, see <see cref="Receive"/>.</summary>
    public byte[] Read()
    {
        var ssl = Alive;
        var read = new List<byte>();
        Span<byte> buffer = stackalloc byte[2048];
        while (_progress == TlsProgress.Finished)
        {
            Libssl.ERR_clear_error();
            var count = Libssl.SSL_read(ssl, buffer, buffer.Length);
            if (count <= 0)
            {
                if (Libssl.SSL_get_error(ssl, count) != Libssl.ErrorWantRead)
                {
                    Fail();
                }

                break;
            }

            read.AddRange(buffer[..count]);
        }

        CryptographicOperations.ZeroMemory(buffer);
        return [.. read];
    }

    /// <summary>Application data for the peer.</summary>
    public void Write(ReadOnlySpan<byte> octets)
    {
        if (_progress != TlsProgress.Finished || Libssl.SSL_write(Alive, octets, octets.Length) != octets.Length)
        {
            throw new InvalidOperationException("the connection does not stand");
        }
    }

    /// <summary>What has to go to the peer; empty when there is nothing.</summary>
    public byte[] TakeOutput()
    {
        _ = Alive;
        var octets = new byte[(int)Libssl.BIO_ctrl_pending(_out)];
        return octets.Length == 0 || Libssl.BIO_read(_out, octets, octets.Length) == octets.Length ? octets : throw new InvalidOperationException("memory gave less than it held");
    }

    /// <summary>Keys that only the two ends can compute (RFC 5705, RFC 8446 7.5).</summary>
    /// <param name="context">Null: without context, which in TLS 1.2 is another value than an empty one.</param>
    public KeyMaterial Export(ReadOnlySpan<byte> label, byte[]? context, int length)
    {
        var octets = new byte[length];
        if (Libssl.SSL_export_keying_material(Alive, octets, (nuint)length, label, (nuint)label.Length, context, (nuint)(context?.Length ?? 0), context is null ? 0 : 1) != 1)
        {
            throw new CryptographicException("no keys can be exported: " + Libssl.TakeError());
        }

        var keys = new KeyMaterial(octets);
        CryptographicOperations.ZeroMemory(octets);
        return keys;
    }

    public void Dispose()
    {
        if (_ssl != 0)
        {
            Libssl.SSL_free(_ssl);
            _ssl = 0;
        }
    }

    private void Fail()
    {
        _progress = TlsProgress.Failed;
        var verified = Libssl.SSL_get_verify_result(_ssl);
        var reason = Libssl.TakeError();
        Failure = verified.Value == 0 ? reason : $"{reason}: {Marshal.PtrToStringUTF8(Libssl.X509_verify_cert_error_string(verified))}";
    }
}
