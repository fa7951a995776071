using System.Net;
using Sojourn.VirtualInternet.Net;

namespace Sojourn.VirtualInternet.Authentication;

/// <summary>What an engine has kept in one call: on the disk before anything else of that call is done, all of it or nothing.</summary>
internal sealed record Commit(IReadOnlyList<Effect> Changes) : Effect;

/// <summary>
/// A machine of the second system: an engine, the ports of its role, and its disk. A crash takes the engine and whatever a killed process
/// has in memory; the disk stays.
/// </summary>
internal abstract class Machine(TerminalNetwork network, string name) : EngineNode(name)
{
    protected TerminalNetwork Network => network;

    protected DateTimeOffset Now => network.Simulation.Now;

    /// <summary>Whether packets for this address are routed here.</summary>
    public virtual bool Takes(IPAddress destination) => false;

    /// <summary>Writes a change to the disk.</summary>
    public virtual void Keep(Effect change)
    {
        switch (change)
        {
            case SaveState save:
                State[save.Key] = save.Value.ToArray();
                break;
            case DropState drop:
                State.Remove(drop.Key);
                break;
            default:
                throw network.Violation($"{this} has no place for {change.GetType().Name}");
        }
    }

    /// <returns>False for what none of its ports carries out.</returns>
    public virtual bool TryCarryOut(Effect effect) => false;

    public virtual void PowerOn(IRandomSource random)
    {
    }

    public virtual void PowerOff()
    {
    }

    /// <summary>After every input.</summary>
    public virtual void Check()
    {
    }

    /// <summary>A whole IPv6 packet that routing has led here.</summary>
    public virtual void Receive(byte[] packet)
    {
    }

    /// <summary>A question that another machine asks over a connection.</summary>
    public virtual void Serve(Question question)
    {
    }

    /// <summary>Gives the engine of this life an input, now or, when it has died meanwhile, never.</summary>
    protected void Later(TimeSpan delay, Func<EngineInput> input)
    {
        var life = Life;
        network.Simulation.After(delay, () =>
        {
            if (Life == life)
            {
                network.Input(this, input());
            }
        });
    }
}

/// <summary>A request over HTTP: Q1 to Q3, CMP, OCSP. The connection, and with it the answer, is lost when either end crashes.</summary>
/// <param name="Kind">Which of them.</param>
/// <param name="Answer">Sends the answer back.</param>
internal sealed record Question(string Kind, object Body, Action<object> Answer);

/// <summary>Somebody who does nothing of his own accord.</summary>
internal sealed class IdleEngine : IEngine
{
    public DateTimeOffset? NextDeadline => null;

    public void Handle(EngineInput input, DateTimeOffset now, EffectSink effects)
    {
    }
}
