using System.Net;
using Sojourn.DataPath.Netlink;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Network;
using Sojourn.Lab.Nodes;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>A registration as seen on the mobile node's access link.</summary>
/// <param name="From">Before the node was started.</param>
/// <param name="Replied">When the reply left the foreign agent; null when none came.</param>
/// <param name="Code">Its code.</param>
public sealed record SeenRegistration(string Node, long From, long? Replied, int Code)
{
    public bool Accepted => Replied is not null && Code is 0 or 1;
}

/// <summary>What mobile nodes do in scenarios.</summary>
internal static class MobileNodes
{
    private static readonly TimeSpan ReplyLimit = TimeSpan.FromSeconds(20);

    /// <summary>The radio's own time between two attachments.</summary>
    private static readonly TimeSpan Retuning = TimeSpan.FromMilliseconds(20);

    /// <summary>Breaks the one link, makes the other, and waits for the reply to the registration there.</summary>
    public static async Task<Move> MoveAsync(this LabRun run, Radio radio, string node, Attachment old, Attachment next, CancellationToken cancellation)
    {
        var began = LabRun.Now;
        radio.Leave();
        await Task.Delay(Retuning, cancellation);
        radio.Reach(next.Access);
        return new Move(old, next, began, await run.AwaitReplyAsync(node, next.Access, began, cancellation));
    }

    /// <summary>Switches a mobile node on and waits for the reply to its registration.</summary>
    public static async Task<SeenRegistration> RegisterAsync(this LabRun run, string node, string accessLink, CancellationToken cancellation)
    {
        run.Progress.Step($"{run.Topology.Node(node).Label} registers");
        var from = LabRun.Now;
        await run.Node(node).StartAsync(cancellation);
        return await run.AwaitReplyAsync(node, accessLink, from, cancellation);
    }

    /// <summary>
    /// Waits for the reply to the node's newest request. A reply to an earlier one that was sent again meanwhile is not
    /// what the node goes by, nor is it here.
    /// </summary>
    public static async Task<SeenRegistration> AwaitReplyAsync(this LabRun run, string node, string accessLink, long from, CancellationToken cancellation)
    {
        CapturedFrame? reply = null;
        var seen = await LabRun.UntilAsync(
            () =>
            {
                var messages = run.Network.Wire(accessLink).Recording.Frames().Where(f => f.Time >= from)
                    .Select(f => (Frame: f, Message: Ipv4Packet.Of(f) is { IsUdp: true } packet ? MobileIpView.Parse(packet.UdpData) : null)).ToList();
                var newest = messages.LastOrDefault(m => m.Message is { IsRequest: true }).Message;
                reply = messages.LastOrDefault(m => m.Message is { IsReply: true } answer && newest is not null && (uint)answer.Identification == (uint)newest.Identification).Frame;
                return Task.FromResult(reply is not null);
            },
            ReplyLimit,
            cancellation);
        var code = seen ? Reply(Ipv4Packet.Of(reply!)!)!.Code : -1;
        if (code is 0 or 1)
        {
            // The reply still has to cross the access link and be taken in: the node is attached once its way out is by this agent.
            var agent = Ipv4Packet.Of(reply!)!.Source;
            using var route = Rtnetlink.Open(run.Network.Namespace(node));
            await LabRun.UntilAsync(() => Task.FromResult(route.Routes().Any(r => r.Destination.PrefixLength == 0 && agent.Equals(r.Gateway))), TimeSpan.FromSeconds(5), cancellation);
        }

        run.Progress.Note(!seen ? $"{node}: no reply" : code is 0 or 1 ? $"{node}: accepted" : $"{node}: refused with code {code}");
        return new SeenRegistration(node, from, reply?.Time, code);
    }

    /// <summary>
    /// Lets a user log in, use the path and log out again before the registration that is judged: the first time through,
    /// every program still compiles itself, and what is measured then is the compiler.
    /// </summary>
    public static async Task WarmUpAsync(this LabRun run, string node, string accessLink, string destination, CancellationToken cancellation)
    {
        run.Progress.Note("once unobserved, so that no compiler is measured");
        await run.RegisterAsync(node, accessLink, cancellation);
        await run.PingAsync(node, destination, new PingOptions(2) { Wait = TimeSpan.FromMilliseconds(300) }, cancellation);
        await run.Node(node).StopAsync();
        await Task.Delay(TimeSpan.FromMilliseconds(500), cancellation);
    }

    /// <summary>
    /// As <see cref="RegisterAsync"/>, but the wire holds the reply back on the access link while <paramref name="look"/> looks
    /// around: so the tables it sees are those of the instant the reply has left the foreign agent.
    /// </summary>
    public static Task<SeenRegistration> RegisterAndLookAsync(this LabRun run, string node, string accessLink, Func<Task> look, CancellationToken cancellation)
    {
        run.Progress.Step($"{run.Topology.Node(node).Label} registers");
        return run.HoldReplyAsync(node, accessLink, () => run.Node(node).StartAsync(cancellation), look, cancellation);
    }

