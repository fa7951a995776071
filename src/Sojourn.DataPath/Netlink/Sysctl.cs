namespace Sojourn.DataPath.Netlink;

/// <summary>
/// Kernel network parameters under <c>/proc/sys/net</c>. The kernel resolves that tree for the namespace of the calling
/// thread, so use it inside <see cref="NetworkNamespace.Run(Action)"/> for another one.
/// </summary>
public static class Sysctl
{
    /// <param name="parts">Path under <c>/proc/sys/net</c>, e.g. <c>"ipv4", "conf", "eth0.5", "rp_filter"</c>: in parts, because interface names may hold dots.</param>
    public static string Read(params ReadOnlySpan<string> parts) => File.ReadAllText(PathOf(parts)).Trim();

    /// <summary>Null when there is no such parameter (IPv6 may be compiled out).</summary>
    public static string? TryRead(params ReadOnlySpan<string> parts) => PathOf(parts) is var path && File.Exists(path) ? File.ReadAllText(path).Trim() : null;

    /// <inheritdoc cref="Read"/>
    public static void Write(string value, params ReadOnlySpan<string> parts) => File.WriteAllText(PathOf(parts), value);

    /// <summary>Writes when the file exists (IPv6 may be compiled out). Returns the earlier value when it differed, else null.</summary>
    public static string? Change(string value, params ReadOnlySpan<string> parts)
    {
        var path = PathOf(parts);
        if (!File.Exists(path))
        {
            return null;
        }

        var earlier = File.ReadAllText(path).Trim();
        if (earlier == value)
        {
            return null;
        }

        File.WriteAllText(path, value);
        return earlier;
    }

    private static string PathOf(ReadOnlySpan<string> parts)
    {
        foreach (var part in parts)
        {
            if (part.Length == 0 || part is "." or ".." || part.Contains('/'))
            {
                throw new ArgumentException($"'{part}' is no part of a parameter's path", nameof(parts));
            }
        }

        return "/proc/sys/net/" + string.Join('/', parts);
    }
}
