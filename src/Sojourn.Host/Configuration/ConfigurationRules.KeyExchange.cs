using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sojourn.Engine.Ikev2;
using Sojourn.Roles.Configuration;

namespace Sojourn.Host.Configuration;

/// <summary>Associations that IKEv2 keys.</summary>
internal sealed partial class ConfigurationRules
{
    private void KeyExchanges()
    {
        foreach (var exchange in _node.KeyExchange)
        {
            if (exchange.Peer.Equals(_node.GatewayAddress))
            {
                Error(exchange.MarkOf(nameof(KeyExchangeOptions.Peer)), $"{exchange.Peer} is this gateway itself", "another gateway's address");
            }

            if (_node.Associations.Find(association => association.Name == exchange.Name) is { } preset)
            {
                Error(exchange.MarkOf(nameof(KeyExchangeOptions.Name)), $"'{exchange.Name}' is also the association on line {preset.Mark.Line}", "a name of its own");
            }

            Proof(exchange);
            Identity(exchange, nameof(KeyExchangeOptions.LocalIdentity), exchange.LocalIdentity);
            Identity(exchange, nameof(KeyExchangeOptions.PeerIdentity), exchange.PeerIdentity);
        }

        // Profiles name only the far gateway: with two associations it would not be clear which one counts.
        Pairwise(_node.KeyExchange, exchange => exchange.Peer, (exchange, first) =>
            Error(exchange.MarkOf(nameof(KeyExchangeOptions.Peer)), $"'{first.Name}' is also with {exchange.Peer}", "one key-exchange for each peer"));
        foreach (var exchange in _node.KeyExchange.Where(exchange => _node.Associations.Exists(association => association.Use == AssociationUse.Preset && association.Peer.Equals(exchange.Peer))))
        {
            Error(exchange.MarkOf(nameof(KeyExchangeOptions.Peer)), $"there is also a preset association with {exchange.Peer}", "one of the two");
        }
    }

    private void Proof(KeyExchangeOptions exchange)
    {
        string[] certificates = [nameof(KeyExchangeOptions.CertificateFile), nameof(KeyExchangeOptions.PrivateKeyFile), nameof(KeyExchangeOptions.CaFile)];
        if (exchange.PreSharedKeyFile is { } secret)
        {
            Length(exchange, nameof(KeyExchangeOptions.PreSharedKeyFile), secret, 16, SecretFile.MaximumOctets);
            foreach (var extra in certificates.Where(exchange.Has))
            {
                Error(exchange.MarkOf(extra), $"'{OptionTypes.NameOf(extra)}' beside pre-shared-key-file: which one counts?", "the pre-shared key, or certificates");
            }

            return;
        }

        var missing = certificates.Where(name => !exchange.Has(name)).Select(OptionTypes.NameOf).ToList();
        if (missing.Count > 0)
        {
            Error(exchange.Mark, $"key-exchange '{exchange.Name}' cannot prove who this gateway is: no {string.Join(", ", missing)}", "pre-shared-key-file, or certificate-file, private-key-file and ca-file");
            return;
        }

        try
        {
            var own = new X509Certificate2Collection();
            own.ImportFromPemFile(exchange.CertificateFile!.FullPath);
            using var key = SigningKey.FromPem(File.ReadAllText(exchange.PrivateKeyFile!.FullPath));
            if (own.Count == 0 || !IkeIdentity.Parse(exchange.LocalIdentity).IsIn(own[0]))
            {
                Error(exchange.MarkOf(nameof(KeyExchangeOptions.CertificateFile)), $"the certificate does not name '{exchange.LocalIdentity}', so the peer will refuse it", $"a certificate for {exchange.LocalIdentity}");
            }
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            Error(exchange.MarkOf(nameof(KeyExchangeOptions.CertificateFile)), "certificate-file and private-key-file are not a PEM certificate and its private key", "a matching pair");
        }
    }

    private void Identity(KeyExchangeOptions exchange, string property, string text)
    {
        try
        {
            _ = IkeIdentity.Parse(text);
        }
        catch (CryptographicException)
        {
            Error(exchange.MarkOf(property), $"'{text}' is no distinguished name", "a domain name, an address, user@domain or a distinguished name");
        }
    }
}
