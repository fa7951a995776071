using Sojourn.Engine.CertificateAuthority;
using Sojourn.Engine.Terminal;
using Sojourn.VirtualInternet.Net;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>
/// What must be so once faults have stopped and timers have run out: whoever wants and may is registered, all tables tell the same, and nothing is
/// left of others.
/// </summary>
internal sealed class AuthenticationQuiescence(AuthenticationWorld world)
{
    private readonly List<string> _problems = [];

    /// <summary>Empty when all is as it should be.</summary>
    /// <param name="registered">Who is to be registered.</param>
    /// <param name="leases">Who is to have a prefix, registered or not.</param>
    public static IReadOnlyList<string> Check(AuthenticationWorld world, IReadOnlyCollection<TerminalMachine> registered, IReadOnlyCollection<TerminalMachine> leases)
    {
        var check = new AuthenticationQuiescence(world);
        foreach (var terminal in registered)
        {
            check.CheckTerminal(terminal);
        }

        check.CheckHomeAgent(registered);
        check.CheckLeases(leases);
        check.CheckAuthority(leases);
        return check._problems;
    }

    private void CheckTerminal(TerminalMachine machine)
    {
        if (machine.Terminal is not { State: TerminalState.Reg, HomeAddress: { } home, CareOfAddress: { } careOf } terminal)
        {
            Problem($"{machine} is not registered: {machine.Terminal?.State.ToString() ?? "it is down"}");
            return;
        }

        var device = world.HomeAgent.Device!;
        var binding = device.Bindings.FirstOrDefault(b => b.HomeAddress.Equals(home));
        if (binding is null || !binding.CareOfAddress.Equals(careOf) || binding.Identifier != machine.Identifier)
        {
            Problem($"{machine} is bound at {careOf}, and the home agent has {binding?.CareOfAddress.ToString() ?? "no binding"} of {binding?.Identifier ?? "nobody"}");
        }

        if (!world.Delegation.IsAllocated(home, machine.Identifier, world.Network.Simulation.Now))
        {
            Problem($"{machine} uses {home}, and no lease of it holds that");
        }

        var mine = terminal.Associations.Select(c => (c.Inbound.Spi, c.Outbound.Spi)).Order().ToList();
        var theirs = device.Associations.Where(c => c.RemoteSelectors[0].StartAddress.Equals(home)).Select(c => (c.Outbound.Spi, c.Inbound.Spi)).Order().ToList();
        if (mine.Count == 0 || !mine.SequenceEqual(theirs))
        {
            Problem($"{machine} and the home agent disagree on associations: {Spis(mine)} and {Spis(theirs)}");
        }

        if (!terminal.Paths.Any(p => p.LocalGateway.Equals(careOf) && p.RemoteGateway.Equals(AuthenticationWorld.Agent)))
        {
            Problem($"{machine} has no tunnel from {careOf}");
        }
    }

    private void CheckHomeAgent(IReadOnlyCollection<TerminalMachine> registered)
    {
        var (machine, device) = (world.HomeAgent, world.HomeAgent.Device!);
        var wanted = registered.Select(t => t.Identifier).ToHashSet();
        foreach (var binding in device.Bindings.Where(b => !wanted.Contains(b.Identifier!)))
        {
            Problem($"the home agent has a binding nobody wants: {binding.HomeAddress} of {binding.Identifier}");
        }

        foreach (var terminal in device.Terminals.Where(t => !wanted.Contains(t.Identifier)))
        {
            Problem($"the home agent has an association nobody wants: {terminal.HomeAddress} of {terminal.Identifier}");
        }

        var sas = device.IkeSas.Select(s => (s.InitiatorSpi, s.ResponderSpi)).ToHashSet();
        var ofTerminals = registered.SelectMany(t => t.Terminal?.IkeSas ?? []).Select(s => (s.InitiatorSpi, s.ResponderSpi)).ToHashSet();
        if (!sas.SetEquals(ofTerminals))
        {
            Problem($"the home agent has {sas.Count} IKE SAs, and the terminals have {ofTerminals.Count}");
        }

        var bound = device.Bindings.ToDictionary(b => b.HomeAddress.ToString(), b => b.CareOfAddress.ToString());
        var tunnels = machine.Tunnel!.Report(world.Network.Simulation.Now).Select(r => r.Path).ToList();
        if (!bound.Values.Order().SequenceEqual(tunnels.Select(t => t.RemoteGateway.ToString()).Order()))
        {
            Problem($"the home agent has tunnels to {string.Join(", ", tunnels.Select(t => t.RemoteGateway))} and bindings at {string.Join(", ", bound.Values)}");
        }

        var kept = machine.State.Keys.Where(k => k.Table == "binding6").Select(k => k.Key).ToHashSet();
        if (!kept.SetEquals(bound.Keys))
        {
            Problem($"the home agent keeps {string.Join(", ", kept)} and has {string.Join(", ", bound.Keys)}");
        }
    }

    private void CheckLeases(IReadOnlyCollection<TerminalMachine> leases)
    {
        var kept = world.Delegation.Leases.Values.Where(l => l.IsAllocated).ToList();
        if (!kept.Select(l => l.Identifier).Order().SequenceEqual(leases.Select(t => t.Identifier).Order()))
        {
            Problem($"leases of {string.Join(", ", kept.Select(l => l.Identifier).Order())}, and {string.Join(", ", leases.Select(t => t.Identifier).Order())} should have them");
        }

        if (world.RouterEngine is not { } router || !router.Leases.Where(l => l.IsAllocated).ToHashSet().SetEquals(kept))
        {
            Problem("the delegating router's table and its disk disagree");
        }
    }

    private void CheckAuthority(IReadOnlyCollection<TerminalMachine> leases)
    {
        var (store, now) = (world.Authority.Store, world.Network.Simulation.Now);
        foreach (var terminal in leases)
        {
            if (terminal.Certificate is not { } certificate || store.Certificate(certificate.SerialNumber.ToLowerInvariant()) is not { Status: CertificateStatus.Good })
            {
                Problem($"{terminal} has a certificate that is not good at the authority");
            }

            if (store.Permission(terminal.Identifier) is not { Allowed: true, Effective: true } row || row.NotAfter <= now)
            {
                Problem($"{terminal} has no permission at the authority");
            }
        }

        foreach (var overdue in store.Overdue(now - TimeSpan.FromSeconds(3)))
        {
            Problem($"certificate {overdue.Serial} of {overdue.Identifier} is neither confirmed nor revoked");
        }
    }

    private static string Spis(IEnumerable<(uint, uint)> spis) => $"[{string.Join(", ", spis.Select(s => $"{s.Item1:x}/{s.Item2:x}"))}]";

    private void Problem(string what) => _problems.Add(what);
}
