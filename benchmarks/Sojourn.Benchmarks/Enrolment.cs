using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Serialization;
using Sojourn.Engine;
using Sojourn.Engine.Enrolment;
using Sojourn.Lab.Nodes;
using Sojourn.Roles.Enrolment;

namespace Sojourn.Benchmarks;

/// <param name="Repeat">Enrolments of one client process.</param>
/// <param name="Rounds">Turns of both servers.</param>
/// <param name="Certificates">Issued in the parallel stretch.</param>
/// <param name="Window">Requests open at one time in it.</param>
internal sealed record EnrolmentSettings(int Repeat, int Rounds, int Certificates, int Window);

/// <param name="Ours">Milliseconds of one enrolment as the client sees it, by round.</param>
/// <param name="OpensslServer">The same with OpenSSL's own server, in the same rounds.</param>
/// <param name="CpuMicroseconds">Of the authority for one certificate of the parallel stretch.</param>
/// <param name="SignsPerSecond">ECDSA P-256 of this machine (<c>openssl speed</c>), one core.</param>
internal sealed record EnrolmentResult(
    IReadOnlyList<double> Ours, IReadOnlyList<double> OpensslServer, double Median, double MedianOpensslServer, double CertificatesPerSecond, double CpuMicroseconds, double SignsPerSecond, double RatioToSigns);

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.KebabCaseLower)]
[JsonSerializable(typeof(EnrolmentResult))]
internal sealed partial class EnrolmentJson : JsonSerializerContext;

/// <summary>
/// What an enrolment costs: the time of a full one (ir by signature, certificate, certConf, pkiConf; a connection for each message) as
/// <c>openssl cmp</c> sees it, with a ca node and with OpenSSL's own server, which stores nothing, in turns; and how many certificates a
/// second a ca node issues to many requesters at a time. The node is a process of its own and keeps its database on the disk.
/// </summary>
internal static class Enrolment
{
    private const string Name = "mn1.home.example";

    public static async Task<EnrolmentResult> RunAsync(EnrolmentSettings settings, TextWriter progress, CancellationToken cancellation)
    {
        var folder = Directory.CreateTempSubdirectory("sojourn-benchmark-").FullName;
        string At(string name) => Path.Combine(folder, name);
        var processes = new List<Process>();
        try
        {
            var (port, otherPort) = (FreePort(), FreePort());
            await RunAsync(folder, cancellation, [.. LabCommand.Sojourn, "ca", "init", "--name", "CN=Home CA,O=Home"]);
            await RunAsync(folder, cancellation, [.. LabCommand.Sojourn, "ca", "identifier", "add", Name]);
            await RunAsync(folder, cancellation, [.. LabCommand.Sojourn, "ca", "secret", Name, "--reference", "mn1", "--out", "mn1.secret"]);
            await File.WriteAllTextAsync(At("ca.yaml"), $$"""
                node: ca1
                role: ca
                log: { level: warning, file: node.jsonl }
                ca:
                  database: ca.db
                  listen: [ 127.0.0.1:{{port}} ]
                  requests-per-source: 100000
                """, cancellation);
            var node = Start(folder, processes, [.. LabCommand.Sojourn, "run", "--config", "ca.yaml"]);
            await ListensAsync(port, node, cancellation);
            using var store = CredentialStore.Create(At("mn1"), Name);
            using var client = new CmpClient(new Uri($"http://127.0.0.1:{port}"));
            var secret = new KeyMaterial(System.Text.Encoding.UTF8.GetBytes((await File.ReadAllLinesAsync(At("mn1.secret"), cancellation))[0]));
            if (await client.EnrolAsync(store, "mn1", secret, cancellation: cancellation) is not CmpIssued)
            {
                throw new InvalidOperationException("the first enrolment fails");
            }

            WriteOtherAuthority(folder, store);
            var other = Start(folder, processes, ["openssl", "cmp", "-config", "", "-port", $"{otherPort}", "-srv_cert", "other.pem", "-srv_key", "other.key", "-srv_trusted", "other.pem", "-rsp_cert", "other-mn1.pem"]);
            await ListensAsync(otherPort, other, cancellation);
            string[] ours = ["-server", $"127.0.0.1:{port}/.well-known/cmp", "-cert", "mn1/certificate.pem", "-trusted", "mn1/authorities.pem"];
            string[] theirs = ["-server", $"127.0.0.1:{otherPort}/", "-cert", "other-mn1.pem", "-trusted", "other.pem"];

            // A node that has just started is still being compiled.
            await ClientAsync(folder, ours, Math.Max(settings.Repeat, 1000), cancellation);
            var (mine, reference) = (new List<double>(), new List<double>());
            for (var i = 0; i < settings.Rounds; i++)
            {
                mine.Add(await ClientAsync(folder, ours, settings.Repeat, cancellation));
                reference.Add(await ClientAsync(folder, theirs, settings.Repeat, cancellation));
                progress.WriteLine(string.Create(CultureInfo.InvariantCulture, $"round {i + 1}: {mine[^1]:0.00} ms, OpenSSL's server {reference[^1]:0.00} ms"));
            }

            await IssueAsync(settings with { Certificates = settings.Certificates / 4 }, port, store, node.Id);
            var (rate, cpu) = await IssueAsync(settings, port, store, node.Id);
            var signs = await SignsPerSecondAsync(folder, cancellation);
            return new EnrolmentResult(mine, reference, Statistics.Median(mine), Statistics.Median(reference), rate, cpu, signs, rate / signs);
        }
        finally
        {
            foreach (var process in processes)
            {
                if (!process.HasExited)
                {
                    process.Kill();
                    process.WaitForExit();
                }

                process.Dispose();
            }

            Directory.Delete(folder, recursive: true);
        }
    }

