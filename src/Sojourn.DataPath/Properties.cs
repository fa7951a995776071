using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("Sojourn.DataPath.Tests")]
[assembly: InternalsVisibleTo("Sojourn.Benchmarks")]
