using System.Collections;
using System.Security.Cryptography;
using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Configuration;

/// <summary>A configuration file that was read, with everything there is to say about it.</summary>
/// <param name="Node">Null when the file has errors.</param>
public sealed record ConfigurationResult(NodeOptions? Node, IReadOnlyList<Finding> Findings)
{
    public bool HasErrors => Findings.Any(finding => finding.Severity == FindingSeverity.Error);
}

/// <summary>
/// Reads a node's YAML file into <see cref="NodeOptions"/> and finds every error it can in one go. Never throws on the
/// content of a file; what the file system refuses is a finding too.
/// </summary>
public static class ConfigurationReader
{
    public static ConfigurationResult ReadFile(string path)
    {
        string text;
        try
        {
            var info = new FileInfo(path);
            if (info.Exists && info.Length > 4 * YamlTree.MaximumCharacters)
            {
                return Refuse(path, "the file is too long");
            }

            text = File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            return Refuse(path, $"cannot be read: {e.Message}");
        }

        return Read(text, path);
    }

    /// <summary>Reads text as if it stood in <paramref name="path"/>, which relative file names refer to.</summary>
    public static ConfigurationResult Read(string text, string path)
    {
        var findings = new List<Finding>();
        if (YamlTree.Read(text, path, findings) is not { } root)
        {
            return new ConfigurationResult(null, findings);
        }

        var reading = new Reading(path, Path.GetDirectoryName(Path.GetFullPath(path))!, findings);
        var node = (NodeOptions?)reading.Section(typeof(NodeOptions), root, "the file");
        if (node is not null)
        {
            node.File = path;
            reading.DefaultFiles(node);

            // Findings about how options go together make no sense while single ones are wrong or missing.
            if (!findings.Exists(finding => finding.Severity == FindingSeverity.Error))
            {
                ConfigurationRules.Check(node, findings);
            }
        }

        var sorted = findings.OrderBy(finding => finding.At.Line).ThenBy(finding => finding.At.Column).ToList();
        var result = new ConfigurationResult(node, sorted);
        return result.HasErrors ? result with { Node = null } : result;
    }

    /// <summary>Reads all <c>*.yaml</c> files of a directory and also finds what clashes between them.</summary>
    public static IReadOnlyList<ConfigurationResult> ReadDirectory(string directory)
    {
        var results = Directory.EnumerateFiles(directory, "*.yaml").Order(StringComparer.Ordinal).Select(ReadFile).ToList();
        var nodes = new Dictionary<string, NodeOptions>();
        for (var i = 0; i < results.Count; i++)
        {
            if (results[i].Node is { } node && !nodes.TryAdd(node.Node, node))
            {
                results[i] = new ConfigurationResult(null, [.. results[i].Findings, new Finding(
                    node.File, node.MarkOf(nameof(NodeOptions.Node)), $"node '{node.Node}' is also the name in {nodes[node.Node].File}", "one node per name")]);
            }
        }

        return results;
    }

    private static ConfigurationResult Refuse(string path, string text) =>
        new(null, [new Finding(path, new SourceMark(1, 1), text, "a YAML file of up to 1 MiB")]);

    private sealed class Reading(string file, string directory, List<Finding> findings)
    {
        /// <param name="at">Where to look for what the group lacks: its name, or its first option in a list.</param>
        public OptionSection? Section(Type type, YamlValue value, string name, SourceMark? at = null)
        {
            if (value is not YamlMapping mapping)
            {
                findings.Add(new Finding(file, value.At, $"{name} is {value.Kind}", "a group of options (name: value)"));
                return null;
            }

            var section = (OptionSection)Activator.CreateInstance(type)!;
            section.Mark = at ?? mapping.At;
            var declared = OptionSchema.Of(type);
            foreach (var (key, entry) in mapping.Entries)
            {
                if (declared.FirstOrDefault(option => option.Name == key.Text) is not { } option)
                {
                    var names = declared.Select(o => o.Name).ToList();
                    var nearest = OptionSchema.Nearest(key.Text, names);
                    findings.Add(new Finding(
                        file, key.At, $"unknown option '{key.Text}'{(nearest is null ? "" : $", perhaps '{nearest}'")}", string.Join(", ", names)));
                    continue;
                }

                section.SetMark(option.Property.Name, option.IsSection || option.IsList ? key.At : entry.At);
                if (Value(option, key.At, entry) is { } read)
                {
                    option.Property.SetValue(section, read);
                }
            }

            foreach (var option in declared.Where(option => option.Option.Required && mapping.Entries.All(entry => entry.Key.Text != option.Name)))
            {
                findings.Add(new Finding(file, section.Mark, $"{name} lacks '{option.Name}'", option.Allowed));
            }

            return section;
        }

