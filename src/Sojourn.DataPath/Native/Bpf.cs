namespace Sojourn.DataPath.Native;

/// <summary>
/// bpf(2): maps, a program, and its attachment to an interface (linux/bpf.h). What is made here lives as long as its file descriptor: it goes
/// with the process, however that ends. Needs CAP_BPF and CAP_NET_ADMIN.
/// </summary>
internal static unsafe class Bpf
{
    public const uint HashMap = 1, XskMap = 17;

    /// <summary>XDP_FLAGS_SKB_MODE works on every interface; XDP_FLAGS_DRV_MODE before the kernel makes a packet of it, where the driver can.</summary>
    public const uint GenericMode = 2, DriverMode = 4;

    private const int MapCreate = 0, MapUpdate = 2, MapDelete = 3, ProgramLoad = 5, LinkCreate = 28;
    private const uint XdpProgram = 6, XdpAttachment = 37;

    /// <summary>Octets of union bpf_attr that are given; what is not used has to be zero.</summary>
    private const int AttributeSize = 72;

    public static FileDescriptor CreateMap(uint type, uint keySize, uint valueSize, uint entries)
    {
        var attribute = stackalloc uint[AttributeSize / 4];
        new Span<uint>(attribute, AttributeSize / 4).Clear();
        (attribute[0], attribute[1], attribute[2], attribute[3]) = (type, keySize, valueSize, entries);
        return FileDescriptor.Checked(Call(MapCreate, attribute), "create BPF map");
    }

    /// <exception cref="SystemCallException">The map is full, or does not take such a value.</exception>
    public static void Update(FileDescriptor map, void* key, void* value)
    {
        if (Element(MapUpdate, map, key, value) < 0)
        {
            throw Libc.Failure("write BPF map");
        }
    }

    /// <summary>No error when the map has no such key.</summary>
    public static void Delete(FileDescriptor map, void* key) => Element(MapDelete, map, key, null);

    /// <exception cref="SystemCallException">The kernel's verifier refuses the program, or privileges are missing.</exception>
    public static FileDescriptor LoadXdpProgram(ReadOnlySpan<ulong> instructions)
    {
        byte noLicense = 0;
        fixed (ulong* code = instructions)
        {
            var attribute = stackalloc ulong[AttributeSize / 8];
            new Span<ulong>(attribute, AttributeSize / 8).Clear();
            attribute[0] = XdpProgram | ((ulong)instructions.Length << 32);
            attribute[1] = (ulong)code;
            attribute[2] = (ulong)&noLicense;
            ((uint*)attribute)[17] = XdpAttachment;
            return FileDescriptor.Checked(Call(ProgramLoad, attribute), "load XDP program");
        }
    }

    /// <summary>Attaches a program to an interface of the calling thread's namespace until the descriptor is closed.</summary>
    /// <exception cref="SystemCallException">EBUSY when the interface has a program already.</exception>
    public static FileDescriptor AttachXdp(FileDescriptor program, int interfaceIndex, uint mode)
    {
        var attribute = stackalloc uint[AttributeSize / 4];
        new Span<uint>(attribute, AttributeSize / 4).Clear();
        (attribute[0], attribute[1], attribute[2], attribute[3]) = ((uint)program.Value, (uint)interfaceIndex, XdpAttachment, mode);
        return FileDescriptor.Checked(Call(LinkCreate, attribute), "attach XDP program");
    }

    private static int Element(int command, FileDescriptor map, void* key, void* value)
    {
        var attribute = stackalloc ulong[AttributeSize / 8];
        new Span<ulong>(attribute, AttributeSize / 8).Clear();
        (attribute[0], attribute[1], attribute[2]) = ((uint)map.Value, (ulong)key, (ulong)value);
        return Call(command, attribute);
    }

    private static int Call(int command, void* attribute) => (int)Libc.SystemCall(Libc.BpfSystemCall, command, attribute, AttributeSize);
}
