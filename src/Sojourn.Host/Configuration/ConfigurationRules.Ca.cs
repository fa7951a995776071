using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Configuration;

/// <summary>The certification authority's section.</summary>
internal sealed partial class ConfigurationRules
{
    private void Ca()
    {
        if (_node.Ca is not { } ca)
        {
            return;
        }

        if (ca.PublicUri is { } text && !(Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri is { Scheme: "http" or "https" } && uri.Query.Length == 0 && uri.Fragment.Length == 0))
        {
            Error(ca.MarkOf(nameof(ca.PublicUri)), $"'{text}' is no address of a web server", "http://NAME or http://NAME:PORT, with or without a path");
        }

        if (ca.Queries is not { } queries)
        {
            return;
        }

        foreach (var end in queries.Listen.Where(ca.Listen.Contains))
        {
            Error(queries.MarkOf(nameof(queries.Listen)), $"{end} is also in ca.listen", "an address and port of its own");
        }

        Tls(queries.Tls, identity: null);
        foreach (var asker in queries.Askers.Where(asker => asker.WithdrawalUri is not null && !(Uri.TryCreate(asker.WithdrawalUri, UriKind.Absolute, out var at) && at.Scheme == "https")))
        {
            Error(asker.MarkOf(nameof(asker.WithdrawalUri)), $"'{asker.WithdrawalUri}' is no https address", "https://NAME:PORT/PATH");
        }
    }
}
