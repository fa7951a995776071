using System.Buffers.Binary;
using Sojourn.Engine.Ipsec;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>
/// A gateway dies and comes back with its associations (M3, M5): no number is used twice, none is taken twice, and the other
/// end finds out.
/// </summary>
public class RestartTests
{
    private const ulong Block = 1 << 18;

    private readonly Disk _diskA = new();
    private readonly Disk _diskB = new();
    private readonly IpsecBench _bench = new();
    private PathTable _a;
    private PathTable _b;

    public RestartTests()
    {
        _a = Table(_diskA);
        _b = Table(_diskB);
    }

    public static TheoryData<SecurityType, IpsecAlgorithm> Kinds => new()
    {
        { SecurityType.Esp, IpsecAlgorithm.Aes256Gcm16 },
        { SecurityType.Esp, IpsecAlgorithm.Aes128CbcHmacSha256 },
        { SecurityType.Esp, IpsecAlgorithm.ChaCha20Poly1305 },
        { SecurityType.Ah, IpsecAlgorithm.HmacSha256 },
        { SecurityType.Ah, IpsecAlgorithm.Aes256Gmac },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    [Trait("Row", "M3")]
    public void Numbers_of_a_new_life_lie_above_all_of_the_earlier_ones(SecurityType type, IpsecAlgorithm algorithm)
    {
        var path = IpsecBench.Path(type: type, algorithm: algorithm);
        ulong above = 0;
        for (var life = 0; life < 4; life++)
        {
            _a = Table(_diskA);
            Install(_a, path);
            for (var i = 0; i < 10; i++)
            {
                _bench.SendOne(_a, _bench.FromHost());
            }

            var used = Outbound(_a).Sequence;
            Assert.True(used - 9 > above);
            Assert.True(_diskA.Rows.Values.Max() >= used);
            above = used;
        }
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    [Trait("Row", "M3")]
    public void A_restarted_receiver_takes_nothing_again_and_the_next_packet_of_a_sender_that_heard_of_it(SecurityType type, IpsecAlgorithm algorithm)
    {
        var path = IpsecBench.Path(type: type, algorithm: algorithm);
        Install(_a, path);
        Install(_b, path.Mirror());
        var heard = Enumerable.Range(0, 50).Select(_ => _bench.SendOne(_b, _bench.ToHost())).ToList();
        heard.ForEach(packet => _bench.ReceiveOne(_a, packet));

        for (var life = 0; life < 3; life++)
        {
            _a = Table(_diskA);
            Install(_a, path);
            Assert.All(heard, packet => Assert.Equal(InboundVerdict.Drop, _bench.Receive(_a, packet).Result.Verdict));

            Assert.True(_a.TryTakeAnnouncement(out var restored));
            var answer = Deliver(_b, Announcement(_a, restored));
            Assert.True(answer.MustAnnounce);
            Assert.Equal((InboundVerdict.Drop, false), (_bench.Receive(_a, Announcement(_b, answer.Path)).Result.Verdict, _bench.Receive(_a, heard[0]).Result.MustAnnounce));

            heard.Add(_bench.SendOne(_b, _bench.ToHost()));
            _bench.ReceiveOne(_a, heard[^1]);
            _bench.ReceiveOne(_b, _bench.SendOne(_a, _bench.FromHost()));
            Assert.All(heard, packet => Assert.Equal(InboundVerdict.Drop, _bench.Receive(_a, packet).Result.Verdict));
        }
    }

    /// <summary>RFC 4303 2.3 and 2.6: Payload Data is there, whatever it says. Linux and Wireshark take anything shorter for garbage.</summary>
    [Fact]
    public void An_announcement_is_a_whole_ESP_packet_with_nothing_to_deliver()
    {
        // Without a cipher the plaintext stands readable: 20 octets of IPv4, 8 of ESP, payload, padding, length, next header, ICV.
        var path = IpsecBench.Path(algorithm: IpsecAlgorithm.HmacSha256);
        Install(_a, path);
        Install(_b, path.Mirror());
        _bench.ReceiveOne(_a, _bench.SendOne(_b, _bench.ToHost()));
        _a = Table(_diskA);
        Install(_a, path);
        Assert.True(_a.TryTakeAnnouncement(out var restored));
        var packet = Announcement(_a, restored);
        var plaintext = packet.AsSpan(28..^16);
        var padding = plaintext[^2];
        Assert.Equal(59, plaintext[^1]);
        Assert.Equal(Enumerable.Range(1, padding).Select(n => (byte)n), plaintext[^(2 + padding)..^2].ToArray());
        Assert.True(plaintext.Length - padding - 2 > 0);
        Assert.Equal(DropReason.Dummy, Deliver(_b, packet).Reason);
    }

    [Fact]
    [Trait("Row", "M3")]
    public void A_sender_whose_announcement_was_lost_hears_of_it_with_its_next_packet()
    {
        var path = IpsecBench.Path();
        Install(_a, path);
        Install(_b, path.Mirror());
        _bench.ReceiveOne(_a, _bench.SendOne(_b, _bench.ToHost()));
        _a = Table(_diskA);
        Install(_a, path);

        var late = _bench.Receive(_a, _bench.SendOne(_b, _bench.ToHost())).Result;
        Assert.Equal((InboundVerdict.Drop, true), (late.Verdict, late.MustAnnounce));
        Assert.False(_bench.Receive(_a, _bench.SendOne(_b, _bench.ToHost())).Result.MustAnnounce, "not more often than every 250 ms");
        Deliver(_b, Announcement(_a, late.Path));
        _bench.ReceiveOne(_a, _bench.SendOne(_b, _bench.ToHost()));
    }

    [Fact]
    [Trait("Row", "M3")]
    public void Both_ends_may_restart_at_once_and_again_before_a_packet_passes()
    {
        var path = IpsecBench.Path();
        for (var life = 0; life < 6; life++)
        {
            Install(_a, path);
            Install(_b, path.Mirror());
            if (life % 3 != 1)
            {
                Exchange();
            }

            _a = Table(_diskA);
            if (life % 2 == 0)
            {
                _b = Table(_diskB);
            }
            else
            {
                Assert.Null(_b.Change([], [path.Id], _bench.Now).Refusal);
            }
        }

        void Exchange()
        {
            // Each packet may be the one that is lost to a late sender.
            for (var i = 0; i < 3; i++)
            {
                Pass(_a, _b, _bench.FromHost());
                Pass(_b, _a, _bench.ToHost());
                _bench.Now += TimeSpan.FromSeconds(1);
            }

            _bench.ReceiveOne(_b, _bench.SendOne(_a, _bench.FromHost()));
            _bench.ReceiveOne(_a, _bench.SendOne(_b, _bench.ToHost()));
        }

        void Pass(PathTable from, PathTable to, byte[] inner)
        {
            var result = _bench.Receive(to, _bench.SendOne(from, inner)).Result;
            if (result.MustAnnounce)
            {
                Deliver(from, Announcement(to, result.Path));
            }
        }
    }

    [Fact]
    [Trait("Row", "M3")]
    public void A_leap_is_answered_once_and_the_answer_not_at_all()
    {
        var path = IpsecBench.Path();
        Install(_a, path);
        Install(_b, path.Mirror());
        _a = Table(_diskA);
        Install(_a, path);
        var before = Outbound(_b).Sequence;
        Assert.True(Deliver(_b, _bench.SendOne(_a, _bench.FromHost())).MustAnnounce);
        Assert.Equal(before + Block, Outbound(_b).Sequence);
        Assert.False(Deliver(_b, _bench.SendOne(_a, _bench.FromHost())).MustAnnounce);
        Assert.Equal(before + Block, Outbound(_b).Sequence);
        Assert.False(Deliver(_a, _bench.SendOne(_b, _bench.ToHost())).MustAnnounce);
    }

    [Fact]
    [Trait("Row", "M3")]
    [Trait("Row", "M5")]
    public void What_cannot_be_stored_is_neither_sent_nor_taken()
    {
        var late = new List<Action>();
        _a = new PathTable(new PathTableOptions { Sequences = _diskA, Defer = late.Add }, new SeededRandom(1));
        var path = IpsecBench.Path();
        Install(_a, path);
        Install(_b, path.Mirror());
        for (var i = 0; i < 4; i++)
        {
            // As if the far end had restarted: its number lies above all that is stored as seen.
            Install(_b, path.Mirror() with { Outbound = path.Inbound! with { SequenceFloor = (ulong)(i + 1) * 100 * Block } });
            var packet = _bench.SendOne(_b, _bench.ToHost());
            Assert.Equal(DropReason.SequenceNotStored, _bench.Receive(_a, packet).Result.Reason);
            Assert.Equal(DropReason.SequenceNotStored, _bench.Receive(_a, packet).Result.Reason);
            _diskA.IsFull = i == 0;
            Assert.Single(late)();
            late.Clear();
            if (i == 0)
            {
                // A full disk is asked again with the next packet.
                _diskA.IsFull = false;
                Assert.Equal(DropReason.SequenceNotStored, _bench.Receive(_a, packet).Result.Reason);
                Assert.Single(late)();
                late.Clear();
            }

            _bench.ReceiveOne(_a, packet);
            Assert.Equal(DropReason.Replay, _bench.Receive(_a, packet).Result.Reason);
        }

        _diskA.IsFull = true;
        var full = IpsecBench.Path(owner: "u2", host: 18, spi: 0x2000, keySeed: 9);
        Assert.Throws<IOException>(() => _a.Change([full], [], _bench.Now));
        Assert.DoesNotContain(_a.Report(_bench.Now), p => p.Path.Id == full.Id);
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void Numbers_go_with_their_association_unless_the_key_is_typed_in()
    {
        var derived = IpsecBench.Path();
        var preset = IpsecBench.Path(owner: "preset", host: 18, spi: 0x2000, algorithm: IpsecAlgorithm.Aes128CbcHmacSha256, keySeed: 9, staticKeys: true);
        Install(_a, derived);
        Install(_a, preset);
        Assert.Equal(3, _diskA.Rows.Count);
        Assert.Null(_a.Change([], [derived.Id, preset.Id], _bench.Now).Refusal);
        _a.CheckLifetimes(_bench.Now);
        _a.CheckLifetimes(_bench.Now);
        Assert.Equal("Esp/00002000/198.51.100.1>198.51.100.2", Assert.Single(_diskA.Rows).Key);
    }

    [Fact]
    [Trait("Row", "NV9.8")]
    public void What_no_path_claims_after_a_restart_is_forgotten_a_minute_after_the_others_have_claimed_theirs()
    {
        var other = IpsecBench.Path(owner: "u2", host: 18, spi: 0x2000, keySeed: 9);
        Install(_a, IpsecBench.Path());
        Install(_a, other);
        _a = Table(_diskA);
        _a.CheckLifetimes(_bench.Now);
        _a.CheckLifetimes(_bench.Now + TimeSpan.FromSeconds(100));
        Assert.Equal(4, _diskA.Rows.Count);
        Install(_a, other);
        _a.CheckLifetimes(_bench.Now + TimeSpan.FromSeconds(101));
        _a.CheckLifetimes(_bench.Now + TimeSpan.FromSeconds(162));
        Assert.Equal(2, _diskA.Rows.Count);
    }

    // A node under load may take seconds from reserving to installing, with housekeeping in between.
    [Fact]
    [Trait("Row", "M3")]
    public void What_is_reserved_for_paths_to_come_is_kept_until_they_come_however_late()
    {
        var path = IpsecBench.Path();
        Install(_a, path);
        var used = _bench.SendOne(_a, _bench.FromHost());
        _a = Table(_diskA);
        _a.Reserve([path]);
        for (var seconds = 0; seconds < 200; seconds += 20)
        {
            _a.CheckLifetimes(_bench.Now + TimeSpan.FromSeconds(seconds));
        }

        Install(_a, path);
        Assert.True(BinaryPrimitives.ReadUInt64BigEndian(_bench.SendOne(_a, _bench.FromHost()).AsSpan(28)) > BinaryPrimitives.ReadUInt64BigEndian(used.AsSpan(28)) + Block);
    }

    [Fact]
    [Trait("Row", "M5")]
    public void A_typed_in_key_goes_on_right_above_its_last_block()
    {
        var path = IpsecBench.Path(algorithm: IpsecAlgorithm.Aes128CbcHmacSha256, staticKeys: true, esn: false);
        Install(_a, path);
        var stored = Assert.Single(_diskA.Rows).Value;
        _a = Table(_diskA);
        Install(_a, path);
        var packet = _bench.SendOne(_a, _bench.FromHost());
        Assert.Equal((uint)stored + 1, BinaryPrimitives.ReadUInt32BigEndian(packet.AsSpan(24)));
    }

    private static PathTable Table(Disk disk) => new(new PathTableOptions { Sequences = disk, Defer = work => work() }, new SeededRandom(1));

    private void Install(PathTable at, VpnPath path) => Assert.Null(at.Change([path], [], _bench.Now).Refusal);

    private AssociationReport Outbound(PathTable at) => at.Report(_bench.Now)[0].Outbound!;

    private InboundResult Deliver(PathTable at, byte[] packet) => _bench.Receive(at, packet).Result;

    private byte[] Announcement(PathTable from, PathHandle path)
    {
        var output = new byte[PathTable.AnnouncementLength];
        var result = from.Announce(path, output, _bench.Now);
        Assert.Equal((OutboundVerdict.Send, 1), (result.Verdict, result.Count));
        return output[..result.Length];
    }

    private sealed class Disk : ISequenceStore
    {
        public Dictionary<string, ulong> Rows { get; } = [];

        public bool IsFull { get; set; }

        public IReadOnlyDictionary<string, ulong> ReadAll() => Rows;

        public void Write(IReadOnlyCollection<KeyValuePair<string, ulong>> raised, IReadOnlyCollection<string> forgotten)
        {
            if (IsFull)
            {
                throw new IOException("disk full");
            }

            foreach (var (association, number) in raised)
            {
                Rows[association] = Math.Max(number, Rows.GetValueOrDefault(association));
            }

            foreach (var association in forgotten)
            {
                Rows.Remove(association);
            }
        }
    }
}
