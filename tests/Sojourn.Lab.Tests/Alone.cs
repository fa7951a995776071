using Xunit;

namespace Sojourn.Lab.Tests;

/// <summary>Tests that measure time or set what belongs to the whole process, and so run beside no other.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class Alone
{
    public const string Name = "alone";
}
