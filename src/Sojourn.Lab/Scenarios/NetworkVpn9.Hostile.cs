using System.Net;
using Sojourn.Engine;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Lab.Capture;
using Sojourn.Lab.Network;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Lab.Scenarios;

/// <summary>Those who have no right to: wrong authenticators, forged and replayed binding messages.</summary>
public sealed partial class NetworkVpn9
{
    private SeenRegistration? _mallory, _spoiled, _afterSpoiled;
    private PingResult? _afterMallory, _afterForgery, _afterReplay, _afterSpoiledPing;
    private long _forgedFrom, _replayedFrom;
    private int _forgedAcknowledgements, _replayed;

    /// <summary>NV9.7, NV-A27.</summary>
    private async Task ImpostorAsync(LabRun run, CancellationToken cancellation)
    {
        await _tables.TakeAsync(run, "before-mallory", cancellation);
        _mallory = await run.RegisterAsync("mallory", "access-mallory", cancellation);
        await run.Node("mallory").StopAsync();
        await _tables.TakeAsync(run, "mallory", cancellation);
        _afterMallory = await run.PingAsync("alice", Host.ToString(), new PingOptions(3), cancellation);
    }

    /// <summary>NV9.10: while updates wait for their gateway, somebody who saw them pass claims to be that gateway.</summary>
    private async Task ForgeAcknowledgementsAsync(LabRun run, Task registering, CancellationToken cancellation)
    {
        var recording = run.Network.Wire("core-ha").Recording;
        var forger = new BindingAssociation(AuthenticationKind.HomeCorrespondent, 0x301, new KeyMaterial(SystemRandomSource.Instance.NextBytes(32)));
        for (var looked = recording.Count; !registering.IsCompleted; await Task.Delay(10, cancellation))
        {
            var frames = recording.Frames(looked);
            looked += frames.Count;
            foreach (var update in frames.Where(f => f.Sender == 0).Select(Ipv4Packet.Of).Where(p => p?.Destination.Equals(EncapsulatedHost) == true).Select(p => BindingOf(p!)).OfType<MobileIpView>().Where(u => u.IsBindingUpdate))
            {
                Inject(run, "core-ha", SecondPartner, Home, forger.Sign(new BindingAcknowledgement
                {
                    Status = BindingStatus.Accepted,
                    Lifetime = update.Lifetime,
                    HomeAddress = Dora,
                    CareOfAddress = Agent,
                    Supplier = Home,
                    Identification = update.Identification,
                }).ToArray(), "forged by the scenario: binding acknowledgement");
                _forgedAcknowledgements++;
            }
        }
    }

    /// <summary>NV9.10: binding updates and a binding request of somebody without the keys.</summary>
    private async Task ForgeryAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Somebody without the keys sends binding messages to gateway, foreign agent and home agent");
        _forgedFrom = LabRun.Now;
        var forger = new BindingAssociation(AuthenticationKind.HomeCorrespondent, 0x300, new KeyMaterial(SystemRandomSource.Instance.NextBytes(32)));
        var update = new BindingUpdate
        {
            Flags = BindingUpdateFlags.AcknowledgementWanted,
            Lifetime = 60,
            HomeAddress = Alice,
            CareOfAddress = NextAgent,
            Supplier = Home,
            Identification = Identification.FromTime(DateTimeOffset.UtcNow),
        };
        foreach (var (link, to, source, message) in ((string, IPAddress, IPAddress, BindingUpdate)[])
            [("core-pcn", Partner, Home, update), ("core-fa1", Agent, NextAgent, update with { Supplier = NextAgent })])
        {
            Inject(run, link, source, to, forger.Sign(message).ToArray(), "forged by the scenario: binding update");
        }

