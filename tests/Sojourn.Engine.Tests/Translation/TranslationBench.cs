using System.Net;
using Sojourn.Engine.Translation;
using Sojourn.Wire.Ip;
using Xunit;

namespace Sojourn.Engine.Tests.Translation;

/// <summary>A translator whose table knows the home address and one correspondent, as the vectors have them.</summary>
internal sealed class TranslationBench
{
    public static readonly IPAddress Home = IPAddress.Parse("2001:db8:1::100"), Correspondent = IPAddress.Parse("2001:db8:2::2"), Stranger = IPAddress.Parse("2001:db8:7::1");
    public static readonly IPAddress Host = IPAddress.Parse("198.18.0.1"), Virtual = IPAddress.Parse("198.18.0.2");

    private readonly byte[] _room = new byte[IpTranslator.RoomFor(ushort.MaxValue)];

    public TranslationBench(TranslationOptions? options = null, bool correspondent = true)
    {
        Options = options ?? new TranslationOptions { Ipv6Pool = Nat64Prefix.WellKnown };
        Table = new TranslationTable(Options);
        Translator = new IpTranslator(Table, Options, new NoRandomness());
        Assert.True(Table.TryBindOwn(Home, Now + TimeSpan.FromDays(1), Now, out var host));
        Assert.Equal(Table.OwnAddress, host);
        if (correspondent)
        {
            Assert.Equal(Virtual, Table.OfCorrespondent(Correspondent, TranslationOrigin.Packet, Now)?.Ipv4Address);
        }
    }

    public TranslationOptions Options { get; }

    public TranslationTable Table { get; }

    public IpTranslator Translator { get; }

    public DateTimeOffset Now { get; set; } = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public TranslationResult Last { get; private set; }

    /// <summary>What comes out, packet by packet. The buffer is dirty from the packet before.</summary>
    public List<byte[]> Up(ReadOnlySpan<byte> packet, int mtu = 1500) => Split(Last = Translator.Up(packet, mtu, Now, _room));

    public List<byte[]> Down(ReadOnlySpan<byte> packet, int mtu = 1500) => Split(Last = Translator.Down(packet, mtu, Now, _room));

    private List<byte[]> Split(TranslationResult result)
    {
        var packets = new List<byte[]>();
        var octets = _room.AsSpan(0, result.Length);
        while (!octets.IsEmpty)
        {
            var length = IpPacket.LengthOf(octets);
            Assert.True(length > 0, "what came out is no packet");
            packets.Add(octets[..length].ToArray());
            octets = octets[length..];
        }

        Assert.Equal(result.Count, packets.Count);
        return packets;
    }

    private sealed class NoRandomness : IRandomSource
    {
        public void Fill(Span<byte> destination) => destination.Clear();
    }
}
