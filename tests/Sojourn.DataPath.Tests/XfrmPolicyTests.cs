using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Sojourn.DataPath.Netlink;
using Sojourn.DataPath.Xfrm;
using Sojourn.Engine;
using Xunit;

namespace Sojourn.DataPath.Tests;

/// <summary>Policies of the kernel back end in a namespace of their own; iproute2 says what the kernel has. Associations need a kernel with ESP: see the tests with a virtual machine.</summary>
public sealed class XfrmPolicyTests : IDisposable
{
    private static readonly IPAddress s_near = IPAddress.Parse("10.0.3.2"), s_far = IPAddress.Parse("10.0.5.2");
    private static readonly IPNetwork s_home = IPNetwork.Parse("10.99.0.0/24"), s_company = IPNetwork.Parse("192.168.50.0/24");

    private readonly TestNetwork _network = new();
    private readonly NetworkNamespace _space;
    private readonly XfrmDatabase _database;

    public XfrmPolicyTests()
    {
        _space = _network.Host("a");
        _database = _space.Run(() => new XfrmDatabase());
    }

    public void Dispose()
    {
        _database.Dispose();
        _network.Dispose();
    }

    [Fact]
    public void A_policy_is_in_the_kernel_as_iproute2_reads_it()
    {
        _database.Put(new XfrmPolicy(new XfrmPolicyKey(XfrmDirection.Out, s_home, s_company, 0), 700, new XfrmTemplate(SecurityType.Esp, s_near, s_far, 0x1001, 77)));
        _database.Put(new XfrmPolicy(new XfrmPolicyKey(XfrmDirection.Forward, s_company, s_home, 0x53000001), 800, new XfrmTemplate(SecurityType.Ah, s_far, s_near, 0x1002, 78)));
        _database.Put(new XfrmPolicy(new XfrmPolicyKey(XfrmDirection.In, IPNetwork.Parse("2001:db8:1::/48"), IPNetwork.Parse("2001:db8:2::1/128"), 0), 900, null, Blocks: true));

        var seen = Seen();
        Assert.Contains("src 10.99.0.0/24 dst 192.168.50.0/24 dir out priority 700 ptype main tmpl src 10.0.3.2 dst 10.0.5.2 proto esp spi 0x00001001 reqid 77 mode tunnel", seen, StringComparison.Ordinal);
        Assert.Contains("src 192.168.50.0/24 dst 10.99.0.0/24 dir fwd priority 800 ptype main mark 0x53000001/0xffffffff tmpl src 10.0.5.2 dst 10.0.3.2 proto ah spi 0x00001002 reqid 78 mode tunnel", seen, StringComparison.Ordinal);
        Assert.Contains("src 2001:db8:1::/48 dst 2001:db8:2::1/128 dir in action block priority 900", seen, StringComparison.Ordinal);
        Assert.Equal([700u, 800, 900], _database.Policies().Select(p => p.Priority).Order().ToList());

        foreach (var (key, _) in _database.Policies())
        {
            _database.Delete(key);
        }

        Assert.Equal("", Seen());
    }

    /// <summary>The kernel refuses a cipher with AH, and ESP without one (net/xfrm/xfrm_user.c, verify_newsa_info).</summary>
    [Theory]
    [InlineData(SecurityType.Ah, false)]
    [InlineData(SecurityType.Esp, true)]
    public void Authentication_alone_has_a_null_cipher_in_ESP_only(SecurityType protocol, bool cipher)
    {
        var state = new XfrmState { Protocol = protocol, Parameters = Association(outbound: true).Parameters, RequestId = 1, Mark = 1 };
        var types = new List<ushort>();
        var attributes = new AttributeReader(XfrmFormat.WriteState(state, update: false).Finish(1)[(16 + XfrmFormat.StateLength)..]);
        while (attributes.Next())
        {
            types.Add(attributes.Type);
        }

        const ushort cipherAttribute = 2, authenticationAttribute = 20;
        Assert.Equal(cipher, types.Contains(cipherAttribute));
        Assert.Contains(authenticationAttribute, types);
    }

