namespace Sojourn.Wire.Tests.Dhcpv6;

/// <summary>Messages of clients and servers that are not ours.</summary>
internal static class CapturedDhcp
{
    /// <summary>Solicit to Release of wide and dibbler clients with Kea.</summary>
    public static IReadOnlyList<byte[]> Messages { get; } =
        [.. File.ReadLines(Path.Combine(AppContext.BaseDirectory, "Dhcpv6", "Vectors", "pd-kea.txt")).Where(line => !line.StartsWith('#')).Select(Convert.FromHexString)];
}
