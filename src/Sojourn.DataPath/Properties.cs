using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("Sojourn.DataPath.Tests")]
