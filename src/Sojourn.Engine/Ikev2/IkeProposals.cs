using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Ikev2;

/// <summary>A proposal as it was agreed.</summary>
/// <param name="Number">That of the initiator's proposal.</param>
/// <param name="PeerSpi">The SPI the proposal carried.</param>
public sealed record ChosenProposal(byte Number, IkeProtocol Protocol, OctetString PeerSpi, IReadOnlyList<IkeTransform> Transforms)
{
    /// <summary>Method of the key exchange, 0 for none.</summary>
    public ushort Group => Transforms.FirstOrDefault(t => t.Type == IkeTransformType.KeyExchange)?.Id ?? IkeGroup.None;

    internal SecurityAssociationPayload Answer(OctetString ownSpi) => new([new IkeProposal(Number, Protocol, ownSpi, Transforms)]);
}

/// <summary>What is offered, and how one proposal is chosen (RFC 7296 2.7, 3.3).</summary>
public static class IkeProposals
{
    /// <summary>Modern algorithms only (RFC 8247): AES-GCM and ChaCha20-Poly1305, then AES-CBC with HMAC-SHA-256.</summary>
    public static IReadOnlyList<IkeProposal> Ike { get; } =
    [
        new(1, IkeProtocol.Ike, OctetString.Empty,
        [
            .. Aead(), .. Of(IkeTransformType.PseudoRandomFunction, IkePrf.HmacSha256, IkePrf.HmacSha384, IkePrf.HmacSha512), .. Groups(),
        ]),
        new(2, IkeProtocol.Ike, OctetString.Empty,
        [
            .. Cbc(), .. Integrity(), .. Of(IkeTransformType.PseudoRandomFunction, IkePrf.HmacSha256, IkePrf.HmacSha384, IkePrf.HmacSha512), .. Groups(),
        ]),
    ];

    /// <summary>The same for ESP (RFC 8221), with and without 64-bit sequence numbers; no key exchange of its own.</summary>
    public static IReadOnlyList<IkeProposal> Esp { get; } =
    [
        new(1, IkeProtocol.Esp, OctetString.Empty, [.. Aead(), .. Of(IkeTransformType.ExtendedSequenceNumbers, 1, 0)]),
        new(2, IkeProtocol.Esp, OctetString.Empty, [.. Cbc(), new(IkeTransformType.Integrity, IkeIntegrity.HmacSha256), .. Of(IkeTransformType.ExtendedSequenceNumbers, 1, 0)]),
    ];

    /// <summary>Adds a key exchange to child SAs made after the first (RFC 7296 1.3.1).</summary>
    public static IReadOnlyList<IkeProposal> WithGroups(IReadOnlyList<IkeProposal> proposals, params ushort[] groups) =>
        [.. proposals.Select(p => p with { Transforms = [.. p.Transforms.Where(t => t.Type != IkeTransformType.KeyExchange), .. Of(IkeTransformType.KeyExchange, groups)] })];

    /// <summary>Adds additional key exchanges (RFC 9370), each list one round of them.</summary>
    public static IReadOnlyList<IkeProposal> WithAdditionalGroups(IReadOnlyList<IkeProposal> proposals, params ushort[][] rounds) =>
        [.. proposals.Select(p => p with { Transforms = [.. p.Transforms, .. rounds.SelectMany((groups, i) => Of((IkeTransformType)((int)IkeTransformType.AdditionalKeyExchange1 + i), groups))] })];

    internal static IReadOnlyList<IkeProposal> WithoutGroups(IReadOnlyList<IkeProposal> proposals) =>
        [.. proposals.Select(p => p with { Transforms = [.. p.Transforms.Where(t => t.Type != IkeTransformType.KeyExchange)] })];

    /// <summary>Proposals with our SPI in each.</summary>
    internal static SecurityAssociationPayload Offer(IReadOnlyList<IkeProposal> proposals, OctetString spi) =>
        new([.. proposals.Select((p, i) => p with { Number = (byte)(i + 1), Spi = spi })]);

