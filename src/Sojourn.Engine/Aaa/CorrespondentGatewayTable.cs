using System.Net;

namespace Sojourn.Engine.Aaa;

/// <summary>
/// The CN-GW address table as route decision uses it (spec 3.3, block 314): longest match. A row serves a correspondent
/// domain only when it covers the whole of it. Of rows with the same prefix the one with the lowest gateway address
/// counts, so that the order of rows in the database decides nothing.
/// </summary>
public sealed class CorrespondentGatewayTable
{
    public static readonly CorrespondentGatewayTable Empty = new([]);

    private readonly CorrespondentGatewayRow[] _rows;

    public CorrespondentGatewayTable(IEnumerable<CorrespondentGatewayRow> rows) => _rows =
        [.. rows.OrderByDescending(r => r.Correspondents.PrefixLength)
            .ThenBy(r => r.Correspondents.BaseAddress.SortKey())
            .ThenBy(r => r.Gateway.SortKey())
            .ThenBy(r => r.Type)];

    /// <summary>Longest prefix first.</summary>
    public IReadOnlyList<CorrespondentGatewayRow> Rows => _rows;

    /// <summary>The row with the longest prefix that covers <paramref name="correspondents"/>, or null.</summary>
    public CorrespondentGatewayRow? Find(IPNetwork correspondents)
    {
        foreach (var row in _rows)
        {
            if (row.Correspondents.Covers(correspondents))
            {
                return row;
            }
        }

        return null;
    }
}

internal static class AddressOrder
{
    public static bool Covers(this IPNetwork outer, IPNetwork inner) =>
        outer.PrefixLength <= inner.PrefixLength
        && outer.BaseAddress.AddressFamily == inner.BaseAddress.AddressFamily
        && outer.Contains(inner.BaseAddress);

    public static UInt128 SortKey(this IPAddress address)
    {
        Span<byte> octets = stackalloc byte[16];
        address.TryWriteBytes(octets, out var length);
        UInt128 key = 0;
        foreach (var octet in octets[..length])
        {
            key = (key << 8) | octet;
        }

        return key;
    }
}
