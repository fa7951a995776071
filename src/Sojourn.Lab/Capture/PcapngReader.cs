using System.Buffers.Binary;
using System.Text;

namespace Sojourn.Lab.Capture;

/// <summary>Reads back the captures the lab wrote, so that scenarios are judged by the very files handed over as evidence.</summary>
public static class PcapngReader
{
    /// <summary>All frames of a file made by <see cref="PcapngWriter"/>.</summary>
    /// <exception cref="InvalidDataException">Not such a file; says where.</exception>
    public static IReadOnlyList<CapturedFrame> Read(string path)
    {
        var link = Path.GetFileNameWithoutExtension(path);
        var file = File.ReadAllBytes(path);
        var frames = new List<CapturedFrame>();
        for (var at = 0; at < file.Length;)
        {
            if (file.Length - at < 12)
            {
                throw Broken(path, at, "a block of less than 12 octets");
            }

            var type = BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at));
            var length = BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 4));
            if (length < 12 || length % 4 != 0 || length > file.Length - at
                || BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + (int)length - 4)) != length)
            {
                throw Broken(path, at, "a wrong block length");
            }

            if (type == 6)
            {
                frames.Add(Packet(link, file.AsSpan(at + 8, (int)length - 12)) ?? throw Broken(path, at, "a packet longer than its block"));
            }

            at += (int)length;
        }

        return frames;
    }

    private static CapturedFrame? Packet(string link, ReadOnlySpan<byte> block)
    {
        if (block.Length < 20)
        {
            return null;
        }

        var captured = BinaryPrimitives.ReadUInt32LittleEndian(block[12..]);
        var padded = (captured + 3) & ~3u;
        if (padded > block.Length - 20)
        {
            return null;
        }

        var time = ((ulong)BinaryPrimitives.ReadUInt32LittleEndian(block[4..]) << 32) | BinaryPrimitives.ReadUInt32LittleEndian(block[8..]);
        string? comment = null;
        for (var options = block[(20 + (int)padded)..]; options.Length >= 4;)
        {
            int length = BinaryPrimitives.ReadUInt16LittleEndian(options[2..]);
            if (length > options.Length - 4)
            {
                break;
            }

            if (BinaryPrimitives.ReadUInt16LittleEndian(options) == 1)
            {
                comment = Encoding.UTF8.GetString(options.Slice(4, length));
            }

            options = options[Math.Min(options.Length, 4 + ((length + 3) & ~3))..];
        }

        return new CapturedFrame(link, (int)BinaryPrimitives.ReadUInt32LittleEndian(block), (long)time, block.Slice(20, (int)captured).ToArray(), comment);
    }

    private static InvalidDataException Broken(string path, int at, string what) => new($"{path}: {what} at octet {at}");
}
