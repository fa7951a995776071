using System.Runtime.InteropServices;
using Sojourn.DataPath.Native;

namespace Sojourn.DataPath.Interception;

/// <summary>
/// Looks at datagrams on the thread that receives them, before they become work of anybody else: a flood that can be answered without
/// memory ends here.
/// </summary>
public interface IDatagramScreen
{
    /// <summary>Whether a datagram goes no further.</summary>
    /// <param name="datagram">UDP payload.</param>
    /// <param name="source">Address it came from, 4 or 16 octets.</param>
    /// <param name="sourcePort">Port it came from.</param>
    /// <param name="answer">Room of <see cref="AnswerLength"/> octets.</param>
    /// <param name="answerLength">What of it is sent back, from the address the datagram came to; 0 = nothing.</param>
    bool Stops(ReadOnlySpan<byte> datagram, ReadOnlySpan<byte> source, ushort sourcePort, Span<byte> answer, out int answerLength);

    /// <summary>Octets of the longest answer.</summary>
    const int AnswerLength = 256;
}

/// <summary>Datagrams taken off a socket with one call, and short answers to them given back with one.</summary>
internal sealed unsafe class DatagramBatch : IDisposable
{
    public const int Capacity = 64;

    private const int PacketInfo4 = 8, PacketInfo6 = 50;
    private const int ControlHeader = 16, AnswerControl = 40;

    /// <summary>The longest datagrams first, so that pages nobody writes to cost nothing.</summary>
    private const int Slot = DatagramSocket.LongestDatagram + Rest, Rest = 1024;
    private const int NameAt = DatagramSocket.LongestDatagram, ControlAt = NameAt + 32, AnswerAt = ControlAt + ReceivedControl.BufferSize, AnswerControlAt = AnswerAt + IDatagramScreen.AnswerLength;

    private readonly byte* _slots;
    private readonly Libc.MultipleMsgHdr* _received, _answers;
    private readonly Libc.IoVec* _receivedVectors, _answerVectors;
    private int _answered;

    public DatagramBatch()
    {
        _slots = (byte*)NativeMemory.Alloc((nuint)Slot * Capacity);
        _received = (Libc.MultipleMsgHdr*)NativeMemory.AllocZeroed(Capacity, (nuint)sizeof(Libc.MultipleMsgHdr));
        _answers = (Libc.MultipleMsgHdr*)NativeMemory.AllocZeroed(Capacity, (nuint)sizeof(Libc.MultipleMsgHdr));
        _receivedVectors = (Libc.IoVec*)NativeMemory.AllocZeroed(Capacity, (nuint)sizeof(Libc.IoVec));
        _answerVectors = (Libc.IoVec*)NativeMemory.AllocZeroed(Capacity, (nuint)sizeof(Libc.IoVec));
    }

    /// <summary>Takes what waits, up to <see cref="Capacity"/>.</summary>
    /// <returns>How many.</returns>
    public int Receive(int socket)
    {
        _answered = 0;
        for (var i = 0; i < Capacity; i++)
        {
            var slot = _slots + ((nint)i * Slot);
            _receivedVectors[i] = new Libc.IoVec { Base = slot, Length = DatagramSocket.LongestDatagram };
            _received[i].Header = new Libc.MsgHdr
            {
                Name = slot + NameAt,
                NameLength = SocketAddressFormat.Size,
                Vectors = _receivedVectors + i,
                VectorCount = 1,
                Control = slot + ControlAt,
                ControlLength = ReceivedControl.BufferSize,
            };
        }

        return Math.Max(0, Libc.ReceiveMessages(socket, _received, Capacity, 0, null));
    }

    public ReadOnlySpan<byte> Data(int index) => new(_slots + ((nint)index * Slot), (int)_received[index].Length);

    public ReadOnlySpan<byte> Source(int index) => SocketAddressFormat.AddressOf(_slots + ((nint)index * Slot) + NameAt);

    public ushort SourcePort(int index) => SocketAddressFormat.PortOf(_slots + ((nint)index * Slot) + NameAt);

    public ReceivedControl About(int index) => ReceivedControl.Read(_received[index].Header);

    /// <summary>Where the answer to this datagram is written to.</summary>
    public Span<byte> AnswerTo(int index) => new(_slots + ((nint)index * Slot) + AnswerAt, IDatagramScreen.AnswerLength);

    /// <summary>The answer to this datagram has been written and goes to its sender, from the address it came to.</summary>
    public void Answer(int index, int length)
    {
        var slot = _slots + ((nint)index * Slot);
        var control = slot + AnswerControlAt;
        new Span<byte>(control, AnswerControl).Clear();
        var about = About(index);
        var controlLength = about.Destination.Length == 16 ? AnswerControl : 32;
        if (about.Destination.Length == 16)
        {
            // struct in6_pktinfo: address, interface index, which a link-local address cannot do without.
            *(Libc.CmsgHdr*)control = new Libc.CmsgHdr { Length = ControlHeader + 20, Level = Libc.SOL_IPV6, Type = PacketInfo6 };
            about.Destination.CopyTo(new Span<byte>(control + ControlHeader, 16));
            *(int*)(control + ControlHeader + 16) = about.Destination[0] == 0xFE && (about.Destination[1] & 0xC0) == 0x80 ? about.InterfaceIndex : 0;
        }
        else
        {
            // struct in_pktinfo: interface index, source, destination.
            *(Libc.CmsgHdr*)control = new Libc.CmsgHdr { Length = ControlHeader + 12, Level = Libc.SOL_IP, Type = PacketInfo4 };
            about.Destination.CopyTo(new Span<byte>(control + ControlHeader + 4, 4));
        }

        _answerVectors[_answered] = new Libc.IoVec { Base = slot + AnswerAt, Length = (nuint)length };
        _answers[_answered++].Header = new Libc.MsgHdr
        {
            Name = slot + NameAt,
            NameLength = _received[index].Header.NameLength,
            Vectors = _answerVectors + _answered - 1,
            VectorCount = 1,
            Control = control,
            ControlLength = (nuint)controlLength,
        };
    }

    /// <summary>Sends the answers. One that the system refuses is left out: who is genuine asks again.</summary>
    public void SendAnswers(int socket)
    {
        for (var at = 0; at < _answered;)
        {
            at += Math.Max(1, Libc.SendMessages(socket, _answers + at, (uint)(_answered - at), 0));
        }

        _answered = 0;
    }

    public void Dispose()
    {
        NativeMemory.Free(_slots);
        NativeMemory.Free(_received);
        NativeMemory.Free(_answers);
        NativeMemory.Free(_receivedVectors);
        NativeMemory.Free(_answerVectors);
    }
}
