using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Sojourn.Engine.Accounting;

/// <summary>Accounting-Record-Type (RFC 6733 section 9.8.1). A session with a length never uses EVENT_RECORD.</summary>
public enum AccountingRecordType : byte
{
    Start = 2,
    Interim = 3,
    Stop = 4,
}

/// <summary>One accounting record as it goes over the wire: cumulative since the accounting session began.</summary>
public sealed record AccountingRecord
{
    /// <summary>Session-Id of the accounting session: one user's stay at one agent. Not that of the AMR or HAR, which changes with every authorization.</summary>
    public required string Session { get; init; }

    /// <summary>Accounting-Record-Number: 0 for the first record of the session.</summary>
    public required uint Number { get; init; }

    public required AccountingRecordType Type { get; init; }

    /// <summary>Acct-Multi-Session-Id, the same over all moves (R34).</summary>
    public required string MobilitySession { get; init; }

    /// <summary>Realm in lower case.</summary>
    public required string Nai { get; init; }

    /// <summary>0.0.0.0 when an agent of another make does not tell.</summary>
    public required IPAddress HomeAddress { get; init; }

    public IPAddress? HomeAgent { get; init; }

    /// <summary>When the record was made; whole seconds on the wire.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Acct-Session-Time, seconds.</summary>
    public required uint SessionTime { get; init; }

    public UsageFigures Total { get; init; }

    /// <summary>What <see cref="Total"/> is made of; profile 0 is what no profile selected.</summary>
    public IReadOnlyList<ProfileUsage> Profiles { get; init; } = [];
}

/// <summary>What a home AAA server keeps of a record.</summary>
/// <param name="Meter">Where it was measured.</param>
/// <param name="SessionKnown">The server had given out the mobility session to this user when the record came, or knows its accounting session from then.</param>
public sealed record UsageRecord(AccountingRecord Record, string OriginHost, string OriginRealm, UsageMeterPlace Meter, bool SessionKnown, DateTimeOffset Received);

/// <summary>Who measured. Both ends of the visited leg do, so only one kind may be added up.</summary>
public enum UsageMeterPlace : byte
{
    /// <summary>The serving node: sees all of the user's packets, direct routes too. What is billed.</summary>
    ForeignAgent,

    /// <summary>Sees what passes by the home network; a check on the visited network's figures.</summary>
    HomeAgent,
}

/// <summary>Commits a usage record before any later effect is carried out; one that is there already stays as it is.</summary>
public sealed record StoreUsage(UsageRecord Usage) : Effect;

/// <summary>What is stored already. Implementations answer synchronously from the node's own database.</summary>
public interface IUsageLedger
{
    /// <summary>Whether a record with this Session-Id and Accounting-Record-Number of this origin is stored (RFC 6733 section 9.4).</summary>
    bool Holds(string originHost, string session, uint number);

    /// <summary>Whether an earlier record of the accounting session was stored as one whose mobility session was known.</summary>
    bool KnowsSession(string originHost, string session);
}

/// <summary>Records and open accounts to octets for the store and back.</summary>
[JsonSerializable(typeof(AccountingRecord))]
[JsonSerializable(typeof(UsageAccount))]
[JsonSourceGenerationOptions(Converters = [typeof(AddressConverter)])]
internal sealed partial class AccountingJson : JsonSerializerContext;

internal sealed class AddressConverter : JsonConverter<IPAddress>
{
    public override IPAddress Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        IPAddress.TryParse(reader.GetString(), out var address) ? address : throw new JsonException("not an address");

    public override void Write(Utf8JsonWriter writer, IPAddress value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToString());
}
