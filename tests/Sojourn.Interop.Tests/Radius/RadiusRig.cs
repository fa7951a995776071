using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Xunit;

namespace Sojourn.Interop.Tests.Radius;

/// <summary>Runs only where FreeRADIUS and its clients are installed.</summary>
internal sealed class RadiusFactAttribute : FactAttribute
{
    public RadiusFactAttribute() => Skip = RadiusRig.Missing;
}

/// <inheritdoc cref="RadiusFactAttribute"/>
internal sealed class RadiusTheoryAttribute : TheoryAttribute
{
    public RadiusTheoryAttribute() => Skip = RadiusRig.Missing;
}

/// <summary>A folder with an authority, certificates of as.home.example, mn1 and mn2, and what programs say and need. Loopback only.</summary>
internal sealed class RadiusRig : IDisposable
{
    public const string Secret = "s3cr3t-between-both", User = "alice", Password = "correct horse battery", Station = "02:00:00:00:00:01";

    private readonly List<Process> _processes = [];

    public RadiusRig()
    {
        using var ca = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Access CA", ca, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var anchor = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(10));
        File.WriteAllText(At("ca.pem"), anchor.ExportCertificatePem());
        foreach (var name in new[] { "as", "mn1", "mn2" })
        {
            Issue(anchor, name);
        }

        WritePrivate("secret", Convert.ToHexString(System.Text.Encoding.ASCII.GetBytes(Secret)));
    }

    public static string? Missing { get; } = new[] { "/usr/sbin/freeradius", "/usr/bin/radclient", "/usr/bin/eapol_test" }.FirstOrDefault(f => !File.Exists(f)) is { } missing ? $"{missing} is not installed" : null;

    public string Folder { get; } = Directory.CreateTempSubdirectory("sojourn-radius-").FullName;

    public int Port { get; } = FreePort();

    public string At(string name) => Path.Combine(Folder, name);

    public void WritePrivate(string name, string text)
    {
        File.WriteAllText(At(name), text);
        File.SetUnixFileMode(At(name), UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    /// <summary>A supplicant's configuration. The tunnel's method decides: PAP in TTLS, or a certificate.</summary>
    public string Supplicant(string? password, string certificate = "mn1", string? phase2 = "auth=PAP")
    {
        var name = $"supplicant-{Guid.NewGuid():N}.conf";
        var method = password is null
            ? $"""
              eap=TLS
              identity="{certificate}.home.example"
              client_cert="{At(certificate + ".crt")}"
              private_key="{At(certificate + ".key")}"
              phase1="tls_disable_tlsv1_3=0"
            """
            : $"""
              eap=TTLS
              identity="{User}"
              anonymous_identity="anonymous"
              password="{password}"
              phase2="{phase2}"
            """;
        File.WriteAllText(At(name), $"network={{\n  key_mgmt=IEEE8021X\n{method}\n  ca_cert=\"{At("ca.pem")}\"\n  domain_match=\"as.home.example\"\n  fragment_size=300\n}}\n");
        return At(name);
    }

    /// <summary>eapol_test against the port; 0 and SUCCESS, with its keys compared with those in the Access-Accept.</summary>
    public Task<(int Status, string Output)> EapolTest(string supplicant, string station = Station, string secret = Secret) =>
        RunAsync("/usr/bin/eapol_test", "", "-c", supplicant, "-a", "127.0.0.1", "-p", $"{Port}", "-s", secret, "-M", station, "-t", "15");

    public Task<(int Status, string Output)> Radclient(string attributes, string secret = Secret) =>
        RunAsync("/usr/bin/radclient", attributes, "-x", "-r", "1", "-t", "3", $"127.0.0.1:{Port}", "auth", secret);

    /// <summary>FreeRADIUS with EAP-TTLS/PAP, EAP-TLS and User-Password, in the foreground.</summary>
    public async Task StartFreeRadiusAsync()
    {
        Directory.CreateDirectory(At("run"));
        File.WriteAllText(At("users"), $"{User} Cleartext-Password := \"{Password}\"\n");
        File.WriteAllText(At("radiusd.conf"), Configuration());
        var process = Process.Start(new ProcessStartInfo("/usr/sbin/freeradius", ["-d", Folder, "-n", "radiusd", "-f", "-l", At("freeradius.log")]) { WorkingDirectory = Folder })!;
        _processes.Add(process);
        for (var i = 0; i < 100 && !(await Radclient($"User-Name = \"{User}\", User-Password = \"{Password}\", Message-Authenticator = 0x00")).Output.Contains("Access-Accept", StringComparison.Ordinal); i++)
        {
            Assert.False(process.HasExited, File.Exists(At("freeradius.log")) ? File.ReadAllText(At("freeradius.log")) : "freeradius ended");
            await Task.Delay(100);
        }
    }

    public void Dispose()
    {
        foreach (var process in _processes)
        {
            process.Kill();
            process.WaitForExit();
            process.Dispose();
        }

        Directory.Delete(Folder, recursive: true);
    }

    private static int FreePort()
    {
        using var free = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        free.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)free.LocalEndPoint!).Port;
    }

