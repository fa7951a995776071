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

        Pairwise(ca.Listen, end => end, (end, _) => Error(ca.MarkOf(nameof(ca.Listen)), $"{end} is listened on twice", "each address and port once"));
        if (ca.PublicUri is { } text && !(Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri is { Scheme: "http" or "https" } && uri.Query.Length == 0 && uri.Fragment.Length == 0))
        {
            Error(ca.MarkOf(nameof(ca.PublicUri)), $"'{text}' is no address of a web server", "http://NAME or http://NAME:PORT, with or without a path");
        }
    }
}
