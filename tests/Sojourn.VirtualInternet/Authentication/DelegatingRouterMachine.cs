using System.Net;
using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Dhcpv6;
using Sojourn.VirtualInternet.Net;
using Sojourn.Wire.Dhcpv6;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>
/// The ports of a delegating router: its table on the disk, Q1 to the authority, Q2 and withdrawals from others, ends of allocations for home
/// agents elsewhere, which are lost with the process until they are told.
/// </summary>
internal sealed class DelegationPorts(TerminalNetwork network, Machine machine) : IPrefixIdentities, IPrefixLeases
{
    public const string Allocation = "Q2", Ended = "Q3 end";

    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(2);

    private readonly Dictionary<long, Question> _waiting = [];
    private readonly Queue<AllocationEnded> _ends = new();
    private long _number;

    /// <summary>The prefix control table as it is on the disk.</summary>
    public Dictionary<AssociationKey, PrefixLease> Leases { get; } = [];

    /// <summary>When allocations ended, by prefix.</summary>
    public Dictionary<IPNetwork, DateTimeOffset> EndedAt { get; } = [];

    /// <summary>Who is whose (table D3).</summary>
    public Dictionary<AssociationKey, string> Identities { get; } = [];

    /// <summary>Home agents on other machines.</summary>
    public string? HomeAgent { get; init; }

    public static DelegatingRouterOptions Options(AuthenticationOptions options, IEnumerable<IPAddress> relays) => new()
    {
        Pools = [new PrefixPoolOptions(AuthenticationWorld.Pool, 64)],
        Relays = [.. relays],
        PreferredLifetime = options.Lease / 2,
        ValidLifetime = options.Lease,
        OfferLifetime = TimeSpan.FromSeconds(20),
        PermissionPolling = options.Polling,
    };

    PrefixIdentity? IPrefixIdentities.Find(AssociationKey key) =>
        Identities.TryGetValue(key, out var identifier) ? new PrefixIdentity(key, identifier, IdentityOrigin.Provisioned, [PrefixIdentity.Anywhere]) : null;

    IReadOnlyList<PrefixLease> IPrefixLeases.LoadAll() => [.. Leases.Values];

    public bool IsAllocated(IPAddress address, string identifier, DateTimeOffset since) => Leases.Values.Any(lease =>
        lease.Identifier == identifier && lease.Prefix.Contains(address) && (lease.IsAllocated ? lease.ValidUntil : EndedAt.GetValueOrDefault(lease.Prefix)) >= since);

    public void Keep(LeaseChange change)
    {
        switch (change)
        {
            case StoreLease { Lease: var lease }:
                if (Leases.TryGetValue(lease.Key, out var before) && before.IsAllocated && !lease.IsAllocated)
                {
                    EndedAt[lease.Prefix] = before.ValidUntil < network.Simulation.Now ? before.ValidUntil : network.Simulation.Now;
                }

                Leases[lease.Key] = lease;
                if (Leases.Values.FirstOrDefault(other => other.Key != lease.Key && other.Prefix.Equals(lease.Prefix)) is { } twice)
                {
                    throw network.Violation($"{machine} keeps {lease.Prefix} twice: for {lease.Identifier} and {twice.Identifier}");
                }

                break;
            case RemoveLease remove:
                Leases.Remove(remove.Key);
                break;
        }
    }

    public void PowerOff()
    {
        _waiting.Clear();
        _ends.Clear();
    }

    public bool TryServe(Question question)
    {
        EngineInput? input = question switch
        {
            { Kind: Allocation, Body: (IPAddress address, string identifier) } => new AllocationQueried(++_number, address, identifier),
            { Kind: AuthorityMachine.Withdrawal, Body: AnnounceWithdrawal withdrawal } => new WithdrawPermission(
                withdrawal.Identifier, withdrawal.Reason == "revoked" ? PermissionReason.Revoked : PermissionReason.FlagClear, withdrawal.Serial, ++_number),
            _ => null,
        };
        if (input is null)
        {
            return false;
        }

        _waiting[_number] = question;
        network.Input(machine, input);
        return true;
    }

