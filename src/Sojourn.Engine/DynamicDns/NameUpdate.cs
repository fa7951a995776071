using System.Net;
using System.Security.Cryptography;
using System.Text;
using Sojourn.Wire.Dns;

namespace Sojourn.Engine.DynamicDns;

/// <summary>
/// What is to become of one owner name, <c>mn1.home.example</c> or a name below <c>ip6.arpa</c>: one record, or some records less.
/// Knows the messages for it and what their answers mean; sends nothing.
/// </summary>
/// <remarks>
/// Reading: DHCID digests the identity a DHCP client gave. A terminal of embodiment 4 has none but its name, so the digest is over
/// a client identifier of type 0 with the name as its value, which RFC 2132 9.14 has for identifiers that are no hardware
/// address; the identifier type is 1 (RFC 4701 3.3).
/// </remarks>
internal sealed record NameUpdate
{
    public required DnsUpdateZone Zone { get; init; }

    public required DnsName Owner { get; init; }

    public required string Identifier { get; init; }

    /// <summary>What the name shall have; null = only take away.</summary>
    public DnsData? Wanted { get; init; }

    /// <summary>What the name shall not have any more.</summary>
    public IReadOnlyList<DnsData> Unwanted { get; init; } = [];

    /// <summary>Home addresses whose removal this is, for the answer; of a registration the one.</summary>
    public IReadOnlyList<IPAddress> HomeAddresses { get; init; } = [];

    /// <summary>PTR instead of AAAA.</summary>
    public bool IsReverse { get; init; }

    public bool IsRemoval => Wanted is null;

    private DnsRecordType Type => IsReverse ? DnsRecordType.PTR : DnsRecordType.AAAA;

    /// <summary>Joins what was to happen to the name before with this; only the outcome counts.</summary>
    public NameUpdate After(NameUpdate waiting)
    {
        if (Wanted is not null)
        {
            return this;
        }

        if (waiting.Wanted is not null && !Unwanted.Contains(waiting.Wanted))
        {
            // The set that waits replaces all records anyway.
            return waiting;
        }

        return this with
        {
            Unwanted = [.. waiting.Unwanted.Union(Unwanted)],
            HomeAddresses = [.. (waiting.IsRemoval ? waiting.HomeAddresses : []).Union(HomeAddresses)],
        };
    }

    /// <summary>Message number <paramref name="step"/> of the update, without identifier and signature.</summary>
    public DnsMessage Step(int step, NameRegistrarOptions options)
    {
        var marks = options.MarkOwner && !IsReverse;
        var mark = new DnsRecord(Owner, DnsRecordType.DHCID, DnsClass.Internet, 0, Mark(Owner));
        DnsRecord Absent(DnsRecordType type) => new(Owner, type, DnsClass.None, 0, DnsOpaque.Empty);
        DnsRecord All(DnsRecordType type) => new(Owner, type, DnsClass.Any, 0, DnsOpaque.Empty);
        DnsRecord New(DnsData data) => new(Owner, Type, DnsClass.Internet, (uint)options.TimeToLive.TotalSeconds, data);
        DnsRecord[] without = [.. Unwanted.Select(data => new DnsRecord(Owner, Type, DnsClass.None, 0, data))];
        (DnsRecord[] Prerequisites, DnsRecord[] Updates) parts = (Wanted, marks, step) switch
        {
            ({ } wanted, false, _) => ([], [All(Type), New(wanted)]),

            // RFC 4703 5.3: a new name, and if it is there already, then only as the one who made it.
            ({ } wanted, true, 0) => ([Absent(DnsRecordType.Any)], [New(wanted), mark with { Seconds = (uint)options.TimeToLive.TotalSeconds }]),
            ({ } wanted, true, _) => ([mark], [All(Type), New(wanted)]),
            (null, false, _) => ([], without),
            (null, true, 0) => ([mark], without),

            // RFC 4703 5.5: the mark goes with the last address.
            (null, true, _) => ([mark, Absent(DnsRecordType.A), Absent(DnsRecordType.AAAA)], [mark with { Class = DnsClass.None }]),
        };
        return new DnsMessage { Identifier = 0, Opcode = DnsOpcode.Update, Questions = [new DnsQuestion(Zone.Name, DnsRecordType.SOA)], Answers = parts.Prerequisites, Authorities = parts.Updates };
    }

    /// <summary>What a signed answer to a step means.</summary>
    public StepOutcome Judge(int step, DnsResponseCode result, NameRegistrarOptions options)
    {
        var marks = options.MarkOwner && !IsReverse;
        return result switch
        {
            DnsResponseCode.NoError => marks && IsRemoval && step == 0 ? StepOutcome.NextStep : StepOutcome.Done,
            DnsResponseCode.NameExists when marks && !IsRemoval && step == 0 => StepOutcome.NextStep,

            // Not ours, or somebody has an address under the name: nothing of ours to take away.
            DnsResponseCode.RecordSetMissing or DnsResponseCode.RecordSetExists when marks && IsRemoval => StepOutcome.Done,
            DnsResponseCode.Refused or DnsResponseCode.NotAuthorized => StepOutcome.Prohibited,
            DnsResponseCode.ServerFailure or DnsResponseCode.NotImplemented => StepOutcome.NextServer,
            _ => StepOutcome.Failed,
        };
    }

    /// <summary>The DHCID that says a name is ours.</summary>
    internal static DnsOwnerDigest Mark(DnsName name)
    {
        const ushort ClientIdentifier = 1;
        return Mark(ClientIdentifier, [0, .. Encoding.ASCII.GetBytes(name.ToString().TrimEnd('.').ToLowerInvariant())], name);
    }

    /// <summary>RFC 4701 3.5.</summary>
    internal static DnsOwnerDigest Mark(ushort identifierType, ReadOnlySpan<byte> identifier, DnsName name) =>
        new(identifierType, DnsOwnerDigest.Sha256, SHA256.HashData([.. identifier, .. name.ToCanonical()]));
}

/// <summary>How an update goes on.</summary>
internal enum StepOutcome : byte
{
    Done,
    NextStep,

    /// <summary>This server cannot; another may.</summary>
    NextServer,

    /// <summary>REFUSED or NOTAUTH: status 129. Another server may know better.</summary>
    Prohibited,
    Failed,
}
