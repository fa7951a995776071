using System.Net;
using Sojourn.Wire;
using Sojourn.Wire.Diameter;

namespace Sojourn.Engine.Diameter;

/// <summary>One transport connection: who is behind it, and the message that is just arriving.</summary>
internal sealed class DiameterConnection(long id, IPEndPoint remote, bool secured, IReadOnlyList<string> peerNames, DiameterLimits limits)
{
    private readonly byte[] _prefix = new byte[4];
    private byte[]? _frame;
    private int _filled;

    public long Id { get; } = id;

    public IPEndPoint Remote { get; } = remote;

    public bool Secured { get; } = secured;

    /// <summary>DNS names of the peer's certificate.</summary>
    public IReadOnlyList<string> PeerNames { get; } = peerNames;

    /// <summary>Set when the connection has been dialled for, or identified itself as, a peer.</summary>
    public DiameterPeer? Peer { get; set; }

    /// <summary>An accepted connection must have sent its CER by then.</summary>
    public DateTimeOffset? CapabilitiesDeadline { get; set; }

    /// <summary>Closed by us; what still arrives is dropped.</summary>
    public bool IsClosed { get; set; }

    /// <summary>
    /// Takes octets off <paramref name="data"/> until a message is whole. The announced length is judged before any
    /// memory is taken for it.
    /// </summary>
    /// <param name="message">Empty when there is none yet. A slice of <paramref name="data"/> where that holds all of it.</param>
    /// <returns>False when the stream is out of step and must be closed.</returns>
    public bool TryRead(ref ReadOnlyMemory<byte> data, out ReadOnlyMemory<byte> message, out WireError error)
    {
        message = default;
        error = default;
        if (_filled == 0 && data.Length >= _prefix.Length)
        {
            if (!DiameterHeader.TryMeasure(data.Span[.._prefix.Length], limits, out var whole, out error))
            {
                return false;
            }

            if (whole <= data.Length)
            {
                message = data[..whole];
                data = data[whole..];
                return true;
            }
        }

        if (_frame is null)
        {
            var missing = Math.Min(_prefix.Length - _filled, data.Length);
            data.Span[..missing].CopyTo(_prefix.AsSpan(_filled));
            _filled += missing;
            data = data[missing..];
            if (!DiameterHeader.TryMeasure(_prefix.AsSpan(0, _filled), limits, out var length, out error))
            {
                return false;
            }

            if (length == 0)
            {
                return true;
            }

            _frame = new byte[length];
            _prefix.CopyTo(_frame, 0);
        }

        var take = Math.Min(_frame.Length - _filled, data.Length);
        data.Span[..take].CopyTo(_frame.AsSpan(_filled));
        _filled += take;
        data = data[take..];
        if (_filled == _frame.Length)
        {
            message = _frame;
            _frame = null;
            _filled = 0;
        }

        return true;
    }
}
