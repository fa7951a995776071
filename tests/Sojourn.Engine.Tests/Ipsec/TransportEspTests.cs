using System.Net;
using System.Text.Json;
using Sojourn.Engine.Ikev2;
using Sojourn.Engine.Ipsec;
using Sojourn.Wire.Icmpv6;
using Sojourn.Wire.Ikev2;
using Sojourn.Wire.Ip;
using Sojourn.Wire.MobileIpv6;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

/// <summary>ESP in transport mode behind the headers of Mobile IPv6: against packets of the Linux kernel, and against what must not pass.</summary>
public class TransportEspTests
{
    private const long Association = 70;

    private static readonly DateTimeOffset s_now = IpsecBench.Start;
    private static readonly IPAddress s_home = IPAddress.Parse("2001:db8:a:1::10"), s_agent = IPAddress.Parse("2001:db8:a::1");
    private static readonly IPAddress s_careOf = IPAddress.Parse("2001:db8:c::5"), s_elsewhere = IPAddress.Parse("2001:db8:d::6");
    private static readonly IPAddress s_otherHome = IPAddress.Parse("2001:db8:a:2::10");

    /// <summary>Both kinds of signalling in one child SA (spec TA-M15).</summary>
    private static readonly IReadOnlyList<TrafficSelector> s_terminalSide = [SelectorNarrowing.Mobility(s_home, 5), SelectorNarrowing.Icmp(s_home, 146)];
    private static readonly IReadOnlyList<TrafficSelector> s_agentSide = [SelectorNarrowing.Mobility(s_agent, 6), SelectorNarrowing.Icmp(s_agent, 147)];

    [Theory]
    [InlineData("mip6-ro-esp-aes128gcm16", true)]
    [InlineData("esp-transport-v6-aes128gcm16", false)]
    public void Packets_of_the_kernel_open_to_the_packet_with_its_headers_and_only_once(string name, bool mobile)
    {
        using var document = JsonDocument.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Ipsec", "Data", name + ".json")));
        var root = document.RootElement;
        var (a, b) = (Address(root, "a->b", "src"), Address(root, "a->b", "dst"));
        using var near = new TransportEsp(new SeededRandom(1));
        using var far = new TransportEsp(new SeededRandom(2));
        Assert.True(near.Install(Child(1, [TrafficSelector.Of(a)], [TrafficSelector.Of(b)], Sa(root, "b->a"), Sa(root, "a->b")), Association));
        Assert.True(far.Install(Child(1, [TrafficSelector.Of(b)], [TrafficSelector.Of(a)], Sa(root, "a->b"), Sa(root, "b->a")), Association));
        foreach (var packet in root.GetProperty("packets").EnumerateArray())
        {
            var wire = Convert.FromHexString(packet.GetProperty("wire_hex").GetString()!);
            var inner = Convert.FromHexString(packet.GetProperty("inner_hex").GetString()!);
            var receiver = packet.GetProperty("direction").GetString() == "a->b" ? far : near;
            Assert.Equal(DropReason.None, receiver.TryOpen(wire, s_now, out var opened));
            Assert.True(MobileIpv6Packet.TryParse(opened.Packet, out var clear, out _));
            Assert.Equal(Convert.ToHexString(inner[IPv6Header.Length..]), Convert.ToHexString(clear.Payload.Span));
            Assert.Equal(inner[6], clear.Protocol);
            Assert.Equal(new IPAddress(inner[8..24]), clear.EffectiveSource);
            Assert.Equal(new IPAddress(inner[24..40]), clear.EffectiveDestination);
            Assert.Equal(mobile, clear.HomeAddress is not null || clear.RoutingHomeAddress is not null);
            Assert.Equal(DropReason.Replay, receiver.TryOpen(wire, s_now, out _));
        }
    }

