using System.Buffers.Binary;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Tests.Ikev2;

namespace Sojourn.Fuzz;

/// <summary>IKEv2: whole messages, and chains of payloads as they come out of an opened Encrypted payload.</summary>
internal static class Ikev2FuzzTargets
{
    private static readonly byte[][] s_messages = [.. IkeSamples.Octets()];

    public static IEnumerable<FuzzTarget> All { get; } =
    [
        new FuzzTarget("ikev2", ["IkeHeader.TryParse", "IkeMessage.TryParse"], s_messages, input =>
        {
            if (!IkeMessage.TryParse(input.Span, out var message, out _))
            {
                return false;
            }

            return Walk(message.Header.Exchange, message.Header.IsResponse, message.Payloads);
        })
        {
            PerOctet = 200,
            Allowance = 8192,
            Mend = Mend,
            Holds = input =>
            {
                IkeMessage.TryParse(input.Span, out var message, out _);
                var written = message!.ToArray();
                FuzzTargets.Require(written.Length == input.Length && IkeMessage.TryParse(written, out var again, out _) && again.ToArray().AsSpan().SequenceEqual(written), "what was read does not survive being written");
            },
        },

        // The first octet says what the first payload is.
        new FuzzTarget("ikev2-payloads", ["IkeMessage.TryParsePayloads"], [.. s_messages.Select(m => (byte[])[m[16], .. m[IkeHeader.WireLength..]])], input =>
            input.Length > 0 && IkeMessage.TryParsePayloads(input.Span[1..], (IkePayloadType)input.Span[0], 0, out var payloads, out _) && Walk(IkeExchange.IkeAuth, response: false, payloads))
        { PerOctet = 200, Allowance = 8192 },
    ];

    private static bool Walk(IkeExchange exchange, bool response, IReadOnlyList<IkePayload> payloads)
    {
        FuzzTargets.Require(payloads.Count <= Ikev2Limits.Payloads, "more payloads than the limit");
        _ = PayloadRules.Check(exchange, response, payloads);
        return true;
    }

    private static void Mend(Memory<byte> message)
    {
        if (message.Length >= IkeHeader.WireLength)
        {
            BinaryPrimitives.WriteUInt32BigEndian(message.Span[24..], (uint)message.Length);
            message.Span[17] = IkeHeader.CurrentVersion;
        }
    }
}
