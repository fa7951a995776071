using System.Buffers.Binary;
using System.Net;
using FsCheck;
using FsCheck.Fluent;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.MobileIpv4;
using Xunit;

namespace Sojourn.Wire.Tests.Ikev2;

public class IkeMessageTests
{
    public static TheoryData<string> Names => [.. IkeSamples.All.Keys];

    [Theory, MemberData(nameof(Names))]
    public void A_message_comes_back_as_it_was_written(string name)
    {
        var message = IkeSamples.Message(name);
        var octets = message.ToArray();
        Assert.True(IkeMessage.TryParse(octets, out var read, out var error), error.ToString());
        Assert.Equal(message.Header with { NextPayload = IkeMessage.FirstType(message.Payloads) }, read.Header);
        Assert.Equal(message.Payloads.Select(p => (p.GetType(), p.Type, p.Critical)), read.Payloads.Select(p => (p.GetType(), p.Type, p.Critical)));
        Assert.Equal(Convert.ToHexString(octets), Convert.ToHexString(read.ToArray()));
    }

    [Theory, MemberData(nameof(Names))]
    public void A_message_is_written_into_a_dirty_buffer_and_touches_nothing_behind_it(string name)
    {
        var message = IkeSamples.Message(name);
        var buffer = Enumerable.Repeat((byte)0xA5, message.Length + 16).ToArray();
        Assert.Equal(message.Length, message.Write(buffer));
        Assert.Equal(message.ToArray(), buffer[..message.Length]);
        Assert.All(buffer[message.Length..], octet => Assert.Equal(0xA5, octet));
        Assert.Throws<ArgumentException>(() => message.Write(new byte[message.Length - 1]));
    }

    [Theory, MemberData(nameof(Names))]
    [Trait("Row", "TA-H20")]
    public void A_message_cut_anywhere_is_refused(string name)
    {
        var octets = IkeSamples.Message(name).ToArray();
        for (var length = 0; length < octets.Length; length++)
        {
            Assert.False(IkeMessage.TryParse(octets.AsSpan(0, length), out _, out var error));
            Assert.NotEqual(default, error);

            // With the length mended the cut is noticed further in; only a chain that ends exactly there may be read.
            var mended = octets[..length];
            if (length >= IkeHeader.WireLength)
            {
                BinaryPrimitives.WriteUInt32BigEndian(mended.AsSpan(24), (uint)length);
                Assert.False(IkeMessage.TryParse(mended, out _, out error) && length > IkeHeader.WireLength && octets[16] != 0, name);
            }
        }
    }

    [Theory, MemberData(nameof(Names))]
    [Trait("Row", "TA-H20")]
    public void A_message_with_any_octet_changed_is_refused_or_survives_a_round_trip(string name)
    {
        var octets = IkeSamples.Message(name).ToArray();
        for (var at = 0; at < octets.Length; at++)
        {
            foreach (var value in new byte[] { 0, 1, 3, 0x7F, 0x80, 0xFF })
            {
                var changed = octets.ToArray();
                changed[at] = value;
                if (!IkeMessage.TryParse(changed, out var message, out var error))
                {
                    Assert.InRange(error.Offset, 0, changed.Length);
                    Assert.False(string.IsNullOrEmpty(error.Clause));
                    continue;
                }

                // Reserved fields are written as zero, so what is read is written, read and written again.
                var written = message.ToArray();
                Assert.Equal(changed.Length, written.Length);
                Assert.True(IkeMessage.TryParse(written, out var again, out error), $"{name} {at} {value}: {error}");
                Assert.Equal(written, again.ToArray());
            }
        }
    }

    [Theory]
    [InlineData("strongswan-ecdsa-gcm")]
    [InlineData("strongswan-rsa-cbc-fragmented")]
    public void What_strongSwan_sends_is_read_and_written_octet_for_octet(string file)
    {
        var messages = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Ikev2", "Vectors", file + ".hex")).Where(l => l.Length > 0 && l[0] != '#').Select(Convert.FromHexString).ToList();
        Assert.True(messages.Count > 20);
        foreach (var octets in messages)
        {
            Assert.True(IkeMessage.TryParse(octets, out var message, out var error), error.ToString());
            Assert.Equal(Convert.ToHexString(octets), Convert.ToHexString(message.ToArray()));
            if (message.Header.Exchange == IkeExchange.IkeSaInit)
            {
                Assert.Null(PayloadRules.Check(message.Header.Exchange, message.Header.IsResponse, message.Payloads));
            }
        }
    }