    [Fact]
    public void Of_paths_with_one_selector_the_active_one_decides_then_the_blocked_one()
    {
        var policies = new KernelPolicies(_database);
        var outbound = Association(outbound: true);
        var blocked = Claims(Path("blocked", PathState.Blocked), 1, null, 5);
        var halved = Claims(Path("halved", PathState.InboundOnly), 2, null, 0);
        var active = Claims(Path("active", PathState.Active), 3, outbound, 0);

        policies.Change(halved, []);
        Assert.Contains("dir out action block", Seen(), StringComparison.Ordinal);
        policies.Change(blocked, []);
        Assert.Contains("reqid 5 mode tunnel", Seen(), StringComparison.Ordinal);
        policies.Change(active, []);
        Assert.Contains("spi 0x00001001 reqid 9 mode tunnel", Seen(), StringComparison.Ordinal);
        policies.Change([], [.. active, .. blocked]);
        Assert.Contains("dir out action block", Seen(), StringComparison.Ordinal);
        policies.Change([], halved);
        Assert.Equal("", Seen());
    }

    [Fact]
    public void What_an_earlier_life_left_is_found_and_what_others_made_stays()
    {
        var everything = new IPNetwork(IPAddress.Any, 0);
        _database.Put(new XfrmPolicy(new XfrmPolicyKey(XfrmDirection.Out, everything, IPNetwork.Parse("172.16.0.0/12"), 0), 42, null));
        var policies = new KernelPolicies(_database);
        policies.Exempt(0x534A, ipv6: false);
        policies.Change([.. Claims(Path("a", PathState.Active), 1, Association(outbound: true), 0)], []);
        Assert.Equal(3, _database.Policies().Count);

        new KernelPolicies(_database).TakeOver();
        Assert.Equal(42u, Assert.Single(_database.Policies()).Priority);
    }

    [Fact]
    public void A_packet_that_waits_is_told_and_does_not_leave()
    {
        var asked = new ConcurrentQueue<uint>();
        _space.Run(() => Sysctl.Change("1", "core", "xfrm_acq_expires"));
        using var notices = _space.Run(() => new XfrmNotices(_ => { }, acquired => asked.Enqueue(acquired.RequestId)));
        var peer = _network.Host("b");
        TestNetwork.Join(_space, "a0", "10.7.0.1/24", peer, "b0", "10.7.0.2/24");
        using var receiver = peer.Run(() =>
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            socket.Bind(new IPEndPoint(IPAddress.Parse("10.7.0.2"), 7000));
            return socket;
        });
        using var sender = _space.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp));
        sender.SendTo("before"u8.ToArray(), receiver.LocalEndPoint!);
        Assert.True(receiver.Poll(10_000_000, SelectMode.SelectRead));
        Assert.Equal(6, receiver.Receive(new byte[64]));

        var key = new XfrmPolicyKey(XfrmDirection.Out, IPNetwork.Parse("10.7.0.1/32"), IPNetwork.Parse("10.7.0.0/24"), 0);
        _database.Put(new XfrmPolicy(key, 700, new XfrmTemplate(SecurityType.Esp, s_near, s_far, 0, 99)));
        try
        {
            sender.SendTo("clear"u8.ToArray(), receiver.LocalEndPoint!);
        }
        catch (SocketException)
        {
            // The kernel may say so at once.
        }

        Assert.True(SpinWait.SpinUntil(() => asked.Contains(99u), TimeSpan.FromSeconds(10)));
        Assert.False(receiver.Poll(200_000, SelectMode.SelectRead));
    }

    private static List<PolicyClaim> Claims(VpnPath path, ulong order, KernelAssociation? outbound, uint waiting) => [.. KernelPolicies.ClaimsOf(path, order, outbound, null, waiting)];

    private static VpnPath Path(string name, PathState state) => new()
    {
        Id = new PathId(name, "1"),
        Source = s_home,
        Destination = s_company,
        SecurityType = SecurityType.Esp,
        LocalGateway = s_near,
        RemoteGateway = s_far,
        State = state,
        Origin = new PathOrigin("test", "NV1.2"),
    };

    private static KernelAssociation Association(bool outbound) => new()
    {
        Outbound = outbound,
        Protocol = SecurityType.Esp,
        Parameters = new SaParameters
        {
            Spi = 0x1001,
            Source = s_near,
            Destination = s_far,
            Algorithm = IpsecAlgorithm.HmacSha256,
            Keys = new AssociationKeys(new KeyMaterial([]), new KeyMaterial(new byte[32])),
        },
        Udp = null,
        Fingerprint = default,
        Number = 9,
        Reservation = null,
    };

    /// <summary>What <c>ip xfrm policy</c> prints, every run of white space as one blank.</summary>
    private string Seen() =>
        string.Join(' ', TestNetwork.Exec(_space, "/usr/sbin/ip", "xfrm", "policy").Output.Split((char[])[' ', '\t', '\n'], StringSplitOptions.RemoveEmptyEntries));
}
