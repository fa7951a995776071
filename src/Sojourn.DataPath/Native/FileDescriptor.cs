using Microsoft.Win32.SafeHandles;

namespace Sojourn.DataPath.Native;

/// <summary>Owns one file descriptor and closes it once.</summary>
internal sealed class FileDescriptor : SafeHandleMinusOneIsInvalid
{
    public FileDescriptor(int fd)
        : base(ownsHandle: true) => SetHandle(fd);

    public int Value => (int)handle;

    public static FileDescriptor Checked(int fd, string operation) => fd >= 0 ? new FileDescriptor(fd) : throw Libc.Failure(operation);

    public static FileDescriptor Socket(int domain, int type, int protocol, string name) =>
        Checked(Libc.Socket(domain, type | Libc.SOCK_CLOEXEC, protocol), $"open {name} socket");

    protected override bool ReleaseHandle() => Libc.Close((int)handle) == 0;
}

/// <summary>Wakes a thread that blocks in poll: an eventfd that stays readable once set.</summary>
internal sealed unsafe class WakeEvent : IDisposable
{
    private readonly FileDescriptor _fd = FileDescriptor.Checked(Libc.EventFd(0, Libc.O_CLOEXEC | Libc.O_NONBLOCK), "create eventfd");

    public int Fd => _fd.Value;

    public void Set()
    {
        ulong one = 1;
        _ = Libc.Write(_fd.Value, &one, sizeof(ulong));
    }

    public void Reset()
    {
        ulong value;
        _ = Libc.Read(_fd.Value, &value, sizeof(ulong));
    }

    public void Dispose() => _fd.Dispose();
}
