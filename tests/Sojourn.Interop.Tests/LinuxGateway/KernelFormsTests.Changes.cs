using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Sojourn.DataPath.PacketPath;
using Sojourn.Engine;
using Sojourn.Lab;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Network;
using Xunit;

namespace Sojourn.Interop.Tests.LinuxGateway;

/// <summary>What happens to associations of the kernel while they are in use: they move, and they reach their limits.</summary>
public sealed partial class KernelFormsTests
{
    private const int BesideMoves = 20;
    private static readonly IPAddress s_ownLater = IPAddress.Parse("10.0.3.3"), s_kernelLater = IPAddress.Parse("10.0.5.3");

    /// <summary>ESP with extended numbers and ESP in UDP carry TCP while either end's address changes, and changes back.</summary>
    private static async Task MovesAsync(KernelGateway rig, UserPacketPath own, byte[] secret)
    {
        var moving = new[] { NumberOf(IpsecAlgorithm.Aes256Gcm16, udp: false), NumberOf(IpsecAlgorithm.Aes128Gcm16, udp: true) };
        var wire = rig.Network.Wire("core");
        var first = wire.Recording.Count;

        // One packet to the kernel stays on the way until the association has moved.
        var late = KernelForms.SpiToKernel(moving[0]);
        wire.Tap = frame => frame.Sender == 0 && OuterPacket.Of(frame) is { Spi: var spi } && spi == late ? WireVerdict.Lose : WireVerdict.Pass;
        var (host, company) = KernelForms.Hosts(moving[0], ipv6: false);
        await ShellAsync(rig, "host", $"ping -n -q -c 1 -W 1 -I {host} {company}; true");
        wire.Tap = null;
        var held = Assert.Single(wire.Recording.Frames(first), f => OuterPacket.Of(f)?.Spi == late);

        using var enough = new CancellationTokenSource();
        var flows = moving.SelectMany(number => new[] { FlowAsync(rig, number, toCompany: true, enough.Token), FlowAsync(rig, number, toCompany: false, enough.Token) }).ToList();
        foreach (var ends in ((IPAddress Own, IPAddress Kernel)[])[(s_ownLater, KernelGateway.Kernel), (s_ownLater, s_kernelLater), (KernelGateway.Own, s_kernelLater), (KernelGateway.Own, KernelGateway.Kernel)])
        {
            var from = wire.Recording.Count;
            Assert.Null(own.Change([.. moving.Select(number => KernelForms.PathOf(KernelForms.All[number], number, secret, ends))], []).Refusal);
            Assert.Empty((await KernelPathProgram.AskAsync(rig.Machine, $"move {ends.Own} {ends.Kernel} {string.Join(' ', moving)}")).Refused);
            if (ends.Kernel.Equals(KernelGateway.Kernel) && ends.Own.Equals(s_ownLater))
            {
                await TakesLateOnceAsync(rig, held, moving[0]);
            }

            await LabRun.UntilAsync(() => Task.FromResult(moving.All(number => Between(rig, from, number, ends) >= BesideMoves)), s_patience, CancellationToken.None);
            Assert.All(moving, number => Assert.True(Between(rig, from, number, ends) >= BesideMoves, $"{KernelForms.All[number]} between {ends}: {Between(rig, from, number, ends)} packets from the kernel"));
        }

        await StaysWhereRefusedAsync(rig, moving[0]);
        await enough.CancelAsync();
        Assert.All(await Task.WhenAll(flows), flow => Assert.True(flow.Octets > 0 && flow.Sent.SequenceEqual(flow.Received), $"{flow.Octets} octets sent were not those received"));

        // No number twice, and none left out (decision 0007).
        foreach (var number in moving)
        {
            var spi = KernelForms.SpiFromKernel(number);
            var numbers = Packets(rig, "core").Where(f => f.Sender == 1 && f.Packet.Spi == spi).Select(f => f.Packet.Sequence).ToList();
            Assert.Equal(Enumerable.Range(1, numbers.Count).Select(n => (uint)n), numbers);
        }

        await RefusesOldAsync(rig, moving[0]);
    }

