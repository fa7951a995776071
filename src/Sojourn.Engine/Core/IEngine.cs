namespace Sojourn.Engine;

/// <summary>
/// A protocol engine: no sockets, no clock, no ambient randomness, no threads. Whoever runs it (the role host on real
/// sockets, the virtual internet, the fuzzer) calls <see cref="Handle"/> from one thread at a time and carries out the
/// effects in the order they were emitted. State that a message promises is therefore saved by emitting
/// <see cref="SaveState"/> before the message that promises it.
/// </summary>
public interface IEngine
{
    /// <summary>Takes one input at time <paramref name="now"/> and appends what must be done to <paramref name="effects"/>. Never throws on peer data.</summary>
    void Handle(EngineInput input, DateTimeOffset now, EffectSink effects);

    /// <summary>When <see cref="DeadlineReached"/> must be delivered at the latest; null when nothing is pending.</summary>
    DateTimeOffset? NextDeadline { get; }
}

/// <summary>Collects the effects of one call in order.</summary>
public sealed class EffectSink
{
    private readonly List<Effect> _effects = [];

    public IReadOnlyList<Effect> Effects => _effects;

    public void Emit(Effect effect) => _effects.Add(effect);

    public void Count(string counter, long amount = 1) => _effects.Add(new CountEvent(counter, amount));

    public void Clear() => _effects.Clear();
}

/// <summary>Source of randomness handed to an engine: cryptographic in production, seeded in the virtual internet.</summary>
public interface IRandomSource
{
    void Fill(Span<byte> destination);
}

/// <summary>The operating system's cryptographic generator.</summary>
public sealed class SystemRandomSource : IRandomSource
{
    public static readonly SystemRandomSource Instance = new();

    public void Fill(Span<byte> destination) => System.Security.Cryptography.RandomNumberGenerator.Fill(destination);
}

public static class RandomSourceExtensions
{
    public static uint NextUInt32(this IRandomSource random)
    {
        Span<byte> bytes = stackalloc byte[4];
        random.Fill(bytes);
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(bytes);
    }

    public static ulong NextUInt64(this IRandomSource random)
    {
        Span<byte> bytes = stackalloc byte[8];
        random.Fill(bytes);
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(bytes);
    }

    public static byte[] NextBytes(this IRandomSource random, int count)
    {
        var bytes = new byte[count];
        random.Fill(bytes);
        return bytes;
    }
}
