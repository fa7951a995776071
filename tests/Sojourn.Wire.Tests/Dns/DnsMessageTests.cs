using System.Buffers.Binary;
using System.Net;
using FsCheck;
using FsCheck.Fluent;
using Sojourn.Wire.Dns;
using Sojourn.Wire.MobileIpv4;
using Xunit;

namespace Sojourn.Wire.Tests.Dns;

public class DnsMessageTests
{
    public static TheoryData<string> Captured() => [.. DnsSamples.Captured.Keys];

    public static TheoryData<string> Made() => [.. DnsSamples.Messages.Keys];

    private static DnsMessage Read(string name)
    {
        Assert.True(DnsMessage.TryParse(DnsSamples.Captured[name].Octets, out var message, out var error), error.ToString());
        return message;
    }

    private static WireError Refused(ReadOnlySpan<byte> octets)
    {
        Assert.False(DnsMessage.TryParse(octets, out _, out var error));
        return error;
    }

    [Theory]
    [MemberData(nameof(Captured))]
    public void What_others_write_is_read_and_says_the_same_when_written(string name)
    {
        var octets = DnsSamples.Captured[name].Octets;
        var message = Read(name);
        var written = message.ToArray();
        Assert.True(DnsMessage.TryParse(written, out var again, out var error), error.ToString());
        Assert.Equal(message, again);

        // Only names may have grown.
        Assert.Equal(octets.AsSpan(0, DnsLimits.Header).ToArray(), written.AsSpan(0, DnsLimits.Header).ToArray());
        Assert.True(written.Length >= octets.Length);
    }

    [Theory]
    [MemberData(nameof(Captured))]
    public void No_shorter_part_is_a_message(string name)
    {
        var octets = DnsSamples.Captured[name].Octets;
        for (var length = 0; length < octets.Length; length++)
        {
            Refused(octets.AsSpan(0, length));
        }

        Refused([.. octets, 0]);
    }

    [Theory]
    [MemberData(nameof(Made))]
    public void What_is_written_is_read_again(string name)
    {
        var octets = DnsSamples.Messages[name].ToArray();
        Assert.Equal(DnsSamples.Messages[name].Length, octets.Length);
        Assert.True(DnsMessage.TryParse(octets, out var message, out var error), error.ToString());
        Assert.Equal(DnsSamples.Messages[name], message);
        Assert.Equal(octets, message.ToArray());
    }

    [Fact]
    public void An_update_of_nsupdate_is_taken_apart()
    {
        var message = Read("update request");
        Assert.Equal((DnsOpcode.Update, DnsFlags.None, DnsResponseCode.NoError), (message.Opcode, message.Flags, message.ResponseCode));
        Assert.Equal(new DnsQuestion(DnsSamples.Zone, DnsRecordType.SOA), Assert.Single(message.Questions));
        Assert.Equal(
            [
                new DnsRecord(DnsSamples.Host, DnsRecordType.AAAA, DnsClass.Any, 0, DnsOpaque.Empty),
                new DnsRecord(DnsSamples.Host, DnsRecordType.AAAA, DnsClass.Internet, 60, new DnsAddress(DnsSamples.Home)),
            ],
            message.Authorities);
        var signature = Assert.IsType<DnsTransactionSignature>(message.Signature!.Data);
        Assert.Equal(DnsSamples.KeyName, message.Signature.Name);
        Assert.Equal((DnsName.FromText("hmac-sha256"), (ushort)300, 32, message.Identifier, DnsResponseCode.NoError), (signature.Algorithm, signature.Fudge, signature.Mac.Length, signature.Original, signature.Error));
        Assert.InRange((long)signature.Seconds, DnsSamples.Captured["update request"].Seconds - 2, DnsSamples.Captured["update request"].Seconds + 2);
        Assert.Equal(DnsSamples.Captured["update request"].Octets.Length - message.Signature.Length, message.SignedLength);
    }

    [Fact]
    public void Prerequisites_of_nsupdate_are_taken_apart()
    {
        var message = Read("update 2 request");
        Assert.Equal(
            [new DnsRecord(DnsSamples.Host, DnsRecordType.Any, DnsClass.Any, 0, DnsOpaque.Empty), new DnsRecord(DnsSamples.Host, DnsRecordType.A, DnsClass.None, 0, DnsOpaque.Empty)],
            message.Answers);
        Assert.Equal([new DnsRecord(DnsSamples.Host, DnsRecordType.AAAA, DnsClass.None, 0, new DnsAddress(DnsSamples.Home))], message.Authorities);
    }

