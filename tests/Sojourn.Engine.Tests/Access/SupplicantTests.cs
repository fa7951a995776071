using System.Net;
using Sojourn.Engine.Access;
using Sojourn.Engine.Eap;
using Sojourn.Engine.Radius;
using Sojourn.Engine.Tests.Radius;
using Sojourn.Engine.Tls;
using Sojourn.Wire.Eap;
using Sojourn.Wire.Radius;
using Xunit;

namespace Sojourn.Engine.Tests.Access;

/// <summary>Supplicants on the links of an access router, as frames between the two engines on virtual time.</summary>
public sealed class SupplicantTests
{
    private const string Name = "mn1.home.example", First = "acc0", Second = "acc1";

    private static readonly LinkAddress s_device = new([2, 0, 0, 0, 0, 1]), s_other = new([2, 0, 0, 0, 0, 9]), s_router = new([2, 0, 0, 0, 0, 0x99]);
    private static readonly IPEndPoint s_client = new(IPAddress.Parse("192.0.2.1"), 40000), s_server = new(IPAddress.Parse("192.0.2.10"), RadiusLimits.AuthenticationPort);
    private static readonly TestCredentials s_ca = new();
    private static readonly AccessDevice[] s_devices = [new(s_device, Name, true, [First, Second])];

    private sealed class Links : IDisposable
    {
        private readonly Dictionary<string, (Supplicant Engine, LinkAddress Address)> _stations = [];
        private readonly RadiusServer? _server;

        public Links(Func<PortAuthenticatorOptions, PortAuthenticatorOptions>? change = null, bool byServer = false)
        {
            var options = new PortAuthenticatorOptions
            {
                Interfaces = [First, Second],
                Registry = byServer ? null : new EapServerOptions { Methods = [EapType.Tls], Tls = s_ca.Context("as.home.example") },
                Radius = byServer ? new RadiusClientOptions { Servers = [new RadiusServerAddress("as", s_server, AccessNetwork.Secret)], Local = s_client, Name = "ar1" } : null,
                Devices = byServer ? [] : s_devices,
            };
            Router = new PortAuthenticator(change?.Invoke(options) ?? options, SystemRandomSource.Instance);
            _server = byServer
                ? new RadiusServer(AccessNetwork.ServerOptions(s_ca, users: false) with { Devices = [s_devices[0] with { Clients = [] }], AddressOnlyDevices = true }, SystemRandomSource.Instance)
                : null;
        }

        public PortAuthenticator Router { get; }

        public bool RouterIsThere { get; set; } = true;

        public DateTimeOffset Now { get; private set; } = DateTimeOffset.UtcNow;

        public List<Effect> Effects { get; } = [];

        public List<LinkAdmission> Admissions => [.. Effects.OfType<LinkAdmission>()];

        public List<StationAuthorized> Decisions => [.. Effects.OfType<StationAuthorized>()];

        public int Frames => Effects.OfType<SendEapol>().Count();

        /// <summary>A device is plugged in; its supplicant stands on its own name for the link.</summary>
        public Supplicant Plug(string link, LinkAddress address, SupplicantOptions? options = null)
        {
            options ??= Certified(link);
            var engine = new Supplicant(options with { Interface = link });
            _stations[link] = (engine, address);
            Station(link, new LinkChanged(link, true));
            return engine;
        }

        public void Station(string link, EngineInput input) => Run(_stations[link].Engine, input, link);

        public void AtRouter(EngineInput input) => Run(Router, input, null);

        public void Change(AccessDevice[] devices)
        {
            var sink = new EffectSink();
            Router.Replace(devices, sink);
            Effects.AddRange(sink.Effects.ToArray());
        }

        public void Pass(TimeSpan time)
        {
            var end = Now + time;
            while (true)
            {
                var engines = _stations.Select(s => ((IEngine)s.Value.Engine, (string?)s.Key)).Append((Router, null)).Where(e => e.Item1.NextDeadline <= end).OrderBy(e => e.Item1.NextDeadline).ToList();
                if (engines.Count == 0)
                {
                    break;
                }

                Now = engines[0].Item1.NextDeadline!.Value is var due && due > Now ? due : Now;
                Run(engines[0].Item1, new DeadlineReached(), engines[0].Item2);
            }

            Now = end;
        }

        public void Dispose()
        {
            Router.Dispose();
            _server?.Dispose();
            foreach (var (engine, _) in _stations.Values)
            {
                engine.Dispose();
            }
        }