    [Theory]
    [InlineData(IpsecAlgorithm.Aes128Gcm16, true)]
    [InlineData(IpsecAlgorithm.Aes256Gcm16, false)]
    [InlineData(IpsecAlgorithm.ChaCha20Poly1305, true)]
    [InlineData(IpsecAlgorithm.Aes128CbcHmacSha256, false)]
    [Trait("Row", "TA-R72")]
    public void A_binding_update_and_its_acknowledgement_pass_with_esp_behind_their_headers(IpsecAlgorithm algorithm, bool extended)
    {
        var (terminal, agent) = Pair(algorithm, extended);
        var update = Update(s_home, s_careOf, 1);
        Assert.Equal(DropReason.None, terminal.TryProtect(Association, update, s_now, out var wire));
        Assert.Equal([IpProtocol.DestinationOptions, IpProtocol.Esp], Headers(wire));
        Assert.Equal(DropReason.None, agent.TryOpen(wire, s_now, out var opened));
        Assert.Equal(update, opened.Packet);
        Assert.Equal((Association, 1L), (opened.Association, opened.ChildSa));

        var answer = Acknowledgement(s_careOf, 1);
        Assert.Equal(DropReason.None, agent.TryProtect(Association, answer, s_now, out wire));
        Assert.Equal([IpProtocol.Routing, IpProtocol.Esp], Headers(wire));
        Assert.InRange(wire.Length, answer.Length + 1, answer.Length + TransportEsp.MaximumOverhead);
        Assert.Equal(DropReason.None, terminal.TryOpen(wire, s_now, out opened));
        Assert.Equal(answer, opened.Packet);
    }

    /// <summary>The association is the home address's (RFC 4877): after a move the same SPIs serve the new care-of address.</summary>
    [Fact]
    public void A_move_needs_no_new_association()
    {
        var (terminal, agent) = Pair();
        Assert.Equal(DropReason.None, terminal.TryProtect(Association, Update(s_home, s_careOf, 1), s_now, out var before));
        Assert.Equal(DropReason.None, terminal.TryProtect(Association, Update(s_home, s_elsewhere, 2), s_now, out var after));
        Assert.Equal(DropReason.None, agent.TryOpen(after, s_now, out _));
        Assert.Equal(DropReason.None, agent.TryOpen(before, s_now, out _));
        Assert.Equal(DropReason.Replay, agent.TryOpen(before, s_now, out _));
    }

    [Fact]
    public void What_no_selector_names_neither_leaves_nor_enters()
    {
        var (terminal, agent) = Pair();

        // Another home address, another kind of message, a message of the other side, another destination.
        Assert.Equal(DropReason.NoPath, terminal.TryProtect(Association, Update(s_otherHome, s_careOf, 1), s_now, out _));
        Assert.Equal(DropReason.NoPath, terminal.TryProtect(Association, Packet(s_careOf, s_agent, s_home, null, new HomeTestInit(1)), s_now, out _));
        Assert.Equal(DropReason.NoPath, agent.TryProtect(Association, Packet(s_agent, s_careOf, null, s_home, new BindingUpdate { SequenceNumber = 1, Lifetime = 1, Flags = BindingUpdateFlags.HomeRegistration }), s_now, out _));
        Assert.Equal(DropReason.NoPath, terminal.TryProtect(Association, Packet(s_careOf, s_elsewhere, s_home, null, Binding(1)), s_now, out _));
        Assert.Equal(DropReason.NoPath, terminal.TryProtect(Association + 1, Update(s_home, s_careOf, 1), s_now, out _));

        // The same sent by somebody who has the keys and does not keep to the selectors.
        var everything = new TransportEsp(new SeededRandom(3));
        Assert.True(everything.Install(Child(1, [TrafficSelector.Of(s_otherHome)], [TrafficSelector.Of(s_agent)], Keys(0x200, s_agent, s_otherHome), Keys(0x100, s_otherHome, s_agent)), Association));
        Assert.Equal(DropReason.None, everything.TryProtect(Association, Update(s_otherHome, s_careOf, 9), s_now, out var wire));
        Assert.Equal(DropReason.SelectorMismatch, agent.TryOpen(wire, s_now, out _));
    }