        var request = new BindingRequest { HomeAddress = Alice, CareOfAddress = Agent, Supplier = Partner, Identification = update.Identification };
        Inject(run, "core-ha", Partner, Home, forger.Sign(request).ToArray(), "forged by the scenario: binding request");
        await Task.Delay(400, cancellation);
        await _tables.TakeAsync(run, "forged", cancellation);
        _afterForgery = await run.PingAsync("alice", Host.ToString(), new PingOptions(3), cancellation);
    }

    /// <summary>NV9.10, NV9.11: Alice is back at the first agent, and somebody repeats what the second one once said there.</summary>
    private async Task ReplayAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Somebody sends the foreign agent again what the other agent sent when Alice was there");
        var wire = run.Network.Wire("core-fa1");
        var genuine = wire.Recording.Frames().Where(f => f is { Sender: 1, Comment: null } && Ipv4Packet.Of(f) is { } packet && packet.Source.Equals(NextAgent) && BindingOf(packet) is { IsBindingUpdate: true }).ToList();
        _replayedFrom = LabRun.Now;
        foreach (var frame in genuine)
        {
            wire.Inject(1, frame.Data, "sent again by the scenario");
            _replayed++;
        }

        await Task.Delay(400, cancellation);
        await _tables.TakeAsync(run, "replayed", cancellation);
        _afterReplay = await run.PingAsync("cn", Alice.ToString(), new PingOptions(5), cancellation);
    }

    /// <summary>NV-A27: Alice moves, and the MN-HA authenticator of her request is wrong when it reaches the new agent.</summary>
    private async Task SpoiledAsync(LabRun run, CancellationToken cancellation)
    {
        run.Progress.Step("Alice moves; her request comes to the other agent with a wrong MN-HA authenticator");
        var (wire, spoiled) = (run.Network.Wire("access-2"), false);
        wire.Tap = frame =>
        {
            if (frame.Sender != 0 || Ipv4Packet.Of(frame) is not { IsUdp: true } packet || MobileIpView.Parse(packet.UdpData) is not { IsRequest: true } request)
            {
                return WireVerdict.Pass;
            }

            // What she asks after the refusal is no matter here.
            if (spoiled || request.Extensions.FirstOrDefault(e => e.Type == 32) is not { Data.Length: > 4 } proof)
            {
                return WireVerdict.Lose;
            }

            spoiled = true;
            var data = packet.UdpData.ToArray();
            request.Octets.Span.Overlaps(proof.Data.Span, out var at);
            data[at + proof.Data.Length - 1] ^= 1;
            return new WireVerdict.Replace(Datagrams.Udp(frame, packet.Source, packet.Destination, packet.SourcePort, packet.DestinationPort, data), "MN-HA authenticator spoiled by the scenario");
        };
        _spoiled = await AttachAsync(run, "access-2", cancellation);
        await _tables.TakeAsync(run, "spoiled", cancellation);
        wire.Tap = null;
        _afterSpoiled = await AttachAsync(run, "access-1", cancellation);
        _afterSpoiledPing = await run.PingAsync("alice", Host.ToString(), new PingOptions(5), cancellation);
    }

    /// <summary>NV9.7, NV-A27.</summary>
    private void Impostor(CaptureSet captures, RowBook rows)
    {
        var paths = _tables.Paths("mallory", "fa2", AliceNai);
        var cached = _tables.Profiles("mallory", "fa2", AliceNai);
        var (before, after) = (_tables.Paths("before-mallory", "fa1", AliceNai), _tables.Paths("mallory", "fa1", AliceNai));
        foreach (var id in (string[])["NV9.7", "NV-A27"])
        {
            rows.Check(id, "a wrong MN-AAA authenticator at another agent: refused, no tunnel and no profile there, the path where she is unchanged", _mallory is { Accepted: false, Replied: not null } && paths.Count == 0 && cached.Count == 0 && before.SequenceEqual(after) && before.Count > 0 && _afterMallory!.AllArrived,
                $"reply code {_mallory!.Code}; {paths.Count} paths and {cached.Count} profiles at fa2; {before.Count} paths at fa1, {(before.SequenceEqual(after) ? "the same" : "changed")}; {_afterMallory!.Summary}");
        }
    }

    /// <summary>NV-A27, the other authenticator: the visited server answers from its cache, and only the home agent can tell.</summary>
    private void Spoiled(CaptureSet captures, RowBook rows)
    {
        var signals = captures.Signals.During(_spoiled!.From, _spoiled.Replied ?? _spoiled.From).ToList();
        var given = signals.Where(s => s is { Name: "AMA", To: "fa2" }).Sum(s => s.Diameter!.Profiles.Count());
        var (paths, cached) = (_tables.Paths("spoiled", "fa2", AliceNai), _tables.Profiles("spoiled", "fa2", AliceNai));
        rows.Check("NV-A27", "a wrong MN-HA authenticator at another agent: the home agent refuses, and the profiles the agent was given are gone, with no tunnel", _spoiled is { Code: 131 } && given > 0 && paths.Count == 0 && cached.Count == 0,
            $"{given} profiles in the AMA to fa2, reply code {_spoiled.Code}; then {paths.Count} paths and {cached.Count} profiles at fa2");
        var (before, after) = (Standing("rested"), Standing("spoiled"));
        rows.Check("NV-A27", "her old path is unchanged at agent, home agent and gateways, and the visited server knows her where she was", before.Count > 0 && before.SequenceEqual(after), before.SequenceEqual(after) ? $"{before.Count} rows" : $"gone: {string.Join("; ", before.Except(after))}; new: {string.Join("; ", after.Except(before))}");
        rows.Check("NV9.7", "after a refused move she registers where she was, and packets pass", _afterSpoiled is { Accepted: true } && _afterSpoiledPing!.AllArrived, $"accepted: {_afterSpoiled!.Accepted}; {_afterSpoiledPing!.Summary}");

        List<string> Standing(string moment) =>
        [
            // Inbound halves of earlier places end by their own timers.
            .. ((string[])["fa1", "ha", "pcn", "pcn2"]).SelectMany(node => AlicesPaths(moment, node).Where(path => path.EndsWith(" active", StringComparison.Ordinal)).Select(path => $"{node} {path}")),
            .. _tables.Rows(moment, "aaaf", "vpn-cache").Where(r => TableQuestions.Mentions(r, AliceNai)).Select(r => "aaaf " + TableQuestions.Text(r, "careOfAddress")),
        ];
    }

    /// <summary>NV9.10, NV-A30.</summary>
    private void Forgery(CaptureSet captures, RowBook rows)
    {
        var answers = captures.Signals.During(_forgedFrom, _afterForgery!.From).Where(s => s.Name == "BA" && s.From is "pcn" or "fa1").ToList();
        foreach (var (node, counter, what) in ((string, string, string)[])
            [("pcn", "bad_mac", "a binding update that does not prove itself"), ("fa1", "fa.bu.bad_authenticator", "a binding update that does not prove itself"), ("ha", "ha.br.bad_mac", "a binding request that does not prove itself")])
        {
            var counted = _tables.Counter("forged", node, counter) - _tables.Counter("mallory", node, counter);
            var user = node == "pcn" ? Alice.ToString() : AliceNai;
            var same = _tables.Paths("forged", node, user).SequenceEqual(_tables.Paths("mallory", node, user));
            var answered = node == "ha" ? captures.Signals.During(_forgedFrom, _afterForgery.From).Any(s => s is { Name: "BU", From: "ha" }) : answers.Any(a => a.From == node);
            foreach (var id in (string[])["NV9.10", "NV-A30"])
            {
                rows.Check(id, $"{node} drops and counts {what}, answers nothing and changes no table", counted == 1 && same && !answered && _afterForgery.AllArrived, $"counted {counted}, tables {(same ? "the same" : "changed")}, answered: {answered}; {_afterForgery.Summary}");
            }
        }
    }

    /// <summary>NV9.10, NV9.11, NV-A30.</summary>
    private void Replay(CaptureSet captures, RowBook rows)
    {
        var counted = _tables.Counter("replayed", "fa1", "fa.bu.old_identification") - _tables.Counter("back", "fa1", "fa.bu.old_identification");
        var (before, after) = (AlicesPaths("back", "fa1"), AlicesPaths("replayed", "fa1"));
        var away = captures.On("core-fa1").Where(p => p.SenderNode == "fa1" && p.Time >= _replayedFrom && p.Time <= _afterReplay!.To && p.Packet.Destination.Equals(NextAgent)).ToList();
        foreach (var id in (string[])["NV9.10", "NV9.11", "NV-A30"])
        {
            rows.Check(id, "the other agent's own updates, repeated after the node came back, are dropped and counted: no table changes and no packet goes there", _replayed > 0 && counted == _replayed && before.SequenceEqual(after) && away.Count == 0 && _afterReplay!.AllArrived,
                $"{_replayed} repeated, {counted} counted; paths {(before.SequenceEqual(after) ? "the same" : "changed")}; {away.Count("packets to the other agent")}; {_afterReplay!.Summary}");
        }
    }

    private static MobileIpView? BindingOf(Ipv4Packet packet) => packet.IsUdp && MobileIpView.Parse(packet.UdpData) is { IsBinding: true } message ? message : null;

    /// <summary>Puts a Mobile IP message on a link as if the core had forwarded it.</summary>
    private static void Inject(LabRun run, string link, IPAddress from, IPAddress to, ReadOnlySpan<byte> message, string why)
    {
        var wire = run.Network.Wire(link);
        var like = wire.Recording.Frames().Last(f => f.Sender == 1 && f.Comment is null && Ipv4Packet.Of(f) is not null);
        wire.Inject(1, Datagrams.Udp(like, from, to, 434, 434, message), why);
    }
}