        private void Run(IEngine engine, EngineInput input, string? link)
        {
            var sink = new EffectSink();
            engine.Handle(input, Now, sink);
            foreach (var effect in sink.Effects.ToArray())
            {
                Effects.Add(effect);
                switch (effect)
                {
                    case SendEapol sent when link is not null:
                        if (RouterIsThere)
                        {
                            Run(Router, new EapolReceived(link, _stations[link].Address, sent.Frame), null);
                        }

                        break;
                    case SendEapol sent when _stations.TryGetValue(sent.Interface, out var station) && (sent.Destination == station.Address || sent.Destination == new LinkAddress(EapolFrame.GroupAddress)):
                        Run(station.Engine, new EapolReceived(sent.Interface, s_router, sent.Frame), sent.Interface);
                        break;
                    case SendDatagram datagram when _server is not null:
                        var answers = new EffectSink();
                        _server.Handle(new DatagramReceived(datagram.Source, datagram.Destination, datagram.Payload), Now, answers);
                        foreach (var answer in answers.Effects.OfType<SendDatagram>())
                        {
                            Run(Router, new DatagramReceived(answer.Source, answer.Destination, answer.Payload), null);
                        }

                        break;
                }
            }
        }
    }

    private static SupplicantOptions Certified(string link, string name = Name, TestCredentials? ca = null) => new()
    {
        Interface = link,
        Eap = new EapPeerOptions { OuterIdentity = name, Methods = [EapType.Tls], Tls = new TlsContext((ca ?? s_ca).Issue(name), [s_ca.Anchor]), ServerName = "as.home.example" },
    };