    [Theory]
    [InlineData("update answer", DnsResponseCode.NoError, DnsResponseCode.NoError, 32)]
    [InlineData("update of another zone answer", DnsResponseCode.NotInZone, DnsResponseCode.NoError, 32)]
    [InlineData("update wrongly signed answer", DnsResponseCode.NotAuthorized, DnsResponseCode.BadSignature, 0)]
    [InlineData("update with an unknown key answer", DnsResponseCode.NotAuthorized, DnsResponseCode.BadKey, 0)]
    [InlineData("update sha512 answer", DnsResponseCode.NoError, DnsResponseCode.NoError, 64)]
    [InlineData("update sha384 answer", DnsResponseCode.NoError, DnsResponseCode.NoError, 48)]
    public void Answers_to_updates_are_taken_apart(string name, DnsResponseCode result, DnsResponseCode error, int mac)
    {
        var message = Read(name);
        var signature = Assert.IsType<DnsTransactionSignature>(message.Signature!.Data);
        Assert.Equal((true, result, error, mac), (message.IsResponse, message.ResponseCode, signature.Error, signature.Mac.Length));
    }

    [Fact]
    public void Records_of_named_are_taken_apart()
    {
        var server = DnsName.FromText("ns.home.example.");
        Assert.Equal(new DnsAddress(IPAddress.Parse("2001:db8:a::53")), Assert.Single(Read("AAAA answer").Answers).Data);
        Assert.Equal(new DnsMailExchange(10, DnsName.FromText("mail.home.example")), Assert.Single(Read("MX answer").Answers).Data);
        Assert.Equal(new DnsTarget(server), Assert.Single(Read("CNAME answer").Answers).Data);
        Assert.Equal(new DnsService(1, 2, 434, server), Assert.Single(Read("SRV answer").Answers).Data);
        Assert.Equal("an opaque record", System.Text.Encoding.ASCII.GetString(Assert.IsType<DnsOpaque>(Assert.Single(Read("TXT answer").Answers).Data).Octets.Span[1..]));
        var digest = Assert.IsType<DnsOwnerDigest>(Assert.Single(Read("DHCID answer").Answers).Data);
        Assert.Equal((2, 1, "636fc0b8271c82825bb1ac5c41cf5351aa69b4febd94e8f17cdb95000da48c40"), (digest.IdentifierType, digest.DigestType, digest.Digest.ToString()));
        var missing = Read("no such name answer");
        Assert.Equal(DnsResponseCode.NameError, missing.ResponseCode);
        Assert.Equal(new DnsStartOfAuthority(server, DnsName.FromText("admin.home.example"), 11, 3600, 600, 86400, 60), Assert.Single(missing.Authorities).Data);
        Assert.Equal(1232, (ushort)missing.Extension!.Class);
        Assert.Equal(["SOA", "NS", "MX"], Read("ANY answer").Answers.Select(r => r.Type.ToString()));
    }

    [Fact]
    public void The_result_of_sixteen_and_more_stands_in_the_extension()
    {
        var message = DnsSamples.Messages["answer"];
        Assert.Equal(DnsResponseCode.BadSignature, message.ExtendedResponseCode);
        Assert.Equal(DnsResponseCode.Refused, (message with { Additional = [], ResponseCode = DnsResponseCode.Refused }).ExtendedResponseCode);
    }

