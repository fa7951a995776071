using Sojourn.Wire.Dns;
using Sojourn.Wire.Tests.Dns;

namespace Sojourn.Fuzz;

/// <summary>DNS: messages and names.</summary>
internal static class DnsFuzzTargets
{
    public static IEnumerable<FuzzTarget> All { get; } =
    [
        new FuzzTarget("dns", ["DnsMessage.TryParse"], [.. DnsSamples.Captured.Values.Select(c => c.Octets), .. DnsSamples.Messages.Values.Select(m => m.ToArray())], input => DnsMessage.TryParse(input.Span, out _, out _))
        {
            // Two octets can stand for a name of 255.
            PerOctet = 80,
            Holds = input =>
            {
                DnsMessage.TryParse(input.Span, out var message, out _);
                if (message!.Length > DnsLimits.Message)
                {
                    return;
                }

                var written = message.ToArray();
                FuzzTargets.Require(DnsMessage.TryParse(written, out var again, out _) && again == message && again.ToArray().AsSpan().SequenceEqual(written), "what was read does not survive being written");
            },
        },
        new FuzzTarget("dns-name", ["DnsName.TryParse"], [[.. DnsSamples.Host.Octets], [.. DnsName.OfAddress(DnsSamples.Home).Octets]], input => DnsName.TryParse(input.Span, out _, out _))
        {
            Holds = input =>
            {
                DnsName.TryParse(input.Span, out var name, out _);
                FuzzTargets.Require(name.Octets.SequenceEqual(input.Span) && DnsName.FromText(name.ToString()).Octets.SequenceEqual(input.Span), "a name does not survive being written");
            },
        },
    ];
}
