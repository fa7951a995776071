using System.Runtime.CompilerServices;
using System.Xml.Linq;
using Xunit;

namespace Sojourn.Architecture.Tests;

public sealed class DependencyTests
{
    // Who may refer to whom. Anything not listed is forbidden.
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Sojourn.Wire"] = [],
        ["Sojourn.Engine"] = ["Sojourn.Wire"],
        ["Sojourn.DataPath"] = ["Sojourn.Engine", "Sojourn.Wire"],
        ["Sojourn.Storage"] = ["Sojourn.Engine", "Sojourn.Wire"],
        ["Sojourn.Roles"] = ["Sojourn.DataPath", "Sojourn.Storage", "Sojourn.Engine", "Sojourn.Wire"],
        ["Sojourn.Console"] = ["Sojourn.Roles", "Sojourn.Storage", "Sojourn.Engine", "Sojourn.Wire"],
        ["Sojourn.Host"] = ["Sojourn.Console", "Sojourn.Roles", "Sojourn.DataPath", "Sojourn.Storage", "Sojourn.Engine", "Sojourn.Wire"],
        ["Sojourn.Lab"] = ["Sojourn.Host", "Sojourn.Roles", "Sojourn.DataPath", "Sojourn.Storage", "Sojourn.Engine", "Sojourn.Wire"],
        ["Sojourn.Cli"] = ["Sojourn.Lab", "Sojourn.Host", "Sojourn.Roles", "Sojourn.DataPath", "Sojourn.Storage", "Sojourn.Engine", "Sojourn.Wire"],
    };

    // The clock, sockets, files, threads and ambient randomness reach an engine only through its inputs and IRandomSource.
    private static readonly string[] ForbiddenInEngines =
    [
        "DateTime.Now", "DateTime.UtcNow", "DateTimeOffset.Now", "DateTimeOffset.UtcNow", "TimeProvider.System", "Environment.TickCount",
        "Stopwatch.", "Random.Shared", "new Random(", "RandomNumberGenerator.", "Guid.NewGuid", "Guid.CreateVersion7",
        "new Socket(", "UdpClient", "TcpClient", "NetworkStream", "File.", "Console.", "Thread.", "Task.Run", "Task.Delay", "new Timer(",
    ];

    public static TheoryData<string> Projects() => [.. Directory.GetDirectories(Path.Combine(Root, "src")).Select(d => Path.GetFileName(d)!)];

    [Theory]
    [MemberData(nameof(Projects))]
    public void A_layer_refers_only_to_the_layers_below_it(string project)
    {
        Assert.True(Allowed.TryGetValue(project, out var allowed), $"{project} is new: say in {nameof(DependencyTests)} which layers it may use");
        var references = XDocument.Load(Path.Combine(Root, "src", project, project + ".csproj"))
            .Descendants("ProjectReference")
            .Select(r => Path.GetFileNameWithoutExtension(r.Attribute("Include")!.Value))
            .ToList();
        foreach (var reference in references)
        {
            Assert.True(allowed.Contains(reference),
                $"{project} refers to {reference}. Dependencies point one way (Wire <- Engine <- Roles <- Host <- Cli; DataPath and Storage hang below Roles, Console below Host), so that an engine runs unchanged on real sockets, in the virtual internet and under the fuzzer.");
        }
    }

    [Theory]
    [InlineData("Sojourn.Wire")]
    [InlineData("Sojourn.Engine")]
    public void Codecs_and_engines_do_no_input_or_output_and_read_no_clock(string project)
    {
        var faults = new List<string>();
        foreach (var file in Sources(project))
        {
            var number = 0;
            foreach (var line in File.ReadLines(file))
            {
                number++;
                var code = line.Split("//", 2)[0];
                foreach (var word in ForbiddenInEngines.Where(w => Contains(code, w)))
                {
                    faults.Add($"{Path.GetRelativePath(Root, file)}:{number}: {word}");
                }
            }
        }

        // The production random source is the one deliberate exception: it is what gets injected.
        faults.RemoveAll(f => f.Contains("Core/IEngine.cs", StringComparison.Ordinal) && f.EndsWith("RandomNumberGenerator.", StringComparison.Ordinal));
        Assert.True(faults.Count == 0, $"{project} must stay free of I/O, clock, threads and ambient randomness:\n" + string.Join('\n', faults));
    }

    [Fact]
    public void Wire_does_no_cryptography()
    {
        var faults = Sources("Sojourn.Wire").Where(f => File.ReadAllText(f).Contains("System.Security.Cryptography", StringComparison.Ordinal)).ToList();
        Assert.True(faults.Count == 0, "codecs turn bytes to values and back, nothing more: " + string.Join(", ", faults));
    }

    [Fact]
    public void The_product_never_runs_the_ip_command()
    {
        string[] layers = ["Sojourn.DataPath", "Sojourn.Roles", "Sojourn.Host"];
        var faults = layers.SelectMany(Sources).Where(f => File.ReadAllText(f).Contains("Process.Start", StringComparison.Ordinal)).ToList();
        Assert.True(faults.Count == 0, "addresses, links, routes and rules are set by netlink: " + string.Join(", ", faults));
    }

    [Fact]
    public void Names_say_what_a_thing_is()
    {
        string[] vague = ["Manager", "Helper", "Helpers", "Util", "Utils", "Utilities"];
        var faults = Directory.GetDirectories(Path.Combine(Root, "src")).SelectMany(d => Sources(Path.GetFileName(d)))
            .Where(f => vague.Any(v => Path.GetFileNameWithoutExtension(f).EndsWith(v, StringComparison.Ordinal)))
            .ToList();
        Assert.True(faults.Count == 0, string.Join(", ", faults));
    }

    internal static string Root => Path.GetFullPath(Path.Combine(Path.GetDirectoryName(ThisFile())!, "..", ".."));

    private static string ThisFile([CallerFilePath] string path = "") => path;

    private static IEnumerable<string> Sources(string project) =>
        Directory.EnumerateFiles(Path.Combine(Root, "src", project), "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains("/obj/", StringComparison.Ordinal) && !f.Contains("/bin/", StringComparison.Ordinal));

    private static bool Contains(string code, string word)
    {
        var at = code.IndexOf(word, StringComparison.Ordinal);
        return at >= 0 && (at == 0 || !char.IsLetterOrDigit(code[at - 1]));
    }
}
