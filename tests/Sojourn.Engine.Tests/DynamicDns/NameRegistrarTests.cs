using System.Net;
using Sojourn.Engine.DynamicDns;
using Sojourn.Engine.Tests.MobileIpv6;
using Sojourn.Wire.Dns;
using Sojourn.Wire.MobileIpv4;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.DynamicDns;

/// <summary>Updates by script: the test is the name server.</summary>
public class NameRegistrarTests
{
    private const string Name = "mn1.home.example";
    private static readonly IPAddress s_home = IPAddress.Parse("2001:db8:a:1::7"), s_other = IPAddress.Parse("2001:db8:b:1::7");
    private static readonly IPEndPoint s_local = IPEndPoint.Parse("[2001:db8:a::fffe]:5300"), s_first = IPEndPoint.Parse("[2001:db8:a::53]:53"), s_second = IPEndPoint.Parse("[2001:db8:a::54]:53");
    private static readonly TransactionKey s_key = new(DnsName.FromText("ha"), TransactionAlgorithm.HmacSha256, new KeyMaterial(new byte[32]));

    private readonly EffectSink _sink = new();
    private DateTimeOffset _now = new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);
    private NameRegistrar _registrar;

    public NameRegistrarTests() => _registrar = Make();

    private static NameRegistrarOptions Options => new()
    {
        Local = s_local,
        Zones =
        [
            new DnsUpdateZone(DnsName.FromText("home.example"), [s_first, s_second], s_key),
            new DnsUpdateZone(DnsName.FromText("a.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"), [s_first], s_key),
        ],
    };

    private static NameRegistrar Make(Func<NameRegistrarOptions, NameRegistrarOptions>? change = null) => new(change?.Invoke(Options) ?? Options, new SeededRandom(7));

    private sealed record Sent(IPEndPoint To, DnsMessage Message, byte[] Octets, OctetString Mac)
    {
        public bool IsReverse => Message.Questions[0].Name != DnsName.FromText("home.example");
    }

    private sealed record Outcome(List<Sent> Sent, List<NameSettled> Settled, IReadOnlyList<Effect> All);

    private Outcome Tell(EngineInput input)
    {
        _sink.Clear();
        _registrar.Handle(input, _now, _sink);
        Effect[] effects = [.. _sink.Effects];
        var sent = effects.OfType<SendDatagram>().Select(d =>
        {
            Assert.Equal(s_local, d.Source);
            Assert.True(DnsMessage.TryParse(d.Payload.Span, out var message, out _));
            Assert.Equal(TransactionCheck.Valid, s_key.Check(d.Payload.Span, message, default, _now));
            return new Sent(d.Destination, message, d.Payload.ToArray(), ((DnsTransactionSignature)message.Signature!.Data).Mac);
        });
        return new Outcome([.. sent], [.. effects.OfType<NameSettled>()], effects);
    }

    private Outcome Answer(Sent sent, DnsResponseCode result, TransactionKey? key = null, IPEndPoint? from = null)
    {
        var answer = new DnsMessage { Identifier = sent.Message.Identifier, Opcode = DnsOpcode.Update, Flags = DnsFlags.Response, ResponseCode = result, Questions = sent.Message.Questions };
        return Tell(new DatagramReceived(from ?? sent.To, s_local, (key ?? s_key).Sign(answer, _now, out _, sent.Mac.Span)));
    }

    /// <summary>Without a MAC, as named answers who signs with a wrong key.</summary>
    private Outcome Unsigned(Sent sent, DnsResponseCode result, DnsResponseCode error)
    {
        var answer = new DnsMessage
        {
            Identifier = sent.Message.Identifier,
            Opcode = DnsOpcode.Update,
            Flags = DnsFlags.Response,
            ResponseCode = result,
            Additional = [new DnsRecord(s_key.Name, DnsRecordType.TSIG, DnsClass.Any, 0, new DnsTransactionSignature(DnsName.FromText("hmac-sha256"), 0, 300, default, sent.Message.Identifier, error, default))],
        };
        return Tell(new DatagramReceived(sent.To, s_local, answer.ToArray()));
    }

    /// <summary>To the next deadline.</summary>
    private Outcome Wait()
    {
        _now = _registrar.NextDeadline!.Value;
        return Tell(new DeadlineReached());
    }

    private static DnsRecord Record(DnsClass @class, uint seconds, DnsData data, DnsRecordType type = DnsRecordType.AAAA) => new(DnsName.FromText(Name), type, @class, seconds, data);

    [Fact]
    public void The_home_address_takes_the_place_of_every_other_and_gets_its_reverse_name()
    {
        var asked = Tell(new RegisterName(Name, s_home));
        Assert.Equal([s_first, s_first], asked.Sent.Select(s => s.To));
        Assert.Equal([Record(DnsClass.Any, 0, DnsOpaque.Empty), Record(DnsClass.Internet, 60, new DnsAddress(s_home))], asked.Sent[0].Message.Authorities);
        var reverse = asked.Sent[1].Message;
        Assert.Equal(DnsName.OfAddress(s_home), reverse.Authorities[1].Name);
        Assert.Equal(new DnsTarget(DnsName.FromText(Name)), reverse.Authorities[1].Data);

        Assert.Equal(new NameSettled(Name, s_home, false, DnsUpdateStatus.Performed), Assert.Single(Answer(asked.Sent[0], DnsResponseCode.NoError).Settled));
        Assert.Empty(Answer(asked.Sent[1], DnsResponseCode.NoError).Settled);
        Assert.Equal((0, null), (_registrar.Pending, _registrar.NextDeadline));
    }

    [Fact]
    public void A_removal_takes_this_address_and_no_other_and_is_in_the_store_until_it_is_done()
    {
        var asked = Tell(new RemoveName(Name, s_home));
        Assert.Equal([Record(DnsClass.None, 0, new DnsAddress(s_home))], asked.Sent[0].Message.Authorities);
        var saved = asked.All.OfType<SaveState>().ToList();
        Assert.Equal(2, saved.Count);

        // Crash: the next life does it.
        _registrar = Make();
        var again = Tell(new EngineStarted([.. saved.Select(s => new SavedState(s.Key, s.Value))]));
        Assert.Equal(asked.Sent.Select(s => s.Message.Authorities[0]), again.Sent.Select(s => s.Message.Authorities[0]));
        var done = Answer(again.Sent[0], DnsResponseCode.NoError);
        Assert.Equal(new NameSettled(Name, s_home, true, DnsUpdateStatus.Performed), Assert.Single(done.Settled));
        Assert.Equal(saved[0].Key, Assert.Single(done.All.OfType<DropState>()).Key);
        Answer(again.Sent[1], DnsResponseCode.NoError);
        Assert.Equal(0, _registrar.Pending);
    }

    [Theory]
    [InlineData(DnsResponseCode.Refused, DnsUpdateStatus.Prohibited)]
    [InlineData(DnsResponseCode.NotAuthorized, DnsUpdateStatus.Prohibited)]
    [InlineData(DnsResponseCode.ServerFailure, DnsUpdateStatus.Failed)]
    public void What_one_server_refuses_is_asked_of_the_next(DnsResponseCode refusal, DnsUpdateStatus status)
    {
        var asked = Tell(new RegisterName(Name, s_other)).Sent.Single();
        var next = Answer(asked, refusal).Sent.Single();
        Assert.Equal((s_second, Convert.ToHexString(asked.Octets)), (next.To, Convert.ToHexString(next.Octets)));
        Assert.Equal(status, Answer(next, refusal).Settled.Single().Status);
        Assert.Equal(0, _registrar.Pending);

        asked = Tell(new RegisterName(Name, s_other)).Sent.Single();
        Assert.Equal(DnsUpdateStatus.Performed, Answer(Answer(asked, refusal).Sent.Single(), DnsResponseCode.NoError).Settled.Single().Status);
    }

    [Theory]
    [InlineData(DnsResponseCode.FormatError)]
    [InlineData(DnsResponseCode.NotInZone)]
    public void A_failed_update_has_status_130(DnsResponseCode result) =>
        Assert.Equal(DnsUpdateStatus.Failed, Answer(Tell(new RegisterName(Name, s_other)).Sent.Single(), result).Settled.Single().Status);

    [Fact]
    public void Silence_is_asked_again_of_every_server_and_has_status_128()
    {
        var begun = _now;
        var sent = Tell(new RegisterName(Name, s_other)).Sent;
        List<NameSettled> settled = [];
        while (settled.Count == 0)
        {
            var outcome = Wait();
            sent.AddRange(outcome.Sent);
            settled = outcome.Settled;
        }

        Assert.Equal([s_first, s_second, s_first, s_second, s_first, s_second], sent.Select(s => s.To));
        Assert.Single(sent.Select(s => Convert.ToHexString(s.Octets)).Distinct());
        Assert.Equal((DnsUpdateStatus.Unspecified, TimeSpan.FromSeconds(14)), (settled.Single().Status, _now - begun));
        Assert.Equal((0, null), (_registrar.Pending, _registrar.NextDeadline));
    }

    [Fact]
    [Trait("Row", "TA-H27")]
    public void An_answer_that_proves_nothing_is_none()
    {
        var asked = Tell(new RegisterName(Name, s_other)).Sent.Single();
        var forger = new TransactionKey(DnsName.FromText("ha"), TransactionAlgorithm.HmacSha256, new KeyMaterial(new byte[] { 1 }));
        Assert.Empty(Answer(asked, DnsResponseCode.NoError, forger).Settled);
        Assert.Empty(Answer(asked with { Mac = new byte[32] }, DnsResponseCode.NoError).Settled);
        Assert.Empty(Answer(asked, DnsResponseCode.NoError, from: IPEndPoint.Parse("[2001:db8:a::55]:53")).Settled);
        Assert.Empty(Unsigned(asked, DnsResponseCode.NoError, DnsResponseCode.NoError).Settled);
        _now += TimeSpan.FromSeconds(0.9);
        Assert.Equal(DnsUpdateStatus.Performed, Answer(asked, DnsResponseCode.NoError).Settled.Single().Status);
    }

    [Fact]
    [Trait("Row", "TA-H27")]
    public void Servers_that_do_not_know_the_key_are_not_asked_twice_and_the_status_is_129()
    {
        var asked = Tell(new RegisterName(Name, s_other)).Sent.Single();
        Assert.Empty(Unsigned(asked, DnsResponseCode.NotAuthorized, DnsResponseCode.BadKey).Settled);
        var next = Wait().Sent.Single();
        Assert.Equal(s_second, next.To);
        Assert.Empty(Unsigned(next, DnsResponseCode.NotAuthorized, DnsResponseCode.BadSignature).Settled);
        var end = Wait();
        Assert.Empty(end.Sent);
        Assert.Equal(DnsUpdateStatus.Prohibited, end.Settled.Single().Status);
    }

    [Fact]
    public void For_a_name_there_is_one_update_at_a_time_and_the_latest_wish_counts()
    {
        var asked = Tell(new RegisterName(Name, s_other)).Sent.Single();
        var third = IPAddress.Parse("2001:db8:c::1");
        Assert.Empty(Tell(new RemoveName(Name, s_other)).Sent);
        Assert.Empty(Tell(new RegisterName(Name, third)).Sent);
        var next = Answer(asked, DnsResponseCode.NoError);
        Assert.Equal(new DnsAddress(third), next.Sent.Single().Message.Authorities[1].Data);

        // An address that is not the one that is being set: replaced anyway.
        Tell(new RemoveName(Name, s_other));
        Tell(new RegisterName(Name, s_other));
        Tell(new RemoveName(Name, third));
        Assert.Equal(new DnsAddress(s_other), Answer(next.Sent.Single(), DnsResponseCode.NoError).Sent.Single().Message.Authorities[1].Data);
    }

    [Fact]
    public void Removals_of_two_addresses_wait_together()
    {
        var third = IPAddress.Parse("2001:db8:c::1");
        var asked = Tell(new RegisterName(Name, IPAddress.Parse("2001:db8:c::2"))).Sent.Single();
        Tell(new RemoveName(Name, s_other));
        Tell(new RemoveName(Name, third));
        var next = Answer(asked, DnsResponseCode.NoError).Sent.Single();
        Assert.Equal([Record(DnsClass.None, 0, new DnsAddress(s_other)), Record(DnsClass.None, 0, new DnsAddress(third))], next.Message.Authorities);
        Assert.Equal([s_other, third], Answer(next, DnsResponseCode.NoError).Settled.Select(s => s.HomeAddress));
    }

    [Fact]
    public void A_removal_nobody_answers_is_tried_until_it_is_done()
    {
        Tell(new RemoveName(Name, s_other));
        for (var i = 0; i < 6; i++)
        {
            Wait();
        }

        var quiet = _now;
        var again = Wait().Sent.Single();
        Assert.Equal(TimeSpan.FromSeconds(30), _now - quiet);
        Answer(again, DnsResponseCode.NoError);
        Assert.Equal(0, _registrar.Pending);
    }

    [Fact]
    public void A_name_of_no_zone_of_ours_and_a_distinguished_name_are_left_alone()
    {
        Assert.Equal(DnsUpdateStatus.Prohibited, Tell(new RegisterName("mn1.other.example", s_home)).Settled.Single().Status);
        Assert.Equal(DnsUpdateStatus.Prohibited, Tell(new RegisterName("CN=mn1,O=home", s_home)).Settled.Single().Status);
        Assert.Equal(0, _registrar.Pending);
    }

    [Fact]
    public void Names_wait_in_a_bounded_queue_and_few_are_under_way()
    {
        _registrar = Make(o => o with { MaximumNames = 5, MaximumUnderWay = 2 });
        List<Outcome> outcomes = [.. Enumerable.Range(0, 7).Select(i => Tell(new RegisterName($"mn{i}.home.example", s_other)))];
        Assert.Equal(2, outcomes.Sum(o => o.Sent.Count));
        Assert.Equal(["mn5.home.example", "mn6.home.example"], outcomes.SelectMany(o => o.Settled).Select(s => s.Identifier));
        Assert.Equal("mn2.home.example.", Answer(outcomes[0].Sent.Single(), DnsResponseCode.NoError).Sent.Single().Message.Authorities[0].Name.ToString());
    }

    [Fact]
    public void A_marked_name_is_made_or_changed_by_its_owner_only()
    {
        _registrar = Make(o => o with { MarkOwner = true });
        var mark = Record(DnsClass.Internet, 0, NameUpdate.Mark(DnsName.FromText(Name)), DnsRecordType.DHCID);
        var made = Tell(new RegisterName(Name, s_other)).Sent.Single();
        Assert.Equal([Record(DnsClass.None, 0, DnsOpaque.Empty, DnsRecordType.Any)], made.Message.Answers);
        Assert.Equal([Record(DnsClass.Internet, 60, new DnsAddress(s_other)), mark with { Seconds = 60 }], made.Message.Authorities);

        var changed = Answer(made, DnsResponseCode.NameExists).Sent.Single();
        Assert.NotEqual(made.Message.Identifier, changed.Message.Identifier);
        Assert.Equal([mark], changed.Message.Answers);
        Assert.Equal(DnsUpdateStatus.Failed, Answer(changed, DnsResponseCode.RecordSetMissing).Settled.Single().Status);
    }

    [Fact]
    public void The_mark_goes_with_the_last_address()
    {
        _registrar = Make(o => o with { MarkOwner = true });
        var first = Tell(new RemoveName(Name, s_other)).Sent.Single();
        var second = Answer(first, DnsResponseCode.NoError).Sent.Single();
        Assert.Equal([DnsRecordType.DHCID, DnsRecordType.A, DnsRecordType.AAAA], second.Message.Answers.Select(r => r.Type));
        Assert.Equal((DnsRecordType.DHCID, DnsClass.None), (second.Message.Authorities.Single().Type, second.Message.Authorities.Single().Class));
        Assert.Equal(DnsUpdateStatus.Performed, Answer(second, DnsResponseCode.RecordSetExists).Settled.Single().Status);
        Assert.Equal(DnsUpdateStatus.Performed, Answer(Tell(new RemoveName(Name, s_other)).Sent.Single(), DnsResponseCode.RecordSetMissing).Settled.Single().Status);
    }

    [Theory]
    [InlineData(2, "00010006412df166010203040506", "chi6.example.com", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=")]
    [InlineData(1, "010708090a0b0c", "Chi.Example.COM", "AAEBOSD+XR3Os/0LozeXVqcNc7FwCfQdWL3b/NaiUDlW2No=")]
    [InlineData(0, "01010203040506", "client.example.com", "AAABxLmlskllE0MVjd57zHcWmEH3pCQ6VytcKD//7es/deY=")]
    public void Digests_are_those_of_RFC_4701(ushort type, string identifier, string name, string expected)
    {
        var digest = NameUpdate.Mark(type, Convert.FromHexString(identifier), DnsName.FromText(name));
        Assert.Equal(expected, Convert.ToBase64String([0, (byte)digest.IdentifierType, digest.DigestType, .. digest.Digest.Span]));
    }

    [Fact]
    public void A_name_is_marked_by_itself()
    {
        Assert.Equal(NameUpdate.Mark(1, "\0mn1.home.example"u8, DnsName.FromText(Name)), NameUpdate.Mark(DnsName.FromText("MN1.home.example")));
        Assert.NotEqual(NameUpdate.Mark(DnsName.FromText("mn2.home.example")), NameUpdate.Mark(DnsName.FromText(Name)));
    }
}
