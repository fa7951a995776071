using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>A request on its way, ours or one we forward, kept whole so that it can go another way (RFC 6733 section 5.5.4).</summary>
internal sealed class PendingRequest(DiameterMessage message, long token, DiameterRequest? inbound, DateTimeOffset deadline)
{
    /// <summary>Hop-by-hop identifier changes with every hop tried.</summary>
    public DiameterMessage Message { get; set; } = message;

    /// <summary>Of a request of ours, else 0.</summary>
    public long Token { get; } = token;

    /// <summary>What is being forwarded, else null.</summary>
    public DiameterRequest? Inbound { get; } = inbound;

    public DateTimeOffset Deadline { get; } = deadline;

    public DiameterPeer? Peer { get; set; }

    /// <summary>Peers that had it already.</summary>
    public List<DiameterPeer> Tried { get; } = new(1);
}

/// <summary>
/// Requests in the order of their deadlines, which is the order of their arrival because all wait equally long.
/// </summary>
internal sealed class PendingTable
{
    private readonly LinkedList<PendingRequest> _order = [];
    private readonly Dictionary<PendingRequest, LinkedListNode<PendingRequest>> _nodes = [];

    public int Count => _order.Count;

    public PendingRequest? First => _order.First?.Value;

    public void Add(PendingRequest request) => _nodes.Add(request, _order.AddLast(request));

    public void Remove(PendingRequest request)
    {
        if (_nodes.Remove(request, out var node))
        {
            _order.Remove(node);
        }
    }
}
