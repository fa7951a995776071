using System.Net;
using Sojourn.Engine.TlsCarrier;
using Xunit;

namespace Sojourn.Engine.Tests.TlsCarrier;

/// <summary>Whose sessions a gateway takes, and for how long (TM-P24, TM-R107).</summary>
public sealed class TlsGatewayTests
{
    private static readonly DateTimeOffset s_begin = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly CarriedTerminal s_first = new("mn1.home.example", [IPNetwork.Parse("2001:db8:a:1::71/128")]), s_second = new("mn2.home.example", [IPNetwork.Parse("2001:db8:a:1::72/128")]);

    private readonly TlsGateway _gateway = new([s_first, s_second]);

    [Fact]
    public void A_listed_terminal_is_carried_and_its_end_is_told()
    {
        var effects = Handle(Opened(1, "MN1.home.example"));
        Assert.Equal(new CarryPackets(1, s_first), Assert.Single(effects.OfType<CarryPackets>()));
        Assert.Equal("tls.session.up", KindOf(effects));
        Assert.Equal(s_first, Assert.Single(_gateway.Sessions).Terminal);

        effects = Handle(new ConnectionClosed(1, "closed by the other side"));
        Assert.Equal("tls.session.down", KindOf(effects));
        Assert.Equal(1, Assert.Single(effects.OfType<CloseConnection>()).Connection);
        Assert.Empty(_gateway.Sessions);
        Assert.Null(_gateway.NextDeadline);
    }

    [Fact]
    public void A_genuine_certificate_of_somebody_else_gets_nothing()
    {
        var effects = Handle(Opened(1, "mn9.home.example"));
        Assert.Equal("tls.session.refused", KindOf(effects));
        Assert.Equal(1, Assert.Single(effects.OfType<CloseConnection>()).Connection);
        Assert.Empty(effects.OfType<CarryPackets>());
        Assert.Equal("tls.session.refused", KindOf(Handle(Opened(2))));
        Assert.Empty(Handle(new ConnectionClosed(1, "gone")));
    }

    [Fact]
    public void A_new_session_takes_the_place_of_the_same_terminals_former_one_only()
    {
        Handle(Opened(1, "mn1.home.example"));
        Handle(Opened(2, "mn2.home.example"));
        var effects = Handle(Opened(3, "mn1.home.example"));
        Assert.Equal([typeof(CloseConnection), typeof(CarryPackets)], effects.Where(e => e is CloseConnection or CarryPackets).Select(e => e.GetType()));
        Assert.Equal(1, Assert.Single(effects.OfType<CloseConnection>()).Connection);
        Assert.Equal([2, 3], _gateway.Sessions.Select(s => s.Connection).Order());

        // The end of the former connection comes late, and ends nothing.
        Assert.Empty(Handle(new ConnectionClosed(1, "gone")));
        Assert.Equal(2, _gateway.Sessions.Count());
    }

    [Fact]
    public void A_session_ends_with_its_certificate()
    {
        Handle(Opened(1, "mn1.home.example", s_begin + TimeSpan.FromHours(2)));
        Handle(Opened(2, "mn2.home.example", s_begin + TimeSpan.FromHours(1)));
        Assert.Equal(s_begin + TimeSpan.FromHours(1), _gateway.NextDeadline);
        var effects = Handle(new DeadlineReached(), s_begin + TimeSpan.FromHours(1));
        Assert.Equal(2, Assert.Single(effects.OfType<CloseConnection>()).Connection);
        Assert.Equal("tls.session.refused", KindOf(Handle(Opened(3, "mn2.home.example", s_begin + TimeSpan.FromHours(1)), s_begin + TimeSpan.FromHours(1))));
    }

    [Fact]
    public void Who_is_taken_from_the_list_or_gets_other_addresses_loses_the_session()
    {
        Handle(Opened(1, "mn1.home.example"));
        Handle(Opened(2, "mn2.home.example"));
        var sink = new EffectSink();
        _gateway.Replace([s_first with { Prefixes = [IPNetwork.Parse("2001:db8:a:1::71/128")] }], sink);
        Assert.Equal(2, Assert.Single(sink.Effects.OfType<CloseConnection>()).Connection);
        sink.Clear();
        _gateway.Replace([s_first with { Prefixes = [IPNetwork.Parse("2001:db8:a:1::7f/128")] }], sink);
        Assert.Equal(1, Assert.Single(sink.Effects.OfType<CloseConnection>()).Connection);
        Assert.Equal("tls.session.refused", KindOf(Handle(Opened(3, "mn2.home.example"))));
    }

    [Fact]
    public void An_operator_ends_one_session_or_all()
    {
        Handle(Opened(1, "mn1.home.example"));
        Handle(Opened(2, "mn2.home.example"));
        Assert.Equal(1, Assert.Single(Handle(new EndTlsSession("mn1.home.example")).OfType<CloseConnection>()).Connection);
        Handle(Opened(3, "mn1.home.example"));
        Assert.Equal([2, 3], Handle(new EndTlsSession(null)).OfType<CloseConnection>().Select(c => c.Connection).Order());
        Assert.Empty(_gateway.Sessions);
    }

    private static TlsSessionOpened Opened(long connection, string? name = null, DateTimeOffset? ends = null) =>
        new(connection, new IPEndPoint(IPAddress.Parse("2001:db8:f1::5"), 40_000), name is null ? [] : [name], ends ?? s_begin + TimeSpan.FromDays(1));

    private IReadOnlyList<Effect> Handle(EngineInput input, DateTimeOffset? now = null)
    {
        var sink = new EffectSink();
        _gateway.Handle(input, now ?? s_begin, sink);
        return sink.Effects;
    }

    private static string KindOf(IReadOnlyList<Effect> effects) => Assert.Single(effects.OfType<Report>()).Event.Kind;
}
