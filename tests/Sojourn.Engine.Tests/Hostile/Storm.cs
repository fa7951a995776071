using System.Globalization;
using Sojourn.Engine.Ipv6Host;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Engine.Terminal;
using Sojourn.Fuzz;
using Xunit;

namespace Sojourn.Engine.Tests.Hostile;

/// <summary>What became of the packets that a node was given: each of them has an outcome, and the sum of all outcomes is their number.</summary>
internal sealed class Storm(ulong seed)
{
    private const string Silent = "nothing";

    private readonly SortedDictionary<string, long> _outcomes = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _complaints = [];
    private readonly EffectSink _sink = new();

    public long Packets { get; private set; }

    /// <summary>Drops and other ends, by the counter that told of them first; <c>delivered</c> and <c>sent</c> beside them.</summary>
    public IReadOnlyDictionary<string, long> Outcomes => _outcomes;

    public static long Count { get; } = long.TryParse(Environment.GetEnvironmentVariable("SOJOURN_HOSTILE_PACKETS"), NumberStyles.None, CultureInfo.InvariantCulture, out var count) ? count : 1_000_000;

    /// <summary>The packet number <paramref name="number"/> of this storm. Half are mended, so that they get further.</summary>
    public byte[] Make(Mutator mutator, long number)
    {
        var packet = mutator.Make(seed, (ulong)number);
        if (mutator.Coin())
        {
            PacketMender.Mend(packet.Span);
        }

        return packet.ToArray();
    }

    /// <summary>Hands a packet to an engine and books what it made of it.</summary>
    public void Give(IEngine engine, EngineInput input, ReadOnlyMemory<byte> packet, DateTimeOffset now)
    {
        _sink.Clear();
        try
        {
            engine.Handle(input, now, _sink);
        }
        catch (Exception exception)
        {
            Complain($"{exception.GetType().Name} {exception.StackTrace?.Split('\n').FirstOrDefault()?.Trim()}", input, packet);
            Book("broken", packet);
            return;
        }

        Book(OutcomeOf(_sink.Effects), packet);
    }

    /// <exception cref="Xunit.Sdk.XunitException">An engine broke at a packet, or left it without an outcome.</exception>
    public void AssertAllAccounted()
    {
        Assert.True(_complaints.Count == 0, $"{_outcomes.GetValueOrDefault("broken")} broken, {_outcomes.GetValueOrDefault(Silent)} without outcome of {Packets}:\n{string.Join('\n', _complaints.Select(c => $"{c.Key}: {c.Value}"))}");
        Assert.Equal(Packets, _outcomes.Values.Sum());
    }

    /// <param name="outcome">Null: nothing tells what became of the packet.</param>
    public void Book(string? outcome, ReadOnlyMemory<byte> packet)
    {
        Packets++;
        if (outcome is null)
        {
            Complain($"nothing tells of next header {(packet.Length > 40 ? packet.Span[6] : 0)}, then {(packet.Length > 40 ? packet.Span[40] : 0)}", null, packet);
        }

        outcome ??= Silent;
        _outcomes[outcome] = _outcomes.GetValueOrDefault(outcome) + 1;
    }

    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Packets} packets, {_outcomes.Count} outcomes: {string.Join(", ", _outcomes.OrderByDescending(o => o.Value).Select(o => $"{o.Key} {o.Value}"))}");

    /// <summary>One example of each kind.</summary>
    private void Complain(string what, EngineInput? input, ReadOnlyMemory<byte> packet)
    {
        if (_complaints.Count < 60)
        {
            _complaints.TryAdd(what, $"{input?.GetType().Name} {Convert.ToHexStringLower(packet.Span)}");
        }
    }

    private static string? OutcomeOf(IReadOnlyList<Effect> effects)
    {
        string? counted = null;
        foreach (var effect in effects)
        {
            switch (effect)
            {
                case DeliverToHost or DeliverIpv6Packet:
                    return "delivered";
                case CountEvent count:
                    counted ??= count.Counter;
                    break;
            }
        }

        return counted ?? (effects.Any(e => e is SendIpv6Packet or SendDatagram) ? "sent" : effects.Count > 0 ? "acted on" : null);
    }
}
