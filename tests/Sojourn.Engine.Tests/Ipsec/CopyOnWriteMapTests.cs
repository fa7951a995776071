using Sojourn.Engine.Ipsec;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

public class CopyOnWriteMapTests
{
    /// <summary>By changes of their own, and by such as belong together and end where a copy is kept.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_map_holds_what_a_dictionary_holds_and_an_old_copy_what_it_held(bool together)
    {
        var random = new Random(1);
        var model = new Dictionary<Key, int>();
        var map = CopyOnWriteMap<Key, int>.Empty;
        var (old, oldModel) = (map, new Dictionary<Key, int>());
        var owner = together ? new object() : null;
        for (var step = 0; step < 20_000; step++)
        {
            // Three kinds of hash: spread, alike in all but a few bits, and the same for many keys.
            var number = random.Next(2000);
            var key = new Key(number, (number % 3) switch { 0 => number * 7919, 1 => number & 0xF, _ => 42 });
            if (random.Next(3) == 0)
            {
                model.Remove(key);
                map = map.Without(key, owner);
            }
            else
            {
                model[key] = step;
                map = map.With(key, step, owner);
            }

            if (step % 1000 == 0)
            {
                Same(model, map);
                Same(oldModel, old);
                (old, oldModel) = (map, new Dictionary<Key, int>(model));
                owner = together ? new object() : null;
            }
        }

        foreach (var key in model.Keys)
        {
            map = map.Without(key);
        }

        Assert.Equal(0, map.Count);
        Assert.Empty(map.Values);
    }

    private static void Same(Dictionary<Key, int> model, CopyOnWriteMap<Key, int> map)
    {
        Assert.Equal(model.Count, map.Count);
        Assert.Equal(model.Values.Order(), map.Values.Order());
        for (var number = 0; number < 2000; number++)
        {
            foreach (var hash in (int[])[number * 7919, number & 0xF, 42])
            {
                var key = new Key(number, hash);
                Assert.Equal(model.TryGetValue(key, out var expected), map.TryGet(key, out var found));
                Assert.Equal(expected, found);
            }
        }
    }

    private readonly record struct Key(int Number, int Hash)
    {
        public override int GetHashCode() => Hash;
    }
}
