using Sojourn.Engine.Ipsec;
using Xunit;

namespace Sojourn.Engine.Tests.Ipsec;

public class FewTests
{
    /// <summary>Beside a list, by changes at random; what was copied earlier stays as it was.</summary>
    [Fact]
    public void A_few_hold_what_a_list_holds_in_its_order()
    {
        var random = new Random(1);
        var items = Enumerable.Range(0, 4).Select(_ => new object()).ToArray();
        var (few, model) = (default(Few<object>), new List<object>());
        for (var step = 0; step < 1000; step++)
        {
            var (before, modelBefore) = (few, model.ToArray());
            var item = items[random.Next(items.Length)];
            if (model.Contains(item))
            {
                (few, _) = (few.Without(item), model.Remove(item));
            }
            else
            {
                few = few.WithFirst(item);
                model.Insert(0, item);
            }

            Same(model, few);
            Same(modelBefore, before);
            Assert.All(items, other => Assert.Equal(model.Contains(other), few.Contains(other)));
        }
    }

    private static void Same(IReadOnlyList<object> expected, Few<object> few)
    {
        var walked = new List<object>();
        foreach (var item in few)
        {
            walked.Add(item);
        }

        Assert.Equal(expected, walked);
        Assert.Equal(expected, few.ToArray());
        Assert.Equal(expected, Few<object>.Of(few.ToArray()).ToArray());
        Assert.Equal(expected.Count, few.Count);
        Assert.Equal(expected.Count == 0, few.IsEmpty);
    }
}