    /// <summary>Somebody else has the name that a move needs: nothing moves, and all goes on as it was.</summary>
    private static async Task StaysWhereRefusedAsync(KernelGateway rig, int number)
    {
        var name = $"src {KernelGateway.Kernel} dst {s_ownLater} proto esp spi {KernelForms.SpiFromKernel(number)}";

        // For a second after the last move the kernel itself keeps the name.
        var add = $"ip xfrm state add {name} mode tunnel aead 'rfc4106(gcm(aes))' 0x{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(20))} 128";
        await rig.Machine.ExecuteAsync($"for i in $(seq 50); do {add} && break; sleep 0.2; done", CancellationToken.None);
        var refused = Assert.Single((await KernelPathProgram.AskAsync(rig.Machine, $"move {s_ownLater} {KernelGateway.Kernel} {number}")).Refused);
        Assert.Contains("exists", refused, StringComparison.Ordinal);
        var (from, ends) = (rig.Network.Wire("core").Recording.Count, (KernelGateway.Own, KernelGateway.Kernel));
        await LabRun.UntilAsync(() => Task.FromResult(Between(rig, from, number, ends) >= BesideMoves), s_patience, CancellationToken.None);
        Assert.True(Between(rig, from, number, ends) >= BesideMoves, "no packets after a refused move");
        await rig.Machine.ExecuteAsync($"ip xfrm state delete {name}", CancellationToken.None);
    }

    /// <summary>What was sent before the move and comes after it is taken, once.</summary>
    private static async Task TakesLateOnceAsync(KernelGateway rig, CapturedFrame held, int number)
    {
        var lan = rig.Network.Wire("lan").Recording;
        var (host, company) = KernelForms.Hosts(number, ipv6: false);
        var before = Replayed(await KernelPathProgram.AskAsync(rig.Machine, "report"), number);
        var from = lan.Count;
        for (var i = 0; i < 2; i++)
        {
            rig.Network.Wire("core").Inject(0, held.Data, "held back by the test");
        }

        await LabRun.UntilAsync(async () => Replayed(await KernelPathProgram.AskAsync(rig.Machine, "report"), number) == before + 1, s_patience, CancellationToken.None);
        Assert.Equal(before + 1, Replayed(await KernelPathProgram.AskAsync(rig.Machine, "report"), number));
        Assert.Single(Packets(rig, "lan", from), f => f.Packet is { IsEcho: true, IsEchoReply: false } && f.Packet.Source.Equals(host) && f.Packet.Destination.Equals(company));
    }

    /// <summary>After all moves the window still knows what it took: what was sent to the kernel comes twice more, where a few find their place that were lost in a move.</summary>
    private static async Task RefusesOldAsync(KernelGateway rig, int number)
    {
        var wire = rig.Network.Wire("core");
        var old = wire.Recording.Frames(0).Where(f => f is { Sender: 0, Comment: null } && OuterPacket.Of(f) is { } p && p.Spi == KernelForms.SpiToKernel(number) && p.Destination.Equals(KernelGateway.Kernel)).TakeLast(100).ToList();
        foreach (var round in (int[])[1, 2])
        {
            var before = await ToKernelAsync();
            foreach (var frame in old)
            {
                wire.Inject(0, frame.Data, "sent again by the test");
            }

            KernelPathAnswer.Association after = before;
            await LabRun.UntilAsync(async () => Counted(after = await ToKernelAsync()) == Counted(before) + old.Count, s_patience, CancellationToken.None);
            Assert.Equal(Counted(before) + old.Count, Counted(after));
            Assert.InRange((int)(after.Packets - before.Packets), 0, round == 1 ? old.Count / 2 : 0);
        }

        async Task<KernelPathAnswer.Association> ToKernelAsync() => (await KernelPathProgram.AskAsync(rig.Machine, "report")).Associations.Single(a => a.Spi == KernelForms.SpiToKernel(number));

        static long Counted(KernelPathAnswer.Association association) => (long)association.Packets + association.Drops.GetValueOrDefault("ipsec.replay");
    }

