using Sojourn.Wire.Eap;

namespace Sojourn.Engine.Eap;

internal enum FramingResult : byte
{
    /// <summary>A fragment was kept; it has to be acknowledged.</summary>
    More,

    /// <summary>A flight is complete.</summary>
    Flight,

    /// <summary>The peer has our fragment and waits for the next.</summary>
    Acknowledged,

    /// <summary>Not what the framing allows; the conversation is over.</summary>
    Malformed,
}

/// <summary>
/// Cuts TLS flights into EAP packets and puts those of the peer together (RFC 5216 2.1.5, RFC 5281 9.2.2). Either end has
/// one. Every fragment of a flight but the last is answered with an empty packet.
/// </summary>
/// <param name="fragmentLength">Octets of TLS in one packet.</param>
internal sealed class EapTlsFraming(int fragmentLength)
{
    private readonly List<byte> _received = [];
    private uint? _announced;
    private byte[] _toSend = [];
    private int _sent;

    /// <summary>Part of our flight is still to be sent.</summary>
    public bool IsSending => _sent < _toSend.Length;

    public void Load(byte[] flight) => (_toSend, _sent) = (flight, 0);

    /// <summary>The next fragment of our flight, or the acknowledgement when there is none.</summary>
    public EapTlsFragment Next()
    {
        if (!IsSending)
        {
            return EapTlsFragment.Acknowledgement;
        }

        var count = Math.Min(fragmentLength, _toSend.Length - _sent);
        var more = _sent + count < _toSend.Length;
        uint? length = _sent == 0 && more ? (uint)_toSend.Length : null;
        var fragment = new EapTlsFragment(length, more, false, 0, _toSend.AsSpan(_sent, count).ToArray());
        _sent += count;
        return fragment;
    }

    public FramingResult Take(EapTlsFragment fragment, out byte[] flight)
    {
        flight = [];
        if (IsSending)
        {
            return fragment.IsAcknowledgement ? FramingResult.Acknowledged : FramingResult.Malformed;
        }

        if (_received.Count == 0)
        {
            _announced = fragment.MessageLength;
        }

        // Some peers repeat the length in every fragment; it must be the same one.
        if ((fragment.MessageLength is { } length && length != _announced)
            || (fragment.More && fragment.Data.Length == 0)
            || _received.Count + fragment.Data.Length > (_announced ?? EapLimits.TlsMessageLength))
        {
            return FramingResult.Malformed;
        }

        _received.AddRange(fragment.Data.Span);
        if (fragment.More)
        {
            return FramingResult.More;
        }

        if (_announced is { } whole && whole != _received.Count)
        {
            return FramingResult.Malformed;
        }

        flight = [.. _received];
        _received.Clear();
        _announced = null;
        return FramingResult.Flight;
    }
}
