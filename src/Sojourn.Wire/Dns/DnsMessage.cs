using System.Buffers.Binary;

namespace Sojourn.Wire.Dns;

/// <summary>
/// A DNS message (RFC 1035 4.1): query, answer or update.
/// <code>
/// |              ID               |QR| Opcode |AA|TC|RD|RA|Z|AD|CD| RCODE |
/// |     QDCOUNT (ZOCOUNT)         |      ANCOUNT (PRCOUNT)                |
/// |     NSCOUNT (UPCOUNT)         |      ARCOUNT (ADCOUNT)                |
/// </code>
/// Strict: counts have to be right to the last octet; OPT stands once, in the additional section (RFC 6891 6.1.1); TSIG is the
/// last record (RFC 8945 5.1).
/// </summary>
public sealed record DnsMessage
{
    private const ushort KnownFlags = 0x87F0;

    public required ushort Identifier { get; init; }

    public DnsOpcode Opcode { get; init; }

    public DnsFlags Flags { get; init; }

    /// <summary>The header's four bits.</summary>
    public DnsResponseCode ResponseCode { get; init; }

    /// <summary>Of an update: the zone.</summary>
    public IReadOnlyList<DnsQuestion> Questions { get; init; } = [];

    /// <summary>Of an update: its prerequisites.</summary>
    public IReadOnlyList<DnsRecord> Answers { get; init; } = [];

    /// <summary>Of an update: what changes.</summary>
    public IReadOnlyList<DnsRecord> Authorities { get; init; } = [];

    public IReadOnlyList<DnsRecord> Additional { get; init; } = [];

    public bool IsResponse => Flags.HasFlag(DnsFlags.Response);

    /// <summary>OPT; its class is the sender's UDP payload size.</summary>
    public DnsRecord? Extension => Additional.FirstOrDefault(r => r.Type == DnsRecordType.OPT);

    /// <summary>The header's result together with the upper eight bits that OPT carries (RFC 6891 6.1.3).</summary>
    public DnsResponseCode ExtendedResponseCode => (DnsResponseCode)(((Extension?.Seconds >> 24) << 4) | (ushort)ResponseCode ?? (ushort)ResponseCode);

    /// <summary>TSIG, with the key's name as its name.</summary>
    public DnsRecord? Signature => Additional is [.., { Type: DnsRecordType.TSIG } last] ? last : null;

    /// <summary>Of a message that was read: octets before TSIG; null without one.</summary>
    public int? SignedLength { get; private init; }

    public int Length => DnsLimits.Header + Questions.Sum(q => q.Length) + Answers.Sum(r => r.Length) + Authorities.Sum(r => r.Length) + Additional.Sum(r => r.Length);

    /// <exception cref="InvalidOperationException">Longer than a message can be; a mistake of the caller.</exception>
    public byte[] ToArray()
    {
        if (Length is > DnsLimits.Message and var length)
        {
            throw new InvalidOperationException($"a message of {length} octets");
        }

        var octets = new byte[Length];
        BinaryPrimitives.WriteUInt16BigEndian(octets, Identifier);
        BinaryPrimitives.WriteUInt16BigEndian(octets.AsSpan(2), (ushort)(((ushort)Flags & KnownFlags) | (((int)Opcode & 0xF) << 11) | ((int)ResponseCode & 0xF)));
        BinaryPrimitives.WriteUInt16BigEndian(octets.AsSpan(4), (ushort)Questions.Count);
        BinaryPrimitives.WriteUInt16BigEndian(octets.AsSpan(6), (ushort)Answers.Count);
        BinaryPrimitives.WriteUInt16BigEndian(octets.AsSpan(8), (ushort)Authorities.Count);
        BinaryPrimitives.WriteUInt16BigEndian(octets.AsSpan(10), (ushort)Additional.Count);
        var at = DnsLimits.Header;
        foreach (var question in Questions)
        {
            at += question.Write(octets.AsSpan(at));
        }

        foreach (var record in Answers.Concat(Authorities).Concat(Additional))
        {
            at += record.Write(octets.AsSpan(at));
        }

        return octets;
    }