    /// <summary>Makes a registered node register again, as its user would by command, and waits for the reply.</summary>
    /// <param name="serviceUpdate">With a service update request (NV7.2).</param>
    /// <param name="look">Looks around while the reply is held back on the access link.</param>
    public static Task<SeenRegistration> RegisterAgainAsync(this LabRun run, string node, string accessLink, bool serviceUpdate, Func<Task> look, CancellationToken cancellation) =>
        run.HoldReplyAsync(
            node, accessLink,
            async () =>
            {
                string[] command = ["register", .. serviceUpdate ? ["--service-update"] : Array.Empty<string>(), "--socket", NodeFiles.SocketOf(run.Directory, node)];
                var done = await run.SojournAsync(command, cancellation);
                if (done.ExitCode != 0)
                {
                    throw new ScenarioException($"{done}: {done.Errors.Trim()}");
                }
            },
            look, cancellation);

    private static async Task<SeenRegistration> HoldReplyAsync(this LabRun run, string node, string accessLink, Func<Task> begin, Func<Task> look, CancellationToken cancellation)
    {
        var wire = run.Network.Wire(accessLink);
        wire.Tap = frame => Ipv4Packet.Of(frame) is { } packet && Reply(packet) is { Code: 0 or 1 } ? WireVerdict.Hold : WireVerdict.Pass;
        try
        {
            var from = LabRun.Now;
            await begin();
            if (await run.WaitForAsync(accessLink, from, (_, packet) => Reply(packet) is not null, ReplyLimit, cancellation) is not null)
            {
                await look();
            }

            wire.Tap = null;
            wire.Release();
            return await run.AwaitReplyAsync(node, accessLink, from, cancellation);
        }
        finally
        {
            wire.Tap = null;
            wire.Release();
        }
    }

    /// <summary>
    /// The signalling of one registration: what belongs to the first request that was accepted (or to the last one, when none was). A
    /// slow machine may make the node send its request again; what belongs to another request is left out.
    /// </summary>
    public static IReadOnlyList<Signal> Of(this CaptureSet captures, SeenRegistration registration)
    {
        var replies = captures.Signals.Where(s => s.MobileIp is { IsReply: true } && s.To == registration.Node && s.Time >= registration.From && s.Time <= registration.Replied).ToList();
        var reply = replies.FirstOrDefault(r => r.MobileIp!.Code is 0 or 1) ?? replies.LastOrDefault();
        if (reply is null)
        {
            return [];
        }

        var identification = (uint)reply.MobileIp!.Identification;
        var start = captures.Signals.First(s => s.MobileIp is { IsRequest: true } message && s.From == registration.Node && (uint)message.Identification == identification).Time;
        var later = captures.Signals.Where(s => s.Time >= start && s.Time <= reply.Time).ToList();
        bool Embeds(DiameterView message) => new[] { message.Find(320), message.Find(321) }.OfType<DiameterView.Avp>()
            .Any(a => MobileIpView.Parse(a.Data) is { } inner && (uint)inner.Identification == identification);
        var sessions = later.Where(s => s.Diameter is { } m && Embeds(m)).Select(s => s.Diameter!.SessionId).ToHashSet();
        var home = reply.MobileIp.HomeAddress;
        var har = later.FirstOrDefault(s => s is { Name: "HAR" } && Embeds(s.Diameter!));
        var haa = later.FirstOrDefault(s => s is { Name: "HAA" } && sessions.Contains(s.Diameter!.SessionId) && s.Time >= har?.Time);
        return
        [
            .. later.Where(s =>
                s.MobileIp is { IsBinding: true } binding ? binding.HomeAddress.Equals(home) && s.Time >= har?.Time && s.Time <= haa?.Time
                : s.MobileIp is { } message ? (message.IsRequest || message.IsReply) && message.HomeAddress.Equals(home) && (uint)message.Identification == identification
                : s.Diameter is { } diameter && diameter.Name is "AMR" or "AMA" or "HAR" or "HAA" && sessions.Contains(s.Diameter!.SessionId)),
        ];
    }

    /// <summary>The Registration Reply in a packet; null when it is something else.</summary>
    public static MobileIpView? Reply(Ipv4Packet packet) =>
        packet.IsUdp && packet.SourcePort == 434 && MobileIpView.Parse(packet.UdpData) is { IsReply: true } reply ? reply : null;

    /// <summary>Transport sockets of a node from outside: protocol, local address and port (proc(5)).</summary>
    public static IReadOnlyList<string> Sockets(this LabRun run, string node) => run.Network.Namespace(node).Run(() =>
        (IReadOnlyList<string>)
        [
            .. ((string[])["tcp", "tcp6", "udp", "udp6", "raw", "raw6"]).SelectMany(table =>
                File.ReadAllLines($"/proc/thread-self/net/{table}").Skip(1)
                    .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1])
                    .Select(local => $"{table} {Local(local)}")),
        ]);

    private static string Local(string hexadecimal)
    {
        var parts = hexadecimal.Split(':');
        var port = Convert.ToUInt16(parts[1], 16);
        return parts[0].Length == 8
            ? $"{new IPAddress(BitConverter.GetBytes(Convert.ToUInt32(parts[0], 16)))}:{port}"
            : $"[{parts[0]}]:{port}";
    }
}
