using System.Globalization;
using System.Net;

namespace Sojourn.Roles.Configuration;

/// <summary>Where something stands in a configuration file; both count from 1.</summary>
public readonly record struct SourceMark(int Line, int Column);

/// <summary>A file as written and as found (relative paths are relative to the configuration file).</summary>
public sealed record FileReference(string Written, string FullPath)
{
    /// <summary>Start of SHA-256 over a secret file's octets, so that a reload sees a changed key under the same name; empty for other files.</summary>
    public string Fingerprint { get; init; } = "";

    public override string ToString() => Written;
}

/// <summary>Bits per second.</summary>
public readonly record struct BitRate(long BitsPerSecond) : IComparable<BitRate>, IComparable
{
    public int CompareTo(object? obj) => obj is BitRate other ? CompareTo(other) : 1;

    public int CompareTo(BitRate other) => BitsPerSecond.CompareTo(other.BitsPerSecond);

    public override string ToString() => BitsPerSecond switch
    {
        >= 1_000_000_000 when BitsPerSecond % 1_000_000_000 == 0 => (BitsPerSecond / 1_000_000_000).ToString(CultureInfo.InvariantCulture) + "gbit",
        >= 1_000_000 when BitsPerSecond % 1_000_000 == 0 => (BitsPerSecond / 1_000_000).ToString(CultureInfo.InvariantCulture) + "mbit",
        >= 1_000 when BitsPerSecond % 1_000 == 0 => (BitsPerSecond / 1_000).ToString(CultureInfo.InvariantCulture) + "kbit",
        _ => BitsPerSecond.ToString(CultureInfo.InvariantCulture) + "bit",
    };
}

/// <summary>An SPI as an option: decimal or 0x… in the file, hexadecimal when shown.</summary>
public readonly record struct SpiValue(uint Value) : IComparable<SpiValue>, IComparable
{
    public int CompareTo(object? obj) => obj is SpiValue other ? CompareTo(other) : 1;

    /// <summary>0 to 255 are reserved (RFC 4303 2.1, spec M13).</summary>
    public const uint First = 256;

    public int CompareTo(SpiValue other) => Value.CompareTo(other.Value);

    public override string ToString() => "0x" + Value.ToString("x", CultureInfo.InvariantCulture);
}

/// <summary>IPv4 addresses in a row, both ends included.</summary>
public sealed record AddressRange(IPAddress First, IPAddress Last)
{
    public override string ToString() => $"{First}-{Last}";
}

/// <summary>A group of options. Knows where each of them stands, so that a finding about two options can still name a line.</summary>
public abstract class OptionSection
{
    private readonly Dictionary<string, SourceMark> _marks = [];

    /// <summary>Where the section itself stands.</summary>
    public SourceMark Mark { get; set; }

    /// <summary>Where the value of a property stands; the section's own place when the file leaves the option out.</summary>
    public SourceMark MarkOf(string property) => _marks.GetValueOrDefault(property, Mark);

    public bool Has(string property) => _marks.ContainsKey(property);

    public void SetMark(string property, SourceMark mark) => _marks[property] = mark;
}