    [Fact]
    public void Any_chain_of_payloads_comes_back()
    {
        var octets = Gen.Choose(0, 255).Select(i => (byte)i).ArrayOf().Select(a => a.Length > 60 ? a[..60] : a);
        var payload = Gen.OneOf(
            octets.Select(o => (IkePayload)new VendorIdPayload(o)),
            octets.Select(o => (IkePayload)new KeyExchangePayload((ushort)o.Length, o)),
            octets.Select(o => (IkePayload)new NotifyPayload((IkeNotifyType)(o.Length * 700), o) { Protocol = IkeProtocol.Esp, Spi = (byte[])[1, 2, 3, 4] }),
            octets.Select(o => (IkePayload)new UnknownPayload((IkePayloadType)(128 + (o.Length % 100)), o) { Critical = o.Length % 2 == 1 }),
            octets.Select(o => (IkePayload)new CertificatePayload((IkeCertificateEncoding)(o.Length % 16), o)),
            octets.Select(o => (IkePayload)new DeletePayload(IkeProtocol.Esp, [.. o.Select(b => b * 0x01010101u)])),
            octets.Select(o => (IkePayload)new NoncePayload((byte[])[.. IkeSamples.Nonce, .. o])),
            octets.Select(o => (IkePayload)new SelectorsPayload(o.Length % 2 == 0, [new TrafficSelector((byte)o.Length, 0, 0xFFFF, IPAddress.Any, IPAddress.Broadcast), new UnknownSelector(99, 1, o)])));
        Prop.ForAll(payload.ArrayOf().Select(p => p.Length > 20 ? p[..20] : p).ToArbitrary(), payloads =>
        {
            var message = new IkeMessage(new IkeHeader(7, 8, IkeExchange.Informational, IkeFlags.None, 9), payloads);
            Assert.True(IkeMessage.TryParse(message.ToArray(), out var read, out var error), error.ToString());
            Assert.Equal(payloads.Select(p => p.Type), read.Payloads.Select(p => p.Type));
            Assert.Equal(message.ToArray(), read.ToArray());
        }).QuickCheckThrowOnFailure();
    }

    [Theory]
    [InlineData(0, 8, 0, "IKE SA Initiator's SPI")]
    [InlineData(17, 1, 0x10, "Major Version")]
    [InlineData(17, 1, 0x30, "Major Version")]
    [InlineData(24, 4, 0xFF, "Length")]
    [InlineData(30, 2, 0, "Payload Length")]
    [InlineData(30, 2, 0xFF, "Payload Length")]
    public void A_fault_is_named_with_its_field(int at, int count, byte value, string field)
    {
        var octets = IkeSamples.Message("init request").ToArray();
        octets.AsSpan(at, count).Fill(value);
        Assert.False(IkeMessage.TryParse(octets, out _, out var error));
        Assert.Equal(field, error.Field);
    }

    public static TheoryData<string, IkePayload> Bodies => new()
    {
        { "Nonce Data", new UnknownPayload(IkePayloadType.Nonce, new byte[15]) },
        { "Nonce Data", new UnknownPayload(IkePayloadType.Nonce, new byte[257]) },
        { "Proposals", new UnknownPayload(IkePayloadType.SecurityAssociation, OctetString.Empty) },
        { "Proposal Length", new UnknownPayload(IkePayloadType.SecurityAssociation, (byte[])[0, 0, 0, 9, 1, 1, 0, 0]) },
        { "SPI Size", new UnknownPayload(IkePayloadType.SecurityAssociation, (byte[])[0, 0, 0, 8, 1, 1, 4, 0]) },
        { "Transform Length", new UnknownPayload(IkePayloadType.SecurityAssociation, (byte[])[0, 0, 0, 8, 1, 1, 0, 1]) },
        { "Last Substruc", new UnknownPayload(IkePayloadType.SecurityAssociation, (byte[])[0, 0, 0, 16, 1, 1, 0, 1, 3, 0, 0, 8, 1, 0, 0, 20]) },
        { "Attribute Length", new UnknownPayload(IkePayloadType.SecurityAssociation, (byte[])[0, 0, 0, 20, 1, 1, 0, 1, 0, 0, 0, 12, 1, 0, 0, 20, 0, 14, 0, 9]) },
        { "Num Transforms", new UnknownPayload(IkePayloadType.SecurityAssociation, (byte[])[0, 0, 0, 8, 1, 1, 0, 65]) },
        { "SPI Size", new UnknownPayload(IkePayloadType.Notify, (byte[])[3, 4, 0, 7, 1, 2, 3]) },
        { "SPI Size", new UnknownPayload(IkePayloadType.Delete, (byte[])[1, 4, 0, 0]) },
        { "SPI Size", new UnknownPayload(IkePayloadType.Delete, (byte[])[3, 8, 0, 0]) },
        { "Num of SPIs", new UnknownPayload(IkePayloadType.Delete, (byte[])[3, 4, 0, 2, 1, 2, 3, 4]) },
        { "Num of SPIs", new UnknownPayload(IkePayloadType.Delete, (byte[])[3, 4, 255, 255]) },
        { "Number of TSs", new UnknownPayload(IkePayloadType.SelectorsInitiator, (byte[])[0, 0, 0, 0]) },
        { "Selector Length", new UnknownPayload(IkePayloadType.SelectorsInitiator, (byte[])[1, 0, 0, 0, 7, 0, 0, 12, 0, 0, 255, 255, 1, 2, 3, 4]) },
        { "Starting Address", new UnknownPayload(IkePayloadType.SelectorsInitiator, (byte[])[1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 10, 0, 0, 2, 10, 0, 0, 1]) },
        { "Start Port", new UnknownPayload(IkePayloadType.SelectorsResponder, (byte[])[1, 0, 0, 0, 7, 6, 0, 16, 0, 9, 0, 8, 10, 0, 0, 2, 10, 0, 0, 3]) },
        { "Identification Data", new UnknownPayload(IkePayloadType.IdInitiator, (byte[])[5, 0, 0, 0, 1, 2, 3, 4]) },
        { "Certification Authority", new UnknownPayload(IkePayloadType.CertificateRequest, new byte[] { 4, 1, 2 }) },
        { "Length", new UnknownPayload(IkePayloadType.Eap, (byte[])[1, 1, 0, 9, 1]) },
        { "Length", new UnknownPayload(IkePayloadType.Configuration, (byte[])[1, 0, 0, 0, 0, 8, 0, 4, 1]) },
        { "Fragment Number", new UnknownPayload(IkePayloadType.EncryptedFragment, (byte[])[0, 0, 0, 1, 9, 9]) },
        { "Fragment Number", new UnknownPayload(IkePayloadType.EncryptedFragment, (byte[])[0, 3, 0, 2, 9, 9]) },
        { "Fragment Number", new UnknownPayload(IkePayloadType.EncryptedFragment, (byte[])[0, 1, 0xFF, 0xFF, 9, 9]) },
    };