    public static void Print(EnrolmentResult result, TextWriter output) => output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""
        full enrolment by signature, median of {result.Ours.Count} rounds: {result.Median:0.00} ms; OpenSSL's server {result.MedianOpensslServer:0.00} ms (best {result.Ours.Min():0.00} and {result.OpensslServer.Min():0.00})
        certificates/s: {result.CertificatesPerSecond:0}, {result.CpuMicroseconds:0} us CPU of the authority each
        ECDSA P-256 signatures/s: {result.SignsPerSecond:0}; ratio {result.RatioToSigns:0.000}
        """));

    /// <summary>Requests (cr by signature, implicit confirmation) are made beforehand; then they are sent, a window of them open at one time.</summary>
    private static async Task<(double PerSecond, double CpuMicroseconds)> IssueAsync(EnrolmentSettings settings, int port, CredentialStore store, int process)
    {
        var requester = CmpRequester.ByCertificate(store.ToCredential()!, store.Authorities);
        using var pool = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = settings.Window, UseProxy = false }) { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        var requests = new (CmpExchange Exchange, ReadOnlyMemory<byte> Message)[settings.Certificates];
        for (var i = 0; i < requests.Length; i++)
        {
            var exchange = CmpExchange.Certificate(requester, new CertificateWish(CertificateRequestKind.Further, Name, store.Key, AskImplicitConfirmation: true), SystemRandomSource.Instance);
            requests[i] = (exchange, ((CmpSend)exchange.Begin(DateTimeOffset.UtcNow)).Message);
        }

        var answers = new byte[requests.Length][];
        var next = -1;
        var before = CpuOf(process);
        var watch = Stopwatch.StartNew();
        await Task.WhenAll(Enumerable.Range(0, settings.Window).Select(async _ =>
        {
            for (var i = Interlocked.Increment(ref next); i < requests.Length; i = Interlocked.Increment(ref next))
            {
                using var content = new ReadOnlyMemoryContent(requests[i].Message);
                content.Headers.ContentType = new("application/pkixcmp");
                using var response = await pool.PostAsync("/.well-known/cmp", content).ConfigureAwait(false);
                answers[i] = await response.Content.ReadAsByteArrayAsync().ConfigureAwait(false);
            }
        }));
        var time = watch.Elapsed;
        var cpu = CpuOf(process) - before;
        for (var i = 0; i < requests.Length; i++)
        {
            if (requests[i].Exchange.Receive(answers[i], DateTimeOffset.UtcNow) is not CmpIssued)
            {
                throw new InvalidOperationException($"request {i} brought no certificate");
            }
        }

        return (requests.Length / time.TotalSeconds, cpu.TotalMicroseconds / requests.Length);
    }

    /// <returns>Milliseconds of one enrolment.</returns>
    private static async Task<double> ClientAsync(string folder, string[] server, int repeat, CancellationToken cancellation)
    {
        var watch = Stopwatch.StartNew();
        var output = await RunAsync(folder, cancellation,
            ["openssl", "cmp", "-config", "", "-cmd", "ir", "-key", "mn1/key.pem", "-newkey", "mn1/key.pem", "-subject", "/CN=" + Name, "-certout", "got.pem", "-keep_alive", "0", "-repeat", $"{repeat}", .. server]);
        var confirmed = output.Split("received PKICONF").Length - 1;
        return confirmed == repeat ? watch.Elapsed.TotalMilliseconds / repeat : throw new InvalidOperationException($"{confirmed} of {repeat} enrolments were confirmed:\n{output[^Math.Min(output.Length, 500)..]}");
    }

    /// <summary>OpenSSL's server gives out the same certificate always; it has to be for the client's key.</summary>
    private static void WriteOtherAuthority(string folder, CredentialStore store)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var now = DateTimeOffset.UtcNow;
        var request = new CertificateRequest("CN=Another CA", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using var root = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
        var leaf = new CertificateRequest(new X500DistinguishedName("CN=" + Name), PublicKey.CreateFromSubjectPublicKeyInfo(store.PublicKey.Span, out _), HashAlgorithmName.SHA256);
        leaf.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        leaf.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(leaf.PublicKey, false));
        using var certificate = leaf.Create(root.SubjectName, X509SignatureGenerator.CreateForECDsa(key), now.AddHours(-1), now.AddHours(12), [1, 2, 3]);
        File.WriteAllText(Path.Combine(folder, "other.key"), key.ExportPkcs8PrivateKeyPem());
        File.WriteAllText(Path.Combine(folder, "other.pem"), root.ExportCertificatePem());
        File.WriteAllText(Path.Combine(folder, "other-mn1.pem"), certificate.ExportCertificatePem());
    }

    private static async Task<double> SignsPerSecondAsync(string folder, CancellationToken cancellation)
    {
        var output = await RunAsync(folder, cancellation, ["openssl", "speed", "-seconds", "3", "ecdsap256"]);
        var fields = output.Split('\n').Last(line => line.Contains("(nistp256)", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return double.Parse(fields[^2], CultureInfo.InvariantCulture);
    }

    private static Process Start(string folder, List<Process> processes, string[] command)
    {
        var process = Process.Start(new ProcessStartInfo(command[0], command[1..]) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true })!;
        processes.Add(process);
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }

    private static async Task<string> RunAsync(string folder, CancellationToken cancellation, string[] command)
    {
        using var process = Process.Start(new ProcessStartInfo(command[0], command[1..]) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true })!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(cancellation), process.StandardError.ReadToEndAsync(cancellation));
        await process.WaitForExitAsync(cancellation);
        var text = await output + await error;
        return process.ExitCode == 0 ? text : throw new InvalidOperationException($"{string.Join(' ', command)}: {text[^Math.Min(text.Length, 1000)..]}");
    }

    private static async Task ListensAsync(int port, Process process, CancellationToken cancellation)
    {
        for (var i = 0; i < 600 && !process.HasExited; i++)
        {
            // Looked up: OpenSSL's server takes a probe for its one client.
            if (System.Net.NetworkInformation.IPGlobalProperties.GetIPGlobalProperties().GetActiveTcpListeners().Any(end => end.Port == port))
            {
                return;
            }

            await Task.Delay(100, cancellation);
        }

        throw new InvalidOperationException($"nobody listens on port {port}");
    }

    private static TimeSpan CpuOf(int process)
    {
        var fields = File.ReadAllText($"/proc/{process}/stat").Split(") ")[^1].Split(' ');
        return TimeSpan.FromMilliseconds(10 * (long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture)));
    }

    private static int FreePort()
    {
        using var free = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0);
        free.Start();
        return ((IPEndPoint)free.LocalEndpoint).Port;
    }
}
