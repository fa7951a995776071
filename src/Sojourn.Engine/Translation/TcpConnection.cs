// Readings (RFC 9293):
// - Both ends are spoken: towards the host as the one that is called, towards a name server as the one that calls. No options but the
//   segment size; what comes out of order is acknowledged by what is missing and not kept, as a receiver may (3.10.7.4).
// - Slow start up to ten segments and no further (RFC 6928, RFC 5681): an answer has 64 KiB at most. Three acknowledgements of the same have
//   all that follows sent again.
// - There is no TIME-WAIT: every call of ours has a port that nobody can guess, and the host's are between it and this machine.
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Sojourn.Wire.Dns;
using Sojourn.Wire.Ip;
using Sojourn.Wire.Tcp;

namespace Sojourn.Engine.Translation;

/// <summary>
/// A TCP connection that carries DNS messages behind their length (RFC 7766 8), as packets in and out. One thread at a time; packets to send
/// gather in <see cref="TakePackets"/>.
/// </summary>
internal sealed class TcpConnection
{
    /// <summary>Octets of a segment's data: what fits into the shortest link IPv6 may have.</summary>
    private const int SegmentSize = 1220;

    private const int AssumedSegmentSize = 536, InitialWindow = 10 * SegmentSize, Attempts = 4, DuplicatesOfLoss = 3;

    /// <summary>A message with its length, and a little more, so that the window never closes before it is whole.</summary>
    private const int Room = DnsLimits.Message + 1024;

    private const byte HopLimit = 64, MaximumSegmentSizeOption = 2;

    private static readonly TimeSpan s_firstTimeout = TimeSpan.FromSeconds(1);

    private readonly IPEndPoint _local, _remote;
    private readonly bool _calls;
    private readonly List<byte> _outgoing = [], _incoming = [];
    private List<byte[]> _packets = [];

    /// <summary>SND.UNA, SND.NXT, the furthest that SND.NXT was, RCV.NXT.</summary>
    private uint _unacknowledged, _next, _furthest, _expected;

    private int _peerWindow, _window = InitialWindow, _segment = AssumedSegmentSize, _attempts, _duplicates;
    private bool _open, _closing, _ended, _owesAcknowledgment;

    private TcpConnection(IPEndPoint local, IPEndPoint remote, uint initial, bool calls)
    {
        (_local, _remote, _calls) = (local, remote, calls);
        (_unacknowledged, _next, _furthest) = (initial, initial + 1, initial + 1);
    }

    /// <summary>When <see cref="Wake"/> has something to do.</summary>
    public DateTimeOffset? Due { get; private set; }

    /// <summary>Since when nothing has come; who waits for something else may set it.</summary>
    public DateTimeOffset LastHeard { get; set; }

    /// <summary><see cref="Close"/> was called.</summary>
    public bool IsClosing => _closing;

    /// <summary>The other end sends nothing more.</summary>
    public bool PeerClosed { get; private set; }

    /// <summary>Both ends are closed, or the other end does not answer or does not want it.</summary>
    public bool IsOver { get; private set; }

    /// <summary>Calls.</summary>
    public static TcpConnection Open(IPEndPoint local, IPEndPoint remote, uint initial, DateTimeOffset now)
    {
        var made = new TcpConnection(local, remote, initial, calls: true) { LastHeard = now };
        made.Begin(now);
        return made;
    }

    /// <summary>Answers a call.</summary>
    public static TcpConnection Accept(IPEndPoint local, IPEndPoint remote, in TcpHeader syn, uint initial, DateTimeOffset now)
    {
        var made = new TcpConnection(local, remote, initial, calls: false) { LastHeard = now, _expected = syn.SequenceNumber + 1 };
        made.TakeOptions(syn);
        made.Begin(now);
        return made;
    }

    public IReadOnlyList<byte[]> TakePackets()
    {
        var taken = _packets;
        _packets = [];
        return taken;
    }

    /// <summary>The next whole message that has come.</summary>
    public bool TryTakeMessage([NotNullWhen(true)] out byte[]? message)
    {
        message = null;
        if (_incoming.Count < 2 || _incoming.Count < 2 + ((_incoming[0] << 8) | _incoming[1]))
        {
            return false;
        }

        message = [.. _incoming[2..(2 + ((_incoming[0] << 8) | _incoming[1]))]];
        _incoming.RemoveRange(0, 2 + message.Length);
        return true;
    }

    public void SendMessage(ReadOnlySpan<byte> message, DateTimeOffset now)
    {
        _outgoing.Add((byte)(message.Length >> 8));
        _outgoing.Add((byte)message.Length);
        _outgoing.AddRange(message);
        Transmit(now);
    }