    public static bool TryParse(ReadOnlySpan<byte> octets, out DnsMessage message, out WireError error)
    {
        message = null!;
        error = default;
        if (octets.Length is < DnsLimits.Header or > DnsLimits.Message)
        {
            error = new WireError("Header", 0, "shorter than a header, or longer than a message", "RFC 1035 4.1.1");
            return false;
        }

        Span<int> counts = stackalloc int[4];
        var total = 0;
        for (var i = 0; i < counts.Length; i++)
        {
            counts[i] = BinaryPrimitives.ReadUInt16BigEndian(octets[(4 + (2 * i))..]);
            total += counts[i];
        }

        if (total > DnsLimits.Records)
        {
            error = new WireError("Counts", 4, "too many records", "DnsLimits.Records");
            return false;
        }

        var offset = DnsLimits.Header;
        int? signature = null;
        if (!TryReadQuestions(octets, counts[0], ref offset, out var questions, out error)
            || !TryReadRecords(octets, counts[1], DnsSection.Answer, ref offset, ref signature, out var answers, out error)
            || !TryReadRecords(octets, counts[2], DnsSection.Authority, ref offset, ref signature, out var authorities, out error)
            || !TryReadRecords(octets, counts[3], DnsSection.Additional, ref offset, ref signature, out var additional, out error))
        {
            return false;
        }

        if (offset != octets.Length)
        {
            error = new WireError("Counts", offset, "octets behind the last record", "RFC 1035 4.1");
            return false;
        }

        var word = BinaryPrimitives.ReadUInt16BigEndian(octets[2..]);
        message = new DnsMessage
        {
            Identifier = BinaryPrimitives.ReadUInt16BigEndian(octets),
            Opcode = (DnsOpcode)((word >> 11) & 0xF),
            Flags = (DnsFlags)(word & KnownFlags),
            ResponseCode = (DnsResponseCode)(word & 0xF),
            Questions = questions,
            Answers = answers,
            Authorities = authorities,
            Additional = additional,
            SignedLength = signature,
        };
        return true;
    }

    private static bool TryReadQuestions(ReadOnlySpan<byte> octets, int count, ref int offset, out IReadOnlyList<DnsQuestion> questions, out WireError error)
    {
        questions = [];
        error = default;
        if (count == 0)
        {
            return true;
        }

        var read = new List<DnsQuestion>();
        for (var i = 0; i < count; i++)
        {
            if (!DnsName.TryRead(octets, ref offset, compressed: true, out var name, out error))
            {
                return false;
            }

            if (octets.Length - offset < 4)
            {
                error = new WireError("Question", offset, "ends before its class", "RFC 1035 4.1.2");
                return false;
            }

            read.Add(new DnsQuestion(name, (DnsRecordType)BinaryPrimitives.ReadUInt16BigEndian(octets[offset..]), (DnsClass)BinaryPrimitives.ReadUInt16BigEndian(octets[(offset + 2)..])));
            offset += 4;
        }

        questions = read;
        return true;
    }

    private static bool TryReadRecords(ReadOnlySpan<byte> octets, int count, DnsSection section, ref int offset, ref int? signature, out IReadOnlyList<DnsRecord> records, out WireError error)
    {
        records = [];
        error = default;
        if (count == 0)
        {
            return true;
        }

        var read = new List<DnsRecord>();
        var extended = false;
        for (var i = 0; i < count; i++)
        {
            var start = offset;
            if (!DnsRecord.TryRead(octets, ref offset, out var record, out error))
            {
                return false;
            }

            if (record.Type == DnsRecordType.OPT)
            {
                if (section != DnsSection.Additional || extended || !record.Name.IsRoot)
                {
                    error = new WireError("OPT", start, "twice, in another section or with a name", "RFC 6891 6.1.1");
                    return false;
                }

                extended = true;
            }

            if (record.Type == DnsRecordType.TSIG)
            {
                if (section != DnsSection.Additional || i != count - 1 || record.Class != DnsClass.Any || record.Seconds != 0 || record.Data is not DnsTransactionSignature)
                {
                    error = new WireError("TSIG", start, "is not the last record, or not of class ANY and time to live 0", "RFC 8945 4.2, 5.1");
                    return false;
                }

                signature = start;
            }

            read.Add(record);
        }

        records = read;
        return true;
    }

    public bool Equals(DnsMessage? other) => other is not null
        && (Identifier, Opcode, Flags, ResponseCode) == (other.Identifier, other.Opcode, other.Flags, other.ResponseCode)
        && Questions.SequenceEqual(other.Questions) && Answers.SequenceEqual(other.Answers) && Authorities.SequenceEqual(other.Authorities) && Additional.SequenceEqual(other.Additional);

    public override int GetHashCode() => HashCode.Combine(Identifier, Opcode, Flags, ResponseCode, Questions.Count, Answers.Count, Authorities.Count, Additional.Count);
}
