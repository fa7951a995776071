using System.Text;
using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Configuration;

/// <summary>Writes what <see cref="OptionAttribute"/>s declare: annotated samples and docs/configuration.md.</summary>
public static class ConfigurationReference
{
    /// <summary>A complete file for a role: required options with an example value, all others as comments with their default.</summary>
    public static string Sample(NodeRole role)
    {
        var output = new StringBuilder();
        output.Append("# Sample of a ").Append(OptionTypes.NameOf(role.ToString())).Append(": every option it takes. Commented-out lines show the default, or an example where there is none.\n");
        output.Append("# Durations 500ms 10s 5m 2h 7d; rates 64kbit 10mbit; prefixes 10.0.0.0/24. Relative file names are relative to this file.\n");
        var (needed, taken) = ConfigurationRules.SectionsOf(role);
        foreach (var option in OptionSchema.Of(typeof(NodeOptions)))
        {
            var name = option.Property.Name;
            var common = name is nameof(NodeOptions.Control) or nameof(NodeOptions.Log) or nameof(NodeOptions.Interop);
            if (option.IsSection && !common && !needed.Contains(name) && !taken.Contains(name))
            {
                continue;
            }

            output.Append('\n');
            var live = option.Option.Required || needed.Contains(name) || (name == nameof(NodeOptions.KeyWrap) && taken.Contains(name));
            Write(output, option, "", live, name == nameof(NodeOptions.Role) ? OptionTypes.NameOf(role.ToString()) : null, role);
        }

        return output.ToString();
    }

    /// <summary>docs/configuration.md.</summary>
    public static string Markdown()
    {
        var output = new StringBuilder();
        output.Append("# Configuration reference\n\nOne YAML file per node. Generated from the declarations in `src/Sojourn.Roles/Configuration`; `sojourn sample ROLE` prints an\nannotated file, `sojourn check FILE` says what is wrong with one.\n\n");
        output.Append("Durations are `500ms`, `10s`, `5m`, `2h`, `7d`; rates `64kbit`, `10mbit`; prefixes `10.0.0.0/24`. Relative file names are relative to the file.\nSecrets stand in files of their own, as hexadecimal or base64 text, mode 0600. Aliases and repeated options are refused.\n\n");
        output.Append("| Role | Needs | Takes |\n|---|---|---|\n");
        foreach (var role in Enum.GetValues<NodeRole>())
        {
            var (needed, taken) = ConfigurationRules.SectionsOf(role);
            output.Append("| ").Append(OptionTypes.NameOf(role.ToString())).Append(" | ").AppendJoin(", ", needed.Select(OptionTypes.NameOf)).Append(" | ").AppendJoin(", ", taken.Select(OptionTypes.NameOf)).Append(" |\n");
        }

        Section(output, typeof(NodeOptions), "");
        return output.ToString();
    }

    private static void Section(StringBuilder output, Type type, string path)
    {
        output.Append("\n## ").Append(path.Length == 0 ? "The file" : $"`{path}`").Append("\n\n| Option | Value | Default | Meaning |\n|---|---|---|---|\n");
        foreach (var option in OptionSchema.Of(type))
        {
            var fallback = option.Option.Required ? "required" : option.Default is { } value ? $"`{value}`" : option.Option.Otherwise ?? (option.IsList ? "empty" : "");
            output.Append("| `").Append(option.Name).Append("` | ").Append(Escape(option.Allowed)).Append(" | ").Append(Escape(fallback)).Append(" | ").Append(Escape(option.Option.Text)).Append(option.Option.Reload ? " *Taken over by a reload.*" : "").Append(" |\n");
        }

        foreach (var option in OptionSchema.Of(type).Where(option => option.IsSection))
        {
            Section(output, option.ValueType, (path.Length == 0 ? "" : path + ".") + option.Name + (option.IsList ? "[]" : ""));
        }
    }

    private static void Write(StringBuilder output, OptionDeclaration option, string indent, bool live, string? value, NodeRole role)
    {
        var comment = live ? "" : "# ";
        output.Append(indent).Append("# ").Append(option.Option.Text);
        var after = option.Option.Otherwise is { } otherwise ? $" Left out: {otherwise}." : "";
        output.Append(option.IsSection ? after : $" ({option.Allowed}){after}").Append('\n');
        if (!option.IsSection)
        {
            value ??= option.Option.Required ? option.Option.Example ?? Fallback(option, role) : option.Default ?? option.Option.Example ?? "";
            if (option.IsList && !value.StartsWith('['))
            {
                value = $"[ {value} ]";
            }

            output.Append(indent).Append(comment).Append(option.Name).Append(": ").Append(value).Append('\n');
            return;
        }

        output.Append(indent).Append(comment).Append(option.Name).Append(":\n");
        var first = option.IsList;
        foreach (var member in OptionSchema.Of(option.ValueType))
        {
            var lines = new StringBuilder();
            var memberLive = live && (member.Option.Required || AlsoLive(option, member, role));
            Write(lines, member, indent + "  " + (option.IsList ? "  " : ""), memberLive, null, role);
            var written = lines.ToString().TrimEnd('\n').Split('\n');
            for (var i = 0; i < written.Length; i++)
            {
                // The dash of a list item belongs to its first option, not to the comment above it.
                var dash = first && i == written.Length - 1;
                output.Append(dash ? indent + (live ? "  - " : "  # - ") + written[i].TrimStart(' ', '#') : written[i]).Append('\n');
                first &= !dash;
            }
        }
    }

    /// <summary>Options that are optional in general, yet without which a sample of this role would not pass <c>check</c>.</summary>
    private static bool AlsoLive(OptionDeclaration section, OptionDeclaration member, NodeRole role) =>
        (section.ValueType.Name, member.Property.Name) is
            (nameof(DiameterOptions), nameof(DiameterOptions.Listen)) or (nameof(DiameterOptions), nameof(DiameterOptions.Tls)) or (nameof(DiameterOptions), nameof(DiameterOptions.Peers))
            or (nameof(AaaSection), nameof(AaaSection.Database)) or (nameof(AaaSection), nameof(AaaSection.HomeAgents))
            or (nameof(GatewaySection), nameof(GatewaySection.Contracts))
            or (nameof(HomeAgent6Section), nameof(HomeAgent6Section.Allocations)) or (nameof(HomeAgent6Section), nameof(HomeAgent6Section.CertificateFile)) or (nameof(HomeAgent6Section), nameof(HomeAgent6Section.KeyFile))
            or (nameof(DelegatingRouterSection), nameof(DelegatingRouterSection.Interfaces)) or (nameof(DelegatingRouterSection), nameof(DelegatingRouterSection.Approved))
            or (nameof(AccessServerSection), nameof(AccessServerSection.Users))
            or (nameof(AccessAuthenticatorSection), nameof(AccessAuthenticatorSection.Servers));

    private static string Fallback(OptionDeclaration option, NodeRole role) => option.ValueType.Name switch
    {
        nameof(AaaSide) => "home",
        "GatewayType" => "dynamic",
        _ => OptionTypes.NameOf(role.ToString()),
    };

    private static string Escape(string text) => text.Replace("|", "\\|", StringComparison.Ordinal);
}
