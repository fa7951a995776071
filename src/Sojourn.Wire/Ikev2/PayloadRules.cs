namespace Sojourn.Wire.Ikev2;

/// <summary>How often a payload may stand in a message.</summary>
/// <param name="Least">Asked for only where the message carries no error and no cookie: those stand alone.</param>
public readonly record struct PayloadRule(IkePayloadType Type, int Least, int Most);

/// <summary>
/// Which payloads an exchange may carry, as data (RFC 7296 appendix C; RFC 9242, RFC 9370 for the last two). Notify and
/// Vendor ID go anywhere; what has no reading here is no matter of these rules.
/// </summary>
public static class PayloadRules
{
    private const IkePayloadType Sa = IkePayloadType.SecurityAssociation, Ke = IkePayloadType.KeyExchange, No = IkePayloadType.Nonce;
    private const IkePayloadType IdI = IkePayloadType.IdInitiator, IdR = IkePayloadType.IdResponder, Cert = IkePayloadType.Certificate, CertReq = IkePayloadType.CertificateRequest;
    private const IkePayloadType Auth = IkePayloadType.Authentication, TsI = IkePayloadType.SelectorsInitiator, TsR = IkePayloadType.SelectorsResponder;
    private const IkePayloadType Cp = IkePayloadType.Configuration, Eap = IkePayloadType.Eap, Del = IkePayloadType.Delete;

    private const int Notifies = 32, Vendors = 24, Certificates = 8, Requests = 8, Deletions = 8;

    private static readonly PayloadRule[] s_anywhere = [new(IkePayloadType.Notify, 0, Notifies), new(IkePayloadType.VendorId, 0, Vendors)];

    private static readonly Dictionary<(IkeExchange Exchange, bool Response), PayloadRule[]> s_rules = new()
    {
        [(IkeExchange.IkeSaInit, false)] = [new(Sa, 1, 1), new(Ke, 1, 1), new(No, 1, 1)],
        [(IkeExchange.IkeSaInit, true)] = [new(Sa, 1, 1), new(Ke, 1, 1), new(No, 1, 1), new(CertReq, 0, Requests)],
        [(IkeExchange.IkeIntermediate, false)] = [new(Ke, 0, 1)],
        [(IkeExchange.IkeIntermediate, true)] = [new(Ke, 0, 1)],
        [(IkeExchange.IkeAuth, false)] =
            [new(IdI, 0, 1), new(IdR, 0, 1), new(Cert, 0, Certificates), new(CertReq, 0, Requests), new(Auth, 0, 1), new(Cp, 0, 1), new(Sa, 0, 1), new(TsI, 0, 1), new(TsR, 0, 1), new(Eap, 0, 1)],
        [(IkeExchange.IkeAuth, true)] =
            [new(IdR, 0, 1), new(Cert, 0, Certificates), new(Auth, 0, 1), new(Cp, 0, 1), new(Sa, 0, 1), new(TsI, 0, 1), new(TsR, 0, 1), new(Eap, 0, 1)],
        [(IkeExchange.CreateChildSa, false)] = [new(Sa, 1, 1), new(No, 1, 1), new(Ke, 0, 1), new(TsI, 0, 1), new(TsR, 0, 1), new(Cp, 0, 1)],
        [(IkeExchange.CreateChildSa, true)] = [new(Sa, 1, 1), new(No, 1, 1), new(Ke, 0, 1), new(TsI, 0, 1), new(TsR, 0, 1), new(Cp, 0, 1)],
        [(IkeExchange.IkeFollowupKe, false)] = [new(Ke, 1, 1)],
        [(IkeExchange.IkeFollowupKe, true)] = [new(Ke, 1, 1)],
        [(IkeExchange.Informational, false)] = [new(Del, 0, Deletions), new(Cp, 0, 1)],
        [(IkeExchange.Informational, true)] = [new(Del, 0, Deletions), new(Cp, 0, 1)],
    };

    /// <summary>True for exchanges whose payloads must all be inside an Encrypted payload.</summary>
    public static bool IsEncrypted(IkeExchange exchange) => exchange != IkeExchange.IkeSaInit;

    public static bool IsKnown(IkeExchange exchange) => s_rules.ContainsKey((exchange, false));

    /// <summary>Holds the payloads of an opened message against the rules. Null when they are legal.</summary>
    /// <param name="payloads">In clear for IKE_SA_INIT, else those from inside the Encrypted payload.</param>
    /// <returns>The field is the payload's type; the offset is the payload's index.</returns>
    public static WireError? Check(IkeExchange exchange, bool response, IReadOnlyList<IkePayload> payloads)
    {
        if (!s_rules.TryGetValue((exchange, response), out var rules))
        {
            return new WireError("Exchange Type", 18, "is not known", "RFC 7296 3.1");
        }

        Span<int> counts = stackalloc int[256];
        counts.Clear();
        var standsAlone = false;
        for (var i = 0; i < payloads.Count; i++)
        {
            var payload = payloads[i];
            if (payload is UnknownPayload)
            {
                continue;
            }

            if (Rule(rules, payload.Type) is not { } rule)
            {
                return new WireError(payload.Type.ToString(), i, "has no place in this exchange", "RFC 7296 appendix C");
            }

            if (++counts[(byte)payload.Type] > rule.Most)
            {
                return new WireError(payload.Type.ToString(), i, "stands too often", "RFC 7296 appendix C");
            }

            standsAlone |= response && payload is NotifyPayload notify && (notify.IsError || notify.NotifyType == IkeNotifyType.Cookie);
        }

        foreach (var rule in rules)
        {
            if (!standsAlone && counts[(byte)rule.Type] < rule.Least)
            {
                return new WireError(rule.Type.ToString(), payloads.Count, "is missing", "RFC 7296 appendix C");
            }
        }

        return null;
    }

    private static PayloadRule? Rule(PayloadRule[] rules, IkePayloadType type)
    {
        foreach (var rule in rules)
        {
            if (rule.Type == type)
            {
                return rule;
            }
        }

        foreach (var rule in s_anywhere)
        {
            if (rule.Type == type)
            {
                return rule;
            }
        }

        return null;
    }
}
