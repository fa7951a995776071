using System.Net;
using Sojourn.Engine.MobileIpv4;
using Sojourn.Wire.MobileIpv4;

namespace Sojourn.Engine.Tests.Agents;

/// <summary>Writes Registration Requests by hand from a mobile node's link: with the keys of somebody else, or wrong on purpose.</summary>
internal sealed class Forger(AgentFixture f, string node, string agent)
{
    private uint _tick;

    /// <summary>A challenge the agent has just advertised.</summary>
    public OctetString Challenge()
    {
        var icmp = f.Net[agent].Effects.OfType<SendIcmp>().Last();
        return AgentAdvertisement.TryParse(icmp.Message.Span, out var advertisement, out var error)
            ? advertisement.Extensions.Find<AdvertisedChallengeExtension>()!.Challenge
            : throw new InvalidOperationException(error.ToString());
    }

    public ulong Identification() => MobileIpv4Time(f.Net.Now) + ++_tick;

    public void Request(string nai, IPAddress home, IPAddress careOf, IPAddress? oldAgent = null)
    {
        var wrong = new MobilityAssociation(0x4242, AgentFixture.Secret(99));
        var request = new RegistrationRequest
        {
            Flags = RegistrationFlags.ReverseTunnel,
            Lifetime = 600,
            HomeAddress = home,
            HomeAgent = AgentFixture.Ha,
            CareOfAddress = careOf,
            Identification = Identification(),
        }.With(new NaiExtension(nai));
        if (oldAgent is not null)
        {
            request = request.With(ProjectExtensions.PreviousForeignAgent(ProjectExtensions.DefaultEnterprise, oldAgent));
        }

        Send(request.Sign(AuthenticationKind.MobileHome, wrong).With(new ChallengeExtension(Challenge())).Sign(AuthenticationKind.MobileAaa, new MobilityAssociation(0x200, AgentFixture.Secret(98))));
    }

    public void Send(RegistrationRequest request, IPAddress? source = null) =>
        f.Net.Forge(node, new SendDatagram(
            new IPEndPoint(source ?? request.HomeAddress, 434), new IPEndPoint(IPAddress.Parse($"10.1.{agent[^1]}.1"), 434), request.ToArray(), AgentFixture.MobileInterface, AgentFixture.AgentLink));

    private static ulong MobileIpv4Time(DateTimeOffset now) => Sojourn.Engine.MobileIpv4.Identification.FromTime(now);
}