    [Theory]
    [InlineData("c00c", "points to where")]
    [InlineData("c000", "points to where")]
    [InlineData("0161c00c", "points to where")]
    [InlineData("c0ff", "points to where")]
    [InlineData("40", "label type")]
    [InlineData("80", "label type")]
    [InlineData("c0", "middle of a pointer")]
    [InlineData("3f61", "in the middle")]
    public void A_name_that_is_none_is_refused(string name, string why)
    {
        byte[] octets = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, .. Convert.FromHexString(name), .. name == "c0" ? (byte[])[] : [0, 1, 0, 1]];
        Assert.Contains(why, Refused(octets).Reason);
    }

    [Fact]
    public void A_pointer_leads_to_labels_of_an_earlier_name_and_no_further()
    {
        // "example" at 12, "home" + pointer at 21, pointer to it.
        byte[] names = [7, .. "example"u8, 0, 0, 1, 0, 1, 4, .. "home"u8, 0xC0, 12, 0, 1, 0, 1, 0xC0, 25, 0, 1, 0, 1];
        byte[] octets = [0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, .. names];
        Assert.True(DnsMessage.TryParse(octets, out var message, out var error), error.ToString());
        Assert.Equal(["example.", "home.example.", "home.example."], message.Questions.Select(q => q.Name.ToString()));
    }

    [Fact]
    public void A_name_has_255_octets_at_most_pointers_counted_by_what_they_stand_for()
    {
        byte[] label = [63, .. Enumerable.Repeat((byte)'a', 63)];
        byte[] longest = [.. label, .. label, .. label, 61, .. Enumerable.Repeat((byte)'b', 61), 0];
        Assert.True(DnsName.TryParse(longest, out var name, out _));
        Assert.Equal(255, name.Length);
        Assert.False(DnsName.TryParse([.. label, .. label, .. label, 62, .. Enumerable.Repeat((byte)'b', 62), 0], out _, out var error));
        Assert.Equal("is longer than 255 octets", error.Reason);
        byte[] head = [0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0];
        Assert.Equal("is longer than 255 octets", Refused([.. head, .. longest, 0, 1, 0, 1, 1, (byte)'c', 0xC0, 12, 0, 1, 0, 1]).Reason);
    }

    [Fact]
    public void A_compressed_name_in_a_signature_is_refused()
    {
        var octets = DnsSamples.Messages["update"].ToArray();
        var at = octets.AsSpan().IndexOf("hmac-sha256"u8) - 1;
        byte[] compressed = [.. octets[..at], 0xC0, 12, .. octets[(at + 13)..]];
        BinaryPrimitives.WriteUInt16BigEndian(compressed.AsSpan(at - 2), (ushort)(BinaryPrimitives.ReadUInt16BigEndian(octets.AsSpan(at - 2)) - 11));
        Assert.Contains("is compressed", Refused(compressed).Reason);
    }

    [Fact]
    public void A_signature_is_the_last_record_and_alone()
    {
        var message = DnsSamples.Messages["update"];
        var signature = message.Signature!;
        Assert.Equal("TSIG", Refused((message with { Additional = [signature, signature] }).ToArray()).Field);
        Assert.Equal("TSIG", Refused((message with { Answers = [signature] }).ToArray()).Field);
        Assert.Equal("TSIG", Refused((message with { Additional = [signature with { Seconds = 1 }] }).ToArray()).Field);
        Assert.Equal("TSIG", Refused((message with { Additional = [signature with { Class = DnsClass.Internet }] }).ToArray()).Field);
    }

    [Fact]
    public void The_extension_stands_once_under_the_root()
    {
        var message = DnsSamples.Messages["answer"];
        var extension = message.Extension!;
        Assert.Equal("OPT", Refused((message with { Additional = [extension, extension] }).ToArray()).Field);
        Assert.Equal("OPT", Refused((message with { Answers = [extension] }).ToArray()).Field);
        Assert.Equal("OPT", Refused((message with { Additional = [extension with { Name = DnsSamples.Host }] }).ToArray()).Field);
    }

    [Fact]
    public void Data_of_another_length_than_its_type_has_is_refused()
    {
        foreach (var type in new[] { DnsRecordType.A, DnsRecordType.AAAA, DnsRecordType.SOA, DnsRecordType.PTR, DnsRecordType.MX, DnsRecordType.SRV, DnsRecordType.DHCID })
        {
            foreach (var length in new[] { 0, 5, 17, 36 })
            {
                var message = new DnsMessage { Identifier = 1, Answers = [new DnsRecord(DnsName.Root, type, DnsClass.Internet, 0, new DnsOpaque(Enumerable.Repeat((byte)1, length).ToArray()))] };
                Refused(message.ToArray());
            }
        }
    }

    [Fact]
    public void Names_compare_without_case_and_keep_it()
    {
        var name = DnsName.FromText("MN1.Home.Example.");
        Assert.Equal(DnsSamples.Host, name);
        Assert.Equal(DnsSamples.Host.GetHashCode(), name.GetHashCode());
        Assert.Equal("MN1.Home.Example.", name.ToString());
        Assert.Equal(DnsSamples.Host.Octets.ToArray(), name.ToCanonical());
        Assert.True(name.IsWithin(DnsSamples.Zone) && name.IsWithin(name) && name.IsWithin(DnsName.Root) && !DnsSamples.Zone.IsWithin(name));
        Assert.False(DnsName.FromText("evilhome.example").IsWithin(DnsSamples.Zone));
        Assert.Equal(DnsSamples.Zone, name.Parent);
    }

    [Theory]
    [InlineData("")]
    [InlineData("..")]
    [InlineData(".a")]
    [InlineData("a..b")]
    [InlineData("a\\")]
    [InlineData("a\\256")]
    [InlineData("a\\1")]
    [InlineData("größe.example\u0100")]
    [InlineData("0123456789012345678901234567890123456789012345678901234567890123.example")]
    public void Text_that_is_no_name_is_refused(string text) => Assert.Null(DnsName.TryFromText(text));

    [Fact]
    public void Addresses_are_looked_up_under_their_reverse_names()
    {
        Assert.Equal("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.a.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.", DnsName.OfAddress(DnsSamples.Home).ToString());
        Assert.Equal("1.2.0.192.in-addr.arpa.", DnsName.OfAddress(IPAddress.Parse("192.0.2.1")).ToString());
    }

    [Fact]
    public void Any_name_survives_text_and_octets()
    {
        var labels = Gen.Choose(1, 63).SelectMany(n => Gen.ArrayOf(Gen.Choose(0, 255).Select(i => (byte)i), n));
        Prop.ForAll(labels.ListOf(3).ToArbitrary(), read =>
        {
            byte[] octets = [.. read.SelectMany(l => (byte[])[(byte)l.Length, .. l]), 0];
            Assert.True(DnsName.TryParse(octets, out var name, out _));
            Assert.Equal(octets, DnsName.FromText(name.ToString()).Octets.ToArray());
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void Any_message_survives_being_written_and_read()
    {
        var names = Gen.Elements("a.example", "b.a.example", "example", "c.d.e.f", "MN1.Home.Example").Select(DnsName.FromText);
        var octets = Gen.Choose(0, 40).SelectMany(n => Gen.ArrayOf(Gen.Choose(0, 255).Select(i => (byte)i), n)).Select(o => new OctetString(o));
        var records =
            from name in names
            from target in names
            from data in octets
            from kind in Gen.Choose(0, 5)
            from seconds in Gen.Choose(0, int.MaxValue)
            select kind switch
            {
                0 => new DnsRecord(name, DnsRecordType.AAAA, DnsClass.Internet, (uint)seconds, new DnsAddress(DnsSamples.Home)),
                1 => new DnsRecord(name, DnsRecordType.PTR, DnsClass.None, (uint)seconds, new DnsTarget(target)),
                2 => new DnsRecord(name, DnsRecordType.AAAA, DnsClass.Any, 0, DnsOpaque.Empty),
                3 => new DnsRecord(name, DnsRecordType.SOA, DnsClass.Internet, 0, new DnsStartOfAuthority(target, name, (uint)seconds, 1, 2, 3, 4)),
                4 => new DnsRecord(name, DnsRecordType.MX, DnsClass.Internet, 0, new DnsMailExchange((ushort)seconds, target)),
                _ => new DnsRecord(name, DnsRecordType.TXT, DnsClass.Internet, 0, new DnsOpaque(data)),
            };
        var messages =
            from answers in records.ListOf()
            from authorities in records.ListOf()
            from question in names
            from word in Gen.Choose(0, 0xFFFF)
            select new DnsMessage
            {
                Identifier = (ushort)word,
                Opcode = (DnsOpcode)(word & 0xF),
                ResponseCode = (DnsResponseCode)((word >> 4) & 0xF),
                Flags = (DnsFlags)(word & 0x87F0),
                Questions = [new DnsQuestion(question, DnsRecordType.Any)],
                Answers = [.. answers],
                Authorities = [.. authorities],
            };
        Prop.ForAll(messages.ToArbitrary(), message =>
        {
            Assert.True(DnsMessage.TryParse(message.ToArray(), out var again, out var error), error.ToString());
            Assert.Equal(message, again);
        }).QuickCheckThrowOnFailure();
    }
}
