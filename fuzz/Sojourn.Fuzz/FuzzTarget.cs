namespace Sojourn.Fuzz;

/// <summary>Reads an input. True when it is accepted. Allocations are measured around it.</summary>
internal delegate bool Decoder(ReadOnlyMemory<byte> input);

/// <summary>One codec under test.</summary>
/// <param name="Name">As on the command line.</param>
/// <param name="Covers">Entry points, as Type.Method; a test holds the list against the assembly.</param>
/// <param name="Corpus">Valid encodings that inputs are made from.</param>
/// <param name="Decode">Reads one input, and walks everything a caller would.</param>
internal sealed record FuzzTarget(string Name, string[] Covers, IReadOnlyList<byte[]> Corpus, Decoder Decode)
{
    /// <summary>What must hold of an accepted input beside being readable; throws <see cref="FuzzFailure"/>. Its allocations do not count.</summary>
    public Action<ReadOnlyMemory<byte>>? Holds { get; init; }

    /// <summary>Mends lengths and checksums after mutation, so that inputs get past the first check; applied to every other input.</summary>
    public Action<Memory<byte>>? Mend { get; init; }

    /// <summary>Octets a decoder may allocate for an input, beside <see cref="PerOctet"/> for each of its octets.</summary>
    public int Allowance { get; init; } = 1024;

    public int PerOctet { get; init; }

    /// <summary>Gets one of so many inputs: records of the node's own store, which nobody sends, and which take long to read.</summary>
    public int OneOf { get; init; } = 1;
}

/// <summary>A decoder broke a promise.</summary>
internal sealed class FuzzFailure(string message, Exception? inner = null) : Exception(message, inner);
