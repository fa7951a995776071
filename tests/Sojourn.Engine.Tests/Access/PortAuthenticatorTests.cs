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

/// <summary>A terminal's supplicant at an access router's link; the registry at the router, then at the authentication server.</summary>
public sealed class PortAuthenticatorTests
{
    private const string Link = "acc0";
    private static readonly LinkAddress s_station = new([2, 0, 0, 0, 0, 1]), s_other = new([2, 0, 0, 0, 0, 9]);
    private static readonly TestCredentials s_ca = new();
    private static readonly IPEndPoint s_router = new(IPAddress.Parse("192.0.2.1"), 40000), s_server = new(IPAddress.Parse("192.0.2.10"), RadiusLimits.AuthenticationPort);

    /// <summary>The link, the router and, when the registry is there, the server.</summary>
    private sealed class AccessLink : IDisposable
    {
        private readonly RadiusServer? _server;
        private readonly EffectSink _sink = new();

        public AccessLink(bool byServer, bool allowed = true)
        {
            AccessDevice[] devices = [new AccessDevice(s_station, "mn1.home.example", allowed, [])];
            _server = byServer ? new RadiusServer(AccessNetwork.ServerOptions(s_ca, users: false) with { Devices = devices }, SystemRandomSource.Instance) : null;
            Router = new PortAuthenticator(
                new PortAuthenticatorOptions
                {
                    Interfaces = [Link],
                    Radius = byServer ? new RadiusClientOptions { Servers = [new RadiusServerAddress("as", s_server, AccessNetwork.Secret)], Local = s_router, Name = "ar1" } : null,
                    Registry = byServer ? null : new EapServerOptions { Methods = [EapType.Tls], Tls = s_ca.Context("as.home.example"), FragmentLength = 300 },
                    Devices = byServer ? [] : devices,
                },
                SystemRandomSource.Instance);
        }

        public PortAuthenticator Router { get; }

        public DateTimeOffset Now { get; set; } = DateTimeOffset.UtcNow;

        public List<Effect> Effects { get; } = [];

        public bool ServerAnswers { get; set; } = true;

        public int Requests { get; private set; }

        public IEnumerable<StationAuthorized> Decisions => Effects.OfType<StationAuthorized>();

        /// <summary>The EAP packets that the station got, in order.</summary>
        public List<EapPacket> Received { get; } = [];

        /// <summary>A supplicant starts and answers until there is nothing to answer.</summary>
        public EapPeer Join(string certificate = "mn1.home.example", LinkAddress? from = null, TestCredentials? ca = null)
        {
            var peer = new EapPeer(new EapPeerOptions { OuterIdentity = certificate, Methods = [EapType.Tls], Tls = new TlsContext((ca ?? s_ca).Issue(certificate), [s_ca.Anchor]), ServerName = "as.home.example", FragmentLength = 300 });
            Frame(EapolType.Start, [], from);
            Answer(peer, from);
            return peer;
        }

        public void Answer(EapPeer peer, LinkAddress? from = null)
        {
            for (var seen = Received.Count - 1; seen >= 0 && seen < Received.Count; seen++)
            {
                if (peer.Receive(Received[seen], Now) is { } response)
                {
                    Frame(EapolType.Eap, response.ToArray(), from);
                }
            }
        }

        public void Frame(EapolType type, byte[] body, LinkAddress? from = null) => Tell(new EapolReceived(Link, from ?? s_station, new EapolFrame(1, type, body).ToArray()));

        public void Tell(EngineInput input)
        {
            _sink.Clear();
            Router.Handle(input, Now, _sink);
            Effect[] effects = [.. _sink.Effects];
            Effects.AddRange(effects);
            foreach (var effect in effects)
            {
                if (effect is SendEapol sent && EapolFrame.TryParse(sent.Frame.Span, out var frame, out _) && EapPacket.TryParse(frame.Body.Span, out var packet, out _))
                {
                    Received.Add(packet);
                }
                else if (effect is SendDatagram datagram)
                {
                    Requests++;
                    if (ServerAnswers && _server is not null)
                    {
                        var answers = new EffectSink();
                        _server.Handle(new DatagramReceived(datagram.Source, datagram.Destination, datagram.Payload), Now, answers);
                        foreach (var answer in answers.Effects.OfType<SendDatagram>())
                        {
                            Tell(new DatagramReceived(answer.Source, answer.Destination, answer.Payload));
                        }
                    }
                }
            }
        }

        public void Pass(TimeSpan time)
        {
            var end = Now + time;
            while (Router.NextDeadline is { } next && next <= end)
            {
                Now = next > Now ? next : Now;
                Tell(new DeadlineReached());
            }

            Now = end;
        }

