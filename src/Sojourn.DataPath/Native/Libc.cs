using System.Runtime.InteropServices;

namespace Sojourn.DataPath.Native;

/// <summary>The system calls this project makes. Every one that can fail leaves errno for <see cref="Marshal.GetLastPInvokeError"/>.</summary>
internal static unsafe partial class Libc
{
    private const string Library = "libc";

    public const int AF_UNSPEC = 0, AF_INET = 2, AF_INET6 = 10, AF_NETLINK = 16, AF_PACKET = 17, AF_XDP = 44;
    public const int SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_NONBLOCK = 0x800, SOCK_CLOEXEC = 0x80000;
    public const int SOL_SOCKET = 1, SOL_IP = 0, SOL_IPV6 = 41, SOL_RAW = 255, SOL_NETLINK = 270, SOL_PACKET = 263, SOL_XDP = 283, SOL_UDP = 17;
    public const int O_RDONLY = 0, O_RDWR = 2, O_CREAT = 0x40, O_EXCL = 0x80, O_NONBLOCK = 0x800, O_CLOEXEC = 0x80000;
    public const int PROT_READ = 1, PROT_WRITE = 2, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_ANONYMOUS = 0x20, MAP_POPULATE = 0x8000;
    public const int CLONE_NEWNET = 0x40000000;
    public const int MS_BIND = 0x1000, MS_REC = 0x4000, MS_SHARED = 0x100000, MNT_DETACH = 2;
    public const int EINTR = 4, EIO = 5, ENXIO = 6, EAGAIN = 11, EBUSY = 16, EEXIST = 17, ENODEV = 19, EINVAL = 22, ENOENT = 2, ESRCH = 3, ENOBUFS = 105,
        EMSGSIZE = 90, EADDRNOTAVAIL = 99, EOPNOTSUPP = 95, ENETUNREACH = 101, EHOSTUNREACH = 113, ENETDOWN = 100, ECONNREFUSED = 111, EPERM = 1;
    public const int MSG_TRUNC = 0x20, MSG_DONTWAIT = 0x40, MSG_CTRUNC = 0x8, MSG_ERRQUEUE = 0x2000;
    public const int SCHED_OTHER = 0, SCHED_RESET_ON_FORK = 0x40000000, PRIO_PROCESS = 0;
    public const short POLLIN = 1, POLLOUT = 4, POLLERR = 8;

