using System.Net;
using System.Text;
using Sojourn.Engine.MobileIpv6;
using Sojourn.Wire.Dns;
using Sojourn.Wire.MobileIpv6;
using Xunit;
using static Sojourn.Engine.Tests.MobileIpv6.HomeLinkWorld;

namespace Sojourn.Engine.Tests.MobileIpv6;

/// <summary>Names of terminals, from the binding update's wish to the acknowledgement's status (RFC 5026 6).</summary>
public class HomeAgentNameTests
{
    private const string Name = "mn1.home.example";
    private static readonly IPAddress s_careOf = IPAddress.Parse("2001:db8:f:1::9");

    private readonly HomeLinkWorld _world;
    private readonly long _association;
    private ushort _sequence;

    public HomeAgentNameTests() => (_world, _association) = Make(NameRegistration.WhenAsked);

    private static (HomeLinkWorld World, long Association) Make(NameRegistration when, string identifier = Name, TimeSpan? valid = null)
    {
        var world = new HomeLinkWorld(o => o with { Names = when }, valid: valid);
        return (world, world.Associate(HomeAddress, s_careOf, identifier));
    }

    private static DnsUpdateOption Wish(string name = Name, bool remove = false) => new(DnsUpdateStatus.Performed, remove, Encoding.ASCII.GetBytes(name));

    private IReadOnlyList<Effect> Update(ushort lifetime = 100, params MobilityOption[] options) => _world.Update(++_sequence, _association, lifetime: lifetime, options: options);

    private static DnsUpdateStatus? StatusIn(IEnumerable<Effect> effects) => Acknowledged(effects) is { } answer ? answer.Message.Options.Find<DnsUpdateOption>()?.Status : null;

    [Theory]
    [InlineData(DnsUpdateStatus.Performed)]
    [InlineData(DnsUpdateStatus.Prohibited)]
    [InlineData(DnsUpdateStatus.Failed)]
    [Trait("Row", "TA1.137a")]
    [Trait("Row", "TA-G33")]
    public void The_acknowledgement_waits_for_the_name_service_and_says_what_came_of_it(DnsUpdateStatus status)
    {
        var asked = Update(options: Wish());
        Assert.Equal(new RequestName(HomeAddress, Name), Assert.Single(asked.OfType<RequestName>()));
        Assert.Null(Acknowledged(asked));
        Assert.NotNull(_world.Binding);
        var answered = _world.TellAgent(new NameAnswered(HomeAddress, false, status));
        var (message, _, _) = Acknowledged(answered)!.Value;
        Assert.Equal((BindingStatus.Accepted, _sequence, status), (message.Status, message.SequenceNumber, message.Options.Find<DnsUpdateOption>()!.Status));
    }

    [Theory]
    [InlineData("mn2.home.example")]
    [InlineData("mn1.home.example.evil.example")]
    [InlineData("")]
    [Trait("Row", "TA-H27")]
    public void Another_name_than_the_certificates_is_prohibited(string name)
    {
        var effects = Update(options: Wish(name));
        Assert.Equal(DnsUpdateStatus.Prohibited, StatusIn(effects));
        Assert.Empty(effects.OfType<RequestName>());
        Assert.NotNull(_world.Binding);
    }

    [Fact]
    public void The_name_may_be_written_as_the_DNS_does_and_in_any_case()
    {
        Assert.Single(Update(options: new DnsUpdateOption(DnsUpdateStatus.Performed, false, DnsName.FromText("MN1.home.example").Octets)).OfType<RequestName>());
        Update(lifetime: 0);
        Assert.Single(Update(options: Wish("Mn1.Home.Example.")).OfType<RequestName>());
    }

    [Theory]
    [InlineData(NameRegistration.WhenAsked, "CN=mn1,O=home")]
    [InlineData(NameRegistration.Never, Name)]
    public void A_distinguished_name_and_a_home_agent_without_names_register_nothing(NameRegistration when, string identifier)
    {
        var (world, association) = Make(when, identifier);
        var effects = world.Update(1, association, options: Wish());
        Assert.Equal(DnsUpdateStatus.Prohibited, StatusIn(effects));
        Assert.Empty(effects.OfType<RequestName>());
    }

    [Fact]
    public void A_name_that_stands_is_not_asked_for_again_and_one_on_its_way_not_twice()
    {
        Update(options: Wish());
        var second = Update(options: Wish());
        Assert.Empty(second.OfType<RequestName>());
        var answered = Acknowledged(_world.TellAgent(new NameAnswered(HomeAddress, false, DnsUpdateStatus.Performed)))!.Value;
        Assert.Equal(_sequence, answered.Message.SequenceNumber);
        var third = Update(options: Wish());
        Assert.Empty(third.OfType<RequestName>());
        Assert.Equal(DnsUpdateStatus.Performed, StatusIn(third));

        // Without the option nothing changes.
        Assert.Empty(Update().OfType<ReleaseName>());
    }

    [Fact]
    public void A_slow_name_service_delays_the_acknowledgement_by_two_seconds_at_most()
    {
        Update(options: Wish());
        _world.Run(TimeSpan.FromSeconds(1.9));
        Assert.Null(Acknowledged(_world.AgentEffects));
        _world.Run(TimeSpan.FromSeconds(0.1));
        Assert.Equal(DnsUpdateStatus.Unspecified, StatusIn(_world.AgentEffects));
        Assert.Empty(_world.TellAgent(new NameAnswered(HomeAddress, false, DnsUpdateStatus.Performed)).OfType<SendIpv6Packet>());
        Assert.Equal(DnsUpdateStatus.Performed, StatusIn(Update(options: Wish())));
    }

