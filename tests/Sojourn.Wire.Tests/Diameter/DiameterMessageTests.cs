using System.Net;
using Sojourn.Wire.Diameter;
using Xunit;

namespace Sojourn.Wire.Tests.Diameter;

[Trait("Row", "M1")]
public class DiameterMessageTests
{
    private static readonly DiameterDictionary Dictionary = DiameterDictionary.Default;

    [Fact]
    public void Every_captured_message_is_written_back_octet_by_octet_into_a_dirty_buffer()
    {
        Assert.True(CapturedDiameter.Messages.Count > 280, CapturedDiameter.Messages.Count.ToString());
        foreach (var octets in CapturedDiameter.Messages)
        {
            Assert.True(DiameterMessage.TryParse(octets, DiameterLimits.Default, out var message, out WireError error), error.ToString());
            var buffer = new byte[message.Length];
            Array.Fill(buffer, (byte)0xA5);

            Assert.Equal(octets.Length, message.Write(buffer));
            Assert.Equal(Convert.ToHexString(octets), Convert.ToHexString(buffer));
        }
    }

    [Fact]
    public void Captured_messages_between_neighbours_are_legal()
    {
        var validator = new DiameterValidator(Dictionary, DiameterLimits.Default);
        var commands = new HashSet<string>();
        foreach (var octets in CapturedDiameter.Messages)
        {
            DiameterMessage.TryParse(octets, DiameterLimits.Default, out var message, out WireError _);
            if (message!.ApplicationId == 0)
            {
                Assert.Null(validator.Validate(message));
                commands.Add(Dictionary.NameOf(message));
            }
        }

        Assert.Equal(["CEA", "CER", "DPA", "DPR", "DWA", "DWR"], commands.Order());
    }

    [Fact]
    public void Header_and_avps_stand_where_the_rfc_draws_them()
    {
        var message = new DiameterMessage
        {
            Flags = DiameterFlags.Request | DiameterFlags.Proxiable,
            CommandCode = 260,
            ApplicationId = 2,
            HopByHopId = 0x01020304,
            EndToEndId = 0x05060708,
            Avps = new AvpList([
                Avp.Text(AvpKeys.SessionId, "ab;c"),
                new Avp(new AvpKey(6, 32473), AvpFlags.Mandatory, new byte[] { 0xAA, 0xBB, 0xCC, 0xDD, 0xEE }),
                Avp.Address(AvpKeys.MipMobileNodeAddress, IPAddress.Parse("10.99.0.10")),
            ]),
        };

        Assert.Equal(
            "01000044C000010400000002" + "0102030405060708"
            + "000001074000000C61623B63"
            + "00000006C000001100007ED9AABBCCDDEE000000"
            + "0000014D4000000E00010A63000A0000",
            Convert.ToHexString(message.ToArray()));
    }

    [Fact]
    public void Typed_values_come_back_as_written()
    {
        var group = Avp.Group(AvpKeys.MipMnAaaAuth, [Avp.Unsigned32(AvpKeys.MipMnAaaSpi, 0x200)]);
        Assert.True(group.TryReadGroup(DiameterLimits.Default, out var members, out _));
        Assert.True(members.TryGetUnsigned32(AvpKeys.MipMnAaaSpi, out var spi) && spi == 0x200);
        Assert.True(Avp.Unsigned64(new AvpKey(1), ulong.MaxValue).TryReadUnsigned64(out var u64) && u64 == ulong.MaxValue);
        Assert.True(Avp.Integer32(new AvpKey(1), -5).TryReadInteger32(out var i32) && i32 == -5);
        Assert.True(Avp.Integer64(new AvpKey(1), long.MinValue).TryReadInteger64(out var i64) && i64 == long.MinValue);
        Assert.True(Avp.Text(new AvpKey(1), "Grüße 猫").TryReadText(out var text) && text == "Grüße 猫");
        Assert.True(Avp.Identity(AvpKeys.OriginHost, "fa1.visited.example").TryReadIdentity(out var name) && name == "fa1.visited.example");
        Assert.True(Avp.Address(new AvpKey(1), IPAddress.Parse("2001:db8::1")).TryReadAddress(out var v6) && v6.Equals(IPAddress.Parse("2001:db8::1")));
        Assert.Equal("000000014000001A0002", Convert.ToHexString(Bytes(Avp.Address(new AvpKey(1), IPAddress.Parse("2001:db8::1"))))[..20]);
    }