    [Fact]
    [Trait("Row", "TA-R72")]
    public void What_is_not_authentic_or_not_addressed_to_the_association_is_dropped()
    {
        var (terminal, agent) = Pair();
        Assert.Equal(DropReason.None, terminal.TryProtect(Association, Update(s_home, s_careOf, 1), s_now, out var wire));
        for (var bit = 0; bit < (wire.Length - 64) * 8; bit += 5)
        {
            var changed = wire.ToArray();
            changed[64 + (bit / 8)] ^= (byte)(1 << (bit % 8));
            Assert.NotEqual(DropReason.None, agent.TryOpen(changed, s_now, out _));
        }

        // ESP covers neither addresses nor Home Address option; the selectors do.
        var victim = wire.ToArray();
        Assert.True(s_otherHome.TryWriteBytes(victim.AsSpan(48), out _));
        Assert.Equal(DropReason.SelectorMismatch, agent.TryOpen(victim, s_now, out _));
        var (_, fresh) = Pair();
        var elsewhere = wire.ToArray();
        Assert.True(s_elsewhere.TryWriteBytes(elsewhere.AsSpan(24), out _));
        Assert.Equal(DropReason.UnknownSpi, fresh.TryOpen(elsewhere, s_now, out _));
        Assert.Equal(DropReason.None, fresh.TryOpen(wire, s_now, out _));
        for (var length = 0; length < wire.Length; length++)
        {
            Assert.NotEqual(DropReason.None, fresh.TryOpen(wire.AsSpan(0, length), s_now, out _));
        }
    }

    [Fact]
    public void After_a_rekeying_the_youngest_sends_and_both_receive_until_the_former_goes()
    {
        var (terminal, agent) = Pair();
        Assert.Equal(DropReason.None, terminal.TryProtect(Association, Update(s_home, s_careOf, 1), s_now, out var former));
        Add(terminal, agent, 2, 0x300);
        Assert.Equal(DropReason.None, terminal.TryProtect(Association, Update(s_home, s_careOf, 2), s_now, out var latter));
        Assert.NotEqual(former[64..68], latter[64..68]);
        Assert.Equal(DropReason.None, agent.TryOpen(latter, s_now, out _));
        Assert.Equal(Association, agent.Remove(1));
        Assert.Equal(DropReason.UnknownSpi, agent.TryOpen(former, s_now, out _));
        Assert.True(agent.Has(Association));
        Assert.Equal(Association, agent.Remove(2));
        Assert.False(agent.Has(Association));
        Assert.Null(agent.Remove(2));
        Assert.Equal(DropReason.NoPath, agent.TryProtect(Association, Acknowledgement(s_careOf, 1), s_now, out _));
    }

    [Fact]
    public void A_lifetime_that_is_over_ends_both_directions()
    {
        var end = s_now + TimeSpan.FromMinutes(1);
        var (terminal, agent) = Pair(change: p => p with { Lifetime = new SaLifetime(HardTime: end) });
        Assert.Equal(DropReason.None, terminal.TryProtect(Association, Update(s_home, s_careOf, 1), s_now, out var wire));
        Assert.Equal(DropReason.LifetimeExpired, agent.TryOpen(wire, end, out _));
        Assert.Equal(DropReason.LifetimeExpired, terminal.TryProtect(Association, Update(s_home, s_careOf, 1), end, out _));
    }

    [Fact]
    public void Tunnel_mode_ESP_in_UDP_and_ranges_of_addresses_are_not_installed()
    {
        using var esp = new TransportEsp(new SeededRandom(1));
        var child = Child(1, s_agentSide, s_terminalSide, Keys(0x100, s_home, s_agent), Keys(0x200, s_agent, s_home));
        Assert.False(esp.Install(child with { Mode = ChildMode.Tunnel }, Association));
        Assert.False(esp.Install(child with { Udp = new UdpEncapsulation(4500, 4500) }, Association));
        Assert.False(esp.Install(child with { RemoteSelectors = [TrafficSelector.Of(IPNetwork.Parse("2001:db8:a:1::/64"))] }, Association));
        Assert.True(esp.Install(child, Association));
    }

    [Fact]
    public void Prefix_discovery_goes_under_the_same_association()
    {
        var (terminal, agent) = Pair();
        var question = new MobileIpv6Packet
        {
            Source = s_careOf,
            Destination = s_agent,
            HomeAddress = s_home,
            Protocol = IpProtocol.Icmpv6,
            Payload = new MobilePrefixSolicitation(7).ToArray(s_home, s_agent),
        }.ToArray();
        Assert.Equal(DropReason.None, terminal.TryProtect(Association, question, s_now, out var wire));
        Assert.Equal(DropReason.None, agent.TryOpen(wire, s_now, out var opened));
        Assert.Equal(question, opened.Packet);
    }

