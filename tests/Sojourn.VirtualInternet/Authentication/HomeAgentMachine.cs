using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Revocation;
using Sojourn.Engine.TerminalControl;
using Sojourn.VirtualInternet.Net;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>A home agent's node: its engine, its tunnels, which a crash takes along, and in one of the two layouts the delegating router too.</summary>
internal sealed class HomeAgentMachine : Machine
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(2), s_justNow = TimeSpan.FromSeconds(15);

    private readonly AuthenticationOptions _options;
    private readonly IReadOnlyList<IPAddress> _relays;
    private readonly HashSet<(int Life, long Association)> _established = [];
    private readonly Dictionary<IPAddress, (int Life, BindingCacheEntry Entry)> _bound = [];

    /// <param name="delegates">The delegating router is on this machine.</param>
    public HomeAgentMachine(TerminalNetwork network, AuthenticationOptions options, IReadOnlyList<IPAddress> relays, bool delegates)
        : base(network, "ha")
    {
        (_options, _relays) = (options, relays);
        Ports = delegates ? new DelegationPorts(network, this) : null;
    }

    /// <summary>Certificate and key; on the disk.</summary>
    public IkeCredential Credential { get; set; } = null!;

    public TrustAnchors Trust { get; set; } = null!;

    public DelegationPorts? Ports { get; }

    public DelegatingRouter? Router { get; private set; }

    public TerminalControlDevice? Device { get; private set; }

    public HomeTunnel? Tunnel { get; private set; }

    private AuthorityMachine Authority => (AuthorityMachine)Network["ca"];

    private DelegationPorts Allocations => Ports ?? ((DelegatingRouterMachine)Network["dr"]).Ports;

    public override IEngine Build(IRandomSource random)
    {
        Device = new TerminalControlDevice(
            new TerminalControlOptions
            {
                Address = AuthenticationWorld.Agent,
                HomePrefixes = [AuthenticationWorld.Pool],
                Identity = IkeIdentity.Of(AuthenticationWorld.Agent),
                Credential = Credential,
                Trust = Trust,
                LongestBinding = _options.Binding,
                AllocationPolling = _options.Polling,
                Revocation = RevocationPolicy.Required,
                LivenessInterval = _options.Liveness,
                KeyExchange = new IkeOptions { Peers = [], ExportKeys = true },
            },
            random);
        Tunnel = new HomeTunnel(AuthenticationWorld.Agent, 1500, random);
        if (Ports is null)
        {
            return Device;
        }

        Router = new DelegatingRouter(DelegationPorts.Options(_options, _relays), Ports, Ports, random);
        return new DelegatingTerminalControl(Device, Router);
    }

    public override void PowerOff()
    {
        Device?.Dispose();
        (Device, Tunnel, Router) = (null, null, null);
        Ports?.PowerOff();
    }

    public override bool Takes(IPAddress destination) => AuthenticationWorld.Pool.Contains(destination) || (Ports is not null && destination.Equals(AuthenticationWorld.Router));

    public override void Keep(Effect change)
    {
        if (change is LeaseChange lease && Ports is not null)
        {
            Ports.Keep(lease);
        }
        else
        {
            base.Keep(change);
        }
    }

    public override void Receive(byte[] packet)
    {
        var output = new byte[HomeTunnel.OutputFor(packet.Length)];
        var result = Tunnel!.Forward(packet, output, Now);
        if (result.Verdict == HomeTunnelVerdict.Control)
        {
            Network.Input(this, new Ipv6PacketReceived(packet));
        }
        else if (result.Verdict == HomeTunnelVerdict.Send)
        {
            foreach (var one in new PacketSequence(output.AsSpan(result.Offset, result.Length)))
            {
                Network.Route(this, one.ToArray());
            }
        }
    }

    public override void Serve(Question question)
    {
        if (Ports?.TryServe(question) == true)
        {
            return;
        }

        EngineInput input = question.Body switch
        {
            AnnounceWithdrawal withdrawal => new AllocationWithdrawn(null, withdrawal.Identifier, withdrawal.Reason),
            AllocationEnded ended => new AllocationWithdrawn(ended.Prefix, ended.Identifier, ended.Reason.ToString()),
            _ => throw Network.Violation($"{this} is asked {question.Kind}"),
        };

        // The role says that it has it when it is in the mailbox; what the engine does of it comes after.
        question.Answer(input);
        Network.Input(this, input);
    }

    public override bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case SendIpv6Packet { Under: null } send:
                Network.Route(this, send.Packet.ToArray());
                return true;
            case ChangePaths change:
                if (Tunnel!.Change(change, Now).Refusal is { } refusal)
                {
                    throw Network.Violation($"{this}: the packet path refuses what the engine asked for: {refusal.Path} {refusal.Text}");
                }

                return true;
            case ChildSaUp up:
                Network.Ledger.Learn(up.Sa);
                return true;
            case IkeKeysDerived:
                return true;
            case AskAllocation ask:
                Network.Ask(this, Network["dr"], DelegationPorts.Allocation, (ask.HomeAddress, ask.Identifier), s_limit, answer => Network.Input(this, new AllocationAnswered(ask.Request, answer as PrefixAllocation)));
                return true;
            case AskRevocation ask:
                AskStatus(ask);
                return true;
            default:
                return Ports?.TryCarryOut(effect) == true;
        }
    }

    /// <summary>
    /// Nobody has an association but a terminal with a certificate of the authority's and a prefix of its own, at that moment or a moment
    /// ago when it was asked about; nobody a binding but under such an association, and none longer than the lease lasts.
    /// </summary>
    public override void Check()
    {
        if (Device is not { } device)
        {
            return;
        }

        foreach (var terminal in device.Terminals.Where(t => t.Established && !_established.Contains((Life, t.Association))).ToList())
        {
            AssertGenuine($"an association for {terminal.HomeAddress}", terminal.Identifier, terminal.HomeAddress);
            _established.Add((Life, terminal.Association));
        }

        foreach (var binding in device.Bindings)
        {
            if (_bound.TryGetValue(binding.HomeAddress, out var known) && known.Life == Life && ReferenceEquals(known.Entry, binding))
            {
                continue;
            }

            var restored = binding.Association is null && known.Life < Life;
            _bound[binding.HomeAddress] = (Life, binding);
            if (restored || (known.Life == Life && known.Entry.SequenceNumber == binding.SequenceNumber))
            {
                // From the disk, or shortened.
                continue;
            }

            AssertGenuine($"a binding of {binding.HomeAddress}", binding.Identifier!, binding.HomeAddress);
            if (!device.Terminals.Any(t => t.Established && t.Association == binding.Association && t.HomeAddress.Equals(binding.HomeAddress) && t.Identifier == binding.Identifier))
            {
                throw Network.Violation($"{this} has a binding of {binding.HomeAddress} without an association of {binding.Identifier}");
            }

            if (Allocations.Leases.Values.FirstOrDefault(l => l.IsAllocated && l.Prefix.Contains(binding.HomeAddress)) is { } lease && binding.Expires > lease.ValidUntil)
            {
                throw Network.Violation($"{this} binds {binding.HomeAddress} until {binding.Expires:HH:mm:ss}, beyond its lease until {lease.ValidUntil:HH:mm:ss}");
            }
        }
    }

    private void AssertGenuine(string what, string identifier, IPAddress home)
    {
        if (!Allocations.IsAllocated(home, identifier, Now - s_justNow))
        {
            throw Network.Violation($"{this} gives {identifier} {what}, and no such prefix is its own");
        }

        if (!Authority.Store.Certificates.Values.Any(c => c.Identifier == identifier && c.NotAfter > Now - s_justNow && (c.Status == CertificateStatus.Good || (c.Status == CertificateStatus.Revoked && c.RevokedAt >= Now - s_justNow))))
        {
            throw Network.Violation($"{this} gives {identifier} {what}, and it has no certificate that is good");
        }
    }

    private void AskStatus(AskRevocation ask)
    {
        if (!Wire.Cmp.CertificateFields.TryParse(ask.Certificate, out var certificate, out _) || !Wire.Cmp.CertificateFields.TryParse(Authority.Certificate, out var issuer, out _))
        {
            throw Network.Violation($"{this} asks about a certificate that cannot be read");
        }

        var question = new OcspQuestion(certificate, issuer, Network.Simulation.SourceFor("ocsp", (int)ask.Request));
        Network.Ask(this, Authority, AuthorityMachine.Status, question.Request, s_limit, answer => Network.Input(this, new RevocationAnswered(
            ask.Request, answer is byte[] octets ? question.Judge(octets, Now) : RevocationAnswer.Unknown("nobody answers"))));
    }
}
