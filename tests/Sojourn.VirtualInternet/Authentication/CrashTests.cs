using Sojourn.VirtualInternet.Net;
using Xunit;
using Xunit.Abstractions;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>
/// One login of a terminal that has nothing yet, from enrolment to traffic in both directions, and a machine that crashes at every single thing it
/// does on the way: each commit, each message. It comes back with its disk, and the login ends well.
/// </summary>
public sealed class CrashTests(ITestOutputHelper output)
{
    private const double Longest = 240;

    [Theory]
    [InlineData("ca", false)]
    [InlineData("dr", false)]
    [InlineData("ha", false)]
    [InlineData("mn1", false)]
    [InlineData("ca", true)]
    [InlineData("ha", true)]
    [InlineData("mn1", true)]
    public void A_login_ends_well_whichever_step_a_machine_crashes_after(string victim, bool oneNode)
    {
        var steps = 0;
        var clean = Login(oneNode, 0, (world, step) => steps += world.Network[victim] == step.Machine ? 1 : 0, out _);
        Assert.InRange(clean, 0.1, 15);
        Assert.InRange(steps, 5, 300);

        var slowest = (After: 0, Seconds: 0.0);
        for (var k = 1; k <= steps; k++)
        {
            foreach (var off in (double[])[0.1, 4])
            {
                var count = 0;
                var seconds = Login(oneNode, off, (world, step) => count += world.Network[victim] == step.Machine ? 1 : 0, out var world, (machine, _) => machine.Name == victim && count == k);
                Assert.True(world.Network[victim].Life == 2, $"{victim} has not crashed after step {k}");
                slowest = seconds > slowest.Seconds ? (k, seconds) : slowest;
            }
        }

        output.WriteLine($"{victim}{(oneNode ? ", home agent and delegating router on one node" : "")}: {steps} steps, {2 * steps} crashes; clean login {clean} s, slowest {slowest.Seconds} s after step {slowest.After}");
    }

    /// <summary>Runs until all is at rest; how long that took.</summary>
    private static double Login(
        bool oneNode, double off, Action<AuthenticationWorld, (Machine Machine, Effect Effect)> seen, out AuthenticationWorld world, Func<Machine, Effect, bool>? crashes = null)
    {
        IReadOnlyList<string> problems = [];
        world = new AuthenticationWorld(1, new AuthenticationOptions { OneNode = oneNode }, ["mn1"], trace: true);
        var (here, network) = (world, world.Network);
        network.CrashAfter = (machine, effect) =>
        {
            if (!TerminalNetwork.IsStep(effect))
            {
                return false;
            }

            seen(here, (machine, effect));
            if (crashes?.Invoke(machine, effect) != true)
            {
                return false;
            }

            network.CrashAfter = null;
            network.Trace.Note(network.Simulation.Now, $"{machine,6}  ·  the next crash comes after {effect.GetType().Name}");
            network.Simulation.After(TimeSpan.FromSeconds(off), () => network.Start(machine));
            return true;
        };
        world.StartInfrastructure();
        var terminal = world.Terminals[0];
        var began = network.Simulation.Now;
        try
        {
            world.StartTerminal(terminal, world.Routers[0]);
            while (network.Simulation.Now - began < TimeSpan.FromSeconds(Longest))
            {
                network.Run(0.5);
                problems = world.Home.All(m => m.IsUp) && terminal.IsUp ? AuthenticationQuiescence.Check(world, [terminal], [terminal]) : ["something is down"];
                if (problems.Count == 0)
                {
                    network.CrashAfter = null;
                    var took = (network.Simulation.Now - began).TotalSeconds;
                    var pings = new[] { network.PingFromTerminal(terminal), network.PingFromCorrespondent(terminal, terminal.Terminal!.HomeAddress!) };
                    network.Run(1);
                    Assert.True(pings.All(p => p.Returned), $"{string.Join('\n', pings.Select(p => p.ToString()))}\n{network.Trace}");
                    return took;
                }
            }
        }
        catch (InvariantViolation violation)
        {
            problems = [violation.ToString()];
        }

        Assert.Fail($"{string.Join('\n', problems)}\n\n{network.Trace}");
        return 0;
    }
}