    /// <summary>Says that nothing more follows what was sent.</summary>
    public void Close(DateTimeOffset now)
    {
        _closing = true;
        Transmit(now);
    }

    /// <summary>Ends it at once (RFC 9293 3.10.5).</summary>
    public void Abort()
    {
        if (!IsOver)
        {
            Write(TcpFlags.Rst | TcpFlags.Ack, _furthest, []);
            IsOver = true;
        }
    }

    public void Receive(in TcpHeader segment, DateTimeOffset now)
    {
        LastHeard = now;
        if (_calls && !_open)
        {
            OnAnswerToCall(segment, now);
            return;
        }

        if (segment.Flags.HasFlag(TcpFlags.Rst))
        {
            // Only the exact next number ends it (RFC 5961 3.2).
            IsOver |= segment.SequenceNumber == _expected;
            return;
        }

        if (segment.Flags.HasFlag(TcpFlags.Syn))
        {
            if (!_open && segment.SequenceNumber + 1 == _expected)
            {
                WriteSyn();
            }
            else
            {
                Acknowledge();
            }

            return;
        }

        if (!segment.Flags.HasFlag(TcpFlags.Ack) || !TakeAcknowledgment(segment))
        {
            return;
        }

        TakeData(segment);
        Transmit(now);
        if (_owesAcknowledgment)
        {
            Acknowledge();
        }

        IsOver |= PeerClosed && _ended;
    }

    /// <summary>Sends again what was not acknowledged; gives up after a while (RFC 9293 3.8.3).</summary>
    public void Wake(DateTimeOffset now)
    {
        if (IsOver || !(Due <= now))
        {
            return;
        }

        if (++_attempts >= Attempts)
        {
            Abort();
            return;
        }

        Due = now + (s_firstTimeout * (1 << _attempts));
        if (!_open)
        {
            WriteSyn();
            return;
        }

        (_next, _window, _peerWindow) = (_unacknowledged, _segment, Math.Max(_peerWindow, 1));
        Transmit(now);
    }

    private void Begin(DateTimeOffset now)
    {
        WriteSyn();
        Due = now + s_firstTimeout;
    }

    private void OnAnswerToCall(in TcpHeader segment, DateTimeOffset now)
    {
        if (!segment.Flags.HasFlag(TcpFlags.Ack) || segment.AcknowledgmentNumber != _next)
        {
            return;
        }

        if (segment.Flags.HasFlag(TcpFlags.Rst))
        {
            IsOver = true;
        }
        else if (segment.Flags.HasFlag(TcpFlags.Syn))
        {
            (_open, _unacknowledged, _expected, _attempts, Due) = (true, _next, segment.SequenceNumber + 1, 0, null);
            TakeOptions(segment);
            _owesAcknowledgment = true;
            Transmit(now);
            if (_owesAcknowledgment)
            {
                Acknowledge();
            }
        }
    }

    private void TakeOptions(in TcpHeader syn)
    {
        _peerWindow = syn.Window;
        _segment = Math.Clamp(syn.TryFindMaximumSegmentSize(out _, out var size) ? size : AssumedSegmentSize, 64, SegmentSize);
    }

    /// <summary>False: it is no acknowledgement of anything that was sent.</summary>
    private bool TakeAcknowledgment(in TcpHeader segment)
    {
        var acknowledged = (int)(segment.AcknowledgmentNumber - _unacknowledged);
        if (acknowledged > (int)(_furthest - _unacknowledged) || (!_open && acknowledged < 1))
        {
            Acknowledge();
            return false;
        }

        if (acknowledged < 0)
        {
            return true;
        }

        _peerWindow = segment.Window;
        if (acknowledged == 0)
        {
            if (segment.Payload.IsEmpty && _next != _unacknowledged && ++_duplicates == DuplicatesOfLoss)
            {
                (_next, _window) = (_unacknowledged, Math.Max(_window / 2, _segment));
            }

            return true;
        }

        if (!_open)
        {
            _open = true;
            acknowledged--;
        }

        var data = Math.Min(acknowledged, _outgoing.Count);
        _outgoing.RemoveRange(0, data);
        _ended |= acknowledged > data;
        _unacknowledged = segment.AcknowledgmentNumber;
        _next = (int)(_next - _unacknowledged) < 0 ? _unacknowledged : _next;
        _window = Math.Min(_window + _segment, InitialWindow);
        (_attempts, _duplicates, Due) = (0, 0, null);
        return true;
    }

