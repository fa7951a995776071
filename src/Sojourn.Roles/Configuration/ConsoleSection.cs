using System.Net;

namespace Sojourn.Roles.Configuration;

public sealed class ConsoleSection : OptionSection
{
    [Option("Address the web server listens on.")]
    public IPAddress Address { get; set; } = IPAddress.Loopback;

    [Option("TCP port of the web server.", Minimum = "1", Maximum = "65535")]
    public int Port { get; set; } = 8443;

    [Option("Certificate chain of the web server, PEM.", File = FileUse.Read, Example = "tls/console.crt", Otherwise = "an error, unless plain-http is set")]
    public FileReference? CertificateFile { get; set; }

    [Option("Private key of the certificate, PEM.", File = FileUse.Private, Example = "tls/console.key", Otherwise = "an error, unless plain-http is set")]
    public FileReference? KeyFile { get; set; }

    [Option("HTTP without TLS, on a loopback address only. For laboratories. Shown in status.")]
    public bool PlainHttp { get; set; }

    [Option("Quiet time after which a subscriber must log in again.", Minimum = "1m", Maximum = "12h")]
    public TimeSpan IdleTimeout { get; set; } = TimeSpan.FromMinutes(10);

    [Option("Time after which a subscriber must log in again in any case.", Minimum = "1m", Maximum = "7d")]
    public TimeSpan SessionLifetime { get; set; } = TimeSpan.FromHours(8);

    [Option("Most connections at one time; one source may have 32.", Minimum = "1", Maximum = "10000")]
    public int MaximumConnections { get; set; } = 200;
}