    private static (TransportEsp Terminal, TransportEsp Agent) Pair(IpsecAlgorithm algorithm = IpsecAlgorithm.Aes128Gcm16, bool extended = true, Func<SaParameters, SaParameters>? change = null)
    {
        var pair = (new TransportEsp(new SeededRandom(1)), new TransportEsp(new SeededRandom(2)));
        Add(pair.Item1, pair.Item2, 1, 0x100, p => (change ?? (q => q))(p with { Algorithm = algorithm, ExtendedSequence = extended, Keys = KeysFor(p.Spi, algorithm) }));
        return pair;
    }

    private static void Add(TransportEsp terminal, TransportEsp agent, long id, uint spi, Func<SaParameters, SaParameters>? change = null)
    {
        SaParameters Of(uint number, IPAddress source, IPAddress destination) => (change ?? (p => p))(Keys(number, source, destination));
        Assert.True(terminal.Install(Child(id, s_terminalSide, s_agentSide, Of(spi + 0x100, s_agent, s_home), Of(spi, s_home, s_agent)), Association));
        Assert.True(agent.Install(Child(id, s_agentSide, s_terminalSide, Of(spi, s_home, s_agent), Of(spi + 0x100, s_agent, s_home)), Association));
    }

    private static ChildSa Child(long id, IReadOnlyList<TrafficSelector> local, IReadOnlyList<TrafficSelector> remote, SaParameters inbound, SaParameters outbound) =>
        new(id, 1, "peer", "signalling", ChildMode.Transport, local, remote, inbound, outbound, null);

    private static SaParameters Keys(uint spi, IPAddress source, IPAddress destination) => new()
    {
        Spi = spi,
        Source = source,
        Destination = destination,
        Algorithm = IpsecAlgorithm.Aes128Gcm16,
        Keys = KeysFor(spi, IpsecAlgorithm.Aes128Gcm16),
    };

    private static AssociationKeys KeysFor(uint spi, IpsecAlgorithm algorithm)
    {
        var random = new SeededRandom((int)spi);
        return new AssociationKeys(new KeyMaterial(random.NextBytes(algorithm.EncryptionKeyLength())), new KeyMaterial(random.NextBytes(algorithm.AuthenticationKeyLength())));
    }

    private static BindingUpdate Binding(ushort sequence) => new() { SequenceNumber = sequence, Lifetime = 100, Flags = BindingUpdateFlags.HomeRegistration | BindingUpdateFlags.Acknowledge };

    private static byte[] Update(IPAddress home, IPAddress careOf, ushort sequence) => Packet(careOf, s_agent, home, null, Binding(sequence));

    private static byte[] Acknowledgement(IPAddress careOf, ushort sequence) =>
        Packet(s_agent, careOf, null, s_home, new BindingAcknowledgement { Status = BindingStatus.Accepted, SequenceNumber = sequence, Lifetime = 100 });

    private static byte[] Packet(IPAddress source, IPAddress destination, IPAddress? home, IPAddress? final, MobilityMessage message) => new MobileIpv6Packet
    {
        Source = source,
        Destination = destination,
        HomeAddress = home,
        RoutingHomeAddress = final,
        Protocol = IpProtocol.Mobility,
        Payload = message.ToArray(home ?? source, final ?? destination),
    }.ToArray();

    private static byte[] Headers(byte[] wire) => [wire[6], wire[40]];

    private static IPAddress Address(JsonElement root, string direction, string end) =>
        IPAddress.Parse(root.GetProperty("sas").EnumerateArray().First(s => s.GetProperty("direction").GetString() == direction).GetProperty(end).GetString()!);

    private static SaParameters Sa(JsonElement root, string direction)
    {
        var sa = root.GetProperty("sas").EnumerateArray().First(s => s.GetProperty("direction").GetString() == direction);
        return new SaParameters
        {
            Spi = Convert.ToUInt32(sa.GetProperty("spi").GetString(), 16),
            Source = IPAddress.Parse(sa.GetProperty("src").GetString()!),
            Destination = IPAddress.Parse(sa.GetProperty("dst").GetString()!),
            Algorithm = IpsecAlgorithm.Aes128Gcm16,
            Keys = new AssociationKeys(new KeyMaterial(Convert.FromHexString(sa.GetProperty("aead").GetProperty("key").GetString()!)), new KeyMaterial([])),
            ExtendedSequence = false,
        };
    }
}