    /// <summary>Limits in packets, octets and time: the kernel stops where the user-space path stops, and both tell the same.</summary>
    private static async Task EndsAtLimitsAsync(KernelGateway rig)
    {
        var (byPackets, byOctets, byTime) = (4, 5, 6);
        foreach (var (number, word, soft, hard) in new[] { (byPackets, "packets", 6, 8), (byOctets, "bytes", 6 * 84, 8 * 84), (byTime, "seconds", 2, 5) })
        {
            Assert.Empty((await KernelPathProgram.AskAsync(rig.Machine, $"{word} {soft} {hard} {number}")).Refused);
        }

        var from = rig.Network.Wire("core").Recording.Count;
        await Task.WhenAll(((int[])[byPackets, byOctets]).Select(number =>
        {
            var (host, company) = KernelForms.Hosts(number, ipv6: false);
            return ShellAsync(rig, "company", $"ping -n -q -i 0.2 -c 8 -W 1 -I {company} {host}; true");
        }));
        var told = new List<string>();
        await LabRun.UntilAsync(
            async () =>
            {
                told.AddRange((await KernelPathProgram.AskAsync(rig.Machine, "report")).Signals);
                return told.Count(s => s.EndsWith("HardLifetimeReached", StringComparison.Ordinal)) == 3;
            },
            s_patience, CancellationToken.None);
        foreach (var number in (int[])[byPackets, byOctets, byTime])
        {
            Assert.Equal([$"{number} SoftLifetimeReached", $"{number} HardLifetimeReached"], told.Where(s => s.StartsWith($"{number} ", StringComparison.Ordinal)));
        }

        foreach (var number in (int[])[byPackets, byOctets])
        {
            Assert.Equal(4, Packets(rig, "core", from).Count(f => f.Packet.Spi == KernelForms.SpiFromKernel(number)));
        }

        // Expired by time: nothing leaves.
        var (home, office) = KernelForms.Hosts(byTime, ipv6: false);
        from = rig.Network.Wire("core").Recording.Count;
        await ShellAsync(rig, "company", $"ping -n -q -c 1 -W 1 -I {office} {home}; true");
        Assert.DoesNotContain(Packets(rig, "core", from), f => !f.Packet.IsOfTheLink);
    }

    /// <summary>Octets over TCP between the hosts of a form until told to stop, and what arrived.</summary>
    private static async Task<(long Octets, byte[] Sent, byte[] Received)> FlowAsync(KernelGateway rig, int number, bool toCompany, CancellationToken stop)
    {
        var (host, company) = KernelForms.Hosts(number, ipv6: false);
        var (from, to, source, destination) = toCompany ? ("host", "company", host, company) : ("company", "host", company, host);
        using var limit = new CancellationTokenSource(4 * s_patience);
        using var listener = rig.Network.Namespace(to).Run(() => Bound(destination));
        listener.Listen(1);
        var received = Task.Run(async () =>
        {
            using var stream = new NetworkStream(await listener.AcceptAsync(limit.Token), ownsSocket: true);
            return await SHA256.HashDataAsync(stream, limit.Token);
        });
        using var sender = rig.Network.Namespace(from).Run(() => Bound(source));
        await sender.ConnectAsync(listener.LocalEndPoint!, limit.Token);
        using var sent = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var octets = 0L;
        while (!stop.IsCancellationRequested)
        {
            var data = RandomNumberGenerator.GetBytes(2000);
            sent.AppendData(data);
            for (var at = 0; at < data.Length;)
            {
                at += await sender.SendAsync(data.AsMemory(at), limit.Token);
            }

            octets += data.Length;
            await Task.Delay(10, limit.Token);
        }

        sender.Shutdown(SocketShutdown.Send);
        return (octets, sent.GetHashAndReset(), await received);

        static Socket Bound(IPAddress address)
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(address, 0));
            return socket;
        }
    }

    private static int NumberOf(IpsecAlgorithm algorithm, bool udp) =>
        KernelForms.All.ToList().FindIndex(f => f is { OuterV6: false, InnerV6: false, Extended: true, Floor: 0 } && f.Algorithm == algorithm && f.Udp == udp);

    /// <summary>Packets from the kernel between two outer addresses.</summary>
    private static int Between(KernelGateway rig, int from, int number, (IPAddress Own, IPAddress Kernel) ends) =>
        Packets(rig, "core", from).Count(f => f.Sender == 1 && f.Packet.Spi == KernelForms.SpiFromKernel(number) && f.Packet.Source.Equals(ends.Kernel) && f.Packet.Destination.Equals(ends.Own));

    private static long Replayed(KernelPathAnswer answer, int number) =>
        answer.Associations.Single(a => a.Spi == KernelForms.SpiToKernel(number)).Drops.GetValueOrDefault("ipsec.replay");
}