    [Theory]
    [InlineData("2026-11-21T04:05:06Z", 0xEEAB96F2)]
    [InlineData("2036-02-07T06:28:15Z", 0xFFFF_FFFF)]
    [InlineData("2036-02-07T06:28:16Z", 0)]
    [InlineData("2050-01-01T00:00:00Z", 0x1A24F480)]
    public void Time_goes_on_after_2036(string time, uint seconds)
    {
        var at = DateTimeOffset.Parse(time);
        var avp = Avp.Time(AvpKeys.EventTimestamp, at);

        Assert.True(avp.TryReadUnsigned32(out var raw));
        Assert.Equal(seconds, raw);
        Assert.True(avp.TryReadTime(out var back));
        Assert.Equal(at, back);
    }

    [Theory]
    [InlineData("000101020304", true)]
    [InlineData("0001010203", false)]
    [InlineData("000201020304", false)]
    [InlineData("000801020304", false)]
    [InlineData("00", false)]
    [InlineData("", false)]
    public void Address_takes_a_family_and_its_length(string hex, bool legal) =>
        Assert.Equal(legal, new Avp(new AvpKey(1), AvpFlags.None, Convert.FromHexString(hex)).TryReadAddress(out _));

    [Fact]
    public void Wrong_types_are_read_as_nothing()
    {
        var avp = new Avp(new AvpKey(1), AvpFlags.None, new byte[] { 0xFF, 0xFE, 0x00 });
        Assert.False(avp.TryReadUnsigned32(out _));
        Assert.False(avp.TryReadUnsigned64(out _));
        Assert.False(avp.TryReadTime(out _));
        Assert.False(avp.TryReadText(out _));
        Assert.False(avp.TryReadIdentity(out _));
        Assert.False(avp.TryReadGroup(DiameterLimits.Default, out _, out var error));
        Assert.NotEqual(default, error);
    }

    [Fact]
    public void Unknown_avps_and_reserved_bits_survive_a_round_trip_in_order()
    {
        var octets = Convert.FromHexString(
            "01000040" + "00000118" + "00000000" + "0000000100000002"
            + "00001234" + "3F00000B" + "AABBCC00"
            + "0000FFFF" + "FF000010" + "00000009" + "01020304"
            + "00001234" + "00000008" + "00000001" + "00000008");
        Assert.True(DiameterMessage.TryParse(octets, DiameterLimits.Default, out var message, out WireError _));
        Assert.Equal([new AvpKey(0x1234), new AvpKey(0xFFFF, 9), new AvpKey(0x1234), AvpKeys.UserName], message.Avps.Select(a => a.Key));
        Assert.Equal(octets, message.ToArray());
    }

    [Fact]
    public void Every_truncation_of_a_message_is_refused()
    {
        var octets = Samples.Amr().ToArray();
        for (var length = 0; length < octets.Length; length++)
        {
            Assert.False(DiameterMessage.TryParse(octets[..length], DiameterLimits.Default, out _, out WireError error));
            Assert.NotEqual("", error.Clause);

            // Cut, with a header that agrees: then the AVP that is cut must be noticed, unless the cut falls between two.
            if (length >= DiameterHeader.Length && length % 4 == 0)
            {
                var cut = octets[..length];
                cut[1] = (byte)(length >> 16);
                cut[2] = (byte)(length >> 8);
                cut[3] = (byte)length;
                if (DiameterMessage.TryParse(cut, DiameterLimits.Default, out var message, out DiameterFault? fault))
                {
                    Assert.Equal(length, message.Length);
                }
                else
                {
                    Assert.Equal(DiameterResult.InvalidAvpLength, fault.ResultCode);
                }
            }
        }
    }

