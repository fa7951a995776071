using System.Collections;
using System.Diagnostics.CodeAnalysis;

namespace Sojourn.Wire.MobileIpv4;

/// <summary>The extensions of one message, in their order, which is part of the message (RFC 5944 3.6.1.3). Compares by value.</summary>
public sealed class MobileIpExtensions : IReadOnlyList<MobileIpExtension>, IEquatable<MobileIpExtensions>
{
    public static readonly MobileIpExtensions None = new([]);

    private readonly MobileIpExtension[] _items;

    private MobileIpExtensions(MobileIpExtension[] items)
    {
        _items = items;
        foreach (var item in items)
        {
            Length += item.Length;
        }
    }

    public static MobileIpExtensions Of(params IEnumerable<MobileIpExtension> extensions) => new([.. extensions]);

    public int Count => _items.Length;

    /// <summary>Octets of all extensions together.</summary>
    public int Length { get; }

    public MobileIpExtension this[int index] => _items[index];

    public MobileIpExtensions Append(MobileIpExtension extension) => new([.. _items, extension]);

    /// <summary>Everything before position <paramref name="count"/>.</summary>
    public MobileIpExtensions First(int count) => new(_items[..count]);

    public MobileIpExtensions Without(Predicate<MobileIpExtension> unwanted) => new(Array.FindAll(_items, item => !unwanted(item)));

    /// <summary>The first extension of a kind, or null.</summary>
    public T? Find<T>(Func<T, bool>? where = null)
        where T : MobileIpExtension
    {
        foreach (var item in _items)
        {
            if (item is T wanted && (where is null || where(wanted)))
            {
                return wanted;
            }
        }

        return null;
    }

    /// <summary>Position of the first extension that fits, or -1.</summary>
    public int IndexOf(Predicate<MobileIpExtension> wanted) => Array.FindIndex(_items, wanted);

    /// <summary>The first extension that obliges a receiver to drop the message: unknown and not skippable (RFC 5944 1.8).</summary>
    public MobileIpExtension? FirstNotUnderstood => Array.Find(_items, item => !item.Understood && !item.Skippable);

    /// <summary>Octets taken by the extensions before <paramref name="index"/>.</summary>
    public int LengthBefore(int index)
    {
        var length = 0;
        for (var i = 0; i < index; i++)
        {
            length += _items[i].Length;
        }

        return length;
    }

    public int Write(Span<byte> destination)
    {
        var at = 0;
        foreach (var item in _items)
        {
            at += item.Write(destination[at..]);
        }

        return at;
    }

    /// <summary>Reads extensions to the end of <paramref name="octets"/>; error offsets count from <paramref name="origin"/>.</summary>
    internal static bool TryParse(
        ReadOnlySpan<byte> octets, int origin, ExtensionSpace space, [NotNullWhen(true)] out MobileIpExtensions? extensions, out WireError error)
    {
        extensions = null;
        if (octets.IsEmpty)
        {
            extensions = None;
            error = default;
            return true;
        }

        var items = new List<MobileIpExtension>(8);
        var at = 0;
        while (at < octets.Length)
        {
            if (items.Count == MobileIpv4Limits.Extensions)
            {
                error = new WireError("Extensions", origin + at, "more extensions than the limit allows", "MobileIpv4Limits.Extensions");
                return false;
            }

            if (!ExtensionReader.TryParse(octets[at..], origin + at, space, out var extension, out error))
            {
                return false;
            }

            items.Add(extension);
            at += extension.Length;
        }

        extensions = new MobileIpExtensions([.. items]);
        error = default;
        return true;
    }

    public IEnumerator<MobileIpExtension> GetEnumerator() => ((IEnumerable<MobileIpExtension>)_items).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    public bool Equals(MobileIpExtensions? other) => other is not null && _items.AsSpan().SequenceEqual(other._items);

    public override bool Equals(object? obj) => Equals(obj as MobileIpExtensions);

    public override int GetHashCode()
    {
        var hash = default(HashCode);
        foreach (var item in _items)
        {
            hash.Add(item);
        }

        return hash.ToHashCode();
    }

    public override string ToString() => $"[{string.Join(", ", _items.Select(item => item.GetType().Name))}]";
}
