using System.Text.Json;
using System.Text.RegularExpressions;
using Xunit;

namespace Sojourn.Host.Tests;

/// <summary>
/// Every file in BrokenConfigurations says in its first lines what <c>sojourn check</c> has to find: exactly those lines,
/// those reasons, what is allowed instead, and exit status 1.
/// </summary>
public sealed partial class BrokenConfigurationTests(ConfigurationMaterial material) : IClassFixture<ConfigurationMaterial>
{
    public static TheoryData<string> Files => [.. Directory.EnumerateFiles(Folder, "*.yaml").Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    private static string Folder => Path.Combine(AppContext.BaseDirectory, "BrokenConfigurations");

    [Theory]
    [MemberData(nameof(Files))]
    public async Task Check_names_line_reason_and_what_is_allowed(string name)
    {
        var text = await File.ReadAllTextAsync(Path.Combine(Folder, name));
        var expected = Expectation().Matches(text).Select(match => (Line: int.Parse(match.Groups[1].Value), Text: match.Groups[2].Value)).ToList();
        Assert.NotEmpty(expected);
        var path = material.Write(name, text);

        var (status, output, _) = await Commands.Run("check", path);

        Assert.Equal(1, status);
        var lines = output.Split('\n').Where(line => line.StartsWith(path, StringComparison.Ordinal)).Select(line => Located().Match(line[path.Length..])).ToList();
        Assert.All(lines, line => Assert.True(line.Success, output));
        Assert.Equal(expected.Select(e => e.Line).Order(), lines.Select(line => int.Parse(line.Groups[1].Value)).Order());
        Assert.All(expected, e => Assert.Contains(lines, line => int.Parse(line.Groups[1].Value) == e.Line && line.Groups[2].Value.Contains(e.Text)));
        Assert.All(lines, line => Assert.True(line.Groups[2].Value.Contains("; allowed: ") || line.Groups[2].Value.StartsWith("not YAML"), output));
    }

    [Fact]
    [Trait("Row", "NV-A32")]
    public void Sixty_files_and_more_are_broken_among_them_counter_modes_with_typed_in_keys()
    {
        Assert.True(Files.Count >= 60);
        Assert.True(File.Exists(Path.Combine(Folder, "gcm-with-static-key.yaml")));
    }

    [Fact]
    public async Task Check_of_a_directory_finds_all_files_and_clashes_between_them()
    {
        using var own = new ConfigurationMaterial();
        own.Write("configs/a.yaml", "node: a\nrole: mobile-node\nmobile-node: { interface: eth0, nai: a@home.example, mn-aaa: { spi: 0x200, key-file: ../keys/k32 } }\n");
        own.Write("configs/b.yaml", "node: a\nrole: mobile-node\nmobile-node: { interface: eth0, nai: b@home.example, mn-aaa: { spi: 0x200, key-file: ../keys/k32 } }\n");

        var (status, output, _) = await Commands.Run("check", "--json", own.At("configs"));

        Assert.Equal(1, status);
        var report = JsonDocument.Parse(output).RootElement;
        Assert.Equal("sojourn/check/1", report.GetProperty("schema").GetString());
        Assert.Equal(2, report.GetProperty("files").GetInt32());
        var finding = Assert.Single(report.GetProperty("findings").EnumerateArray());
        Assert.EndsWith("b.yaml", finding.GetProperty("file").GetString());
        Assert.Equal(1, finding.GetProperty("line").GetInt32());
    }

    [Fact]
    public async Task A_file_that_cannot_be_read_is_a_finding()
    {
        var (status, output, _) = await Commands.Run("check", material.At("nobody.yaml"));
        Assert.Equal(1, status);
        Assert.Contains("nobody.yaml:1:1: cannot be read", output);
    }

    [Fact]
    public void Damaged_files_of_any_kind_are_findings_never_exceptions()
    {
        var random = new Random(20261121);
        foreach (var path in Directory.EnumerateFiles(Folder, "*.yaml"))
        {
            var text = File.ReadAllText(path).ToCharArray();
            for (var round = 0; round < 40; round++)
            {
                var damaged = (char[])text.Clone();
                for (var i = random.Next(1, 6); i > 0 && damaged.Length > 0; i--)
                {
                    damaged[random.Next(damaged.Length)] = (char)random.Next(0, 300);
                }

                _ = Configuration.ConfigurationReader.Read(new string(damaged), material.At("damaged.yaml"));
            }
        }
    }

    [GeneratedRegex("^# expect: ([0-9]+): (.+)$", RegexOptions.Multiline)]
    private static partial Regex Expectation();

    [GeneratedRegex("^:([0-9]+):[0-9]+: (.+)$")]
    private static partial Regex Located();
}