    [Theory]
    [InlineData("", 0, true)]
    [InlineData("0100", 0, true)]
    [InlineData("01000014", 20, true)]
    [InlineData("01010000", 65536, true)]
    [InlineData("01010004", 0, false)]
    [InlineData("01000010", 0, false)]
    [InlineData("01000016", 0, false)]
    [InlineData("02", 0, false)]
    public void The_length_is_judged_from_four_octets(string hex, int length, bool legal)
    {
        Assert.Equal(legal, DiameterHeader.TryMeasure(Convert.FromHexString(hex), DiameterLimits.Default, out var measured, out _));
        Assert.Equal(length, measured);
    }

    [Fact]
    public void More_avps_than_allowed_are_refused_while_reading()
    {
        var many = Samples.Amr() with { Avps = new AvpList(Enumerable.Repeat(new Avp(new AvpKey(7), AvpFlags.None, default(ReadOnlyMemory<byte>)), 513)) };

        Assert.False(DiameterMessage.TryParse(many.ToArray(), DiameterLimits.Default, out _, out DiameterFault? fault));
        Assert.Equal(DiameterResult.ResourcesExceeded, fault.ResultCode);
    }

    /// <summary>Random lists of AVPs; the seed of a failure is in its message.</summary>
    [Fact]
    public void Whatever_is_written_is_read_back()
    {
        for (var seed = 0; seed < 2000; seed++)
        {
            var random = new Random(seed);
            var message = new DiameterMessage
            {
                Flags = (DiameterFlags)random.Next(256),
                CommandCode = (uint)random.Next(1 << 24),
                ApplicationId = (uint)random.NextInt64(1L << 32),
                HopByHopId = (uint)random.NextInt64(1L << 32),
                EndToEndId = (uint)random.NextInt64(1L << 32),
                Avps = new AvpList(Enumerable.Range(0, random.Next(12)).Select(_ =>
                {
                    var data = new byte[random.Next(40)];
                    random.NextBytes(data);
                    return new Avp(new AvpKey((uint)random.NextInt64(1L << 32), random.Next(2) == 0 ? 0 : (uint)random.NextInt64(1, 1L << 32)), (AvpFlags)random.Next(256), data);
                })),
            };
            var octets = message.ToArray();

            Assert.True(DiameterMessage.TryParse(octets, DiameterLimits.Default, out var back, out WireError error), $"seed {seed}: {error}");
            Assert.True(octets.AsSpan().SequenceEqual(back.ToArray()), $"seed {seed}");
            Assert.Equal(message.Avps.Select(a => (a.Key, a.Flags)), back.Avps.Select(a => (a.Key, a.Flags)));
        }
    }

    /// <summary>Damaged captures: reading and judging end, without an exception.</summary>
    [Fact]
    public void Damaged_messages_are_read_or_refused()
    {
        var random = new Random(42);
        var validator = new DiameterValidator(Dictionary, DiameterLimits.Default);
        for (var i = 0; i < 20_000; i++)
        {
            var octets = (byte[])(i % 2 == 0 ? CapturedDiameter.Messages[random.Next(CapturedDiameter.Messages.Count)] : Samples.Amr().ToArray()).Clone();
            for (var flips = random.Next(1, 8); flips > 0; flips--)
            {
                octets[random.Next(4, octets.Length)] = (byte)random.Next(256);
            }

            if (DiameterMessage.TryParse(octets, DiameterLimits.Default, out var message, out DiameterFault? fault))
            {
                validator.Validate(message);
            }
            else
            {
                Assert.NotEqual(0u, fault.ResultCode);
            }
        }
    }

    [Fact]
    public void A_printed_message_shows_no_data() =>
        Assert.DoesNotContain("alice", Samples.Amr().ToString() + Samples.Amr().Avps[2]);

    private static byte[] Bytes(Avp avp)
    {
        var octets = new byte[avp.PaddedLength];
        avp.Write(octets);
        return octets;
    }
}
