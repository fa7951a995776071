using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Enrolment;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Terminal;
using Sojourn.VirtualInternet.Net;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>What differs between worlds besides their terminals. Times are short, so that all of them run out in a run.</summary>
internal sealed record AuthenticationOptions
{
    /// <summary>Delegating router and home agent are one node.</summary>
    public bool OneNode { get; init; }

    public TimeSpan Lease { get; init; } = TimeSpan.FromSeconds(120);

    public TimeSpan Binding { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Of permissions by the delegating router and of allocations by the home agent.</summary>
    public TimeSpan Polling { get; init; } = TimeSpan.FromSeconds(10);

    public TimeSpan Liveness { get; init; } = TimeSpan.FromSeconds(15);

    public TimeSpan Certificate { get; init; } = TimeSpan.FromDays(90);
}

/// <summary>
/// Embodiment 1 of terminal authentication: terminals on the links of visited networks, an authority, a delegating router and a home agent, on one
/// machine or on two, and a correspondent. Every terminal is known and has an enrolment secret; none has a certificate yet.
/// </summary>
internal sealed class AuthenticationWorld
{
    public static readonly IPAddress Agent = IPAddress.Parse("2001:db8:a::fffe"), Router = IPAddress.Parse("2001:db8:d::1"), Correspondent = IPAddress.Parse("2001:db8:c::9");
    public static readonly IPNetwork Pool = IPNetwork.Parse("2001:db8:a::/48");

    private const int Visited = 3;

    public AuthenticationWorld(int seed, AuthenticationOptions options, IReadOnlyList<string> terminals, bool trace)
    {
        Options = options;
        Network = new TerminalNetwork(seed, trace);
        Authority = new AuthorityMachine(Network, new AuthorityOptions { CertificateLifetime = options.Certificate, ConfirmationWait = TimeSpan.FromSeconds(20) });
        Network.Add(Authority);
        Routers = [.. Enumerable.Range(1, Visited).Select(i => new AccessRouterMachine(Network, $"ar{i}", (byte)i))];
        var relays = Routers.Select(r => r.Address).ToList();
        HomeAgent = new HomeAgentMachine(Network, options, relays, options.OneNode);
        if (options.OneNode)
        {
            Delegation = HomeAgent.Ports!;
            Authority.Receivers.Add("ha");
        }
        else
        {
            var router = new DelegatingRouterMachine(Network, options, relays);
            Network.Add(router);
            Delegation = router.Ports;
            Authority.Receivers.AddRange(["dr", "ha"]);
        }

        Network.Add(HomeAgent);
        foreach (var router in Routers)
        {
            Network.Add(router);
        }

        Network.Add(new CorrespondentMachine(Network));
        Terminals = [.. terminals.Select((name, i) => new TerminalMachine(Network, options, name, (byte)(i + 1)))];
        foreach (var terminal in Terminals)
        {
            Know(terminal);
            Delegation.Identities[new AssociationKey(terminal.Duid, 1)] = terminal.Identifier;
            Network.Add(terminal);
        }

        CertifyHomeAgent();
    }

    public AuthenticationOptions Options { get; }

    public TerminalNetwork Network { get; }

    public AuthorityMachine Authority { get; }

    public HomeAgentMachine HomeAgent { get; }

    public DelegationPorts Delegation { get; }

    public IReadOnlyList<AccessRouterMachine> Routers { get; }

    public IReadOnlyList<TerminalMachine> Terminals { get; }

    /// <summary>The machines of the home network.</summary>
    public IEnumerable<Machine> Home => Network.Nodes.Where(n => n is AuthorityMachine or HomeAgentMachine or DelegatingRouterMachine);

    public DelegatingRouter? RouterEngine => HomeAgent.Router ?? (Options.OneNode ? null : Network["dr"].Engine as DelegatingRouter);

    public static IPNetwork PrefixOf(IPAddress address)
    {
        var octets = address.GetAddressBytes();
        octets.AsSpan(8).Clear();
        return new IPNetwork(new IPAddress(octets), 64);
    }

