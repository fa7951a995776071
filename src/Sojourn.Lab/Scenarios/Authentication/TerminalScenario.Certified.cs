using System.Net;
using System.Security.Cryptography;
using Sojourn.Engine;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Enrolment;
using Sojourn.Lab.Topology;
using Sojourn.Roles.CertificateAuthority;
using Sojourn.Roles.Enrolment;
using Sojourn.Storage;

namespace Sojourn.Lab.Scenarios.Authentication;

/// <summary>Certificates for scenarios in which no authority runs.</summary>
public abstract partial class TerminalScenario
{
    private const string Operator = "lab";

    /// <summary>
    /// Makes an authority and certifies nodes as <c>NODE.home.example</c>: <c>credentials</c> in each node's folder. In this process, by what stands
    /// behind <c>sojourn ca issue</c>, since starting that for every node takes longer than everything else.
    /// </summary>
    /// <param name="nodes">With the address that a home agent's certificate states; null for a terminal.</param>
    /// <exception cref="ScenarioException">One of them gets no certificate.</exception>
    protected void Certify(LabRun run, IReadOnlyList<(string Node, string? Address)> nodes)
    {
        using var database = Database.Open(Path.Combine(run.Directory.FolderOf("ca"), "ca.db"), sealKeyPath: null, create: true);
        var store = new AuthorityStore(database, TimeProvider.System);
        var now = DateTimeOffset.UtcNow;
        var (authority, root) = EcdsaSigner.Create("CN=Home CA,O=Home", strong: false, now.AddMinutes(-5), now.AddDays(1), SystemRandomSource.Instance);
        store.PutAuthority(authority, root, Operator);
        root.Wipe();
        foreach (var (node, address) in nodes)
        {
            var name = $"{node}.home.example";
            store.Put(new IdentifierEntry(name, name, address is null ? IdentifierKind.Terminal : IdentifierKind.HomeAgent, true, address is null ? [] : [IPAddress.Parse(address)]), Operator);
            using var credentials = CredentialStore.Create(StoreOf(run, node), name);
            if (LocalEnrolment.Enrol(store, credentials, publicUri: null, Operator, TimeProvider.System) is not CmpIssued)
            {
                throw new ScenarioException($"{name} gets no certificate");
            }

            using var key = ECDsa.Create();
            key.ImportFromPem(File.ReadAllText(Path.Combine(StoreOf(run, node), "key.pem")));
            Guard($"the private key of {node}", key.ExportParameters(true).D!);
        }
    }
}
