using System.Net;
using Sojourn.DataPath.PacketPath;
using Xunit;

namespace Sojourn.DataPath.Tests;

public class SelectorRulesTests
{
    private static readonly IPNetwork Everything = IPNetwork.Parse("0.0.0.0/0"), Company = IPNetwork.Parse("192.168.50.0/24");
    private readonly HashSet<(IPNetwork, IPNetwork)> _set = [];
    private readonly SelectorRules _rules;

    public SelectorRulesTests() => _rules = new SelectorRules((source, destination) => Assert.True(_set.Add((source, destination))), (source, destination) => Assert.True(_set.Remove((source, destination))));

    [Fact]
    public void The_rules_of_a_home_agent_do_not_grow_with_its_users()
    {
        _rules.Add(Everything, Company);
        for (var user = 0; user < 5000; user++)
        {
            _rules.Attract(Home(user).BaseAddress);
            _rules.Add(Home(user), Company);
            _rules.Add(Company, Home(user));
        }

        Assert.Equal([(Everything, Company)], _set);
        for (var user = 0; user < 5000; user++)
        {
            _rules.Remove(Company, Home(user));
            _rules.Remove(Home(user), Company);
            _rules.Release(Home(user).BaseAddress);
        }

        Assert.Equal([(Everything, Company)], _set);
        _rules.Remove(Everything, Company);
        Assert.Empty(_set);
    }

    [Fact]
    public void What_a_wider_rule_covered_gets_its_own_before_that_goes()
    {
        _rules.Add(Everything, Company);
        _rules.Add(Home(1), Company);
        _rules.Add(Home(1), IPNetwork.Parse("192.168.50.7/32"));
        _rules.Add(Home(1), IPNetwork.Parse("192.168.60.0/24"));
        Assert.Equal(2, _set.Count);

        _rules.Remove(Everything, Company);
        Assert.Contains((Home(1), Company), _set);
        Assert.DoesNotContain((Everything, Company), _set);
        Assert.Contains(_set, rule => rule.Item1 == Home(1) && rule.Item2.Contains(IPAddress.Parse("192.168.50.7")));
        Assert.Equal(_set.Count, _rules.Ruled);
    }

    [Fact]
    public void Selectors_to_an_address_get_rules_when_it_is_no_longer_attracted()
    {
        _rules.Attract(Home(1).BaseAddress);
        _rules.Add(Company, Home(1));
        _rules.Add(Company, Home(1));
        Assert.Empty(_set);
        _rules.Release(Home(1).BaseAddress);
        Assert.Equal([(Company, Home(1))], _set);
        _rules.Remove(Company, Home(1));
        Assert.Single(_set);
        _rules.Remove(Company, Home(1));
        Assert.Empty(_set);
    }

    private static IPNetwork Home(int user) => new(new IPAddress([10, 128, (byte)(user >> 8), (byte)user]), 32);
}
