using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>
/// A request taken from a peer: the handle for answering it, at once or later, exactly once. When the connection it came
/// over is gone by then the answer waits for the repetition that the other side sends over another one.
/// </summary>
public sealed class DiameterRequest
{
    internal DiameterRequest(DiameterMessage message, string peer, bool isLocal, long connection)
    {
        Message = message;
        Peer = peer;
        IsLocal = isLocal;
        Connection = connection;
        HopByHopId = message.HopByHopId;
    }

    public DiameterMessage Message { get; }

    /// <summary>Diameter identity of the peer that handed it to us: the last hop, not the origin.</summary>
    public string Peer { get; }

    /// <summary>Meant for this node or its realm; otherwise an agent passes it on.</summary>
    public bool IsLocal { get; }

    /// <summary>Answered or forwarded.</summary>
    public bool IsDone { get; internal set; }

    /// <summary>Where the answer goes; moves when the request is repeated over another connection.</summary>
    internal long Connection { get; set; }

    internal uint HopByHopId { get; set; }

    /// <summary>What a repetition is known by.</summary>
    internal KeptAnswers.Key? Key { get; set; }
}
