using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Text;

namespace Sojourn.Lab.Capture;

/// <summary>A Diameter message as the judge reads it: header and AVPs (RFC 6733 section 3 and 4), codes of the Mobile IPv4 application and of this project.</summary>
public sealed class DiameterView
{
    public const uint SojournVendor = 32473;

    private DiameterView(ReadOnlyMemory<byte> octets, IReadOnlyList<Avp> avps)
    {
        Octets = octets;
        Avps = avps;
    }

    public ReadOnlyMemory<byte> Octets { get; }

    public IReadOnlyList<Avp> Avps { get; }

    public uint Command => BinaryPrimitives.ReadUInt32BigEndian(Octets.Span[4..]) & 0xFFFFFF;

    public bool IsRequest => (Octets.Span[4] & 0x80) != 0;

    public uint HopByHop => BinaryPrimitives.ReadUInt32BigEndian(Octets.Span[12..]);

    public uint EndToEnd => BinaryPrimitives.ReadUInt32BigEndian(Octets.Span[16..]);

    public string Name => (Command, IsRequest) switch
    {
        (257, true) => "CER",
        (257, false) => "CEA",
        (258, true) => "RAR",
        (258, false) => "RAA",
        (260, true) => "AMR",
        (260, false) => "AMA",
        (262, true) => "HAR",
        (262, false) => "HAA",
        (271, true) => "ACR",
        (271, false) => "ACA",
        (274, true) => "ASR",
        (274, false) => "ASA",
        (275, true) => "STR",
        (275, false) => "STA",
        (280, true) => "DWR",
        (280, false) => "DWA",
        (282, true) => "DPR",
        (282, false) => "DPA",
        (var code, var request) => string.Create(CultureInfo.InvariantCulture, $"Diameter {code} {(request ? "request" : "answer")}"),
    };

    /// <summary>Result-Code, also inside Experimental-Result; null when there is none.</summary>
    public uint? ResultCode => Find(268)?.Number ?? Find(297)?.Members.FirstOrDefault(m => m.Code == 298)?.Number;

    public string? SessionId => Find(263)?.Text;

    public string? UserName => Find(1)?.Text;

    public string? OriginHost => Find(264)?.Text;

    /// <summary>The VPN-Profile AVPs.</summary>
    public IEnumerable<Avp> Profiles => Avps.Where(a => a is { Vendor: SojournVendor, Code: 1 });

    /// <summary>True with a Profile-Cache AVP that says the cache is set (S104).</summary>
    public bool ProfileCache => Find(3, SojournVendor)?.Number == 1;

    public Avp? Find(uint code, uint vendor = 0) => Avps.FirstOrDefault(a => a.Code == code && a.Vendor == vendor);

    /// <summary>Cuts a stream into messages; what does not fit a message ends it.</summary>
    public static IReadOnlyList<(DiameterView Message, long Time)> Split(IReadOnlyList<TimedData> stream)
    {
        var octets = new MemoryStream();
        var marks = new List<(long End, long Time)>();
        foreach (var piece in stream)
        {
            octets.Write(piece.Data.Span);
            marks.Add((octets.Length, piece.Time));
        }

        ReadOnlyMemory<byte> all = octets.ToArray();
        var messages = new List<(DiameterView, long)>();
        for (var at = 0; at + 20 <= all.Length;)
        {
            var length = (int)(BinaryPrimitives.ReadUInt32BigEndian(all.Span[at..]) & 0xFFFFFF);
            if (all.Span[at] != 1 || length < 20 || at + length > all.Length || Walk(all.Slice(at + 20, length - 20)) is not { } avps)
            {
                break;
            }

            messages.Add((new DiameterView(all.Slice(at, length), avps), marks.First(m => m.End >= at + length).Time));
            at += length;
        }

        return messages;
    }

    private static List<Avp>? Walk(ReadOnlyMemory<byte> octets)
    {
        var avps = new List<Avp>();
        for (var at = 0; at < octets.Length;)
        {
            if (octets.Length - at < 8)
            {
                return null;
            }

            var span = octets.Span[at..];
            var vendor = (span[4] & 0x80) != 0;
            var length = (int)(BinaryPrimitives.ReadUInt32BigEndian(span[4..]) & 0xFFFFFF);
            var header = vendor ? 12 : 8;
            if (length < header || length > span.Length)
            {
                return null;
            }

            avps.Add(new Avp(
                BinaryPrimitives.ReadUInt32BigEndian(span),
                vendor ? BinaryPrimitives.ReadUInt32BigEndian(span[8..]) : 0,
                octets.Slice(at + header, length - header)));
            at += (length + 3) & ~3;
        }

        return avps;
    }

    /// <summary>One attribute.</summary>
    public sealed record Avp(uint Code, uint Vendor, ReadOnlyMemory<byte> Data)
    {
        public uint Number => Data.Length == 4 ? BinaryPrimitives.ReadUInt32BigEndian(Data.Span) : 0;

        public string Text => Encoding.UTF8.GetString(Data.Span);

        /// <summary>Diameter Address: family 1 and four octets.</summary>
        public IPAddress? Address => Data.Length == 6 ? new IPAddress(Data.Span[2..]) : null;

        public IReadOnlyList<Avp> Members => Walk(Data) ?? [];

        /// <summary>A member of a VPN-Profile.</summary>
        public Avp? Vpn(uint code) => Members.FirstOrDefault(m => m.Vendor == SojournVendor && m.Code == code);
    }
}
