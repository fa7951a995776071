namespace Sojourn.Wire.Dns;

/// <summary>Record types this codec has a reading for, and those a question may ask for; others survive as numbers.</summary>
public enum DnsRecordType : ushort
{
    A = 1,
    NS = 2,
    CNAME = 5,
    SOA = 6,
    MB = 7,
    MG = 8,
    MR = 9,
    PTR = 12,
    MX = 15,
    TXT = 16,
    AAAA = 28,
    SRV = 33,
    DNAME = 39,
    OPT = 41,
    DHCID = 49,
    TSIG = 250,
    IXFR = 251,
    AXFR = 252,
    Any = 255,
}

/// <summary>Classes (RFC 1035 3.2.4, RFC 2136 1.3).</summary>
public enum DnsClass : ushort
{
    Internet = 1,
    None = 254,
    Any = 255,
}

/// <summary>Kinds of messages (RFC 6895 2.2).</summary>
public enum DnsOpcode : byte
{
    Query = 0,
    Status = 2,
    Notify = 4,
    Update = 5,
}

/// <summary>Bits of the header's second word beside operation and result.</summary>
[Flags]
public enum DnsFlags : ushort
{
    None = 0,

    /// <summary>QR: an answer.</summary>
    Response = 0x8000,
    Authoritative = 0x0400,
    Truncated = 0x0200,
    RecursionDesired = 0x0100,
    RecursionAvailable = 0x0080,

    /// <summary>Has to be zero; survives being read.</summary>
    Reserved = 0x0040,
    AuthenticData = 0x0020,
    CheckingDisabled = 0x0010,
}

/// <summary>
/// Results (RFC 6895 2.3). The header has room for the first sixteen; above that with the record OPT, and in the field Error of
/// TSIG, where 16 means BADSIG.
/// </summary>
public enum DnsResponseCode : ushort
{
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,

    /// <summary>YXDOMAIN: a name exists that should not.</summary>
    NameExists = 6,

    /// <summary>YXRRSET: a record set exists that should not.</summary>
    RecordSetExists = 7,

    /// <summary>NXRRSET: a record set that should exist does not.</summary>
    RecordSetMissing = 8,

    /// <summary>NOTAUTH: the server is no authority for the zone, or the signature was wrong.</summary>
    NotAuthorized = 9,
    NotInZone = 10,

    /// <summary>BADSIG in TSIG; BADVERS in OPT.</summary>
    BadSignature = 16,
    BadKey = 17,
    BadTime = 18,
    BadTruncation = 22,
}

/// <summary>Sections of a message; an update calls them zone, prerequisites, updates and additional data (RFC 2136 2).</summary>
public enum DnsSection : byte
{
    Question,
    Answer,
    Authority,
    Additional,
}
