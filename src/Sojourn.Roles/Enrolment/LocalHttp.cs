using System.Net;
using System.Net.Sockets;

namespace Sojourn.Roles.Enrolment;

/// <summary>HTTP to a certification authority, from a given address: a terminal asks from its care-of address before it has another.</summary>
internal static class LocalHttp
{
    /// <param name="local">Address that requests leave from; null = what the routing table says.</param>
    /// <param name="limit">Of a connection and of a whole answer.</param>
    /// <param name="longest">Octets of an answer.</param>
    public static HttpClient Client(IPAddress? local, TimeSpan limit, int longest) => new(new SocketsHttpHandler
    {
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false,
        MaxResponseHeadersLength = 16,
        MaxConnectionsPerServer = 16,
        ConnectTimeout = limit,
        ConnectCallback = (context, cancellation) => ConnectAsync(context.DnsEndPoint, local, cancellation),
    })
    {
        Timeout = limit,
        MaxResponseContentBufferSize = longest,
    };

    private static async ValueTask<Stream> ConnectAsync(DnsEndPoint authority, IPAddress? local, CancellationToken cancellation)
    {
        var addresses = IPAddress.TryParse(authority.Host, out var literal) ? [literal] : await Dns.GetHostAddressesAsync(authority.Host, cancellation).ConfigureAwait(false);
        SocketException? last = null;
        foreach (var address in addresses.Where(a => local is null || a.AddressFamily == local.AddressFamily))
        {
            var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                if (local is not null)
                {
                    socket.Bind(new IPEndPoint(local, 0));
                }

                await socket.ConnectAsync(new IPEndPoint(address, authority.Port), cancellation).ConfigureAwait(false);
                return new NetworkStream(socket, ownsSocket: true);
            }
            catch (SocketException e)
            {
                socket.Dispose();
                last = e;
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }

        throw last ?? new SocketException((int)SocketError.AddressFamilyNotSupported);
    }
}
