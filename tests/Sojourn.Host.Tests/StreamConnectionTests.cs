using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Roles.Diameter;
using Xunit;

namespace Sojourn.Host.Tests;

public sealed class StreamConnectionTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    [Fact]
    public async Task A_connection_whose_peer_broke_the_tls_session_closes_without_an_error()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var peer = new TcpClient();
        await peer.ConnectAsync((IPEndPoint)listener.LocalEndpoint);
        using var socket = await listener.AcceptSocketAsync();
        using var certificate = Certificate();
        await using var theirs = new SslStream(peer.GetStream(), leaveInnerStreamOpen: true, (_, _, _, _) => true);
        await using var ours = new SslStream(new NetworkStream(socket));
        await Task.WhenAll(theirs.AuthenticateAsClientAsync("peer.example"), ours.AuthenticateAsServerAsync(certificate)).WaitAsync(Patience);
        var connection = new StreamConnection(1, (IPEndPoint)socket.RemoteEndPoint!, socket, maximumQueued: 1024) { IsAnnounced = true };

        // A record that does not decrypt: OpenSSL gives the session up, and refuses to send close_notify for it.
        await peer.GetStream().WriteAsync((byte[])[23, 3, 3, 0, 32, .. new byte[32]]);
        var reason = await connection.ReadAsync(ours, _ => { }).WaitAsync(Patience);
        connection.CloseGracefully(Patience);
        await connection.WriteAsync(ours).WaitAsync(Patience);

        Assert.NotEqual("closed by peer", reason);
        Assert.True(connection.Finished.IsCompletedSuccessfully);
    }

    private static X509Certificate2 Certificate()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=peer.example", key, HashAlgorithmName.SHA256);
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(1));
    }
}