    /// <summary>Starts everything but the terminals.</summary>
    public void StartInfrastructure()
    {
        foreach (var machine in Network.Nodes.Where(n => n is not TerminalMachine))
        {
            Network.Start(machine);
        }

        Network.Run(1);
    }

    public void StartTerminal(TerminalMachine terminal, AccessRouterMachine router, string link = TerminalMachine.Wlan)
    {
        terminal.Links[link] = router;
        Network.Start(terminal);
    }

    /// <summary>Somebody with a certificate of this authority for a name of his own, who claims the address of another.</summary>
    public TerminalMachine AddPretender(IPAddress claimed)
    {
        var pretender = new TerminalMachine(Network, Options, "mallory", 66) { Claims = new FixedHome(claimed, PrefixOf(claimed)) };
        Know(pretender);
        Network.Add(pretender);
        return pretender;
    }

    /// <summary>Somebody who claims name and address of a terminal with a certificate that he has made himself.</summary>
    public TerminalMachine AddForger(TerminalMachine victim, IPAddress claimed)
    {
        using var authority = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var own = new CertificateRequest("CN=Home CA", authority, HashAlgorithmName.SHA256);
        own.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        var now = Network.Simulation.Now;
        using var root = own.CreateSelfSigned(now.AddDays(-1), now.AddDays(1000));
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={victim.Identifier}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(victim.Identifier);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        var forged = request.Create(root.SubjectName, X509SignatureGenerator.CreateForECDsa(authority), now.AddDays(-1), now.AddDays(90), [1, 2, 3, 4]);
        var forger = new TerminalMachine(Network, Options, "forger", 67) { Claims = new FixedHome(claimed, PrefixOf(claimed)) };
        forger.UseForeignStore(SigningKey.From(key), forged, [X509CertificateLoader.LoadCertificate(Authority.Certificate)]);
        Network.Add(forger);
        return forger;
    }

    private void Know(TerminalMachine terminal)
    {
        Authority.Store.Entries[terminal.Identifier] = new IdentifierEntry(terminal.Identifier, terminal.Identifier, IdentifierKind.Terminal, true, []);
        Authority.Store.Secrets[terminal.Identifier] = new EnrolmentSecret(terminal.Identifier, terminal.Identifier, terminal.Secret, DateTimeOffset.MaxValue, null);
    }

    /// <summary>The home agent has its certificate before anything runs (spec TA-M38).</summary>
    private void CertifyHomeAgent()
    {
        const string name = "ha.home.example";
        var random = Network.Simulation.SourceFor(name, 0);
        var (now, store, secret) = (Network.Simulation.Now, Authority.Store, new KeyMaterial(SHA256.HashData("secret of the home agent"u8)));
        store.Entries[name] = new IdentifierEntry(name, name, IdentifierKind.HomeAgent, true, [Agent]);
        store.Secrets[name] = new EnrolmentSecret(name, name, secret, DateTimeOffset.MaxValue, null);
        var authority = Authority.NewAuthority(new AuthorityOptions(), random);
        var key = SigningKey.From(ECDsa.Create(ECCurve.NamedCurves.nistP256));
        var exchange = CmpExchange.Certificate(CmpRequester.BySecret(name, secret, iterations: 100), new CertificateWish(CertificateRequestKind.Initial, name, key), random);
        var step = exchange.Begin(now);
        while (step is CmpSend send)
        {
            var effects = new EffectSink();
            var answer = authority.Answer(send.Message, "the home agent", store, now, effects);
            store.Apply(effects.Effects);
            step = exchange.Receive(answer, now);
        }

        var issued = step as CmpIssued ?? throw Network.Violation($"the home agent has no certificate: {step}");
        HomeAgent.Credential = new IkeCredential(issued.Certificate, [], key);
        HomeAgent.Trust = new TrustAnchors(issued.Authorities);
    }
}