        /// <summary>Defaults that name files are relative to the file too.</summary>
        public void DefaultFiles(NodeOptions node)
        {
            if (node.StateDirectory is { FullPath: "" } state)
            {
                node.StateDirectory = state with { FullPath = Path.GetFullPath(state.Written, directory) };
            }
        }

        private object? Value(OptionDeclaration option, SourceMark name, YamlValue value)
        {
            if (!option.IsList)
            {
                return option.IsSection ? Section(option.ValueType, value, $"'{option.Name}'", name) : One(option, value, $"'{option.Name}'");
            }

            if (value is not YamlList list)
            {
                findings.Add(new Finding(file, value.At, $"'{option.Name}' is {value.Kind}", option.Allowed));
                return null;
            }

            if (list.Items.Count == 0 && option.Option.Required)
            {
                findings.Add(new Finding(file, value.At, $"'{option.Name}' is an empty list", "at least one item"));
            }

            var items = (IList)Activator.CreateInstance(option.Property.PropertyType)!;
            for (var i = 0; i < list.Items.Count; i++)
            {
                if (One(option, list.Items[i], $"item {i + 1} of '{option.Name}'") is { } item)
                {
                    items.Add(item);
                }
            }

            Repeated(option, items, list);
            return items;
        }

        private object? One(OptionDeclaration option, YamlValue value, string name)
        {
            if (option.IsSection)
            {
                return Section(option.ValueType, value, name);
            }

            if (value is not YamlScalar { IsNull: false } scalar)
            {
                findings.Add(new Finding(file, value.At, $"{name} is {value.Kind}", OptionTypes.Allowed(option.ValueType, option.Option)));
                return null;
            }

            var read = OptionTypes.TryParse(option.ValueType, option.Option, scalar.Text, directory, out var reason);
            if (read is null)
            {
                findings.Add(new Finding(file, scalar.At, $"{name}: {reason}", OptionTypes.Allowed(option.ValueType, option.Option)));
            }
            else if (read is FileReference reference)
            {
                if (Missing(reference, option.Option.File) is { } missing)
                {
                    findings.Add(new Finding(file, scalar.At, $"{name}: {missing}", OptionTypes.Allowed(option.ValueType, option.Option)));
                }
                else if (option.Option.File is FileUse.Secret or FileUse.Private)
                {
                    return reference with { Fingerprint = Fingerprint(reference.FullPath) };
                }
            }

            return read;
        }

        private static string? Missing(FileReference reference, FileUse use)
        {
            switch (use)
            {
                case FileUse.Read:
                    return File.Exists(reference.FullPath) ? null : $"no file '{reference.FullPath}'";
                case FileUse.Private:
                    return SecretFile.CheckPrivate(reference.FullPath);
                case FileUse.Secret:
                    using (var secret = new Wiped(SecretFile.TryRead(reference.FullPath, out var reason)))
                    {
                        return secret.Key is null ? reason : null;
                    }

                default:
                    return null;
            }
        }

        private static string Fingerprint(string path)
        {
            try
            {
                return Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path)).AsSpan(0, 4));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return "";
            }
        }

        private void Repeated(OptionDeclaration option, IList items, YamlList list)
        {
            var key = option.Option.Unique is { } unique ? option.ValueType.GetProperty(unique) : null;
            if ((option.IsSection && key is null) || items.Count != list.Items.Count || option.ValueType == typeof(int))
            {
                return;
            }

            var seen = new Dictionary<object, int>();
            for (var i = 0; i < items.Count; i++)
            {
                var identity = key is null ? items[i] : key.GetValue(items[i]);
                if (identity is null or "" || seen.TryAdd(identity, i))
                {
                    continue;
                }

                var at = key is null ? list.Items[i].At : ((OptionSection)items[i]!).MarkOf(key.Name);
                var what = key is null ? "value" : $"'{OptionTypes.NameOf(key.Name)}'";
                findings.Add(new Finding(file, at, $"'{option.Name}' has the {what} {OptionTypes.Print(identity)} twice, first in item {seen[identity] + 1}", "each once"));
            }
        }
    }

    private sealed record Wiped(Sojourn.Engine.KeyMaterial? Key) : IDisposable
    {
        public void Dispose() => Key?.Wipe();
    }
}
