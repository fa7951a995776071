using System.Diagnostics.CodeAnalysis;

namespace Sojourn.Engine.Ipsec;

/// <summary>
/// What shares one place in a table, in order. Nearly always one, which then stands there itself: an array around it would cost a packet
/// one more cache miss, and a table of a million thirty megabytes.
/// </summary>
internal readonly struct Few<T>
    where T : class
{
    private readonly T? _first;
    private readonly T[]? _rest;

    public Few(T first) => _first = first;

    private Few(ReadOnlySpan<T> all)
    {
        _first = all.IsEmpty ? null : all[0];
        _rest = all.Length > 1 ? all[1..].ToArray() : null;
    }

    public bool IsEmpty => _first is null;

    public int Count => _first is null ? 0 : 1 + (_rest?.Length ?? 0);

    /// <summary>Only where there is one.</summary>
    public T First => _first!;

    public static Few<T> Of(ReadOnlySpan<T> all) => new(all);

    public Few<T> WithFirst(T newest) => _first is null ? new(newest) : new([newest, .. ToArray()]);

    public Few<T> Without(T gone) => _rest is null ? (ReferenceEquals(_first, gone) ? default : this) : new(Array.FindAll(ToArray(), other => !ReferenceEquals(other, gone)));

    public bool Contains(T item)
    {
        foreach (var other in this)
        {
            if (ReferenceEquals(other, item))
            {
                return true;
            }
        }

        return false;
    }

    public T[] ToArray() => _first is null ? [] : _rest is null ? [_first] : [_first, .. _rest];

    public Enumerator GetEnumerator() => new(this);

    public struct Enumerator(Few<T> few)
    {
        private int _next;

        [AllowNull]
        public T Current { get; private set; }

        public bool MoveNext()
        {
            Current = _next == 0 ? few._first : few._rest is { } rest && _next <= rest.Length ? rest[_next - 1] : null;
            _next++;
            return Current is not null;
        }
    }
}