    [StructLayout(LayoutKind.Sequential)]
    public struct PollFd
    {
        public int Fd;
        public short Events;
        public short Revents;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct IoVec
    {
        public void* Base;
        public nuint Length;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct MsgHdr
    {
        public void* Name;
        public uint NameLength;
        public IoVec* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public int Flags;
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct CmsgHdr
    {
        public nuint Length;
        public int Level;
        public int Type;
    }

    [LibraryImport(Library, EntryPoint = "socket", SetLastError = true)]
    public static partial int Socket(int domain, int type, int protocol);

    [LibraryImport(Library, EntryPoint = "close", SetLastError = true)]
    public static partial int Close(int fd);

    [LibraryImport(Library, EntryPoint = "bind", SetLastError = true)]
    public static partial int Bind(int fd, void* address, uint length);

    [LibraryImport(Library, EntryPoint = "getsockopt", SetLastError = true)]
    public static partial int GetSockOpt(int fd, int level, int option, void* value, uint* length);

    [LibraryImport(Library, EntryPoint = "getsockname", SetLastError = true)]
    public static partial int GetSockName(int fd, void* address, uint* length);

    [LibraryImport(Library, EntryPoint = "connect", SetLastError = true)]
    public static partial int Connect(int fd, void* address, uint length);

    [LibraryImport(Library, EntryPoint = "setsockopt", SetLastError = true)]
    public static partial int SetSockOpt(int fd, int level, int option, void* value, uint length);

    [LibraryImport(Library, EntryPoint = "send", SetLastError = true)]
    public static partial nint Send(int fd, void* data, nuint length, int flags);

    [LibraryImport(Library, EntryPoint = "sendto", SetLastError = true)]
    public static partial nint SendTo(int fd, void* data, nuint length, int flags, void* address, uint addressLength);

    [LibraryImport(Library, EntryPoint = "recv", SetLastError = true)]
    public static partial nint Receive(int fd, void* data, nuint length, int flags);

    [LibraryImport(Library, EntryPoint = "sendmsg", SetLastError = true)]
    public static partial nint SendMessage(int fd, MsgHdr* message, int flags);

    [LibraryImport(Library, EntryPoint = "recvmsg", SetLastError = true)]
    public static partial nint ReceiveMessage(int fd, MsgHdr* message, int flags);

    /// <summary>struct mmsghdr: a message and how many octets of it were received or sent.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct MultipleMsgHdr
    {
        public MsgHdr Header;
        public uint Length;
    }

    [LibraryImport(Library, EntryPoint = "sendmmsg", SetLastError = true)]
    public static partial int SendMessages(int fd, MultipleMsgHdr* messages, uint count, int flags);

    [LibraryImport(Library, EntryPoint = "recvmmsg", SetLastError = true)]
    public static partial int ReceiveMessages(int fd, MultipleMsgHdr* messages, uint count, int flags, TimeSpec* timeout);

    [LibraryImport(Library, EntryPoint = "read", SetLastError = true)]
    public static partial nint Read(int fd, void* data, nuint length);

    [LibraryImport(Library, EntryPoint = "write", SetLastError = true)]
    public static partial nint Write(int fd, void* data, nuint length);

    [LibraryImport(Library, EntryPoint = "writev", SetLastError = true)]
    public static partial nint WriteVector(int fd, IoVec* vectors, int count);

    [LibraryImport(Library, EntryPoint = "readv", SetLastError = true)]
    public static partial nint ReadVector(int fd, IoVec* vectors, int count);

    [LibraryImport(Library, EntryPoint = "poll", SetLastError = true)]
    public static partial int Poll(PollFd* fds, nuint count, int timeoutMilliseconds);

    [StructLayout(LayoutKind.Sequential)]
    public struct TimeSpec
    {
        public nint Seconds;
        public nint Nanoseconds;
    }

    /// <summary>As <see cref="Poll"/> with a timeout in nanoseconds; null = for ever.</summary>
    [LibraryImport(Library, EntryPoint = "ppoll", SetLastError = true)]
    public static partial int PreciselyPoll(PollFd* fds, nuint count, TimeSpec* timeout, void* signals);

    /// <summary>Of one thread, as Linux counts them; 0 = the calling one.</summary>
    [LibraryImport(Library, EntryPoint = "sched_setscheduler", SetLastError = true)]
    public static partial int SetScheduler(int thread, int policy, int* priority);

    /// <inheritdoc cref="SetScheduler"/>
    [LibraryImport(Library, EntryPoint = "setpriority", SetLastError = true)]
    public static partial int SetPriority(int which, int thread, int nice);

    [LibraryImport(Library, EntryPoint = "eventfd", SetLastError = true)]
    public static partial int EventFd(uint initial, int flags);

    [LibraryImport(Library, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Open(string path, int flags, int mode);

    [LibraryImport(Library, EntryPoint = "unlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Unlink(string path);

    [LibraryImport(Library, EntryPoint = "ioctl", SetLastError = true)]
    public static partial int IoCtl(int fd, nuint request, void* argument);

    [LibraryImport(Library, EntryPoint = "mmap", SetLastError = true)]
    public static partial void* MapMemory(void* address, nuint length, int protection, int flags, int fd, nint offset);

    [LibraryImport(Library, EntryPoint = "munmap", SetLastError = true)]
    public static partial int UnmapMemory(void* address, nuint length);

    /// <summary>Number of bpf(2), for which libc has no function.</summary>
    public static nint BpfSystemCall => RuntimeInformation.ProcessArchitecture switch
    {
        Architecture.X64 => 321,
        Architecture.Arm64 => 280,
        _ => -1,
    };

    [LibraryImport(Library, EntryPoint = "syscall", SetLastError = true)]
    public static partial nint SystemCall(nint number, nint first, void* second, nint third);

    [LibraryImport(Library, EntryPoint = "unshare", SetLastError = true)]
    public static partial int Unshare(int flags);

    [LibraryImport(Library, EntryPoint = "setns", SetLastError = true)]
    public static partial int SetNamespace(int fd, int type);

    [LibraryImport(Library, EntryPoint = "mount", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Mount(string source, string target, string fileSystem, nuint flags, void* data);

    [LibraryImport(Library, EntryPoint = "execv", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Execute(string path, nint* arguments);

    [LibraryImport(Library, EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Unmount(string target, int flags);

    /// <summary>An exception that says what was tried and why it failed, with errno as its error code.</summary>
    public static SystemCallException Failure(string operation) => new(operation, Marshal.GetLastPInvokeError());

    public static int LastError => Marshal.GetLastPInvokeError();

    public static void SetOption(int fd, int level, int option, int value, string name)
    {
        if (SetSockOpt(fd, level, option, &value, sizeof(int)) != 0)
        {
            throw Failure($"set socket option {name}");
        }
    }
}

/// <summary>A system call failed. <see cref="Exception.Message"/> names the object and gives the system's words.</summary>
public class SystemCallException(string operation, int errno, string? detail = null)
    : IOException($"{operation}: {Marshal.GetPInvokeErrorMessage(errno)} (errno {errno}){(detail is null ? "" : $": {detail}")}")
{
    /// <summary>The system's error number.</summary>
    public int Errno { get; } = errno;
}