    [Theory, MemberData(nameof(Bodies))]
    [Trait("Row", "TA-H20")]
    public void A_payload_that_lies_about_itself_is_refused(string field, IkePayload raw)
    {
        Assert.False(IkeMessage.TryParse(new IkeMessage(new IkeHeader(7, 8, IkeExchange.Informational, IkeFlags.None, 9), [raw]).ToArray(), out _, out var error));
        Assert.Equal(field, error.Field);
        Assert.InRange(error.Offset, IkeHeader.WireLength, IkeHeader.WireLength + raw.Length);
    }

    [Fact]
    [Trait("Row", "TA-H20")]
    public void More_payloads_than_the_limit_are_refused()
    {
        var many = Enumerable.Repeat((IkePayload)new VendorIdPayload(OctetString.Empty), Ikev2Limits.Payloads + 1).ToList();
        Assert.False(IkeMessage.TryParse(new IkeMessage(new IkeHeader(7, 8, IkeExchange.Informational, IkeFlags.None, 9), many).ToArray(), out _, out var error));
        Assert.Equal("Ikev2Limits.Payloads", error.Clause);
    }
}

public class PayloadRulesTests
{
    public static TheoryData<string> Legal => [.. IkeSamples.All.Keys];

    [Theory, MemberData(nameof(Legal))]
    public void The_samples_are_legal(string name)
    {
        var (exchange, response, payloads) = IkeSamples.All[name];
        Assert.Null(PayloadRules.Check(exchange, response, payloads));
    }

    [Theory]
    [InlineData(IkePayloadType.SecurityAssociation)]
    [InlineData(IkePayloadType.KeyExchange)]
    [InlineData(IkePayloadType.Nonce)]
    public void The_first_request_needs_its_three_payloads_once(IkePayloadType type)
    {
        var payloads = IkeSamples.All["init request"].Payloads;
        Assert.Contains("missing", PayloadRules.Check(IkeExchange.IkeSaInit, false, [.. payloads.Where(p => p.Type != type)])!.Value.Reason, StringComparison.Ordinal);
        Assert.Contains("too often", PayloadRules.Check(IkeExchange.IkeSaInit, false, [.. payloads, payloads.First(p => p.Type == type)])!.Value.Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(IkeExchange.IkeSaInit, IkePayloadType.Authentication)]
    [InlineData(IkeExchange.IkeAuth, IkePayloadType.KeyExchange)]
    [InlineData(IkeExchange.IkeAuth, IkePayloadType.Nonce)]
    [InlineData(IkeExchange.CreateChildSa, IkePayloadType.IdInitiator)]
    [InlineData(IkeExchange.Informational, IkePayloadType.SecurityAssociation)]
    [InlineData(IkeExchange.Informational, IkePayloadType.Encrypted)]
    public void A_payload_of_another_exchange_has_no_place(IkeExchange exchange, IkePayloadType type)
    {
        IkePayload stray = type == IkePayloadType.Encrypted
            ? new EncryptedPayload(IkePayloadType.None, new byte[40])
            : IkeSamples.All.Values.SelectMany(v => v.Payloads).First(p => p.Type == type);
        var fault = PayloadRules.Check(exchange, true, [stray]);
        Assert.Contains("no place", fault!.Value.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void An_unknown_exchange_has_no_rules()
    {
        Assert.False(PayloadRules.IsKnown((IkeExchange)99));
        Assert.NotNull(PayloadRules.Check((IkeExchange)99, false, []));
    }

    [Fact]
    public void More_notifications_than_anybody_needs_are_refused() =>
        Assert.NotNull(PayloadRules.Check(IkeExchange.Informational, false, [.. Enumerable.Repeat(new NotifyPayload(IkeNotifyType.Cookie2), 33)]));
}
