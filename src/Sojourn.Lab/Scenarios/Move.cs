using Sojourn.Lab.Capture;
using Sojourn.Lab.Evidence;
using Sojourn.Lab.Topology;

namespace Sojourn.Lab.Scenarios;

/// <summary>A foreign agent between which the mobile node moves.</summary>
/// <param name="Node">Its node.</param>
/// <param name="Access">The link to the mobile node.</param>
/// <param name="Core">The link to the core.</param>
internal sealed record Attachment(string Node, string Access, string Core);

/// <summary>One move of a mobile node.</summary>
/// <param name="Old">The agent it left.</param>
/// <param name="New">The agent it went to.</param>
/// <param name="Began">When the old link broke; make-before-break: when the new one came into reach.</param>
/// <param name="Registration">What came of it.</param>
internal sealed record Move(Attachment Old, Attachment New, long Began, SeenRegistration Registration)
{
    /// <summary>The mobility signalling of the move: from the request on until the acknowledgement of the old agent has had its time.</summary>
    public IReadOnlyList<Signal> Signals(CaptureSet captures)
    {
        var until = (Registration.Replied ?? Began) + 700_000_000;
        return [.. captures.Signals.During(Began, until).Where(s => s.MobileIp is { IsRequest: true } or { IsReply: true } or { IsBinding: true } || s.Diameter is { Name: "AMR" or "AMA" or "HAR" or "HAA" })];
    }

    /// <summary>How the interruption came about.</summary>
    /// <param name="captures">Where the signalling is.</param>
    /// <param name="flow">The numbered datagrams as they went over the access links to the node.</param>
    public Phases Phases(CaptureSet captures, IReadOnlyList<Sighting> flow)
    {
        var seen = Look(captures, flow);
        return new Phases(
            Milliseconds(seen.LastPacket, seen.FirstPacket),
            Milliseconds(seen.Request, seen.FirstPacket),
            Milliseconds(Began, seen.Request),
            Milliseconds(seen.Request, seen.Switched),
            Milliseconds(seen.Switched, seen.FirstPacket),
            Milliseconds(seen.Request, Registration.Replied))
        {
            Link = Milliseconds(Began, seen.LinkUp),
            Advertisement = Milliseconds(seen.LinkUp, seen.Advertisement),
            Request = Milliseconds(seen.Advertisement, seen.Request),
            Stretch = (seen.Request ?? Began, seen.FirstPacket ?? Began),
            Away = (Began, seen.FirstPacket ?? Began),
        };
    }

    /// <summary>The same as parts on one line, from the last packet over the old link on.</summary>
    public HandOver Timeline(string title, CaptureSet captures, IReadOnlyList<Sighting> flow)
    {
        var seen = Look(captures, flow);
        var parts = new List<HandOverPart>();
        long? from = seen.LastPacket ?? Began;
        foreach (var (name, to) in ((string, long?)[])
            [
                ("until the link breaks", Began), ("link away", seen.LinkUp), ("advertisement", seen.Advertisement), ("request", seen.Request),
                ("register: to the home agent's answer", seen.Switched), ("path set-up: to the first packet", seen.FirstPacket),
            ])
        {
            if (to is { } end && end >= from)
            {
                parts.Add(new HandOverPart(name, Milliseconds(seen.LastPacket ?? Began, from), Milliseconds(seen.LastPacket ?? Began, end)));
                from = end;
            }
        }

        return new HandOver(title, parts, Registration.Replied is { } reply ? Milliseconds(seen.LastPacket ?? Began, reply) : null);
    }

    /// <summary>The moments of the move, as the links saw them.</summary>
    private Moments Look(CaptureSet captures, IReadOnlyList<Sighting> flow)
    {
        var signals = Signals(captures);
        var request = signals.FirstOrDefault(s => s.Name == "RRQ" && s.From == Registration.Node && s.To == New.Node)?.Time;
        var access = captures.On(New.Access).Where(p => p.Time >= Began && p.Time <= request).ToList();
        return new Moments(
            flow.LastOrDefault(p => p.Link == Old.Access && p.Time <= Began)?.Time,
            access.FirstOrDefault(p => p.SenderNode == Registration.Node)?.Time,
            access.LastOrDefault(p => p.SenderNode == New.Node && p.Packet.IcmpType == RouterAdvertisement)?.Time,
            request,
            signals.FirstOrDefault(s => s.From == "ha" && s.Name is "RRP" or "HAA" && s.Time >= request)?.Time,
            flow.FirstOrDefault(p => p.Link == New.Access && p.Time >= Began)?.Time);
    }

    private const int RouterAdvertisement = 9;

    /// <param name="LinkUp">First frame of the node on the new link.</param>
    /// <param name="Advertisement">The last one before the request, which answers its challenge.</param>
    /// <param name="Switched">The home agent's answer.</param>
    private sealed record Moments(long? LastPacket, long? LinkUp, long? Advertisement, long? Request, long? Switched, long? FirstPacket);

    private static double Milliseconds(long? from, long? to) => from is { } start && to is { } end ? (end - start) / 1e6 : double.NaN;
}

/// <summary>The parts of an interruption of the downlink, milliseconds; NaN where nothing was seen.</summary>
/// <param name="Gap">From the last packet over the old link to the first over the new one.</param>
/// <param name="FromRequest">From the registration request to the first packet over the new link: what the specification bounds.</param>
/// <param name="Detect">From the break to the registration request: the radio's own time, solicitation, advertisement.</param>
/// <param name="Register">From the request to the home agent's answer, with which it has switched.</param>
/// <param name="Path">From there to the first packet over the new link.</param>
/// <param name="Reply">From the request to the reply, both on the access link: how long the uplink waits.</param>
internal sealed record Phases(double Gap, double FromRequest, double Detect, double Register, double Path, double Reply)
{
    /// <summary>Of <see cref="Detect"/>: from the break to the node's first frame on the new link.</summary>
    public double Link { get; init; } = double.NaN;

    /// <summary>From there to the advertisement whose challenge the request answers.</summary>
    public double Advertisement { get; init; } = double.NaN;

    /// <summary>From there to the request.</summary>
    public double Request { get; init; } = double.NaN;

    /// <summary>From the registration request to the first packet over the new link; nanoseconds since 1970.</summary>
    public (long From, long To) Stretch { get; init; }

    /// <summary>From the break to the first packet over the new link; nanoseconds since 1970.</summary>
    public (long From, long To) Away { get; init; }

    /// <summary>Packets that may be lost of a flow with one each millisecond: so many, and those of a time at which the machine was too crowded to notice.</summary>
    public double MayLose(int packets, ProcessorWait crowd) => packets + crowd.Between(Away.From, Away.To);

    /// <summary>Whether packets were back within a bound in milliseconds, beside what the machine was too crowded for.</summary>
    public bool BackWithin(double limit, ProcessorWait crowd) => FromRequest <= limit + Excused(crowd);

    /// <summary>What is added to a bound: the part of <see cref="FromRequest"/> in which something waited for a processor, milliseconds. A machine without one to spare cannot show more.</summary>
    public double Excused(ProcessorWait crowd) => crowd.Between(Stretch.From, Stretch.To);
}
