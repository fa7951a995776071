using System.Net;

namespace Sojourn.Roles.Configuration;

public sealed class CaSection : OptionSection
{
    [Option("Database of the authority, made with `sojourn ca init`. Changes made with `sojourn ca …` count at once.", Required = true, File = FileUse.Read, Example = "ca.db")]
    public FileReference Database { get; set; } = null!;

    [Option("File of the key that seals the authority's key and the enrolment secrets.", File = FileUse.Private, Otherwise = "the database's name with `.seal-key` added")]
    public FileReference? DatabaseKeyFile { get; set; }

    [Option("Where CMP (POST /.well-known/cmp), the CRL and OCSP are served over HTTP. Their messages protect themselves.", Required = true, Example = "192.0.2.10:80")]
    public List<IPEndPoint> Listen { get; set; } = [];

    [Option("How others reach this server, e.g. http://ca.home.example. Certificates say with it where the CRL and OCSP are.", Example = "http://ca.home.example", Otherwise = "certificates do not say where their status can be asked for")]
    public string? PublicUri { get; set; }

    [Option("Lifetime of certificates; never longer than the authority's own.", Minimum = "1m", Maximum = "3650d")]
    public TimeSpan CertificateLifetime { get; set; } = TimeSpan.FromDays(90);

    [Option("How long a confirmation is awaited before the certificate is revoked (spec TA-M32).", Minimum = "1s", Maximum = "1h")]
    public TimeSpan ConfirmationWait { get; set; } = TimeSpan.FromMinutes(1);

    [Option("Grant implicit confirmation to whoever asks for it (RFC 9810 5.1.1.1).")]
    public bool ImplicitConfirmation { get; set; } = true;

    [Option("How far a message's time may be off this node's clock.", Minimum = "10s", Maximum = "1h")]
    public TimeSpan TimeTolerance { get; set; } = TimeSpan.FromMinutes(5);

    [Option("How long a CRL is good for; it is made anew after half of that, and after every revocation.", Minimum = "1m", Maximum = "30d")]
    public TimeSpan CrlLifetime { get; set; } = TimeSpan.FromDays(1);

    [Option("Most requests a second from one IPv4 address or IPv6 /64, in the long run; ten times as many at once. More are answered with 429.", Minimum = "1", Maximum = "100000")]
    public int RequestsPerSource { get; set; } = 200;

    [Option("Most connections at one time.", Minimum = "1", Maximum = "100000")]
    public int MaximumConnections { get; set; } = 1000;

    [Option("Queries of delegating routers and home agents: HTTPS with TLS 1.3 and certificates on both sides (spec 7.9).", Otherwise = "nobody can ask for permissions")]
    public CaQueriesSection? Queries { get; set; }
}

public sealed class CaQueriesSection : OptionSection
{
    [Option("Where queries are taken (POST /v1/permission).", Required = true, Example = "192.0.2.10:8444")]
    public List<IPEndPoint> Listen { get; set; } = [];

    [Option("Certificate of this server and the authority that the askers' certificates come from; that may be this authority.", Required = true)]
    public TlsOptions Tls { get; set; } = null!;

    [Option("Who may ask.", Required = true, Unique = nameof(CaAskerOptions.Name))]
    public List<CaAskerOptions> Askers { get; set; } = [];
}

public sealed class CaAskerOptions : OptionSection
{
    [Option("DNS name in the asker's certificate.", Required = true, Syntax = TextSyntax.Fqdn, Example = "dr1.home.example")]
    public string Name { get; set; } = "";

    [Option("Where the asker takes withdrawals (Q3).", Example = "https://dr1.home.example:8445/v1/withdrawal", Otherwise = "it learns of withdrawals when it asks the next time")]
    public string? WithdrawalUri { get; set; }
}
