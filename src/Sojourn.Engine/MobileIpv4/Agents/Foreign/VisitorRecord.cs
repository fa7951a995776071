using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using Sojourn.Engine.Aaa;

namespace Sojourn.Engine.MobileIpv4.Agents;

/// <summary>
/// A visitor as it is saved, with the profiles it has here and, once it has gone to another agent, with what is sent after it.
/// The store seals the record: keys stand in clear inside.
/// </summary>
/// <param name="Waiting">Numbers of profiles that wait for their first packet (NV8).</param>
internal sealed record VisitorRecord(
    string Session, string DiameterSession, string Nai, string HomeAddress, string HomeAgent, string Interface, byte[] LinkAddress,
    DateTimeOffset Expires, DateTimeOffset AuthorizedUntil, string HomeRealm, ulong Registered,
    BindingRecord.Association? MobileNode, BindingRecord.Association? HomeAgentAssociation, byte[][] Profiles, uint[]? Waiting = null, VisitorRecord.Departure? Departed = null, uint? HomeTime = null)
{
    public const string Table = "visitor";

    public static StateKey KeyOf(IPAddress homeAddress) => new(Table, homeAddress.ToString());

    public static VisitorRecord Of(Visitor visitor, IEnumerable<VpnProfile> profiles, VpnProfileAvps avps) => new(
        visitor.Session, visitor.DiameterSession, visitor.Nai, visitor.HomeAddress.ToString(), visitor.HomeAgent.ToString(), visitor.Interface,
        visitor.LinkAddress.ToArray(), visitor.Expires, visitor.AuthorizedUntil, visitor.HomeRealm, visitor.Registered,
        BindingRecord.Association.Of(visitor.MobileNode), BindingRecord.Association.Of(visitor.HomeAgentAssociation), [.. profiles.Select(avps.EncodeForStore)], HomeTime: visitor.HomeTime);

    public byte[] Write() => JsonSerializer.SerializeToUtf8Bytes(this, VisitorJson.Default.VisitorRecord);

    /// <summary>Null when the record is damaged or of another version.</summary>
    public static VisitorRecord? Read(ReadOnlyMemory<byte> octets)
    {
        try
        {
            return JsonSerializer.Deserialize(octets.Span, VisitorJson.Default.VisitorRecord) is
            {
                Session: not null, DiameterSession: not null, Nai: not null, HomeAddress: not null, HomeAgent: not null, Interface: not null, LinkAddress: not null, HomeRealm: not null, Profiles: not null,
            } record
                ? record
                : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <exception cref="FormatException">An address is damaged; <see cref="ArgumentException"/> when it is a link-layer one.</exception>
    public Visitor ToVisitor() => new()
    {
        Session = Session,
        DiameterSession = DiameterSession,
        Nai = Nai,
        HomeAddress = IPAddress.Parse(HomeAddress),
        HomeAgent = IPAddress.Parse(HomeAgent),
        Interface = Interface,
        LinkAddress = new LinkAddress(LinkAddress),
        Expires = Expires,
        AuthorizedUntil = AuthorizedUntil,
        HomeRealm = HomeRealm,
        Registered = Registered,
        HomeTime = HomeTime,
        MobileNode = MobileNode?.ToAssociation(),
        HomeAgentAssociation = HomeAgentAssociation?.ToAssociation(),
    };

    /// <summary>Where the visitor went (NV2.11).</summary>
    /// <param name="Copies">What the new agent asked for.</param>
    /// <param name="Answers">Given to it, by Identification.</param>
    internal sealed record Departure(string NewAgent, byte[][] Copies, Dictionary<ulong, byte[]> Answers, ulong Latest, DateTimeOffset Until);
}

[JsonSerializable(typeof(VisitorRecord))]
internal sealed partial class VisitorJson : JsonSerializerContext;
