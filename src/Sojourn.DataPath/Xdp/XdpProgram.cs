using System.Buffers.Binary;
using Sojourn.DataPath.Native;
using Sojourn.Wire.Ip;

namespace Sojourn.DataPath.Xdp;

/// <summary>
/// The program that an interface runs on each frame (RFC 9669 for its instructions): ESP, AH and IP-in-IP to one of our addresses go to the AF_XDP socket of
/// the queue, everything else to the kernel as if there were no program. So do fragments, IPv4 options, IPv6 extension headers, VLAN tags, frames
/// for another station, and what a socket's buffer cannot hold: raw sockets receive it.
/// </summary>
internal static class XdpProgram
{
    private const int EthernetHeader = 14, Pass = 2;

    // Opcodes.
    private const byte LoadByte = 0x71, LoadHalf = 0x69, LoadWord = 0x61, StoreWord = 0x63, StoreDoubleImmediate = 0x7A, Move = 0xBF, MoveImmediate = 0xB7, AddImmediate = 0x07,
        AndImmediate = 0x57, JumpAlways = 0x05, JumpEqual = 0x15, JumpNotEqual = 0x55, JumpNotEqual32 = 0x56, JumpGreater = 0x2D, LoadImmediate = 0x18, Call = 0x85, Exit = 0x95;

    private const byte PseudoMapFd = 1;
    private const int LookUpElement = 1, RedirectMap = 51;

    // struct xdp_md.
    private const short Data = 0, DataEnd = 4, ReceiveQueue = 16;

    // Registers: r0 result, r1 to r5 arguments, r6 kept over calls, r10 the stack.
    private const byte R0 = 0, R1 = 1, R2 = 2, R3 = 3, R4 = 4, R5 = 5, R6 = 6, Stack = 10;

    /// <summary>Octets of a key of the address map: an IPv6 address, or twelve zeros and an IPv4 address.</summary>
    public const int AddressLength = 16;

    /// <param name="addresses">Map whose keys are our addresses.</param>
    /// <param name="sockets">Map from queue to socket.</param>
    /// <param name="station">The interface's own Ethernet address.</param>
    /// <param name="longest">Octets of a frame that a socket's buffer holds.</param>
    public static ulong[] Assemble(FileDescriptor addresses, FileDescriptor sockets, ReadOnlySpan<byte> station, int longest)
    {
        var code = new Assembler();
        code.Add(Move, R6, R1);
        code.Add(LoadWord, R2, R1, Data);
        code.Add(LoadWord, R3, R1, DataEnd);
        Bound(code, EthernetHeader + IPv4Header.MinimumLength);
        code.Add(Move, R4, R2);
        code.Add(AddImmediate, R4, immediate: longest);
        code.Jump(JumpGreater, R3, R4, "pass");
        code.Add(LoadWord, R4, R2, 0);
        code.Jump(JumpNotEqual32, R4, "pass", BinaryPrimitives.ReadInt32LittleEndian(station));
        code.Add(LoadHalf, R4, R2, 4);
        code.Jump(JumpNotEqual, R4, "pass", BinaryPrimitives.ReadUInt16LittleEndian(station[4..]));

        // Loads are in the machine's order, which is little endian wherever this program runs.
        code.Add(LoadHalf, R4, R2, 12);
        code.Jump(JumpEqual, R4, "IPv4", BinaryPrimitives.ReverseEndianness((ushort)0x0800));
        code.Jump(JumpNotEqual, R4, "pass", BinaryPrimitives.ReverseEndianness((ushort)0x86DD));
        Bound(code, EthernetHeader + IPv6Header.Length);
        code.Add(LoadByte, R5, R2, EthernetHeader + 6);
        for (short at = 0; at < AddressLength; at += 4)
        {
            code.Add(LoadWord, R4, R2, (short)(EthernetHeader + 24 + at));
            code.Add(StoreWord, Stack, R4, (short)(at - AddressLength));
        }

        code.Jump(JumpAlways, 0, "protocol");
        code.Label("IPv4");
        code.Add(LoadByte, R4, R2, EthernetHeader);
        code.Jump(JumpNotEqual, R4, "pass", 0x45);

        // More fragments, or an offset.
        code.Add(LoadHalf, R4, R2, EthernetHeader + 6);
        code.Add(AndImmediate, R4, immediate: BinaryPrimitives.ReverseEndianness((ushort)0x3FFF));
        code.Jump(JumpNotEqual, R4, "pass", 0);
        code.Add(LoadByte, R5, R2, EthernetHeader + 9);
        code.Add(StoreDoubleImmediate, Stack, offset: -16);
        code.Add(StoreDoubleImmediate, Stack, offset: -8);
        code.Add(LoadWord, R4, R2, EthernetHeader + 16);
        code.Add(StoreWord, Stack, R4, -4);
        code.Label("protocol");
        foreach (var protocol in (byte[])[IpProtocol.Esp, IpProtocol.Ah, IpProtocol.IPv4, IpProtocol.IPv6])
        {
            code.Jump(JumpEqual, R5, "destination", protocol);
        }

        code.Jump(JumpAlways, 0, "pass");
        code.Label("destination");
        code.LoadMap(R1, addresses);
        code.Add(Move, R2, Stack);
        code.Add(AddImmediate, R2, immediate: -AddressLength);
        code.Add(Call, immediate: LookUpElement);
        code.Jump(JumpEqual, R0, "pass", 0);
        code.LoadMap(R1, sockets);
        code.Add(LoadWord, R2, R6, ReceiveQueue);
        code.Add(MoveImmediate, R3, immediate: Pass);
        code.Add(Call, immediate: RedirectMap);
        code.Add(Exit);
        code.Label("pass");
        code.Add(MoveImmediate, R0, immediate: Pass);
        code.Add(Exit);
        return code.Finish();
    }

    /// <summary>Passes frames shorter than this; the verifier wants to see it before anything is read.</summary>
    private static void Bound(Assembler code, int length)
    {
        code.Add(Move, R4, R2);
        code.Add(AddImmediate, R4, immediate: length);
        code.Jump(JumpGreater, R4, R3, "pass");
    }

    /// <summary>Instructions in order, and where jumps lead.</summary>
    private sealed class Assembler
    {
        private readonly List<ulong> _code = [];
        private readonly Dictionary<string, int> _labels = [];
        private readonly List<(int At, string Label)> _jumps = [];

        public void Add(byte opcode, byte destination = 0, byte source = 0, short offset = 0, int immediate = 0) =>
            _code.Add(opcode | ((ulong)destination << 8) | ((ulong)source << 12) | ((ulong)(ushort)offset << 16) | ((ulong)(uint)immediate << 32));

        public void LoadMap(byte destination, FileDescriptor map)
        {
            Add(LoadImmediate, destination, PseudoMapFd, immediate: map.Value);
            _code.Add(0);
        }

        public void Jump(byte opcode, byte register, string label, int immediate = 0)
        {
            _jumps.Add((_code.Count, label));
            Add(opcode, register, immediate: immediate);
        }

        public void Jump(byte opcode, byte register, byte other, string label)
        {
            _jumps.Add((_code.Count, label));
            Add(opcode, register, other);
        }

        public void Label(string label) => _labels.Add(label, _code.Count);

        public ulong[] Finish()
        {
            foreach (var (at, label) in _jumps)
            {
                _code[at] |= (ulong)(ushort)(_labels[label] - at - 1) << 16;
            }

            return [.. _code];
        }
    }
}
