using Sojourn.Lab.Capture;
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
        var signals = Signals(captures);
        var last = flow.LastOrDefault(p => p.Link == Old.Access && p.Time <= Began);
        var first = flow.FirstOrDefault(p => p.Link == New.Access && p.Time >= Began);
        var request = signals.FirstOrDefault(s => s.Name == "RRQ" && s.From == Registration.Node && s.To == New.Node);
        var switched = signals.FirstOrDefault(s => s.From == "ha" && s.Name is "RRP" or "HAA" && s.Time >= request?.Time);
        return new Phases(
            Milliseconds(last?.Time, first?.Time),
            Milliseconds(request?.Time, first?.Time),
            Milliseconds(Began, request?.Time),
            Milliseconds(request?.Time, switched?.Time),
            Milliseconds(switched?.Time, first?.Time),
            Milliseconds(request?.Time, Registration.Replied));
    }

    private static double Milliseconds(long? from, long? to) => from is { } start && to is { } end ? (end - start) / 1e6 : double.NaN;
}

/// <summary>The parts of an interruption of the downlink, milliseconds; NaN where nothing was seen.</summary>
/// <param name="Gap">From the last packet over the old link to the first over the new one.</param>
/// <param name="FromRequest">From the registration request to the first packet over the new link: what the specification bounds.</param>
/// <param name="Detect">From the break to the registration request: the radio's own time, solicitation, advertisement.</param>
/// <param name="Register">From the request to the home agent's answer, with which it has switched.</param>
/// <param name="Path">From there to the first packet over the new link.</param>
/// <param name="Reply">From the request to the reply, both on the access link: how long the uplink waits.</param>
internal sealed record Phases(double Gap, double FromRequest, double Detect, double Register, double Path, double Reply);