    private static async Task<(int Status, string Output)> RunAsync(string program, string input, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true })!;
        await process.StandardInput.WriteLineAsync(input);
        process.StandardInput.Close();
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        await process.WaitForExitAsync(limit.Token);
        return (process.ExitCode, await output + await error);
    }

    private void Issue(X509Certificate2 anchor, string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}.home.example", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName($"{name}.home.example");
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], false));
        using var issued = request.Create(anchor, DateTimeOffset.UtcNow.AddHours(-12), DateTimeOffset.UtcNow.AddDays(5), RandomNumberGenerator.GetBytes(8));
        File.WriteAllText(At(name + ".crt"), issued.ExportCertificatePem());
        WritePrivate(name + ".key", key.ExportPkcs8PrivateKeyPem());
    }

    private string Configuration() => $$"""
        prefix = /usr
        name = radiusd
        confdir = {{Folder}}
        run_dir = {{At("run")}}
        db_dir = {{At("run")}}
        libdir = /usr/lib/freeradius
        pidfile = {{At("run/pid")}}
        correct_escapes = true
        max_request_time = 10
        cleanup_delay = 5
        hostname_lookups = no
        security {
          allow_core_dumps = no
          max_attributes = 200
          reject_delay = 0
          status_server = no
        }
        thread pool {
          start_servers = 1
          max_servers = 2
          min_spare_servers = 1
          max_spare_servers = 2
          max_requests_per_server = 0
        }
        client lo {
          ipaddr = 127.0.0.1
          secret = {{Secret}}
          require_message_authenticator = yes
        }
        modules {
          files {
            filename = {{At("users")}}
            key = "%{User-Name}"
          }
          pap {
            normalise = no
          }
          eap {
            default_eap_type = ttls
            timer_expire = 60
            max_sessions = 4096
            tls-config tls-common {
              private_key_file = {{At("as.key")}}
              certificate_file = {{At("as.crt")}}
              ca_file = {{At("ca.pem")}}
              cipher_list = "DEFAULT"
              tls_min_version = "1.2"
              tls_max_version = "1.3"
              ecdh_curve = ""
              fragment_size = 400
              include_length = yes
            }
            tls {
              tls = tls-common
            }
            ttls {
              tls = tls-common
              default_eap_type = md5
              copy_request_to_tunnel = no
              use_tunneled_reply = no
              virtual_server = "inner-tunnel"
            }
          }
        }
        server default {
          listen {
            type = auth
            ipaddr = 127.0.0.1
            port = {{Port}}
          }
          authorize {
            eap {
              ok = return
            }
            files
            pap
          }
          authenticate {
            Auth-Type PAP {
              pap
            }
            eap
          }
          post-auth {
            Post-Auth-Type REJECT {
              eap
            }
          }
        }
        server inner-tunnel {
          authorize {
            files
            pap
          }
          authenticate {
            Auth-Type PAP {
              pap
            }
          }
        }

        """;
}
