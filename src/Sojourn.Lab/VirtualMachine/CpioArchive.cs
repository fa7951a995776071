using System.Globalization;
using System.Text;

namespace Sojourn.Lab.VirtualMachine;

/// <summary>
/// Writes the archive a Linux kernel takes as its first file system: cpio, format "newc" (initramfs buffer format of the
/// kernel documentation). Everything belongs to root and is made new by the kernel at boot.
/// </summary>
internal sealed class CpioArchive
{
    private const uint DirectoryMode = 0x41ED, ProgramMode = 0x81ED, LinkMode = 0xA1FF;
    private readonly MemoryStream _archive = new();
    private readonly HashSet<string> _names = [];
    private uint _number;

    /// <summary>A file that may be executed, with the folders above it.</summary>
    /// <param name="path">Absolute path in the guest.</param>
    /// <param name="content">Octets.</param>
    public void AddFile(string path, ReadOnlySpan<byte> content) => Add(path, ProgramMode, content);

    public void AddLink(string path, string target) => Add(path, LinkMode, Encoding.UTF8.GetBytes(target));

    public void AddDirectory(string path) => Add(path, DirectoryMode, []);

    /// <summary>Closes the archive and writes it.</summary>
    public void WriteTo(string file)
    {
        Entry("TRAILER!!!", 0, []);
        File.WriteAllBytes(file, _archive.ToArray());
    }

    private void Add(string path, uint mode, ReadOnlySpan<byte> content)
    {
        var name = path.TrimStart('/');
        if (name.Contains('/'))
        {
            AddDirectory(name[..name.LastIndexOf('/')]);
        }

        if (_names.Add(name))
        {
            Entry(name, mode, content);
        }
    }

    private void Entry(string name, uint mode, ReadOnlySpan<byte> content)
    {
        var octets = Encoding.UTF8.GetBytes(name + "\0");

        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check.
        uint[] fields = [++_number, mode, 0, 0, 1, 0, (uint)content.Length, 0, 0, 0, 0, (uint)octets.Length, 0];
        _archive.Write(Encoding.ASCII.GetBytes("070701" + string.Concat(fields.Select(f => f.ToString("X8", CultureInfo.InvariantCulture)))));
        _archive.Write(octets);
        Pad();
        _archive.Write(content);
        Pad();
    }

    private void Pad()
    {
        while (_archive.Length % 4 != 0)
        {
            _archive.WriteByte(0);
        }
    }
}