    [Fact]
    [Trait("Row", "TA1.137a")]
    public void The_name_goes_with_the_binding_whatever_ends_it()
    {
        void Registered()
        {
            Update(options: Wish());
            _world.TellAgent(new NameAnswered(HomeAddress, false, DnsUpdateStatus.Performed));
            _world.AgentEffects.Clear();
        }

        void Gone()
        {
            Assert.Equal(new ReleaseName(HomeAddress, Name), Assert.Single(_world.AgentEffects.OfType<ReleaseName>()));
            Assert.Null(_world.Binding);
        }

        Registered();
        Update(lifetime: 0);
        Gone();
        Registered();
        _world.Run(TimeSpan.FromSeconds(401));
        Gone();
        Registered();
        _world.TellAgent(new ClearBinding(HomeAddress));
        Gone();
        Registered();
        _world.TellAgent(new AssociationEnded(_association, EndBinding: true));
        Gone();
    }

    [Fact]
    [Trait("Row", "TA-N21")]
    public void The_name_goes_within_the_second_its_prefix_ends()
    {
        var (world, association) = Make(NameRegistration.Always, valid: TimeSpan.FromSeconds(60));
        Assert.Single(world.Update(1, association).OfType<RequestName>());
        world.Run(TimeSpan.FromSeconds(59));
        Assert.Empty(world.AgentEffects.OfType<ReleaseName>());
        world.Run(TimeSpan.FromSeconds(1));
        Assert.Single(world.AgentEffects.OfType<ReleaseName>());
    }

    [Fact]
    public void The_remove_flag_takes_the_name_and_leaves_the_binding()
    {
        Update(options: Wish());
        _world.TellAgent(new NameAnswered(HomeAddress, false, DnsUpdateStatus.Performed));
        var removing = Update(options: Wish(remove: true));
        Assert.Single(removing.OfType<ReleaseName>());
        Assert.Null(Acknowledged(removing));
        Assert.Equal(DnsUpdateStatus.Performed, StatusIn(_world.TellAgent(new NameAnswered(HomeAddress, true, DnsUpdateStatus.Performed))));
        Assert.NotNull(_world.Binding);
        Assert.Equal(DnsUpdateStatus.Performed, StatusIn(Update(options: Wish(remove: true))));
    }

    [Fact]
    [Trait("Row", "TA-G33")]
    public void Unasked_the_home_agent_registers_where_it_is_told_to_and_acknowledges_at_once()
    {
        var (world, association) = Make(NameRegistration.Always);
        var effects = world.Update(1, association);
        Assert.Single(effects.OfType<RequestName>());
        Assert.NotNull(Acknowledged(effects));
        Assert.Null(StatusIn(effects));
    }

    [Fact]
    public void After_a_restart_the_name_of_a_binding_that_is_over_goes()
    {
        var saved = Update(options: Wish()).OfType<SaveState>().Single();
        var again = new HomeLinkWorld(o => o with { Names = NameRegistration.WhenAsked });
        Assert.Empty(again.TellAgent(new EngineStarted([new SavedState(saved.Key, saved.Value)])).OfType<ReleaseName>());
        again.Run(TimeSpan.FromSeconds(401));
        Assert.Equal(new ReleaseName(HomeAddress, Name), Assert.Single(again.AgentEffects.OfType<ReleaseName>()));

        var late = new HomeLinkWorld(o => o with { Names = NameRegistration.WhenAsked });
        late.Run(TimeSpan.FromSeconds(401));
        Assert.Single(late.TellAgent(new EngineStarted([new SavedState(saved.Key, saved.Value)])).OfType<ReleaseName>());
    }

    [Fact]
    [Trait("Row", "TA1.137a")]
    public void A_node_with_a_name_asks_for_it_and_takes_it_back()
    {
        var world = new HomeLinkWorld(o => o with { Names = NameRegistration.WhenAsked }, o => o with { Name = "alice.home.example" });
        world.Answers = effect =>
        {
            switch (effect)
            {
                case RequestName name:
                    world.At(TimeSpan.FromMilliseconds(20), () => world.TellAgent(new NameAnswered(name.HomeAddress, false, DnsUpdateStatus.Performed)));
                    break;
                case ReleaseName name:
                    world.At(TimeSpan.FromMilliseconds(20), () => world.TellAgent(new NameAnswered(name.HomeAddress, true, DnsUpdateStatus.Performed)));
                    break;
            }
        };
        world.KeyManagement = false;
        world.TellNode(new SetHomeAddress(HomeAddress, HomeNetwork, world.Now + TimeSpan.FromDays(1)));
        world.Attach("2001:db8:f:1::/64");
        world.Run(TimeSpan.FromSeconds(2));
        world.Associate(HomeAddress, world.Node.CareOfAddress!, "alice.home.example");
        world.Run(TimeSpan.FromSeconds(2));
        Assert.Equal((BindingUpdateState.Registered, DnsUpdateStatus.Performed), (world.Entry!.State, world.Node.NameStatus));
        Assert.Single(world.AgentEffects.OfType<RequestName>());
        world.TellNode(new LeaveHomeAgent());
        world.Run(TimeSpan.FromSeconds(2));
        Assert.Single(world.AgentEffects.OfType<ReleaseName>());
        Assert.Null(world.Entry);
    }
}