    private void TakeData(in TcpHeader segment)
    {
        var known = (int)(_expected - segment.SequenceNumber);
        var payload = segment.Payload;
        if (known < 0 || known > payload.Length || (known > 0 && known == payload.Length && !segment.Flags.HasFlag(TcpFlags.Fin)))
        {
            _owesAcknowledgment = true;
            return;
        }

        var fresh = payload[known..];
        var taken = fresh[..Math.Min(fresh.Length, Room - _incoming.Count)];
        _incoming.AddRange(taken);
        _expected += (uint)taken.Length;
        _owesAcknowledgment |= payload.Length > 0;
        if (segment.Flags.HasFlag(TcpFlags.Fin) && taken.Length == fresh.Length)
        {
            _owesAcknowledgment = true;
            if (!PeerClosed)
            {
                PeerClosed = true;
                _expected++;
            }
        }
    }

    /// <summary>Sends what both windows leave room for; the end, where it is due, behind the last octet.</summary>
    private void Transmit(DateTimeOffset now)
    {
        if (!_open || IsOver)
        {
            return;
        }

        while ((int)(_next - _unacknowledged) is var sent && sent <= _outgoing.Count && !_ended)
        {
            var length = Math.Min(Math.Min(_outgoing.Count - sent, _segment), Math.Min(_peerWindow, _window) - sent);
            var ends = _closing && sent + Math.Max(length, 0) == _outgoing.Count;
            if (length <= 0 && !ends)
            {
                break;
            }

            length = Math.Max(length, 0);
            Write(TcpFlags.Ack | TcpFlags.Psh | (ends ? TcpFlags.Fin : 0), _next, CollectionsMarshal.AsSpan(_outgoing).Slice(sent, length));
            _next += (uint)length + (ends ? 1u : 0);
            _furthest = (int)(_next - _furthest) > 0 ? _next : _furthest;
        }

        // With the window shut and nothing on the way the timer asks whether it still is (RFC 9293 3.8.6.1).
        Due = _next != _unacknowledged || (_outgoing.Count > 0 && !_ended) ? Due ?? now + s_firstTimeout : null;
    }

    private void Acknowledge() => Write(TcpFlags.Ack, _next, []);

    private void WriteSyn() => Write(_calls ? TcpFlags.Syn : TcpFlags.Syn | TcpFlags.Ack, _unacknowledged, []);

    private void Write(TcpFlags flags, uint sequence, ReadOnlySpan<byte> data)
    {
        var options = flags.HasFlag(TcpFlags.Syn) ? 4 : 0;
        var (from, to) = (_local.Address.GetAddressBytes(), _remote.Address.GetAddressBytes());
        var header = _local.AddressFamily == AddressFamily.InterNetworkV6 ? IPv6Header.Length : IPv4Header.MinimumLength;
        var packet = new byte[header + TcpHeader.MinimumLength + options + data.Length];
        var segment = packet.AsSpan(header);
        BinaryPrimitives.WriteUInt16BigEndian(segment, (ushort)_local.Port);
        BinaryPrimitives.WriteUInt16BigEndian(segment[2..], (ushort)_remote.Port);
        BinaryPrimitives.WriteUInt32BigEndian(segment[4..], sequence);
        BinaryPrimitives.WriteUInt32BigEndian(segment[8..], flags.HasFlag(TcpFlags.Ack) ? _expected : 0);
        segment[12] = (byte)((TcpHeader.MinimumLength + options) / 4 << 4);
        segment[13] = (byte)flags;
        BinaryPrimitives.WriteUInt16BigEndian(segment[14..], (ushort)Math.Min(Room - _incoming.Count, ushort.MaxValue));
        if (options > 0)
        {
            (segment[20], segment[21]) = (MaximumSegmentSizeOption, 4);
            BinaryPrimitives.WriteUInt16BigEndian(segment[22..], SegmentSize);
        }

        data.CopyTo(segment[(TcpHeader.MinimumLength + options)..]);
        BinaryPrimitives.WriteUInt16BigEndian(
            segment[16..], InternetChecksum.Finish(InternetChecksum.Add(InternetChecksum.PseudoHeader(from, to, IpProtocol.Tcp, segment.Length), segment)));
        if (header == IPv6Header.Length)
        {
            IPv6Header.Write(packet, 0, 0, segment.Length, IpProtocol.Tcp, HopLimit, from, to);
        }
        else
        {
            IPv4Header.Write(packet, 0, packet.Length, 0, IPv4Header.DontFragmentFlag, HopLimit, IpProtocol.Tcp, from, to);
        }

        _owesAcknowledgment &= !flags.HasFlag(TcpFlags.Ack);
        _packets.Add(packet);
    }
}