    /// <summary>The responder's choice: the first of its own proposals that an offered one can meet, each transform by its own preference. Null when there is none.</summary>
    public static ChosenProposal? Choose(IReadOnlyList<IkeProposal> own, IReadOnlyList<IkeProposal> offered, IkeProtocol protocol, int spiLength)
    {
        foreach (var mine in own.Where(p => p.Protocol == protocol))
        {
            foreach (var theirs in offered.Where(p => p.Protocol == protocol && p.Spi.Length == spiLength))
            {
                if (Meet(mine, theirs) is { } transforms)
                {
                    return new ChosenProposal(theirs.Number, protocol, theirs.Spi, transforms);
                }
            }
        }

        return null;
    }

    /// <summary>What the responder chose, when that is one of what we offered; else null (RFC 7296 2.7: the initiator must check).</summary>
    public static ChosenProposal? Check(SecurityAssociationPayload offered, SecurityAssociationPayload answer, int spiLength)
    {
        if (answer.Proposals.Count != 1)
        {
            return null;
        }

        var chosen = answer.Proposals[0];
        var mine = offered.Proposals.FirstOrDefault(p => p.Number == chosen.Number && p.Protocol == chosen.Protocol);
        return mine is not null && chosen.Spi.Length == spiLength && chosen.Transforms.GroupBy(t => t.Type).All(g => g.Count() == 1) && Meet(mine, chosen) is not null
            ? new ChosenProposal(chosen.Number, chosen.Protocol, chosen.Spi, chosen.Transforms)
            : null;
    }

    /// <summary>One transform of each type, or null. A type one side does not name counts as NONE, which is 0 for all that may be left out.</summary>
    private static List<IkeTransform>? Meet(IkeProposal mine, IkeProposal theirs)
    {
        var chosen = new List<IkeTransform>();
        foreach (var type in mine.Transforms.Concat(theirs.Transforms).Select(t => t.Type).Distinct().Order())
        {
            var none = new IkeTransform(type, 0);
            var mayBeLeftOut = type is IkeTransformType.Integrity or IkeTransformType.KeyExchange or IkeTransformType.ExtendedSequenceNumbers or (>= IkeTransformType.AdditionalKeyExchange1 and <= IkeTransformType.AdditionalKeyExchange7);
            IReadOnlyList<IkeTransform> Named(IkeProposal p) => p.Transforms.Where(t => t.Type == type).ToList() is { Count: > 0 } some ? some : mayBeLeftOut ? [none] : [];
            var (own, offered) = (Named(mine), Named(theirs));
            var pick = own.FirstOrDefault(t => offered.Any(o => o.UnknownAttributes.Length == 0 && o.Id == t.Id && o.KeyLength == t.KeyLength));
            if (pick is null)
            {
                return null;
            }

            if (theirs.Transforms.Any(t => t.Type == type))
            {
                chosen.Add(pick);
            }
        }

        return chosen;
    }

    private static IEnumerable<IkeTransform> Of(IkeTransformType type, params ushort[] ids) => ids.Select(id => new IkeTransform(type, id));

    private static IkeTransform[] Aead() =>
    [
        new(IkeTransformType.Encryption, IkeEncryption.AesGcm16, 256), new(IkeTransformType.Encryption, IkeEncryption.AesGcm16, 128),
        new(IkeTransformType.Encryption, IkeEncryption.ChaCha20Poly1305),
    ];

    private static IkeTransform[] Cbc() => [new(IkeTransformType.Encryption, IkeEncryption.AesCbc, 256), new(IkeTransformType.Encryption, IkeEncryption.AesCbc, 128)];

    private static IEnumerable<IkeTransform> Integrity() => Of(IkeTransformType.Integrity, IkeIntegrity.HmacSha256, IkeIntegrity.HmacSha384, IkeIntegrity.HmacSha512);

    private static IEnumerable<IkeTransform> Groups() => Of(IkeTransformType.KeyExchange, IkeGroup.Curve25519, IkeGroup.P256, IkeGroup.P384, IkeGroup.Modp2048);
}