    public bool TryCarryOut(Effect effect)
    {
        switch (effect)
        {
            case AskPermission ask:
                network.Ask(machine, network["ca"], AuthorityMachine.MayDelegate, ask.Identifier, s_limit, answer =>
                {
                    if (answer is Permission permission)
                    {
                        network.Input(machine, new PermissionAnswered(ask.Number, new PermissionDecision(permission.Allowed, permission.Reason, permission.Serial, permission.NotAfter)));
                    }
                });
                return true;
            case AllocationFound found:
                Answer(found.Number, found.Allocation);
                return true;
            case PermissionWithdrawn withdrawn:
                Answer(withdrawn.Receipt, withdrawn);
                return true;
            case AllocationEnded ended:
                if (HomeAgent is not null)
                {
                    _ends.Enqueue(ended);
                    if (_ends.Count == 1)
                    {
                        TellEnd(TimeSpan.FromSeconds(0.25));
                    }
                }

                return true;
            case SendDatagram send:
                AssertKept(send.Payload.Span);
                network.SendUdp(machine, AuthenticationWorld.Router, send);
                return true;
            default:
                return false;
        }
    }

    /// <summary>The oldest first, again and again until it is taken.</summary>
    private void TellEnd(TimeSpan pause)
    {
        if (!_ends.TryPeek(out var end))
        {
            return;
        }

        network.Ask(machine, network[HomeAgent!], Ended, end, s_limit, taken =>
        {
            if (taken is not null)
            {
                _ends.Dequeue();
                TellEnd(TimeSpan.FromSeconds(0.25));
                return;
            }

            var life = machine.Life;
            network.Simulation.After(pause, () =>
            {
                if (machine.Life == life && machine.IsUp)
                {
                    TellEnd(pause * 2);
                }
            });
        });
    }

    private void Answer(long number, object answer)
    {
        if (_waiting.Remove(number, out var question))
        {
            question.Answer(answer);
        }
    }

    /// <summary>What a Reply promises is on the disk before it leaves.</summary>
    private void AssertKept(ReadOnlySpan<byte> octets)
    {
        while (RelayMessage.Is(octets) && RelayMessage.TryParse(octets, out var relay, out _))
        {
            octets = relay.Relayed;
        }

        if (!Dhcpv6Message.TryParse(octets, out var message, out _))
        {
            throw network.Violation($"{machine} sends what cannot be read");
        }

        if (message.Type == Dhcpv6MessageType.Reply && message.Options.TryFind(Dhcpv6OptionCode.PrefixDelegation, out var data)
            && new PrefixAssociation(data).Options.TryFind(Dhcpv6OptionCode.Prefix, out var option) && DelegatedPrefix.Read(option) is { Valid: > 0 } promised
            && !Leases.Values.Any(lease => lease.IsAllocated && lease.Prefix.Equals(promised.Prefix) && lease.ValidUntil - network.Simulation.Now >= TimeSpan.FromSeconds(promised.Valid)))
        {
            throw network.Violation($"{machine} promises {promised.Prefix} for {promised.Valid} s and has not kept it");
        }
    }
}

/// <summary>A delegating router on a machine of its own.</summary>
internal sealed class DelegatingRouterMachine : Machine
{
    private readonly AuthenticationOptions _options;
    private readonly IReadOnlyList<IPAddress> _relays;

    public DelegatingRouterMachine(TerminalNetwork network, AuthenticationOptions options, IReadOnlyList<IPAddress> relays)
        : base(network, "dr")
    {
        (_options, _relays) = (options, relays);
        Ports = new DelegationPorts(network, this) { HomeAgent = "ha" };
    }

    public DelegationPorts Ports { get; }

    public override IEngine Build(IRandomSource random) => new DelegatingRouter(DelegationPorts.Options(_options, _relays), Ports, Ports, random);

    public override bool Takes(IPAddress destination) => destination.Equals(AuthenticationWorld.Router);

    public override void Keep(Effect change)
    {
        if (change is LeaseChange lease)
        {
            Ports.Keep(lease);
        }
        else
        {
            base.Keep(change);
        }
    }

    public override void PowerOff() => Ports.PowerOff();

    public override bool TryCarryOut(Effect effect) => Ports.TryCarryOut(effect);

    public override void Serve(Question question) => Ports.TryServe(question);
}
