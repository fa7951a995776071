using System.Text;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>Mobile node NAI, type 131 (RFC 2794 2).</summary>
public sealed record NaiExtension : MobileIpExtension
{
    // Strict, so that what is read back is what was sent and no two spellings compare equal.
    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    private readonly string _nai;
    private readonly OctetString _octets;

    public NaiExtension(string nai)
    {
        _nai = nai;
        _octets = AtMost(MobileIpv4Limits.ShortExtensionData, StrictUtf8.GetBytes(nai));
    }

    /// <summary><c>user@realm</c> as sent (RFC 7542).</summary>
    public string Nai => _nai;

    public override byte Type => 131;

    public override int DataLength => _octets.Length;

    protected override void WriteData(Span<byte> data) => _octets.Span.CopyTo(data);

    internal static bool TryRead(ReadOnlySpan<byte> data, int origin, out MobileIpExtension? extension, out WireError error)
    {
        extension = null;
        if (data.IsEmpty || !System.Text.Unicode.Utf8.IsValid(data))
        {
            error = new WireError("MN-NAI", origin, "not a string of UTF-8", "RFC 2794 2");
            return false;
        }

        extension = new NaiExtension(StrictUtf8.GetString(data));
        error = default;
        return true;
    }
}

/// <summary>Mobile-foreign challenge, type 132, in requests and replies (RFC 4721 4).</summary>
public sealed record ChallengeExtension : MobileIpExtension
{
    private readonly OctetString _challenge;

    public ChallengeExtension(OctetString challenge) => _challenge = AtMost(MobileIpv4Limits.ShortExtensionData, challenge);

    public OctetString Challenge => _challenge;

    public override byte Type => 132;

    public override int DataLength => _challenge.Length;

    protected override void WriteData(Span<byte> data) => _challenge.Span.CopyTo(data);
}

/// <summary>Encapsulating delivery style, type 130, without data (RFC 3024 3.3). The foreign agent takes it out before relaying.</summary>
public sealed record EncapsulatingDeliveryStyleExtension : MobileIpExtension
{
    public static readonly EncapsulatingDeliveryStyleExtension Instance = new();

    public override byte Type => 130;

    public override int DataLength => 0;

    protected override void WriteData(Span<byte> data)
    {
    }
}

/// <summary>Foreign agent error, type 45 subtype 0 (RFC 4636 3): the agent's own status beside a code of the home agent.</summary>
public sealed record ForeignAgentErrorExtension(RegistrationReplyCode Status) : MobileIpExtension
{
    public override byte Type => 45;

    public override int DataLength => 2;

    protected override void WriteData(Span<byte> data)
    {
        data[0] = 0;
        data[1] = (byte)Status;
    }
}

/// <summary>Message string, type 145 (RFC 4917 3): text for people, 1 = from the home agent, 2 = from the foreign agent.</summary>
public sealed record MessageStringExtension : MobileIpExtension
{
    private readonly OctetString _text;

    public MessageStringExtension(byte subtype, OctetString text)
    {
        Subtype = subtype;
        _text = AtMost(MobileIpv4Limits.ShortExtensionData - 1, text);
    }

    public byte Subtype { get; }

    /// <summary>As received; must not steer the protocol, so it is not checked.</summary>
    public OctetString Octets => _text;

    public string Text => Encoding.UTF8.GetString(_text.Span);

    public override byte Type => 145;

    public override int DataLength => 1 + _text.Length;

    protected override void WriteData(Span<byte> data)
    {
        data[0] = Subtype;
        _text.Span.CopyTo(data[1..]);
    }
}