    private static SupplicantOptions Bare(LinkAddress address) => new() { Interface = First, Eap = new EapPeerOptions { OuterIdentity = address.ToString(), Methods = [] } };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "TA1.103")]
    [Trait("Row", "TA1.103a")]
    [Trait("Row", "TA1.104")]
    public void A_device_says_who_it_is_when_its_link_comes_up_and_is_told_that_it_may_use_it(bool byServer)
    {
        using var links = new Links(byServer: byServer);
        var supplicant = links.Plug(First, s_device);

        Assert.True(supplicant.IsAdmitted);
        Assert.Equal(new LinkAdmission(First, true, ""), Assert.Single(links.Admissions));
        Assert.Equal(new StationAuthorized(First, s_device, true, Name), Assert.Single(links.Decisions));
        Assert.Null(supplicant.NextDeadline);

        links.Station(First, new LinkChanged(First, false));
        Assert.False(supplicant.IsAdmitted);
    }

    [Fact]
    [Trait("Row", "TA1.104x")]
    [Trait("Row", "TA-H23")]
    public void Whoever_uses_the_address_of_an_admitted_device_elsewhere_is_refused_and_takes_nothing_from_it()
    {
        using var links = new Links();
        var device = links.Plug(First, s_device);
        foreach (var clone in new[] { Certified(Second, "mn2.home.example"), Certified(Second, Name, new TestCredentials("Other CA")) })
        {
            links.Pass(TimeSpan.FromMinutes(2));
            Assert.False(links.Plug(Second, s_device, clone).IsAdmitted);
            links.Station(Second, new LinkChanged(Second, false));
        }

        Assert.True(device.IsAdmitted);
        Assert.Equal([(First, s_device)], links.Router.Authorized);
        Assert.Single(links.Decisions);
        Assert.Equal(2, links.Admissions.Count(a => a is { Interface: Second, Allowed: false, Reason.Length: > 0 }));
    }

    [Fact]
    public void A_device_that_proves_itself_on_another_port_is_shut_out_where_it_was()
    {
        using var links = new Links();
        links.Plug(First, s_device);
        links.Plug(Second, s_device);

        Assert.Equal([(Second, s_device)], links.Router.Authorized);
        Assert.Equal([(First, true), (First, false), (Second, true)], links.Decisions.Select(d => (d.Interface, d.Allowed)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "TA-M50")]
    public void With_addresses_alone_a_device_is_told_the_result_without_a_method(bool byServer)
    {
        using var links = new Links(o => o with { AddressOnly = true, Registry = null }, byServer);
        Assert.True(links.Plug(First, s_device, Bare(s_device)).IsAdmitted);
        Assert.False(links.Plug(Second, s_other, Bare(s_other)).IsAdmitted);

        Assert.Equal([(First, s_device)], links.Router.Authorized);
        Assert.Equal(new LinkAdmission(Second, false, "the server refuses"), links.Admissions[^1]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "TA-M50")]
    public void With_addresses_alone_a_device_without_EAPOL_is_let_in_when_it_is_heard_and_looked_up_again_when_its_time_is_over(bool byServer)
    {
        using var links = new Links(o => o with { AddressOnly = true, Registry = null, SessionLifetime = TimeSpan.FromHours(8) }, byServer);
        links.AtRouter(new StationSeen(First, s_device));
        links.AtRouter(new StationSeen(First, s_device));
        links.AtRouter(new StationSeen(First, s_other));

        Assert.Equal(new StationAuthorized(First, s_device, true, Name), Assert.Single(links.Decisions));
        Assert.Equal(0, links.Frames);
        links.Pass(TimeSpan.FromHours(9));
        Assert.Equal([(First, s_device)], links.Router.Authorized);
        Assert.Equal(0, links.Frames);
    }

    [Fact]
    [Trait("Row", "TA-M50")]
    public void Unless_addresses_alone_count_a_frame_that_is_not_EAPOL_opens_nothing_nor_does_an_answer_without_proof()
    {
        using var links = new Links();
        links.AtRouter(new StationSeen(First, s_device));
        Assert.False(links.Plug(First, s_device, Bare(s_device)).IsAdmitted);
        Assert.Empty(links.Decisions);
    }

    [Fact]
    public void A_supplicant_without_method_believes_nobody_who_says_success_unasked()
    {
        using var links = new Links { RouterIsThere = false };
        var supplicant = links.Plug(First, s_device);
        links.Station(First, new EapolReceived(First, s_other, new EapolFrame(2, EapolType.Eap, EapPacket.Success(1).ToArray()).ToArray()));
        Assert.False(supplicant.IsAdmitted);

        var identity = new EapolFrame(2, EapolType.Eap, new EapPacket(EapCode.Request, 1, EapType.Identity, default).ToArray()).ToArray();
        links.Station(First, new EapolReceived(First, s_router, identity));
        links.Station(First, new EapolReceived(First, s_router, new EapolFrame(2, EapolType.Eap, EapPacket.Success(1).ToArray()).ToArray()));
        Assert.False(supplicant.IsAdmitted); // it has a method, which has not come to its end
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Where_nobody_asks_a_device_goes_on_announcing_itself_and_uses_the_link_only_if_it_need_not_prove_itself(bool required)
    {
        using var links = new Links { RouterIsThere = false };
        var supplicant = links.Plug(First, s_device, Certified(First) with { Required = required });
        links.Pass(TimeSpan.FromSeconds(7));

        Assert.Equal(!required, supplicant.IsAdmitted);
        Assert.Equal(required ? 4 : 3, links.Frames);
        links.RouterIsThere = true;
        links.Pass(TimeSpan.FromMinutes(1));
        Assert.True(supplicant.IsAdmitted);
    }

    [Fact]
    [Trait("Row", "TA-D12")]
    public void A_refused_device_tries_again_after_a_while_and_is_in_once_the_registry_has_it_and_out_when_it_has_it_no_more()
    {
        using var links = new Links(o => o with { Devices = [] });
        var supplicant = links.Plug(First, s_device);
        Assert.False(supplicant.IsAdmitted);

        links.Change(s_devices);
        links.Pass(TimeSpan.FromMinutes(3));
        Assert.True(supplicant.IsAdmitted);

        links.Change([s_devices[0] with { Clients = [Second] }]);
        Assert.Empty(links.Router.Authorized);
    }

    [Fact]
    public void A_router_that_starts_anew_asks_who_is_there()
    {
        using var links = new Links { RouterIsThere = false };
        var supplicant = links.Plug(First, s_device);
        links.RouterIsThere = true;
        links.AtRouter(new LinkChanged(First, true));
        Assert.True(supplicant.IsAdmitted);
    }

    [Fact]
    public void A_port_full_of_strangers_disturbs_no_other()
    {
        using var links = new Links(o => o with { MaximumStrangers = 8 });
        for (byte number = 1; number <= 20; number++)
        {
            links.AtRouter(new EapolReceived(Second, new LinkAddress([2, 0, 0, 0, 7, number]), new EapolFrame(2, EapolType.Start, default).ToArray()));
        }

        Assert.Equal(8, links.Router.Stations.Count());
        Assert.True(links.Plug(First, s_device).IsAdmitted);
    }
}