        public void Dispose()
        {
            Router.Dispose();
            _server?.Dispose();
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "TA1.103")]
    [Trait("Row", "TA1.104")]
    [Trait("Row", "TA-A6")]
    [Trait("Row", "TA-C18")]
    [Trait("Row", "TA-M50")]
    public void A_registered_device_gets_in_by_its_certificate_wherever_the_registry_is(bool byServer)
    {
        using var link = new AccessLink(byServer);
        Assert.Empty(link.Router.Authorized);

        var peer = link.Join();

        Assert.Equal(EapPeerState.Succeeded, peer.State);
        Assert.Equal(new StationAuthorized(Link, s_station, true, "mn1.home.example"), Assert.Single(link.Decisions));
        Assert.Equal([(Link, s_station)], link.Router.Authorized);
        Assert.Equal(EapType.Identity, link.Received[0].Type);
        Assert.Equal(byServer, link.Requests > 0);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    [Trait("Row", "TA1.104x")]
    [Trait("Row", "TA-H23")]
    public void A_device_that_is_not_registered_or_clones_an_address_stays_out_and_is_left_alone_for_a_while(bool byServer)
    {
        foreach (var (certificate, from, ca, allowed) in new (string, LinkAddress, TestCredentials?, bool)[]
        {
            ("mn1.home.example", s_other, null, true), // not registered
            ("mn2.home.example", s_station, null, true), // the address of mn1, cloned
            ("mn1.home.example", s_station, new TestCredentials("Other CA"), true),
            ("mn1.home.example", s_station, null, false), // shut out
        })
        {
            using var link = new AccessLink(byServer, allowed);
            Assert.Equal(EapPeerState.Failed, link.Join(certificate, from, ca).State);
            Assert.Empty(link.Decisions);
            Assert.Empty(link.Router.Authorized);
            Assert.Equal(EapCode.Failure, link.Received[^1].Code);

            var heard = link.Received.Count;
            link.Frame(EapolType.Start, [], from);
            Assert.Equal(heard, link.Received.Count);
            link.Pass(TimeSpan.FromSeconds(61));
            link.Frame(EapolType.Start, [], from);
            Assert.Equal(heard + 1, link.Received.Count);
        }
    }

    /// <summary>The router's port comes up and greets everybody while the terminal announces itself; frames of both are on their way at once.</summary>
    /// <param name="answered">The greeting is answered before the announcement comes.</param>
    [Theory]
    [Trait("Row", "TA1.103")]
    [Trait("Row", "TA1.104")]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void A_greeting_and_an_announcement_that_cross_shut_no_registered_device_out(bool byServer, bool answered)
    {
        using var link = new AccessLink(byServer);
        using var supplicant = new Supplicant(new SupplicantOptions
        {
            Interface = Link,
            Eap = new EapPeerOptions { OuterIdentity = "mn1.home.example", Methods = [EapType.Tls], Tls = new TlsContext(s_ca.Issue("mn1.home.example"), [s_ca.Anchor]), ServerName = "as.home.example", FragmentLength = 300 },
        });
        var (said, heard) = (new Queue<ReadOnlyMemory<byte>>(), 0);
        void Station(EngineInput input)
        {
            var sink = new EffectSink();
            supplicant.Handle(input, link.Now, sink);
            sink.Effects.OfType<SendEapol>().ToList().ForEach(sent => said.Enqueue(sent.Frame));
        }

        void Router(ReadOnlyMemory<byte> frame) => link.Tell(new EapolReceived(Link, s_station, frame));
        void Hear() => Station(new EapolReceived(Link, s_other, new EapolFrame(1, EapolType.Eap, link.Received[heard++].ToArray()).ToArray()));

        link.Tell(new LinkChanged(Link, true));
        Station(new LinkChanged(Link, true));
        var announcement = said.Dequeue();
        if (answered)
        {
            Hear();
            Router(said.Dequeue());
        }

        Router(announcement);
        while (heard < link.Received.Count || said.Count > 0)
        {
            if (heard < link.Received.Count)
            {
                Hear();
            }
            else
            {
                Router(said.Dequeue());
            }
        }

        Assert.True(supplicant.IsAdmitted);
        Assert.Equal([new StationAuthorized(Link, s_station, true, "mn1.home.example")], link.Decisions);
    }

    [Fact]
    public void A_station_that_does_not_answer_is_asked_four_times_and_one_whose_server_is_silent_stays_out()
    {
        using var link = new AccessLink(byServer: true);
        link.Frame(EapolType.Start, []);
        link.Pass(TimeSpan.FromSeconds(12));
        Assert.Equal(4, link.Received.Count(p => p.Code == EapCode.Request));
        Assert.Equal(EapCode.Failure, link.Received[^1].Code);

        using var silent = new AccessLink(byServer: true) { ServerAnswers = false };
        var peer = silent.Join();
        silent.Pass(TimeSpan.FromSeconds(40));
        silent.Answer(peer);
        Assert.Equal(EapPeerState.Failed, peer.State);
        Assert.Empty(silent.Router.Authorized);
    }

    [Theory]
    [InlineData("logoff")]
    [InlineData("link")]
    [InlineData("time")]
    public void Access_ends_with_logoff_with_the_link_and_when_the_station_does_not_prove_itself_anew(string how)
    {
        using var link = new AccessLink(byServer: false);
        link.Join();
        switch (how)
        {
            case "logoff":
                link.Frame(EapolType.Logoff, []);
                break;
            case "link":
                link.Tell(new LinkChanged(Link, false));
                break;
            default:
                link.Pass(TimeSpan.FromHours(8));
                Assert.Single(link.Router.Authorized); // asked anew, and in meanwhile
                link.Pass(TimeSpan.FromSeconds(13));
                break;
        }

        Assert.Empty(link.Router.Authorized);
        Assert.Equal(new StationAuthorized(Link, s_station, false, ""), link.Decisions.Last());
    }

    [Fact]
    public void A_session_is_renewed_by_proving_oneself_anew()
    {
        using var link = new AccessLink(byServer: true);
        link.Join();
        link.Pass(TimeSpan.FromHours(8));
        using var again = new EapPeer(new EapPeerOptions { OuterIdentity = "mn1.home.example", Methods = [EapType.Tls], Tls = new TlsContext(s_ca.Issue("mn1.home.example"), [s_ca.Anchor]), ServerName = "as.home.example" });
        link.Answer(again);
        Assert.Equal(EapPeerState.Succeeded, again.State);
        Assert.Single(link.Router.Authorized);
        link.Pass(TimeSpan.FromHours(1));
        Assert.Single(link.Router.Authorized);
    }
}
