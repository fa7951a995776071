using Sojourn.Host.Configuration;
using Sojourn.Roles.Configuration;
using Xunit;

namespace Sojourn.Host.Tests;

public sealed class ConfigurationReferenceTests
{
    public static TheoryData<NodeRole> Roles => [.. Enum.GetValues<NodeRole>()];

    [Theory]
    [MemberData(nameof(Roles))]
    public async Task The_sample_of_a_role_passes_check_once_its_files_exist(NodeRole role)
    {
        using var material = new ConfigurationMaterial();
        foreach (var key in new[] { "keys/node1-aaaf", "keys/ha-sgw", "keys/ha-pcn", "keys/fa1-fa2", "keys/alice", "keys/gw1" })
        {
            material.Secret(key, 32);
        }

        var (made, sample, _) = await Commands.Run("sample", Name(role));
        var (status, output, _) = await Commands.Run("check", material.Write("sample.yaml", sample));

        Assert.Equal(0, made);
        Assert.True(status == (role == NodeRole.DiameterRelay ? 1 : 0), output);
        Assert.True(role != NodeRole.DiameterRelay || output.Contains("a relay with one peer"), output);
    }

    [Theory]
    [MemberData(nameof(Roles))]
    public void Every_option_of_a_sample_may_be_uncommented(NodeRole role)
    {
        using var material = new ConfigurationMaterial();
        var lines = ConfigurationReference.Sample(role).Split('\n');
        var uncommented = lines.Select(line => System.Text.RegularExpressions.Regex.Replace(line, "^( *)# ((- )?[a-z0-9-]+:)", "$1$2"));

        var result = ConfigurationReader.Read(string.Join('\n', uncommented), material.At("sample.yaml"));

        Assert.DoesNotContain(result.Findings, finding => finding.Text.StartsWith("unknown option") || finding.Text.StartsWith("not YAML") || finding.Text.Contains(" is a "));
    }

    [Fact]
    public void The_reference_page_is_what_the_declarations_say() => Generated("docs/configuration.md", ConfigurationReference.Markdown());

    [Theory]
    [MemberData(nameof(Roles))]
    public void The_packaged_samples_are_what_the_declarations_say(NodeRole role) =>
        Generated($"packaging/samples/{Name(role)}.yaml", ConfigurationReference.Sample(role));

    internal static string Root
    {
        get
        {
            var folder = new DirectoryInfo(AppContext.BaseDirectory);
            while (!File.Exists(Path.Combine(folder.FullName, "Sojourn.slnx")))
            {
                folder = folder.Parent!;
            }

            return folder.FullName;
        }
    }

    /// <summary>Compares with the committed file; with SOJOURN_WRITE_GENERATED=1 writes it instead.</summary>
    internal static void Generated(string path, string content)
    {
        var file = Path.Combine(Root, path);
        if (Environment.GetEnvironmentVariable("SOJOURN_WRITE_GENERATED") == "1")
        {
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            File.WriteAllText(file, content);
        }

        Assert.True(File.ReadAllText(file) == content, $"{path} is out of date: run the tests once with SOJOURN_WRITE_GENERATED=1");
    }

    private static string Name(NodeRole role) => string.Concat(role.ToString().Select((c, i) => char.IsUpper(c) ? (i == 0 ? "" : "-") + char.ToLowerInvariant(c) : c.ToString()));
}
